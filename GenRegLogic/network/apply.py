"""The network in the pipeline: it describes tissue, and proposes a field to start from.

`Settings.network` selects which of the two it does. Resources/benchmark/ablation.md has the effect of each on real
pairs, Resources/training/README.md the training of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..space.geometry import Geometry
from ..space.grid import Image, resample
from ..stages.linear import LinearLevel
from ..stages.propose import Proposal
from .model import STRIDES, Network, compose_voxels
from .weights import load_weights

__all__ = ["SHA256", "SHOWN_DIGITS", "WEIGHTS", "Learned", "shipped", "standardized", "strided"]

WEIGHTS = Path(__file__).parent / "network.npz"
SHA256 = "16c3c7d7eb7511eb681252db4ea9c0b5cf1566c378fe5e27d3a12fa3ee38cdd2"
"""Checksum of the weights; Resources/training/README.md describes how they were trained."""

SHOWN_DIGITS = 12
"""Digits of the checksum that a report shows: enough to tell one network from another."""

LARGEST_DESCRIBED = 500_000
"""Largest number of voxels of an image that is described at full resolution, with about 850 bytes per voxel."""

NATIVE_BFLOAT16 = 8
"""Compute capability from which CUDA devices support bfloat16; older devices emulate it slowly."""

BFLOAT16_SUPPORT = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
"""Functions of `torch.cpu`, which older versions lack, that ask the processor for its instructions for bfloat16."""

SMALLEST = 32
"""Least number of voxels along each axis of the network's input: its coarsest scale then has two."""


def standardized(image: torch.Tensor) -> torch.Tensor:
    """An image ``(D, H, W)`` as input of the network.

    Returns:
        ``(1, 1, D, H, W)`` with zero mean and unit standard deviation; axes shorter than `SMALLEST` are padded at the
        end with their edge.
    """
    image = ((image - image.mean()) / image.std().clamp(min=1e-6))[None, None]
    missing = [max(0, SMALLEST - n) for n in image.shape[:1:-1]]
    return F.pad(image, [n for m in missing for n in (0, m)], mode="replicate") if any(missing) else image


def _interpolated(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """``(C, D, H, W)`` with another number of voxels between the same corner voxels, interpolated linearly."""
    if tuple(image.shape[1:]) == tuple(shape):
        return image
    return F.interpolate(image[None], size=tuple(shape), mode="trilinear", align_corners=True)[0]


def strided(geometry: Geometry, stride: int) -> Geometry:
    """The grid of every `stride`-th voxel of a grid, beginning with the first."""
    size = tuple(-(-n // stride) for n in geometry.size)
    return Geometry(
        size=size,
        spacing=tuple(s * stride for s in geometry.spacing),
        origin=geometry.origin,
        direction=geometry.direction,
    )


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, with which the network is faster (`scripts/network_speed`)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= NATIVE_BFLOAT16
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in BFLOAT16_SUPPORT)


def shipped(device: torch.device) -> Learned:
    """The network that comes with GenReg.

    Raises:
        InputError: Its weights are missing, damaged or those of another version.
    """
    return Learned(load_weights(WEIGHTS, SHA256), device)


class Learned:
    """A trained network on one device.

    Args:
        network: The network with its weights.
        device: Where it computes.
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network = network.to(device).eval()
        if multiplies_bfloat16(device):
            self.network.compute_in(torch.bfloat16)

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """A descriptor for each voxel of an image; scale and offset of the intensities do not matter.

        The network describes every second voxel of its input, so the image is upsampled by a factor of two first.
        Images of more than `LARGEST_DESCRIBED` voxels are described on a coarser grid and interpolated.

        Args:
            image: ``(D, H, W)``.

        Returns:
            ``(16, D, H, W)``, vectors of unit length.
        """
        shape = image.shape
        share = min(1.0, (LARGEST_DESCRIBED / image.numel()) ** (1 / 3))
        grid = [max(2, round(n * share)) for n in shape]
        shown = _interpolated(image[None], [2 * n - 1 for n in grid])[0]
        d, h, w = grid
        features = self.network.describe(standardized(shown))[0][0, :, :d, :h, :w]
        return _interpolated(features, shape)

    def propose(self, level: LinearLevel, linear: np.ndarray) -> Proposal:
        """The network's field between the linearly aligned scans.

        Args:
            level: The grid of the linear alignment, and both scans.
            linear: (4, 4), LPS mm, fixed -> moving.

        Returns:
            A displacement before the linear part, mm along the fixed axes, on every second voxel of the level's grid.
        """
        return Proposal("network", self._field(level, linear, None))

    def improve(self, level: LinearLevel, linear: np.ndarray, proposal: Proposal) -> Proposal:
        """A proposal composed with the network's field for the remaining displacement.

        Args:
            level: The grid of the linear alignment, and both scans.
            linear: (4, 4), LPS mm, fixed -> moving.
            proposal: The field to improve, before the linear part.

        Returns:
            A displacement before the linear part, mm along the fixed axes, on the level's grid.
        """
        start = resample(proposal.field, level.fixed_geometry, smooth=False).tensor
        step = resample(self._field(level, linear, start), level.fixed_geometry, smooth=False).tensor
        field = compose_voxels((start / level.spacing)[None], (step / level.spacing)[None])[0] * level.spacing
        return Proposal(f"{proposal.name}+network", Image(field, level.fixed_geometry))

    def _field(self, level: LinearLevel, linear: np.ndarray, start: torch.Tensor | None) -> Image:
        """The network's field, mm, from the fixed scan to the moving scan after warping by `start` (mm, or None)."""
        fixed = resample(level.fixed_scan.image, level.fixed_geometry).tensor
        moving, _ = level.intensities(linear, start)
        field = self.network(standardized(fixed), standardized(moving)).fields[-1][0]
        grid = strided(level.fixed_geometry, STRIDES[0])
        d, h, w = grid.shape
        return Image(field[:, :d, :h, :w] * level.spacing, grid)
