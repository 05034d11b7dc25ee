"""The inverse of a displacement field, with its measured error.

Key names: `invert`, `accurate_inverse`, `accurate_inverse_error`, `InverseError`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch

from .field import AffineTransform, DisplacementField, apply_matrix, as_slab, voxel_centers, world_to_unit
from .geometry import Geometry
from .grid import sample

__all__ = ["InverseError", "accurate_inverse", "accurate_inverse_error", "fit_affine", "invert"]

DEFAULT_TOLERANCE_MM = 0.01
DEFAULT_TOLERANCE_VOXELS = 0.01
"""Largest error of a voxel that counts as converged, mm and voxels; the smaller of the two applies."""

MAX_ITERATIONS = 50
"""Largest number of steps per voxel."""

COARSENING = 4
"""The inverse is first found on a grid this many times coarser (1/64 of the work), and refined from there."""

COARSE_MIN_SIZE = 16
"""Grids with fewer voxels along an axis are solved without the coarser grid."""

FINE_ENOUGH_MM = 0.05
"""Mean error, mm, above which the inverse is computed again on a grid twice as fine."""

MAX_FINE_VOXELS = 12_000_000
"""A finer grid that would have more voxels than about this is not tried: 144 MB of displacements."""

MIN_DAMPING, DAMPING_DECREASE, DAMPING_INCREASE = 1e-3, 0.5, 1.3
"""A voxel's damping is multiplied by the second after a rejected step and by the third, up to 1, after an accepted one;
a voxel whose damping falls to the first is left as it is."""

FIT_POINTS_PER_AXIS = 24
"""Least number of voxels per axis of an affine fit, where the grid has as many."""

MIN_FIT_DETERMINANT = 0.05
"""Below this determinant an affine fit is too close to singular to precondition with; the mean translation is used."""


class InverseError(NamedTuple):
    """The inverse consistency error, over the points at which a function measures it.

    Attributes:
        mean_mm: Mean distance, mm; NaN where there is no such point.
        max_mm: Largest distance, mm; NaN likewise.
    """

    mean_mm: float
    max_mm: float


def invert(
    field: DisplacementField,
    *,
    geometry: Geometry | None = None,
    tolerance_mm: float | None = None,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[DisplacementField, InverseError]:
    """The inverse of a displacement field, which maps moving points to fixed points.

    Damped fixed-point iteration (Chen et al., "A simple fixed-point approach to invert a deformation field", Med Phys
    2008), preconditioned by the field's affine part, so that large translations and rotations need no more steps. Each
    voxel has its own damping: a step that does not reduce its error is rejected, and its next one is half as long.

    Outside its grid the field is continued by its affine part, so that the inverse is smooth where the moving scan
    shows more than the fixed one. (As a transform, the field has no displacement there.)

    Args:
        field: Fixed -> moving, without folds: where it folds, there is no inverse.
        geometry: Grid of the inverse, in the moving frame; by default the field's own grid.
        tolerance_mm: Error, mm, at which a voxel has converged; by default 0.01 mm or 0.01 voxel, whichever is less.
        max_iterations: Largest number of steps per voxel.

    Returns:
        The inverse, moving -> fixed, and the distance ``field(inverse(y)) - y`` over the voxels of the inverse that it
        maps into the field's grid.

    Example:
        >>> forward = DisplacementField(np.full((4, 4, 4, 3), 0.5, np.float32), Geometry((4, 4, 4)))
        >>> backward, error = invert(forward)
        >>> backward(forward(np.array([[1.0, 1.0, 1.0]]))).round(3).tolist()
        [[1.0, 1.0, 1.0]]
    """
    geometry = field.geometry if geometry is None else geometry
    solver = _Solver(field, _tolerance(field) if tolerance_mm is None else tolerance_mm, max_iterations)
    start = None
    if min(geometry.size) >= COARSE_MIN_SIZE:
        start = _run(solver, geometry.coarsened_by(COARSENING), None)[0]
    return _run(solver, geometry, start)


def _tolerance(field: DisplacementField) -> float:
    return min(DEFAULT_TOLERANCE_MM, DEFAULT_TOLERANCE_VOXELS * min(field.geometry.spacing))


def accurate_inverse(
    field: DisplacementField, moving: Geometry, points: np.ndarray
) -> tuple[DisplacementField, InverseError]:
    """The inverse on the moving scan's grid, or on one twice as fine where that is too coarse.

    At its voxels the inverse is within the solver's tolerance; between them it is interpolated, and with voxels of
    several mm the interpolation error is larger than that.

    Args:
        field: Fixed -> moving.
        moving: Grid of the moving scan.
        points: (n, 3) fixed points, LPS mm, that lie in the field's grid; the error is measured at them.

    Returns:
        The inverse, moving -> fixed, rounded as in files, and the distance ``inverse(field(x)) - x`` over the points
        that the field maps into the moving scan; NaN if there are none.

    Example:
        A shift by 5 mm along x, and a moving scan that lies 5 mm farther along x:

        >>> fixed, moving = Geometry((20, 20, 20)), Geometry((20, 20, 20), origin=(5, 0, 0))
        >>> field = DisplacementField(np.full((20, 20, 20, 3), (5, 0, 0)), fixed)
        >>> inverse, error = accurate_inverse(field, moving, np.array([[3.0, 4.0, 5.0], [6.0, 6.0, 6.0]]))
        >>> inverse(np.array([[8.0, 4.0, 5.0]])).tolist()
        [[3.0, 4.0, 5.0]]
        >>> error
        InverseError(mean_mm=0.0, max_mm=0.0)
    """
    mapped = field(points)
    used = moving.contains(mapped)
    inverse = invert(field, geometry=moving)[0].rounded()
    if not used.any():
        return inverse, InverseError(float("nan"), float("nan"))
    error = _distances(inverse(mapped[used]), points[used])
    if _too_coarse(error, moving):
        solver = _Solver(field, _tolerance(field), MAX_ITERATIONS)
        inverse = _run(solver, _doubled(moving), inverse)[0].rounded()
        error = _distances(inverse(mapped[used]), points[used])
    return inverse, error


def accurate_inverse_error(field: DisplacementField, moving: Geometry, points: np.ndarray) -> InverseError:
    """The error of `accurate_inverse` at the points, without the inverse: solved only at the voxels around them.

    The arguments are those of `accurate_inverse`.
    """
    mapped = field(points)
    used = moving.contains(mapped)
    if not used.any():
        return InverseError(float("nan"), float("nan"))
    solver = _Solver(field, _tolerance(field), MAX_ITERATIONS)
    error = _distances(_interpolated(solver, moving, mapped[used]), points[used])
    if _too_coarse(error, moving):
        error = _distances(_interpolated(solver, _doubled(moving), mapped[used]), points[used])
    return error


def _too_coarse(error: InverseError, moving: Geometry) -> bool:
    return error.mean_mm > FINE_ENOUGH_MM and np.prod(moving.size) * 8 <= MAX_FINE_VOXELS


def _interpolated(solver: _Solver, grid: Geometry, points: np.ndarray) -> np.ndarray:
    """Where an inverse on a grid maps points (n, 3), LPS mm: interpolated linearly between its voxels."""
    last = np.array(grid.size) - 1
    index = np.clip(grid.to_index(points), 0, last)
    low = np.minimum(np.floor(index).astype(np.int64), np.maximum(last - 1, 0))
    share = index - low
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    voxels = np.minimum(low[:, None] + corners, last)  # (n, 8, 3)
    ids, place = np.unique(np.ravel_multi_index(tuple(voxels.reshape(-1, 3).T), grid.size), return_inverse=True)
    centers = grid.to_world(np.stack(np.unravel_index(ids, grid.size), axis=1))
    moved = solver.solve(torch.from_numpy(centers.T.astype(np.float32)), None)[0].numpy().T
    weights = np.where(corners, share[:, None], 1 - share[:, None]).prod(axis=2)
    return points + (moved[place.reshape(-1)].reshape(len(points), 8, 3) * weights[..., None]).sum(axis=1)


def _distances(found: np.ndarray, points: np.ndarray) -> InverseError:
    distances = np.linalg.norm(found - points, axis=1)
    return InverseError(float(distances.mean()), float(distances.max()))


def _doubled(geometry: Geometry) -> Geometry:
    """The same extent with half the spacing; every voxel center of the old grid is one of the new."""
    size = tuple(2 * n + 1 for n in geometry.size)
    spacing = tuple(s / 2 for s in geometry.spacing)
    origin = geometry.to_world(np.array([[-0.5, -0.5, -0.5]]))[0]  # the outer half voxels belong to the scan
    return Geometry(size, spacing, tuple(origin), geometry.direction)


def fit_affine(field: DisplacementField) -> AffineTransform:
    """The affine transform nearest to a field in the least-squares sense.

    Args:
        field: Fixed -> moving; a regular subsample of 24 to 47 voxels along each axis is used (all of them, if fewer).

    Returns:
        The transform, fixed -> moving. Where the fit mirrors space or nearly flattens it, it is the mean displacement
        as a translation.

    Example:
        Displacements that grow with x, from 0 mm at x = 0 to 7 mm at x = 7, are a stretch by the factor 2:

        >>> array = np.zeros((8, 8, 8, 3))
        >>> array[..., 0] = np.arange(8)
        >>> fit_affine(DisplacementField(array, Geometry((8, 8, 8)))).matrix.diagonal().round(6).tolist()
        [2.0, 1.0, 1.0, 1.0]
    """
    steps = [max(1, n // FIT_POINTS_PER_AXIS) for n in field.geometry.shape]
    values = field.array[tuple(slice(None, None, s) for s in steps)].reshape(-1, 3).astype(np.float64)
    axes = [np.arange(0, n, s) for n, s in zip(field.geometry.shape, steps)]
    k, j, i = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
    points = field.geometry.to_world(np.stack([i, j, k], axis=1))
    center = points.mean(axis=0)  # centered, the fit is well conditioned however far the origin is
    basis = np.column_stack([points - center, np.ones(len(points))])
    solution = np.linalg.lstsq(basis, values, rcond=None)[0]
    matrix = np.eye(4)
    matrix[:3, :3] += solution[:3].T
    if np.linalg.det(matrix[:3, :3]) < MIN_FIT_DETERMINANT:
        matrix[:3, :3] = np.eye(3)
        matrix[:3, 3] = values.mean(axis=0)
    else:
        matrix[:3, 3] = solution[3] - solution[:3].T @ center
    return AffineTransform(matrix)


def _run(
    solver: _Solver, geometry: Geometry, start: DisplacementField | None
) -> tuple[DisplacementField, InverseError]:
    array = np.empty((*geometry.shape, 3), np.float32)
    total, count, worst = 0.0, 0, 0.0
    for slab, points in voxel_centers(geometry):
        displacement, error, inside = solver.solve(points, None if start is None else start.displacements(points))
        array[slab] = as_slab(displacement, geometry)
        error = error[inside]
        if len(error):
            total, count = total + float(error.sum(dtype=torch.float64)), count + len(error)
            worst = max(worst, float(error.max()))
    mean = total / count if count else float("nan")
    return DisplacementField(array, geometry), InverseError(mean, worst if count else float("nan"))


class _Solver:
    """Solves ``F(x) = y`` for many points at once, in unit coordinates of the forward grid (see `world_to_unit`)."""

    def __init__(self, field: DisplacementField, tolerance_mm: float, max_iterations: int) -> None:
        affine = fit_affine(field)
        to_unit = world_to_unit(field.geometry)
        from_unit = np.linalg.inv(to_unit)
        in_unit = to_unit @ affine.matrix @ from_unit
        size = torch.tensor(field.geometry.size, dtype=torch.float32).view(3, 1)
        self._tensor = field.tensor()
        self._half_voxel = 1.0 / (size - 1)
        self._mm = torch.tensor(field.geometry.spacing).view(3, 1) * (size - 1) / 2  # one unit, per axis
        self._to_unit = to_unit
        self._linear_to_unit, self._linear_from_unit = _linear(to_unit), _linear(from_unit)
        self._beyond = _linear(in_unit - np.eye(4))
        self._precondition = _linear(np.linalg.inv(in_unit))
        self._start = affine.inverse()
        self._tolerance = tolerance_mm
        self._max_iterations = max_iterations

    def solve(
        self, points: torch.Tensor, start: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Find the fixed points that the field maps to given moving points.

        Args:
            points: (3, n) moving points, LPS mm.
            start: (3, n) mm, first guess of the displacements; by default the affine part's inverse.

        Returns:
            Displacements (3, n) mm from moving to fixed points, errors (n,) mm, and which fixed points lie inside the
            forward grid, (n,) bool.
        """
        start = self._start.displacements(points) if start is None else start
        target = apply_matrix(self._to_unit, points)
        x = torch.addmm(target, self._linear_to_unit, start)
        residual, error = self._residual(x, target)
        damping = torch.ones_like(error)
        for _ in range(self._max_iterations):
            active = ((error > self._tolerance) & (damping > MIN_DAMPING)).nonzero()[:, 0]
            if len(active) == 0:
                break
            self._step(active, x, target, residual, error, damping)
        inside = (x.abs() <= 1 + self._half_voxel).all(dim=0)
        return self._linear_from_unit @ (x - target), error, inside

    def _step(self, active, x, target, residual, error, damping) -> None:
        """One damped step of the active points; all tensors are updated in place."""
        trial = x[:, active] + damping[active] * (self._precondition @ residual[:, active])
        new_residual, new_error = self._residual(trial, target[:, active])
        better = new_error < error[active]
        factor = torch.where(better, DAMPING_INCREASE, DAMPING_DECREASE)
        damping[active] = (damping[active] * factor).clamp(max=1.0)
        taken = active[better]
        x[:, taken], residual[:, taken], error[taken] = trial[:, better], new_residual[:, better], new_error[better]

    def _residual(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The target minus the mapped x, (3, n) unit coordinates, and its length, (n,) mm."""
        residual = torch.addmm(target - x, self._linear_to_unit, sample(self._tensor, x), alpha=-1)
        outside = x - x.clamp(-1, 1)
        if bool(outside.any()):
            residual.addmm_(self._beyond, outside, alpha=-1)
        return residual, (residual * self._mm).square_().sum(dim=0).sqrt_()


def _linear(matrix: np.ndarray) -> torch.Tensor:
    return torch.tensor(matrix[:3, :3], dtype=torch.float32)
