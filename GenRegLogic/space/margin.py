"""A displacement field in the form that Slicer's grid transforms need: RAS components, and a margin that falls to zero.

Outside its grid a VTK grid transform continues with the displacement of its edge, and an ITK one has no displacement.
With a margin whose outermost layer is zero, both are the same mapping everywhere. NumPy only, for the worker process.
"""

from __future__ import annotations

import numpy as np

from .fieldgrid import MAX_FIELD_VOXELS
from .geometry import Geometry

__all__ = ["LPS_TO_RAS", "MAX_NODE_VOXELS", "nodeGeometry", "withMargin"]

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

MAX_NODE_VOXELS = MAX_FIELD_VOXELS
"""Of a transform node's grid: 0.4 GB in a file, as Slicer saves 24 bytes a voxel. It is the engine's own limit, so that
no field is interpolated twice."""

OUTWARD_ROOM, TANGENTIAL_ROOM = 1.5, 0.5
"""Width of the margin in units of the largest displacement at its face, perpendicular to the face and along it. Where
the field points outward, its fall to zero compresses space by one displacement; a margin no wider than that folds."""

MAX_GROWTH, MAX_WIDER_VOXELS = 3.0, 24_000_000
"""Largest factor by which the margin multiplies the number of voxels, and largest number of voxels with the margin.
Scans so far apart that the margin would need more get none: a narrower one would fold."""

ROUNDING = 1024.0
"""Displacements are multiples of 1/1024 mm or finer, as the engine's (`DisplacementField.rounded`): by this
`transforms.isOurs` recognizes a field that was loaded from a file."""


def nodeGeometry(geometry: Geometry, maxVoxels: int = MAX_NODE_VOXELS) -> Geometry:
    """The grid for a transform node: the given one, or a coarser one over the same region.

    Args:
        geometry: The grid of a field or a scan, LPS.
        maxVoxels: Largest number of voxels of the result.

    Returns:
        The given grid where it has no more voxels than that; else a coarser one with the same corner voxels.

    Example:
        >>> nodeGeometry(Geometry((100, 100, 100)), 1000)
        Geometry(10 x 10 x 10 voxels of 11 x 11 x 11 mm)
    """
    return geometry.coarsened(maxVoxels)


def withMargin(field: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, Geometry]:
    """Convert a field to RAS, and widen its grid by a margin in which the displacement falls linearly to zero.

    The margin is wide enough not to fold. Where that is too wide (`MAX_GROWTH`, `MAX_WIDER_VOXELS`), there is none:
    then Slicer continues with the edge's displacement outside the grid, and ITK has no displacement there.

    Args:
        field: (k, j, i, 3) mm, LPS components, fixed -> moving.
        geometry: Its grid (LPS).

    Returns:
        (k, j, i, 3) float32 mm, RAS components, fixed -> moving, and its grid (LPS). At the voxels of the given grid
        only the signs of x and y differ from the given values.

    Example:
        A displacement by 1 mm along the LPS x axis, and its RAS x components along one row of the wider grid:

        >>> field, wider = withMargin(np.full((10, 10, 10, 3), (1, 0, 0)), Geometry((10, 10, 10)))
        >>> wider.size, wider.origin
        ((14, 14, 14), (-1.0, -2.0, -2.0))
        >>> [round(float(x), 2) for x in field[5, 5, :, 0] + 0]
        [0.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -0.67, -0.33, 0.0]
    """
    flip = LPS_TO_RAS.astype(np.float32)
    low, high = _widths(field, geometry)
    growth = float(np.prod(1 + (low + high) / np.array(geometry.size)))
    if growth > MAX_GROWTH or growth * np.prod(geometry.size, dtype=float) > MAX_WIDER_VOXELS:
        return np.multiply(field, flip, dtype=np.float32), geometry
    size = tuple(int(n + a + b) for n, a, b in zip(geometry.size, low, high))
    origin = geometry.to_world(-low)
    wider = Geometry(size, geometry.spacing, tuple(origin), geometry.direction)
    out = np.empty((*wider.shape, 3), np.float32)
    inside = tuple(slice(a, a + n) for a, n in zip(low[::-1], geometry.shape))
    np.multiply(field, flip, out=out[inside])
    for axis in range(3):  # k, j, i: each axis also extends the margins of the axes before it
        _extend(out, axis, inside, low[2 - axis], high[2 - axis])
    _fade(out, inside, low[::-1], high[::-1])
    return out, wider


def _widths(field: np.ndarray, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of margin below and above along (i, j, k), each at least one."""
    widths = np.empty((2, 3))
    axes = geometry.direction  # columns: unit vectors of i, j, k
    for axis in range(3):
        for side, sign in ((0, -1.0), (1, 1.0)):
            face = np.take(field, 0 if side == 0 else -1, axis=2 - axis).reshape(-1, 3).astype(np.float64)
            along = face @ axes
            outward = max(float((sign * along[:, axis]).max()), 0.0)
            tangential = float(np.linalg.norm(np.delete(along, axis, axis=1), axis=1).max())
            room = max(OUTWARD_ROOM * outward, TANGENTIAL_ROOM * tangential)
            widths[side, axis] = room / geometry.spacing[axis]
    whole = np.ceil(widths).astype(int) + 1
    return whole[0], whole[1]


def _extend(out: np.ndarray, axis: int, inside: tuple[slice, ...], low: int, high: int) -> None:
    """Fill the margin along one axis with the values at the edge."""
    done = [slice(None) if a < axis else inside[a] for a in range(3)]
    edge, margin = list(done), list(done)
    edge[axis], margin[axis] = slice(low, low + 1), slice(0, low)
    out[tuple(margin)] = out[tuple(edge)]
    last = out.shape[axis] - high
    edge[axis], margin[axis] = slice(last - 1, last), slice(last, None)
    out[tuple(margin)] = out[tuple(edge)]


def _fade(out: np.ndarray, inside: tuple[slice, ...], low: np.ndarray, high: np.ndarray) -> None:
    """Multiply the margin by a weight that falls linearly to zero at the outermost voxels; slab by slab.

    The weight is the smallest of the three axes': their product would compress corners along two axes at once.
    """
    ramps = []
    for axis in range(3):
        ramp = np.ones(out.shape[axis], np.float32)
        ramp[: low[axis]] = np.arange(low[axis]) / low[axis]
        ramp[out.shape[axis] - high[axis] :] = np.arange(high[axis])[::-1] / high[axis]
        ramps.append(ramp)
    plane = np.minimum(ramps[1][:, None], ramps[2])
    for k, weight in enumerate(ramps[0]):
        slab = np.minimum(plane, weight)
        margin = slab < 1
        values = out[k][margin] * slab[margin][:, None]
        out[k][margin] = np.round(values * ROUNDING) / ROUNDING
