"""Random deformations with exact inverses, and the displacement between two deformed copies of one anatomy."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F

from ..network.model import sample_at, sample_places
from .shapes import noise_field, uniform, whole

__all__ = ["Motion", "between", "random_motion"]

VELOCITY_SCALES = (6, 12, 24, 48)
"""Voxels between the velocity's control points, at 64 voxels a side."""

FULL_SCALE, LARGEST_SD = 24, 5.0
"""Largest standard deviation of the velocity at this scale and above (voxels, at 64 voxels a side); less below it."""

SQUARINGS = 6
"""Squarings in the integration of the velocity."""

AFFINE_SCALE, AFFINE_DEGREES, AFFINE_SHIFT = 0.10, 15.0, 0.05
"""Largest scaling, rotation and shift (as a share of the size) of the affine part."""


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """A mapping x -> A (x + u(x)), in voxels (x, y, z), with its inverse x -> A^-1 x + w(A^-1 x).

    Attributes:
        u: (1, 3, D, H, W) displacement, the integral of a velocity.
        w: (1, 3, D, H, W) inverse of the displacement.
        matrix: (3, 3) linear part of A, about the center of the grid.
        shift: (3,) translation of A.
    """

    u: torch.Tensor
    w: torch.Tensor
    matrix: torch.Tensor
    shift: torch.Tensor

    def _middle(self) -> torch.Tensor:
        return (torch.tensor(self.u.shape[:1:-1], device=self.u.device, dtype=torch.float32) - 1) / 2

    def __call__(self, places: torch.Tensor) -> torch.Tensor:
        """Map places (1, 3, D, H, W), voxels (x, y, z)."""
        moved = places + sample_places(self.u, places)
        middle = self._middle().view(1, 3, 1, 1, 1)
        return torch.einsum("ab,nbdhw->nadhw", self.matrix, moved - middle) + middle + self.shift.view(1, 3, 1, 1, 1)

    def inverse(self, places: torch.Tensor) -> torch.Tensor:
        """Map places by the inverse; for the shape see `__call__`."""
        middle = self._middle().view(1, 3, 1, 1, 1)
        back = (
            torch.einsum(
                "ab,nbdhw->nadhw", torch.linalg.inv(self.matrix), places - middle - self.shift.view(1, 3, 1, 1, 1)
            )
            + middle
        )
        return back + sample_places(self.w, back)


def random_motion(shape: tuple[int, ...], amplitude: float, generator: torch.Generator) -> Motion:
    """A random deformation.

    Args:
        shape: (D, H, W) of the grid.
        amplitude: Upper limit of its strength, as a share (0 to 1) of the largest.
        generator: Source of the random numbers.
    """
    scale = min(shape) / 64
    coarse = tuple((n + 1) // 2 for n in shape)
    velocity = torch.zeros((3, *coarse), device=generator.device)
    for _ in range(whole(generator, 1, 3)):
        wave = VELOCITY_SCALES[whole(generator, 0, len(VELOCITY_SCALES))] * scale
        largest = LARGEST_SD * scale * min(1.0, wave / (FULL_SCALE * scale))
        deviation = largest * amplitude * uniform(generator, 0.1, 1.0)
        velocity += noise_field(coarse, 3, wave / 2, generator) * deviation
    matrix, shift = _affine(shape, amplitude, generator)
    return Motion(*(_integrated(v[None], shape) for v in (velocity, -velocity)), matrix, shift)


def between(fixed: Motion, moving: Motion, shape: tuple[int, ...]) -> torch.Tensor:
    """The displacement field between two deformed copies of one anatomy.

    With fixed(x) = L(f(x)) and moving(y) = L(m(y)) of an anatomy L, the field maps x to y = m^-1(f(x)).

    Args:
        fixed: f, from the fixed scan to the anatomy.
        moving: m, from the moving scan to the anatomy.
        shape: (D, H, W) of the scans.

    Returns:
        (1, 3, D, H, W) voxels (x, y, z), fixed -> moving.
    """
    device = fixed.u.device
    z, y, x = torch.meshgrid(*(torch.arange(n, device=device, dtype=torch.float32) for n in shape), indexing="ij")
    here = torch.stack([x, y, z])[None]
    return moving.inverse(fixed(here)) - here


def _integrated(velocity: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The displacement on the grid of `shape`, integrated on the coarser grid of the velocity, which is smooth."""
    steps = [(m - 1) / (n - 1) for m, n in zip(velocity.shape[2:], shape)]
    scale = torch.tensor(steps[::-1], device=velocity.device).view(1, 3, 1, 1, 1)
    u = velocity * scale / 2**SQUARINGS
    for _ in range(SQUARINGS):
        u = sample_at(u, u) + u
    return F.interpolate(u, size=shape, mode="trilinear", align_corners=True) / scale


def _affine(shape: tuple[int, ...], amplitude: float, generator: torch.Generator):
    """A small affine part: the network's input is aligned linearly before."""

    def small(limit: float) -> float:
        return uniform(generator, -limit, limit) * amplitude

    matrix = torch.eye(3, device=generator.device)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        angle = math.radians(small(AFFINE_DEGREES)) / 2
        turn = torch.eye(3, device=generator.device)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    stretch = torch.tensor([1 + small(AFFINE_SCALE) for _ in range(3)], device=generator.device)
    shift = torch.tensor([small(AFFINE_SHIFT) * n for n in shape[::-1]], device=generator.device)
    return matrix * stretch, shift
