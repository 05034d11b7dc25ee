"""A synthetic pair of scans and the displacement field between them."""

from __future__ import annotations

import dataclasses

import torch

from ..network.model import sample_places
from .appearance import contrasts, degrade, paint
from .motion import between, random_motion
from .shapes import label_map, noise_field, uniform

__all__ = ["Pair", "make_pair"]


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A synthetic pair for training and validation.

    Attributes:
        fixed: (1, 1, D, H, W), zero mean and unit standard deviation.
        moving: The same for the moving scan.
        field: (1, 3, D, H, W) voxels (x, y, z), fixed -> moving, exact.
        weight: (1, 1, D, H, W): 1 in the body, `BACKGROUND_WEIGHT` in the background, and 0 where the field leads
            outside the moving scan.
        fixed_labels: (D, H, W) int64.
        moving_labels: (D, H, W) int64.
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    field: torch.Tensor
    weight: torch.Tensor
    fixed_labels: torch.Tensor
    moving_labels: torch.Tensor


BACKGROUND_WEIGHT = 0.1
"""Weight of the background relative to the body in the loss."""


def make_pair(shape: tuple[int, ...], amplitude: float, generator: torch.Generator) -> Pair:
    """A random pair, computed on the device of the generator.

    Args:
        shape: (D, H, W) of the scans.
        amplitude: Upper limit of the deformations, as a share (0 to 1) of the largest. Each pair has a random share of
            it, down to none: a network that was never trained on aligned scans would displace them.
        generator: Source of all random numbers.
    """
    labels, count = label_map(shape, generator)
    texture = sum(noise_field(shape, 1, scale, generator)[0] for scale in (2, 4, 8)) / 3
    means = contrasts(count, generator)
    strength = uniform(generator, 0.0, 0.15)
    amplitude = amplitude * uniform(generator, 0.0, 1.0)
    motions = [random_motion(shape, amplitude, generator) for _ in range(2)]
    device = generator.device
    z, y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float32) for n in shape), indexing="ij")
    here = torch.stack([x, y, z])[None]
    scans, maps = [], []
    for motion, mean in zip(motions, means):
        places = motion(here)
        canonical = paint(labels, mean, texture, strength)
        scans.append(degrade(sample_places(canonical[None, None], places)[0, 0], generator)[None, None])
        maps.append(_nearest(labels, places))
    field = between(*motions, shape)
    there = here + field
    size = torch.tensor(shape[::-1], device=device, dtype=torch.float32).view(1, 3, 1, 1, 1)
    weight = ((there >= 0) & (there <= size - 1)).all(dim=1, keepdim=True).float()
    weight = weight * torch.where(maps[0] > 0, 1.0, BACKGROUND_WEIGHT)
    return Pair(scans[0], scans[1], field, weight, maps[0], maps[1])


def _nearest(labels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    index = [places[0, axis].round().long().clamp(0, labels.shape[2 - axis] - 1) for axis in range(3)]
    return labels[index[2], index[1], index[0]]
