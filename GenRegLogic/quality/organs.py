"""Figures of regions, such as organs in a segmentation: overlap, distance of surfaces, change of volume.

Does not import torch, so that Slicer's own process can use it. Masks are (k, j, i) bool arrays on one grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..space.geometry import Geometry

__all__ = ["Overlap", "VolumeChange", "determinants_in", "overlap", "sampled", "volume_change"]

HAUSDORFF_PERCENTILE = 95

PAD = 2
"""Voxels around a region that are needed for the central differences at its border."""


@dataclass(frozen=True)
class Overlap:
    """How well two regions agree.

    Attributes:
        dice: 0 to 1; NaN if both are empty.
        mean_mm: Mean distance of the surfaces, over the surface voxels of both; NaN if one is empty.
        hd95_mm: The larger of the two 95th percentiles of the distances from one surface to the other; NaN likewise.
    """

    dice: float
    mean_mm: float
    hd95_mm: float


@dataclass(frozen=True)
class VolumeChange:
    """How a transform changes the volume of a region.

    Attributes:
        fixed_ml: Volume of the region in the fixed scan, ml.
        moving_ml: Volume, ml, of the corresponding tissue in the moving scan, according to the transform.
        least: Minimum Jacobian determinant inside; the transform folds where it is 0 or less.
        most: Maximum Jacobian determinant inside.
        folded_pct: Share of the region's voxels whose Jacobian determinant is 0 or less, in percent.
    """

    fixed_ml: float
    moving_ml: float
    least: float
    most: float
    folded_pct: float

    @property
    def change_ml(self) -> float:
        """Volume change from the moving scan to the fixed one, ml."""
        return self.fixed_ml - self.moving_ml

    @property
    def change_pct(self) -> float:
        """Volume change from the moving scan to the fixed one, percent; NaN where the moving volume is 0."""
        return 100 * self.change_ml / self.moving_ml if self.moving_ml > 0 else float("nan")


def overlap(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> Overlap:
    """Dice overlap and surface distances of two regions.

    Args:
        a: (k, j, i) bool.
        b: (k, j, i) bool, on the same grid.
        spacing: Voxel spacing of the grid, mm along (i, j, k).
    """
    total = int(a.sum()) + int(b.sum())
    dice = 2 * int((a & b).sum()) / total if total else float("nan")
    if not a.any() or not b.any():
        return Overlap(dice, float("nan"), float("nan"))
    box = _box(a | b)
    surfaces, distances = [], []
    for mask in (a[box], b[box]):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing)
        contour = sitk.GetArrayFromImage(sitk.LabelContour(image, fullyConnected=False)) > 0
        surface = sitk.GetImageFromArray(contour.astype(np.uint8))
        surface.SetSpacing(spacing)
        distance = sitk.SignedMaurerDistanceMap(surface, squaredDistance=False, useImageSpacing=True)
        surfaces.append(contour)
        distances.append(np.maximum(sitk.GetArrayFromImage(distance), 0))
    there, back = distances[1][surfaces[0]], distances[0][surfaces[1]]
    mean = (there.sum() + back.sum()) / (len(there) + len(back))
    hd95 = max(np.percentile(values, HAUSDORFF_PERCENTILE) for values in (there, back))
    return Overlap(dice, float(mean), float(hd95))


def volume_change(mask: np.ndarray, geometry: Geometry, field: np.ndarray, grid: Geometry) -> VolumeChange:
    """How a transform changes the volume of a region of the fixed scan.

    Args:
        mask: (k, j, i) bool, not empty.
        geometry: Grid of the mask, LPS mm.
        field: (k, j, i, 3) displacement field, LPS mm, fixed -> moving.
        grid: Grid of the field, LPS mm.
    """
    box = _box(mask)
    values = determinants_in(box, geometry, field, grid)[mask[box]]
    voxel_ml = geometry.voxel_volume / 1000
    return VolumeChange(
        len(values) * voxel_ml,
        float(values.sum()) * voxel_ml,
        float(values.min()),
        float(values.max()),
        100 * float((values <= 0).mean()),
    )


def determinants_in(
    box: tuple[slice, slice, slice], geometry: Geometry, field: np.ndarray, grid: Geometry
) -> np.ndarray:
    """Jacobian determinants of a mapping in a box of another grid, by central differences over one voxel of that grid.

    Args:
        box: (k, j, i) slices into `geometry`.
        geometry: Grid at whose voxels to compute them, LPS mm.
        field: (k, j, i, 3) displacement field, LPS mm, fixed -> moving; outside its grid it continues with its edge.
        grid: Grid of the field, LPS mm.

    Returns:
        (k, j, i) float64, of the shape of the box.
    """
    low = [part.start - PAD for part in box]
    size = tuple(part.stop - part.start + 2 * PAD for part in box)[::-1]
    part = Geometry(size, geometry.spacing, tuple(geometry.to_world(np.array(low[::-1], float))), geometry.direction)
    u = sampled(field, grid, part).astype(np.float64)
    along = [np.gradient(u, axis=axis) for axis in (2, 1, 0)]  # d/di, d/dj, d/dk
    gradient = np.stack([each / step for each, step in zip(along, part.spacing)], axis=-1)
    jacobian = np.eye(3) + gradient @ part.direction.T
    return np.linalg.det(jacobian)[PAD:-PAD, PAD:-PAD, PAD:-PAD]


def sampled(field: np.ndarray, grid: Geometry, part: Geometry) -> np.ndarray:
    """A field interpolated linearly on another grid; outside its own grid it continues with its edge.

    Only the part of the field that is needed is copied.

    Args:
        field: (k, j, i, 3) displacements, mm.
        grid: Grid of the field.
        part: Grid of the result.

    Returns:
        (k, j, i, 3) float32 mm on `part`.
    """
    index = grid.to_index(part.corners())
    low = np.clip(np.floor(index.min(axis=0)).astype(int) - 1, 0, np.array(grid.size) - 2)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 2, low + 2, grid.size)
    piece = np.ascontiguousarray(field[low[2] : high[2], low[1] : high[1], low[0] : high[0]], np.float32)
    image = sitk.GetImageFromArray(piece, isVector=True)
    image.SetOrigin(tuple(grid.to_world(low.astype(float))))
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction.ravel().tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(part.size)
    resampler.SetOutputOrigin(part.origin)
    resampler.SetOutputSpacing(part.spacing)
    resampler.SetOutputDirection(part.direction.ravel().tolist())
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box around a mask."""
    parts = []
    for axis in range(3):
        where = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        parts.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(parts)
