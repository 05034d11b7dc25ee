"""The grid on which a displacement field is stored: the scan's own, or a coarser one where that carries as much.

The refinement works on at most 3 million voxels, so that the field of a large scan holds interpolated values only: 1.9
GB of them for 512 x 512 x 600 voxels. NumPy only, for programs that do not load torch.
"""

from __future__ import annotations

import numpy as np

from .geometry import Geometry

__all__ = ["BYTES_PER_VECTOR", "FULL", "MAX_FIELD_VOXELS", "field_grid", "nearest_voxels"]

BYTES_PER_VECTOR = 12
"""Of a displacement field: three float32."""

MAX_FIELD_BYTES = 200 * 2**20
"""Of a field whose spacing is not given. A scan of 256 x 256 x 256 voxels keeps a vector for each of them (192 MB)."""

MAX_FIELD_VOXELS = MAX_FIELD_BYTES // BYTES_PER_VECTOR

FULL = 0.0
"""The spacing that stands for a vector at every voxel of the scan."""

BISECTIONS = 60


def field_grid(scan: Geometry, spacing_mm: float | None = None, *, limited: bool = True) -> Geometry:
    """The grid for a displacement field over a scan, with the scan's axes and corner voxels.

    Args:
        scan: Grid of the scan.
        spacing_mm: Largest spacing of the field, mm; axes on which the scan's own is larger keep it. 0 gives the
            scan's own grid; None the same or, where its field would exceed `MAX_FIELD_BYTES`, the finest grid that
            does not.
        limited: False: None gives the scan's own grid however large it is.

    Returns:
        The grid; the given object itself where the field has a vector for every voxel of the scan.

    Example:
        >>> field_grid(Geometry((101, 101, 21), (1, 1, 5)), 4.0)
        Geometry(26 x 26 x 21 voxels of 4 x 4 x 5 mm)
        >>> field_grid(Geometry((512, 512, 60), (0.7, 0.7, 5))).size
        (512, 512, 60)
        >>> field_grid(Geometry((512, 512, 600), (0.7, 0.7, 0.7))).size
        (246, 246, 288)
    """
    if spacing_mm == FULL:
        return scan
    if spacing_mm is not None:
        return scan.between_corners(_size(scan, scan.possible_spacing(spacing_mm)))
    if not limited or np.prod(scan.size, dtype=float) <= MAX_FIELD_VOXELS:
        return scan
    low, high = min(scan.spacing), max(scan.extent_mm)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fits = np.prod(_size(scan, middle), dtype=float) <= MAX_FIELD_VOXELS
        low, high = (low, middle) if fits else (middle, high)
    return scan.between_corners(_size(scan, high))


def _size(scan: Geometry, spacing: float) -> tuple[int, int, int]:
    """Voxels of a grid between the scan's corners whose spacing is at most this, or the scan's own."""
    steps = (np.array(scan.size) - 1) * np.minimum(np.array(scan.spacing) / spacing, 1)
    return tuple(int(n) for n in np.maximum(np.ceil(steps - 1e-6), 1) + 1)


def nearest_voxels(array: np.ndarray, grid: Geometry) -> np.ndarray:
    """The values of a scan at the voxels nearest to those of a grid between its corners.

    Args:
        array: (k, j, i) of the scan.
        grid: As `field_grid` returns it for the scan.

    Returns:
        (k, j, i) on that grid; the given array itself where it has that shape.
    """
    if array.shape == grid.shape:
        return array
    return array[np.ix_(*(np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(array.shape, grid.shape)))]
