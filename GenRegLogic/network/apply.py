"""The network in the pipeline: it describes tissue, and proposes a field to start from.

`Settings.network` says which of the two it does. What each is worth on real pairs stands in
Resources/benchmark/ablation.md, how the network was made in Resources/training/README.md.
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
"""Of the weights; Resources/training/README.md says how they were made."""

SHOWN_DIGITS = 12
"""Of the checksum, where it only has to tell one network from another."""

LARGEST_DESCRIBED = 500_000
"""Voxels, of an image that is described at its full resolution. Each takes about 850 bytes meanwhile."""

NATIVE_BFLOAT16 = 8
"""Compute capability from which CUDA devices know bfloat16; older ones imitate it, slowly."""

SMALLEST = 32
"""Voxels along each axis that the network is given at least: its coarsest scale then has two."""


def standardized(image: torch.Tensor) -> torch.Tensor:
    """``(D, H, W)`` as the network takes it: ``(1, 1, D, H, W)``, zero mean and unit deviation, thin scans padded."""
    image = ((image - image.mean()) / image.std().clamp(min=1e-6))[None, None]
    missing = [max(0, SMALLEST - n) for n in image.shape[:1:-1]]
    return F.pad(image, [n for m in missing for n in (0, m)], mode="replicate") if any(missing) else image


def _interpolated(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """``(C, D, H, W)`` on another number of voxels between the same corners, linear."""
    if tuple(image.shape[1:]) == tuple(shape):
        return image
    return F.interpolate(image[None], size=tuple(shape), mode="trilinear", align_corners=True)[0]


def strided(geometry: Geometry, stride: int) -> Geometry:
    """The grid of every stride-th voxel."""
    size = tuple(-(-n // stride) for n in geometry.size)
    return Geometry(
        size=size,
        spacing=tuple(s * stride for s in geometry.spacing),
        origin=geometry.origin,
        direction=geometry.direction,
    )


def shipped(device: torch.device) -> Learned:
    """The network that comes with GenReg.

    Raises:
        InputError: Its weights are missing or not those of this version.
    """
    return Learned(load_weights(WEIGHTS, SHA256), device)


class Learned:
    """A trained network at work on one device."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self.network = network.to(device).eval()
        if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= NATIVE_BFLOAT16:
            self.network.compute_in(torch.bfloat16)

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptors ``(16, D, H, W)`` of unit length of an image ``(D, H, W)``; scale and offset do not matter.

        The network describes every second voxel: it is shown the image at twice its resolution. Images of more than
        LARGEST_DESCRIBED voxels are described more coarsely.
        """
        shape = image.shape
        share = min(1.0, (LARGEST_DESCRIBED / image.numel()) ** (1 / 3))
        grid = [max(2, round(n * share)) for n in shape]
        shown = _interpolated(image[None], [2 * n - 1 for n in grid])[0]
        d, h, w = grid
        features = self.network.describe(standardized(shown))[0][0, :, :d, :h, :w]
        return _interpolated(features, shape)

    def propose(self, level: LinearLevel, linear: np.ndarray) -> Proposal:
        """The network's field between the linearly aligned scans, on every second voxel of the level's grid."""
        return Proposal("network", self._field(level, linear, None))

    def improve(self, level: LinearLevel, linear: np.ndarray, proposal: Proposal) -> Proposal:
        """A proposal composed with the network's field for what it has left to do, on the level's grid."""
        start = resample(proposal.field, level.fixed_geometry, smooth=False).tensor
        step = resample(self._field(level, linear, start), level.fixed_geometry, smooth=False).tensor
        field = compose_voxels((start / level.spacing)[None], (step / level.spacing)[None])[0] * level.spacing
        return Proposal(f"{proposal.name}+network", Image(field, level.fixed_geometry))

    def _field(self, level: LinearLevel, linear: np.ndarray, start: torch.Tensor | None) -> Image:
        """From the fixed scan to the moving one as a start, mm on the level's grid, warps it; mm."""
        fixed = resample(level.fixed_scan.image, level.fixed_geometry).tensor
        moving, _ = level.intensities(linear, start)
        field = self.network(standardized(fixed), standardized(moving)).fields[-1][0]
        grid = strided(level.fixed_geometry, STRIDES[0])
        d, h, w = grid.shape
        return Image(field[:, :d, :h, :w] * level.spacing, grid)
