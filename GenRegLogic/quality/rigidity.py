"""How bodies that were kept rigid move and deform in a field: figures of the report.

Key function: `rigid_figures`. The bodies themselves are in `guidance.rigid`.
"""

from __future__ import annotations

import numpy as np

from ..guidance.rigid import bounding_box
from ..space.field import DisplacementField, sample_transform
from ..space.geometry import Geometry
from ..space.volume import Volume

__all__ = ["rigid_figures"]


def rigid_figures(forward: DisplacementField, labels: Volume) -> list[dict]:
    """How each body moves and deforms in a field, measured by differences between neighboring voxels of the body.

    Args:
        forward: Fixed -> moving, LPS mm.
        labels: (k, j, i) whole numbers on any grid in the fixed frame; each value except 0 is one body.

    Returns:
        Per label: "label"; "volume_change_pct", the increase of its volume; "residual_strain_pct", the largest norm of
        the Green-Lagrange strain at one of its voxels; "rotation_deg"; "translation_mm", the displacement of its
        center.
    """
    found = []
    grid = labels.geometry
    same = forward.geometry.is_close(grid, 1e-6)
    for label in np.unique(labels.array):
        if label == 0:
            continue
        inside = labels.array == label
        box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in bounding_box(inside))
        where = inside[box]
        vectors = forward.array[box] if same else sample_transform(forward, _part(grid, box)).array
        slopes = _gradients(vectors, labels.array[box], label, grid)[where]
        determinant = np.linalg.det(slopes) * np.linalg.det(grid.direction)
        strain = (np.swapaxes(slopes, 1, 2) @ slopes - np.eye(3)) / 2
        offset = np.array([s.start for s in reversed(box)])
        places = grid.to_world(np.argwhere(where)[:, ::-1] + offset)
        moved = vectors[where].astype(float)
        middle = places - places.mean(axis=0)
        left, _, right = np.linalg.svd((middle + moved - moved.mean(axis=0)).T @ middle + 1e-9 * np.eye(3))
        rotation = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
        angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
        found.append(
            {
                "label": int(label),
                "volume_change_pct": float(100 * (determinant.mean() - 1)),
                "residual_strain_pct": float(100 * np.sqrt((strain**2).sum(axis=(1, 2))).max()),
                "rotation_deg": float(angle),
                "translation_mm": float(np.linalg.norm(moved.mean(axis=0))),
            }
        )
    return found


def _part(geometry: Geometry, box: tuple[slice, slice, slice]) -> Geometry:
    """The grid of the voxels in a box, slices (k, j, i), which may reach beyond the end of the grid."""
    low, high = np.array([s.start for s in reversed(box)]), np.array([s.stop for s in reversed(box)])
    size = tuple(int(n) for n in np.minimum(high, geometry.size) - low)
    return Geometry(size, geometry.spacing, tuple(geometry.to_world(low)), geometry.direction)


def _gradients(displacements: np.ndarray, labels: np.ndarray, label: int, geometry: Geometry) -> np.ndarray:
    """(k, j, i, 3, 3): derivatives of the mapping (rows x, y, z) along the axes i, j, k (columns), per mm.

    Central differences between voxels of the body, one-sided at its surface; where a body is one voxel thin, voxels
    outside it are used too.
    """
    own = labels == label
    slopes = []
    for axis in range(3):
        along = 2 - axis
        steps = np.diff(displacements, axis=along).astype(float) / geometry.spacing[axis]
        both = np.take(own, range(1, own.shape[along]), along) & np.take(own, range(own.shape[along] - 1), along)
        slope, number = _mean_of_sides(steps, both[..., None], along)
        thin = (number == 0)[..., 0]
        if thin.any():
            slope[thin] = _mean_of_sides(steps, np.ones_like(both)[..., None], along)[0][thin]
        slopes.append(slope + geometry.direction[:, axis])
    return np.stack(slopes, axis=-1)


def _mean_of_sides(steps: np.ndarray, counts: np.ndarray, along: int) -> tuple[np.ndarray, np.ndarray]:
    """Per voxel the mean of the steps before and after it that count, and their number."""
    total, number = 0.0, 0.0
    for side in ((1, 0), (0, 1)):
        ends = [side if axis == along else (0, 0) for axis in range(4)]
        total, number = total + np.pad(steps * counts, ends), number + np.pad(counts.astype(float), ends)
    return total / np.maximum(number, 1), number
