"""Several transforms given on the command line as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files.transforms import read_transform
from ..space.field import AffineTransform, CompositeTransform, DisplacementField, Transform
from ..space.geometry import Geometry
from ..space.inverse import invert as invert_field

__all__ = ["inverted", "read_chain"]

COVER_MARGIN_VOXELS = 2
MAX_COVER_RATIO = 4.0
"""An inverse is made on a grid of at most this many times the field's own voxels."""


def read_chain(paths: Sequence[Path], *, invert: bool = False) -> Transform:
    """Read transforms and put them together.

    Args:
        paths: The first is applied first: it takes points of the reference, and each next one takes the points that
            the one before it gives.
        invert: Return the inverse of the whole chain: the last transform is undone first.

    Raises:
        InputError: A file is no transform, or one cannot be inverted.
    """
    parts = [read_transform(path) for path in paths]
    if invert:
        parts = [_inverted_file(part, path) for part, path in zip(reversed(parts), reversed(paths))]
    return parts[0] if len(parts) == 1 else CompositeTransform(tuple(parts))


def inverted(transform: Transform) -> Transform:
    """The transform that leads back: exact for linear ones, to 0.01 mm for fields.

    Raises:
        InputError: The transform is neither linear nor a displacement field, nor composed of these.
    """
    if isinstance(transform, AffineTransform):
        return transform.inverse()
    if isinstance(transform, DisplacementField):
        return invert_field(transform, geometry=_covering(transform))[0]
    if isinstance(transform, CompositeTransform):
        return CompositeTransform(tuple(inverted(part) for part in reversed(transform.parts)))
    raise InputError(
        "This kind of transform cannot be inverted here; save it as a displacement field first "
        "(in Slicer: the Transforms module, Convert)."
    )


def _inverted_file(transform: Transform, path: Path) -> Transform:
    try:
        return inverted(transform)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _covering(field: DisplacementField) -> Geometry:
    """A grid with the field's axes over all places to which the field leads: there its inverse is needed."""
    grid = field.geometry
    step = [max(1, n // 32) for n in grid.shape]
    sample = tuple(np.unique(np.append(np.arange(0, n, s), n - 1)) for n, s in zip(grid.shape, step))
    k, j, i = (axis.ravel() for axis in np.meshgrid(*sample, indexing="ij"))
    index = grid.to_index(grid.to_world(np.stack([i, j, k], axis=1)) + field.array[k, j, i])
    low = np.floor(index.min(axis=0)) - COVER_MARGIN_VOXELS
    size = np.ceil(index.max(axis=0)) + COVER_MARGIN_VOXELS + 1 - low
    # A strongly enlarging transform would need a huge grid; a coarser one then has the same relative accuracy.
    coarser = max(1.0, (size.prod() / (MAX_COVER_RATIO * np.prod(grid.size))) ** (1 / 3))
    size = np.ceil(size / coarser).astype(int)
    spacing = tuple(s * coarser for s in grid.spacing)
    return Geometry(tuple(size), spacing, tuple(grid.to_world(low)), grid.direction)
