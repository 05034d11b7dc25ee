"""Linear mappings of a pair at one scale: their objective, and Gauss-Newton steps on it.

The objective is 1 minus a gain: how much better MIND-SSC descriptors match than by chance, mean over the overlap, times
the square root of the share of the fixed body that overlaps. Losing overlap costs, but scans that show different parts
are not moved over one another.
"""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch

from ..space.geometry import Geometry
from ..space.grid import Sampler, for_sampling, resample, sample_quickly
from .describe import mind_ssc
from .prepare import Prepared, mask_on, moving_level, turned_axes, working_grid
from .similarity import gradient, principal_components

REDESCRIBE = 0.035
"""The moving scan is described again when the mapping has rotated by more than this (radians, 2 degrees)."""

FIRST_DAMPING, DAMPING_DECREASE, DAMPING_INCREASE = 1e-2, 1 / 4, 8
"""The damping at first, and its factors after a step that lowers the objective and after one that does not."""

SMALLEST_GAIN, LARGEST_DAMPING = 2e-5, 1e3
"""Gauss-Newton steps end when one lowers the objective by less than the first, or the damping exceeds the second."""

AFFINE_RIDGE = 1e-3
"""Ridge on shear and scale, the least certain parameters, as a share of the Hessian's mean diagonal."""

RIGID, SIMILARITY, AFFINE = 6, 7, 12
"""Degrees of freedom."""


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A linear mapping.

    Attributes:
        matrix: 4x4, LPS mm, fixed -> moving.
        objective: Lower is better.
        name: Of the start that it comes from.
        doubted: True if it fits hardly better than mappings with other rotations do.
        rivals: Others that lead elsewhere and fit nearly as well.
    """

    matrix: np.ndarray
    objective: float
    name: str
    doubted: bool = False
    rivals: tuple[Candidate, ...] = ()


class LinearLevel:
    """The objective at one scale: descriptors of both scans, and Gauss-Newton steps on it.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        voxels: Approximate number of voxels of the fixed scan's working grid.
        linear: 4x4, LPS mm, fixed -> moving; the moving scan is described along the fixed axes as this mapping rotates
            them. None is the identity.
        described: False computes no descriptors, where only intensities are needed.
        channels: Number of principal components of the fixed descriptors to which all are reduced; None keeps all.
    """

    def __init__(
        self,
        fixed: Prepared,
        moving: Prepared,
        voxels: int,
        linear: np.ndarray | None = None,
        *,
        described: bool = True,
        channels: int | None = None,
    ):
        self._described, self._basis = described, None
        self.fixed_scan = fixed
        self.spacing = level_spacing(fixed, moving, voxels)
        self.fixed_geometry = working_grid(fixed, self.spacing, margin_voxels=2)
        if described:
            self.fixed = mind_ssc(resample(fixed.image, self.fixed_geometry).tensor)
        self.weight = mask_on(fixed, self.fixed_geometry)
        if channels is not None:
            self._basis = principal_components(self.fixed, self.weight, channels)
            self.fixed = self._reduced(self.fixed)
        self.total = float(self.weight.sum().clamp(min=1))
        if not moving.automatic:  # where the moving mask is the smaller one, no more than it can overlap
            self.total = max(1.0, min(self.total, moving.body_volume / self.spacing**3))
        self.device = self.weight.device
        self.center = self.fixed_geometry.index_to_world @ np.append((np.array(self.fixed_geometry.size) - 1) / 2, 1)
        self._positions = _normalized_positions(self.fixed_geometry, self.device)
        self.moving_scan = moving
        self._describe_moving(np.eye(4) if linear is None else linear)

    def _describe_moving(self, linear: np.ndarray) -> None:
        self.axes = turned_axes(linear, self.fixed_geometry)
        level = moving_level(self.moving_scan, self.spacing, axes=self.axes, margin_voxels=3)
        self.moving_image, self.moving_weight, self.extent = level.image, level.weight, level.extent
        if not self._described:
            return
        moving = self.describe(level.image.tensor)
        self.chance = chance_mismatch(self.fixed, self.weight, moving, self.moving_weight)
        self.moving = for_sampling(moving)

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptors ``(C, D, H, W)`` of an image ``(D, H, W)``, reduced like those of the level."""
        return self._reduced(mind_ssc(image))

    def _reduced(self, descriptors: torch.Tensor) -> torch.Tensor:
        if self._basis is None:
            return descriptors
        return (self._basis @ descriptors.flatten(1)).reshape(-1, *descriptors.shape[1:])

    @property
    def moving_geometry(self) -> Geometry:
        """The grid of the moving descriptors."""
        return self.moving_image.geometry

    def turned(self, linear: np.ndarray) -> LinearLevel:
        """This level with the moving scan described along the axes as `linear` (4x4) rotates them.

        The level itself where they differ from its own by less than `REDESCRIBE`.
        """
        if np.allclose(turned_axes(linear, self.fixed_geometry), self.axes, atol=REDESCRIBE):
            return self
        level = copy.copy(self)
        level._describe_moving(linear)
        return level

    def warped(self, matrix: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving descriptors ``(12, D, H, W)`` under a linear mapping, and each voxel's weight ``(D, H, W)``."""
        warped, inside = self.warped_by(matrix, None)
        return warped, inside * self.weight

    def warped_by(self, linear: np.ndarray, u: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving descriptors, warped onto the fixed grid.

        Args:
            linear: 4x4, LPS mm, fixed -> moving.
            u: Displacement before the linear part, ``(3, D, H, W)`` mm on the fixed grid, or None.

        Returns:
            The descriptors ``(12, D, H, W)``, and ``(D, H, W)``: 1 where they come from inside the moving scan and the
            mask that was given for it, else 0.
        """
        return self._sampled(self.moving, linear, u)

    def intensities(self, linear: np.ndarray, u: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The moving intensities ``(D, H, W)``, warped in the same way (see `warped_by`)."""
        image, inside = self._sampled(self.moving_image.tensor[None], linear, u)
        return image[0], inside

    def _sampled(self, image: torch.Tensor, linear: np.ndarray, u) -> tuple[torch.Tensor, torch.Tensor]:
        sampler = Sampler(self.fixed_geometry, self.moving_geometry, linear, self.device, self.extent)
        coordinates = sampler.coordinates(u)
        inside = sampler.inside(coordinates)
        if not self.moving_scan.automatic:
            inside &= sample_quickly(self.moving_weight[None], coordinates)[0] > 0.5
        return sample_quickly(image, coordinates), inside.float()

    def objective(self, matrix: np.ndarray) -> float:
        """Mismatch under a linear mapping: 0 for identical scans, about 1 for a chance match, 1 without overlap."""
        warped, weight = self.warped(matrix)
        return self.mismatch(warped, weight)

    def mismatch(self, warped: torch.Tensor, weight: torch.Tensor) -> float:
        """The objective of warped descriptors ``(12, D, H, W)`` under a weight ``(D, H, W)`` (mask and extent)."""
        overlap = float(weight.sum())
        if overlap < 1:
            return 1.0
        mismatch = float((((warped - self.fixed) ** 2).mean(dim=0) * weight).sum()) / overlap
        return 1 - (1 - mismatch / self.chance) * math.sqrt(min(1.0, overlap / self.total))

    def refine(self, matrix: np.ndarray, *, freedom: int, steps: int) -> tuple[np.ndarray, float]:
        """Gauss-Newton steps.

        Args:
            matrix: Start, 4x4, LPS mm, fixed -> moving.
            freedom: RIGID, SIMILARITY or AFFINE.
            steps: Largest number of steps.

        Returns:
            The matrix of the lowest objective, and that objective.
        """
        warped, weight = self.warped(matrix)
        best, damping = self.mismatch(warped, weight), FIRST_DAMPING
        if float(weight.sum()) < 1:
            return matrix, best  # no overlap, so no gradient
        system = self._system(warped, weight)
        for _ in range(steps):
            trial = matrix @ self._step(*system, damping, freedom)
            trial_warped, trial_weight = self.warped(trial)
            value = self.mismatch(trial_warped, trial_weight)
            if value < best:
                gained = best - value
                matrix, best, damping = trial, value, damping * DAMPING_DECREASE
                if gained < SMALLEST_GAIN:
                    break
                system = self._system(trial_warped, trial_weight)
            else:
                damping *= DAMPING_INCREASE
                if damping > LARGEST_DAMPING:
                    break
        return matrix, best

    def _system(self, warped: torch.Tensor, weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Normal equations of the 12 affine parameters (row-major: 3 components x (1, x, y, z))."""
        positions = self._positions
        forces = warped.new_zeros((3, *weight.shape))
        products = warped.new_zeros((6, *weight.shape))
        for channel, fixed in zip(warped, self.fixed):  # one by one, to stay in the cache
            slopes = gradient(channel)
            forces.addcmul_(slopes, channel - fixed)
            for number, (a, b) in enumerate(_SYMMETRIC):
                products[number].addcmul_(slopes[a], slopes[b])
        right = forces.mul_(weight).reshape(3, -1) @ positions.T
        hessian = np.zeros((3, 4, 3, 4))
        for product, (a, b) in zip(products.mul_(weight).reshape(6, -1), _SYMMETRIC):
            block = ((positions * product) @ positions.T).cpu().numpy()
            hessian[a, :, b, :] = block
            hessian[b, :, a, :] = block.T
        return hessian.reshape(12, 12), right.cpu().numpy().reshape(12)

    def _step(self, hessian: np.ndarray, right: np.ndarray, damping: float, freedom: int) -> np.ndarray:
        basis = _BASES[freedom]
        if freedom == AFFINE:
            hessian = hessian + np.diag(np.tile([0, 1, 1, 1], 3)) * AFFINE_RIDGE * np.trace(hessian) / 12
        h, r = basis.T @ hessian @ basis, basis.T @ right
        try:
            step = basis @ np.linalg.solve(h + damping * np.diag(np.diag(h) + 1e-9 * np.trace(h)), -r)
        except np.linalg.LinAlgError:  # without overlap or without any edge there is no direction to go
            return np.eye(4)
        return self._matrix_of(step.reshape(3, 4), freedom) if np.isfinite(step).all() else np.eye(4)

    def _matrix_of(self, step: np.ndarray, freedom: int) -> np.ndarray:
        """A small step (voxels, normalized positions) as a 4x4, LPS mm."""
        linear = step[:, 1:] * self.spacing / _position_scale(self.fixed_geometry)
        if freedom != AFFINE:
            growth = math.exp(np.trace(linear) / 3)  # 1 in a rigid step
            linear = growth * _rotation(linear) - np.eye(3)
        axes = self.fixed_geometry.direction
        out = np.eye(4)
        out[:3, :3] += axes @ linear @ axes.T
        out[:3, 3] = axes @ step[:, 0] * self.spacing - (out[:3, :3] - np.eye(3)) @ self.center[:3]
        return out


def _position_scale(geometry: Geometry) -> float:
    """Length, mm, of 1 in normalized positions: half the grid's longest side."""
    return max(s * (n - 1) / 2 for s, n in zip(geometry.spacing, geometry.size))


def _normalized_positions(geometry: Geometry, device: torch.device) -> torch.Tensor:
    """(4, N) rows 1, x, y, z of the voxels along the grid's axes, 0 at its center."""
    scale = _position_scale(geometry)
    lines = [
        (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * s / scale
        for n, s in zip(geometry.size, geometry.spacing)
    ]
    z, y, x = torch.meshgrid(lines[2], lines[1], lines[0], indexing="ij")
    return torch.stack([torch.ones_like(x), x, y, z]).reshape(4, -1).to(device)


def _similarity_basis() -> np.ndarray:
    """(12, 7): translations, rotations and the scale as affine parameters."""
    basis = np.zeros((12, 7))
    for a in range(3):
        basis[4 * a, a] = 1
    for n, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        basis[4 * a + 1 + b, 3 + n] = 1
        basis[4 * b + 1 + a, 3 + n] = -1
    basis[[1, 6, 11], 6] = 1
    return basis


_BASES = {RIGID: _similarity_basis()[:, :6], SIMILARITY: _similarity_basis(), AFFINE: np.eye(12)}
_SYMMETRIC = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _rotation(skew: np.ndarray) -> np.ndarray:
    """Exponential of the skew part: the nearest rotation of a small linear step."""
    w = (skew - skew.T) / 2
    angle = math.sqrt((w**2).sum() / 2)
    if angle < 1e-12:
        return np.eye(3)
    return np.eye(3) + math.sin(angle) / angle * w + (1 - math.cos(angle)) / angle**2 * (w @ w)


def level_spacing(fixed: Prepared, moving: Prepared, voxels: int) -> float:
    """Isotropic spacing, mm, with which the fixed body's bounding box has about `voxels` voxels.

    Coarser where that gives the smaller body more than half as many, or where it is finer than the scans.
    """
    box = float(np.prod((fixed.box[1] - fixed.box[0]) * np.array(fixed.image.geometry.spacing)))
    volume = max(box, 2 * min(fixed.body_volume, moving.body_volume))
    native = max(p.image.geometry.mean_spacing for p in (fixed, moving))
    return max((volume / voxels) ** (1 / 3), native)


def chance_mismatch(f: torch.Tensor, wf: torch.Tensor, m: torch.Tensor, wm: torch.Tensor) -> float:
    """Expected mean squared difference between descriptors of unrelated voxels of the two bodies.

    Args:
        f: Fixed descriptors ``(C, D, H, W)``.
        wf: Their weights ``(D, H, W)``.
        m: Moving descriptors, on any grid.
        wm: Their weights.
    """
    stats = []
    for x, w in ((f, wf), (m, wm)):
        n = w.sum().clamp(min=1)
        mean = (x * w).sum(dim=(1, 2, 3)) / n
        stats.append((mean, ((x * x) * w).sum(dim=(1, 2, 3)) / n - mean * mean))
    total = stats[0][1] + stats[1][1] + (stats[0][0] - stats[1][0]) ** 2
    return max(float(total.mean()), 1e-9)
