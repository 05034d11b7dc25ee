"""The region of the fixed scan in which a transform is repaired, and the distance of its voxels from its border."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..space.field import AffineTransform, Transform
from ..space.geometry import Geometry
from ..space.grid import canonical_array, canonical_geometry
from ..space.volume import Volume
from ..space.warp import warp_labels

__all__ = ["Region", "check_region", "region_around"]

LANDMARK_REACH = 3.0
"""Radius of the region around a landmark in multiples of the landmark's error; a smaller one would fold the field."""

LEAST_REACH_VOXELS = 10.0
"""Smallest radius of the region around a landmark, in voxels of the coarser scan."""

MIN_REGION_VOXELS = 27
"""Least number of voxels of the field's grid in a region; a smaller one contains no structure to align."""


def check_region(region: Volume, grid: Geometry) -> Volume:
    """The region as 0 and 1 on the grid of the field that is repaired.

    Args:
        region: Nonzero inside, on any grid.
        grid: The fixed scan's grid, or that of a coarser field over it.

    Returns:
        uint8 volume, 0 or 1, on that grid.

    Raises:
        InputError: The region is empty, not finite, outside the scan or smaller than `MIN_REGION_VOXELS`.
    """
    if region.array.dtype.kind == "f" and not np.isfinite(region.array).all():
        raise InputError("The region to refine holds NaN or infinite values; save it as whole numbers, 0 outside.")
    binary = Volume((region.array != 0).astype(np.uint8), region.geometry)
    if not binary.array.any():
        raise InputError("The region to refine is empty; draw it where the alignment is wrong.")
    if not region.geometry.is_close(grid):
        binary = warp_labels(binary, AffineTransform.identity(), grid)
    if not binary.array.any():
        raise InputError(
            "The region to refine does not lie over the fixed image; draw it where the alignment is wrong."
        )
    if int(binary.array.sum(dtype=np.int64)) < MIN_REGION_VOXELS:
        raise InputError("The region to refine is only a few voxels small; draw it larger.")
    return Volume(binary.array, grid)


def region_around(
    fixed_landmarks: np.ndarray, moving_landmarks: np.ndarray, field: Transform, fixed: Geometry, moving: Geometry
) -> Volume:
    """Balls around the fixed landmarks, with radii that increase with the error of each landmark.

    Args:
        fixed_landmarks: (n, 3) LPS mm.
        moving_landmarks: (n, 3) LPS mm, in the same order.
        field: The current transform, fixed -> moving, LPS mm.
        fixed: Grid of the fixed scan, and of the result.
        moving: Grid of the moving scan.

    Returns:
        uint8 volume on `fixed`, 1 in the balls.
    """
    off = np.linalg.norm(field(fixed_landmarks) - moving_landmarks, axis=1)
    voxel = max(g.mean_spacing for g in (fixed, moving))
    inside = np.zeros(fixed.shape, np.uint8)
    for point, radius in zip(fixed_landmarks, np.maximum(LANDMARK_REACH * off, LEAST_REACH_VOXELS * voxel)):
        index = fixed.to_index(point[None])[0]
        reach = radius / np.array(fixed.spacing)
        low = np.clip(np.floor(index - reach).astype(int), 0, np.array(fixed.size) - 1)
        high = np.clip(np.ceil(index + reach).astype(int) + 1, 1, np.array(fixed.size))
        x, y, z = (((np.arange(a, b) - c) * s) ** 2 for a, b, c, s in zip(low, high, index, fixed.spacing))
        ball = z[:, None, None] + y[:, None] + x <= radius**2
        inside[low[2] : high[2], low[1] : high[1], low[0] : high[0]] |= ball
    return Volume(inside, fixed)


class Region:
    """A region on the canonical axes of a field's grid.

    Args:
        region: As `check_region` returns it.

    Attributes:
        geometry: The field's grid on canonical axes.
        low, high: (3,) index box (x, y, z, both ends included) around the region in the canonical grid.
        depth_mm: Largest distance of a voxel inside from the border of the region.
        volume_mm3: Volume of the region.
    """

    def __init__(self, region: Volume):
        self.geometry = canonical_geometry(region.geometry)
        self._inside = canonical_array(region.array, region.geometry)
        used = [np.flatnonzero(self._inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in (2, 1, 0)]
        self.low, self.high = (np.array([int(u[end]) for u in used]) for end in (0, -1))
        box = tuple(slice(a, b + 1) for a, b in zip(self.low[::-1], self.high[::-1]))
        inside = np.pad(np.ascontiguousarray(self._inside[box]), 1)
        # The edge of the scan is no border of the region: beyond it there is no field that must stay unchanged.
        for axis in range(3):
            for first, edge, index in (
                (0, self.low[2 - axis] == 0, 1),
                (-1, self.high[2 - axis] == self._inside.shape[axis] - 1, -2),
            ):
                if edge:
                    target, source = [slice(None)] * 3, [slice(None)] * 3
                    target[axis], source[axis] = first, index
                    inside[tuple(target)] = inside[tuple(source)]
        image = sitk.GetImageFromArray(inside)
        image.SetSpacing(self.geometry.spacing)
        if inside.all():
            depth = np.full(inside.shape, float(self.geometry.extent_mm.max()), np.float32)
        else:
            depth = -sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True))
            depth = np.where(inside > 0, np.maximum(depth, 0.5 * min(self.geometry.spacing)), 0)
        self._depth = depth[1:-1, 1:-1, 1:-1].astype(np.float32)
        self.depth_mm = float(self._depth.max())
        self.volume_mm3 = float(self._inside.sum(dtype=np.int64)) * self.geometry.voxel_volume

    def box(self, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Index box (low, high; x, y, z, both included) around the region with a margin, clipped to the scan."""
        margin = np.ceil(margin_mm / np.array(self.geometry.spacing)).astype(int)
        return np.maximum(self.low - margin, 0), np.minimum(self.high + margin, np.array(self.geometry.size) - 1)

    def depth(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Distance to the border of the region.

        Args:
            low, high: (3,) index box (x, y, z, both ends included) that contains the region's own box.

        Returns:
            ``(D, H, W)`` float32, mm inside the region, 0 outside.
        """
        before, after = (self.low - low)[::-1], (high - self.high)[::-1]
        return np.pad(self._depth, list(zip(before, after)))
