"""Warps images, label maps and points by a transform.

Images and label maps are *pulled*: a fixed voxel gets the moving scan's value at the point to which the transform maps
it. Points are *pushed*: a fixed point is mapped to its moving point.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .field import DisplacementField, Transform, sample_transform
from .geometry import Geometry
from .volume import Volume

__all__ = ["warp_image", "warp_labels", "warp_points"]

SLAB_VOXELS = 2**23
"""Voxels of the reference handled at once: ITK needs their displacements in double precision, 200 MB."""

FLOAT32_EXACT_BYTES = 2
"""Whole numbers of up to this many bytes are exact in float32; longer ones are interpolated in double precision."""

FILLED_VOXELS = 4
"""How far values are continued into what is missing: the weight of a cubic B-spline's coefficients has then sunk to
0.5 %."""

INTERPOLATORS = {
    "linear": sitk.sitkLinear,
    "cubic": sitk.sitkBSplineResamplerOrder3,  # takes B-spline coefficients, so that they are computed once
    "nearest": sitk.sitkNearestNeighbor,
}


def warp_image(
    moving: Volume,
    transform: Transform,
    reference: Geometry,
    *,
    interpolation: str = "linear",
    fill: float | None = None,
) -> Volume:
    """The moving scan, warped onto a fixed grid.

    Args:
        moving: The scan to warp.
        transform: Fixed -> moving.
        reference: Grid of the result, in the fixed frame.
        interpolation: "linear", "cubic" (B-spline, may overshoot at edges) or "nearest".
        fill: Value where the transform leads outside the moving scan; by default the scan's smallest value.

    Returns:
        A volume of the moving scan's dtype; integers are rounded and clipped to the dtype's range. Values that are not
        finite stay where they are: no interpolation spreads them.

    Raises:
        InputError: The interpolation is unknown.

    Example:
        Each fixed voxel gets the moving value 1 mm farther along x; the last one is mapped outside the moving scan:

        >>> from GenRegLogic.space.field import AffineTransform
        >>> moving = Volume.from_array(np.arange(12).reshape(2, 2, 3), spacing=(1, 1, 1))
        >>> shift = np.eye(4)
        >>> shift[0, 3] = 1
        >>> warp_image(moving, AffineTransform(shift), moving.geometry, fill=-1).array.tolist()
        [[[1, 2, -1], [4, 5, -1]], [[7, 8, -1], [10, 11, -1]]]
    """
    if interpolation not in INTERPOLATORS:
        raise InputError(f"There is no interpolation '{interpolation}'; use one of {', '.join(INTERPOLATORS)}.")
    dtype = moving.array.dtype
    finite = np.isfinite(moving.array) if dtype.kind == "f" else None
    if finite is not None and not finite.all():
        return _warp_with_missing(moving, finite, transform, reference, interpolation, fill)
    fill = float(moving.array.min()) if fill is None else float(fill)
    image, pixel_type = _interpolable(moving, interpolation)
    result = np.empty(reference.shape, dtype)
    slabs = _slabs(reference)
    for slab, geometry in slabs:
        as_it_is = len(slabs) == 1 and not _continued(transform, reference)
        shift = transform if as_it_is else sample_transform(transform, geometry)
        warped = sitk.Resample(
            image,
            geometry.size,
            shift.to_sitk(),
            INTERPOLATORS[interpolation],
            geometry.origin,
            geometry.spacing,
            geometry.direction.ravel().tolist(),
            fill,
            pixel_type,
        )
        result[slab] = _as_dtype(sitk.GetArrayViewFromImage(warped), dtype)
    return Volume(result, reference)


def _interpolable(moving: Volume, interpolation: str) -> tuple[sitk.Image, int]:
    """The scan as ITK's interpolators need it, and the type of what they are to return."""
    if interpolation == "nearest":
        return moving.to_sitk(), sitk.sitkUnknown
    dtype = moving.array.dtype
    double = dtype.itemsize > (4 if dtype.kind == "f" else FLOAT32_EXACT_BYTES)
    pixel_type = sitk.sitkFloat64 if double else sitk.sitkFloat32
    image = moving.to_sitk()
    if image.GetPixelID() != pixel_type:  # a cast copies, even to the type that it has
        image = sitk.Cast(image, pixel_type)
    return (sitk.BSplineDecomposition(image, 3) if interpolation == "cubic" else image), pixel_type


def _continued(transform: Transform, reference: Geometry) -> bool:
    """Whether the transform may need a field outside its grid, where the fields of ITK are not continued."""
    if isinstance(transform, DisplacementField):
        return transform.beyond is not None and not transform.geometry.contains(reference.corners()).all()
    return any(getattr(part, "beyond", None) is not None for part in getattr(transform, "parts", ()))


def _warp_with_missing(
    moving: Volume,
    finite: np.ndarray,
    transform: Transform,
    reference: Geometry,
    interpolation: str,
    fill: float | None,
) -> Volume:
    """`warp_image` of a scan in which values are missing.

    The values around take the place of the missing ones while interpolating; a voxel that lies nearer to missing ones
    than to others gets what is missing there.
    """
    if fill is None:
        fill = float(moving.array[finite].min()) if finite.any() else 0.0
    filled = Volume(_filled(moving.array, finite), moving.geometry)
    there = Volume(finite.astype(np.float32), moving.geometry)
    result = warp_image(filled, transform, reference, interpolation=interpolation, fill=fill).array
    way = "nearest" if interpolation == "nearest" else "linear"
    missing = warp_image(there, transform, reference, interpolation=way, fill=1.0).array < 0.5
    kinds = Volume(
        np.select([moving.array == np.inf, moving.array == -np.inf], [1, 2], 0).astype(np.uint8), there.geometry
    )
    kind = warp_labels(kinds, transform, reference).array  # ITK itself makes large numbers of infinite ones
    result[missing] = np.array([np.nan, np.inf, -np.inf], result.dtype)[kind[missing]]
    return Volume(result, reference)


def _filled(array: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """The array with other values in the place of those that are not finite.

    Near finite values it is the mean of their neighbors, so that no edge is there for a B-spline to overshoot at.
    """
    known = finite.copy()
    result = np.where(finite, array, array[finite].mean(dtype=np.float64) if finite.any() else 0).astype(array.dtype)
    for _ in range(FILLED_VOXELS):
        count = _neighbors_sum(known.astype(np.uint8))
        rim = ~known & (count > 0)
        result[rim] = _neighbors_sum(np.where(known, result, 0).astype(np.float64))[rim] / count[rim]
        known |= rim
    return result


def _neighbors_sum(array: np.ndarray) -> np.ndarray:
    """The sum over each voxel and its 26 neighbors."""
    for axis in range(array.ndim):
        before = array
        array = before.copy()
        here, there = [slice(None)] * array.ndim, [slice(None)] * array.ndim
        here[axis], there[axis] = slice(1, None), slice(None, -1)
        array[tuple(here)] += before[tuple(there)]
        array[tuple(there)] += before[tuple(here)]
    return array


def warp_labels(moving: Volume, transform: Transform, reference: Geometry) -> Volume:
    """A moving label map, warped onto a fixed grid: nearest neighbor, 0 outside, same dtype.

    Args:
        moving: The label map, whole numbers.
        transform: Fixed -> moving.
        reference: Grid of the result, in the fixed frame.

    Returns:
        A volume of the label map's dtype.

    Example:
        Labels are never mixed: at 0.4 mm between two voxels, the nearer one's label is taken.

        >>> from GenRegLogic.space.field import AffineTransform
        >>> moving = Volume.from_array(np.array([[[0, 3, 7]] * 2] * 2), spacing=(1, 1, 1))
        >>> shift = np.eye(4)
        >>> shift[0, 3] = 0.4
        >>> warp_labels(moving, AffineTransform(shift), moving.geometry).array[0, 0].tolist()
        [0, 3, 7]
    """
    return warp_image(moving, transform, reference, interpolation="nearest", fill=0)


def warp_points(points: np.ndarray, transform: Transform) -> np.ndarray:
    """Points mapped by a transform.

    Args:
        points: (n, 3) LPS mm, in the fixed frame.
        transform: Fixed -> moving; with an inverse (moving -> fixed), moving points are mapped to fixed ones.

    Returns:
        (n, 3) LPS mm, in the moving frame.

    Raises:
        InputError: The points have another shape.

    Example:
        >>> from GenRegLogic.space.field import AffineTransform
        >>> warp_points(np.array([[1.0, 2.0, 3.0]]), AffineTransform(np.diag([2.0, 1.0, 1.0, 1.0]))).tolist()
        [[2.0, 2.0, 3.0]]
    """
    return transform(points)


def _slabs(geometry: Geometry) -> list[tuple[slice, Geometry]]:
    """Parts of a grid along k: the array slice and the geometry of each."""
    n_i, n_j, n_k = geometry.size
    step = max(1, SLAB_VOXELS // (n_i * n_j))
    slabs = []
    for start in range(0, n_k, step):
        size = (n_i, n_j, min(step, n_k - start))
        origin = geometry.to_world((0, 0, start))
        slabs.append((slice(start, start + size[2]), Geometry(size, geometry.spacing, origin, geometry.direction)))
    return slabs


def _as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f" or values.dtype == dtype:
        return values
    limits = np.iinfo(dtype)
    return np.rint(values).clip(limits.min, limits.max).astype(dtype)
