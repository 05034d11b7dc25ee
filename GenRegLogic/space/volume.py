"""A scan in memory: its voxels, and where they lie in the patient (`geometry`).

`check_registrable` checks whether a volume can be registered. Arrays are indexed (k, j, i), as NumPy views of ITK
images are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .geometry import DIMENSION, Geometry, check_image_kind

__all__ = ["Volume", "as_labels", "as_mask"]

MIN_VOXELS_PER_AXIS = 2
"""An axis of one voxel has no spatial derivative, so no deformation along it can be computed."""

LABEL_TOLERANCE, LABEL_TOLERANCE_RELATIVE = 1e-3, 1e-4
"""A label may be off its whole number by the larger of these (the second times the label): what scaling in single
precision leaves, and far from what interpolation between labels makes."""


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """A 3D scalar image and its geometry.

    Attributes:
        array: (k, j, i) values of any real dtype.
        geometry: Where the voxels are.
        warnings: Sentences about what was repaired in reading and checking; they name no file and no patient.
        padding: Voxels of exactly this value hold no data; None if no such value is known.

    Raises:
        InputError: The array is not 3D, not real numbers, has one slice only, or does not fit the geometry.
    """

    array: np.ndarray
    geometry: Geometry
    warnings: tuple[str, ...] = ()
    padding: float | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != DIMENSION:
            raise InputError(f"The image has {array.ndim} dimensions; GenReg needs one 3D scalar image.")
        if array.dtype.kind not in "biuf":
            raise InputError(f"The image's values are of type {array.dtype}; GenReg needs real numbers.")
        if array.shape != self.geometry.shape:
            raise InputError(f"The array's shape {array.shape} is not the geometry's (k, j, i) {self.geometry.shape}.")
        if min(array.shape) < MIN_VOXELS_PER_AXIS:
            size = " x ".join(str(n) for n in self.geometry.size)
            raise InputError(
                f"The image is a single slice ({size} voxels); GenReg needs a 3D scan of several slices (of DICOM "
                "slices, give the folder)."
            )
        object.__setattr__(self, "array", array.view(np.uint8) if array.dtype == bool else array)

    @classmethod
    def from_file(cls, path: str | Path, *, series: str | None = None, allow_missing_slices: bool = False) -> Volume:
        """Read a 3D scalar image.

        Args:
            path: NIfTI, NRRD, MHA/MHD or anything else that ITK reads; a DICOM file that holds a whole scan; or the
                folder of a DICOM series.
            series: Which DICOM volume, where there are several: its number in the list that the refusal gives, its
                SeriesInstanceUID or its SeriesNumber.
            allow_missing_slices: Interpolate where slices of a DICOM series are missing; the volume's warnings then
                say so.

        Raises:
            InputError: The file is missing, unreadable, not an image, damaged, not 3D scalar, or its header is
                unusable; slices of a DICOM series are missing and that was not allowed, or there are several.
            ResourceError: Not enough memory.
        """
        from ..files.reading import naming, read_scan  # here, so that a volume in memory needs no reader

        pixels = read_scan(Path(path), series=series, allow_missing_slices=allow_missing_slices)
        with naming(Path(path)):
            return cls(pixels.array, pixels.geometry, pixels.doubts, pixels.padding)

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Volume:
        """Copy a 3D scalar SimpleITK image.

        A fourth axis of length one and a vector of one component are dropped.

        Raises:
            InputError: The image is 2D, 4D, a vector, color or complex image, or has one slice.
        """
        check_image_kind(image.GetDimension(), image.GetSize(), image.GetNumberOfComponentsPerPixel())
        if "complex" in image.GetPixelIDTypeAsString():
            raise InputError("The image holds complex numbers; give its magnitude as a 3D scalar image.")
        if image.GetDimension() > DIMENSION:
            image = image[:, :, :, 0]
        array = sitk.GetArrayFromImage(image)
        if array.ndim > DIMENSION:
            array = array[..., 0]
        return cls(array, Geometry.from_sitk(image))

    @classmethod
    def from_nibabel(cls, image) -> Volume:
        """Copy a 3D scalar nibabel image; its affine's RAS becomes LPS, and its (i, j, k) array (k, j, i).

        Scaling that the file asks for is applied, as in `from_file`. A fourth axis of length one is dropped.

        Raises:
            InputError: The image is 2D or 4D, not real numbers, or its affine shears.
        """
        size = image.shape
        check_image_kind(len(size), size, 1)
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, np.float64)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):  # `Geometry` refuses axes of length zero
            geometry = Geometry(size[:3], tuple(spacing), tuple(matrix[:3, 3]), matrix[:3, :3] / spacing)
        array = np.asanyarray(image.dataobj).reshape(size[:3])
        return cls(np.ascontiguousarray(array.T), geometry)

    @classmethod
    def from_array(
        cls,
        array: np.ndarray,
        *,
        spacing: Sequence[float],
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        direction: np.ndarray | None = None,
    ) -> Volume:
        """Make a volume from an array.

        Args:
            array: (k, j, i) values of any real dtype.
            spacing: Distance between neighboring voxel centers along (i, j, k), mm.
            origin: LPS position, mm, of the center of voxel (0, 0, 0).
            direction: (3, 3), columns are the LPS unit vectors of the i, j and k axes; None is the identity.

        Raises:
            InputError: What `Volume` and `Geometry` refuse.

        Example:
            >>> Volume.from_array(np.zeros((20, 30, 40)), spacing=(1, 1, 2.5)).geometry.size
            (40, 30, 20)
        """
        array = np.asarray(array)
        if array.ndim != DIMENSION:
            raise InputError(f"The array has {array.ndim} dimensions; GenReg needs one 3D scalar image.")
        return cls(array, Geometry(array.shape[::-1], spacing, origin, direction))

    def to_sitk(self) -> sitk.Image:
        """A SimpleITK image of the same values and geometry (float16 becomes float32, which ITK has)."""
        array = self.array.astype(np.float32) if self.array.dtype == np.float16 else self.array
        image = sitk.GetImageFromArray(array.astype(array.dtype.newbyteorder("="), copy=False))
        self.geometry.copy_to(image)
        return image

    def __repr__(self) -> str:
        """One line: size, spacing and type; no voxel is read."""
        warned = f", {len(self.warnings)} warnings" if self.warnings else ""
        return f"Volume({repr(self.geometry)[9:-1]}, {self.array.dtype}{warned})"

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        return f"<code>{self!r}</code>"

    def float32(self) -> np.ndarray:
        """The values as a contiguous (k, j, i) float32 array; the array itself if it is one, else a copy."""
        return np.ascontiguousarray(self.array, np.float32)


def as_mask(mask: Volume | np.ndarray, geometry: Geometry | None = None) -> np.ndarray:
    """A mask as booleans.

    Args:
        mask: (k, j, i), nonzero inside.
        geometry: Grid whose shape it must have; None skips that check.

    Returns:
        (k, j, i) bool; the given array itself where it is boolean already.

    Raises:
        InputError: The mask has another shape than the geometry.

    Example:
        >>> as_mask(np.array([[[0, 3]]])).tolist()
        [[[False, True]]]
    """
    array = np.asarray(mask.array if isinstance(mask, Volume) else mask)
    if geometry is not None and array.shape != geometry.shape:
        raise InputError(f"The mask has shape {array.shape}, but the image {geometry.shape}; resample the mask.")
    return array if array.dtype == bool else array != 0


def as_labels(labels: Volume | np.ndarray, name: str = "A label map") -> np.ndarray:
    """The values of a label map as whole numbers.

    Args:
        labels: (k, j, i). Values that are off whole numbers by rounding alone, as a rescale slope leaves them, are
            taken for these.
        name: Of the map, to begin a sentence with.

    Returns:
        (k, j, i) of an integer dtype; the given array itself where it has one.

    Raises:
        InputError: Values have fractions, or are not finite.

    Example:
        >>> as_labels(np.array([[[0.0, 1.99998]]])).tolist()
        [[[0, 2]]]
    """
    array = np.asarray(labels.array if isinstance(labels, Volume) else labels)
    if array.dtype.kind != "f":
        return array
    rounded = np.rint(array)
    with np.errstate(invalid="ignore"):
        near = np.abs(array - rounded) <= np.maximum(LABEL_TOLERANCE, LABEL_TOLERANCE_RELATIVE * np.abs(array))
    if not near.all() or np.abs(rounded).max(initial=0) >= 2**53:
        raise InputError(f"{name} must hold whole numbers; this one has fractions, so it may be an image.")
    return rounded.astype(np.int64)
