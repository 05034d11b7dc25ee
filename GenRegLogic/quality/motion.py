"""How far a transform moves things: the mean and the largest displacement over a scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..space.field import DisplacementField, apply_matrix, voxel_centers
from ..space.geometry import Geometry

__all__ = ["Motion", "motion_over"]

MEAN_VOXELS = 4_000_000
"""Most points at which the mean is measured where the field has another grid than the scan: enough for three digits of
any field that registrations make."""


class Motion(NamedTuple):
    """Lengths of displacements over a scan.

    Attributes:
        mean_mm: Their mean, mm.
        max_mm: The largest, mm.
    """

    mean_mm: float
    max_mm: float


def motion_over(scan: Geometry, field: DisplacementField, linear: np.ndarray | None = None) -> Motion:
    """How far a transform moves the points of a scan, or how far beyond its linear part.

    The largest displacement is exact: between its vectors a field is interpolated, so that no point is moved farther
    than some vector says. All of those that lie in the scan are looked at, slab by slab, so that a large field needs
    little memory. The mean is exact where the field has a vector at every voxel of the scan; on other grids it is
    measured at 4 million points that are spread evenly, or at all voxels if there are fewer.

    Args:
        scan: Grid of the fixed scan.
        field: Fixed -> moving, LPS mm, on any grid in the fixed frame.
        linear: (4, 4), LPS mm, fixed -> moving: what is not counted. None counts the displacement as a whole.

    Returns:
        Mean and maximum over the scan, mm.

    Example:
        A shift by 5 mm along x but at one voxel, where it is 9 mm:

        >>> array = np.zeros((4, 4, 4, 3), np.float32)
        >>> array[..., 0] = 5
        >>> array[1, 2, 3, 0] = 9
        >>> grid = Geometry((4, 4, 4))
        >>> motion_over(grid, DisplacementField(array, grid))
        Motion(mean_mm=5.0625, max_mm=9.0)
    """
    matrix = np.eye(4) if linear is None else np.asarray(linear, np.float64)
    own = _summed(_of_vectors(field, matrix, scan))
    if own is not None and field.geometry.is_close(scan):
        return own
    spread = _summed(_of_points(field, matrix, _spread(scan)))
    return Motion(spread.mean_mm, spread.max_mm if own is None else max(own.max_mm, spread.max_mm))


def _summed(parts: Iterator[torch.Tensor]) -> Motion | None:
    total, count, worst = 0.0, 0, 0.0
    for lengths in parts:
        if lengths.numel():
            total, count = total + float(lengths.sum(dtype=torch.float64)), count + lengths.numel()
            worst = max(worst, float(lengths.max()))
    return Motion(total / count, worst) if count else None


def _of_vectors(field: DisplacementField, matrix: np.ndarray, scan: Geometry) -> Iterator[torch.Tensor]:
    """Lengths at the field's own grid points in the scan."""
    whole = bool(scan.contains(field.geometry.corners()).all())
    for slab, points in voxel_centers(field.geometry):
        vectors = torch.from_numpy(field.array[slab].reshape(-1, 3).T)
        lengths = _lengths(vectors, points, matrix)
        yield lengths if whole else lengths[torch.from_numpy(scan.contains(points.numpy().T))]


def _of_points(field: DisplacementField, matrix: np.ndarray, grid: Geometry) -> Iterator[torch.Tensor]:
    for _, points in voxel_centers(grid):
        yield _lengths(field.displacements(points), points, matrix)


def _lengths(vectors: torch.Tensor, points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Lengths (n,) of displacements (3, n) at points (3, n), without those of a linear mapping."""
    return (vectors - apply_matrix(matrix - np.eye(4), points.double())).norm(dim=0)


def _spread(scan: Geometry) -> Geometry:
    """The scan's grid, or one that fills the same space with fewer voxels: all of them then count alike."""
    factor = max(1.0, (np.prod(scan.size, dtype=float) / MEAN_VOXELS) ** (1 / 3))
    size = tuple(max(1, int(n / factor)) for n in scan.size)
    stretch = np.array(scan.size) / size
    origin = scan.to_world((stretch - 1) / 2)
    return Geometry(size, tuple(stretch * scan.spacing), tuple(origin), scan.direction)
