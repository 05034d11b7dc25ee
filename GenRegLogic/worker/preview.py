"""A displacement field thinned out, to be looked at while the registration runs."""

from __future__ import annotations

import numpy as np

from ..space.volume import Geometry

__all__ = ["PREVIEW_VOXELS", "thinned"]

PREVIEW_VOXELS = 200_000


def thinned(array: np.ndarray, geometry: Geometry, voxels: int = PREVIEW_VOXELS) -> tuple[np.ndarray, Geometry]:
    """Subsample a field at regular steps, so that at most `voxels` are left.

    The axis with the closest voxels is thinned first. The voxels that stay keep their places and values, the first
    of each axis among them.

    Args:
        array: (k, j, i, 3) displacements.
        geometry: Their grid.
        voxels: The most that may stay; at least 8.

    Returns:
        The thinned array, contiguous, and its grid.
    """
    size, steps = np.array(geometry.size), np.ones(3, int)
    while np.prod(-(-size // steps)) > voxels:
        axis = min((n for n in range(3) if size[n] > steps[n]), key=lambda n: steps[n] * geometry.spacing[n])
        steps[axis] += 1
    i, j, k = (slice(None, None, step) for step in steps)
    grid = Geometry(tuple(-(-size // steps)), tuple(steps * geometry.spacing), geometry.origin, geometry.direction)
    return np.ascontiguousarray(array[k, j, i]), grid
