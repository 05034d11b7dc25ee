"""Reading images with ITK: a file, or the folder of a DICOM series; each refusal in one sentence.

`space.volume.Volume.from_file` makes a volume of what is read here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import GenRegError, InputError, ResourceError
from ..machine.libraries import quiet_itk
from ..space.geometry import check_image_kind
from .nifti import check_nifti, is_nifti, non_finite

__all__ = ["existing_file", "naming", "raise_if_memory", "read_image", "read_scan"]

POSITION_TAG = "0020|0032"
SAME_POSITION_MM = 1e-3
MAX_SLICE_DEVIATION = 0.05
"""Of a slice spacing; beyond it, slices of a DICOM series are unevenly spaced."""


def existing_file(path: str | Path) -> Path:
    """The path of a file that is there.

    Raises:
        InputError: Nothing is there, or it is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    return path


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name before a sentence about its contents."""
    try:
        yield
    except InputError as error:
        text = str(error)
        raise (error if text.startswith(str(path)) else InputError(f"{path}: {text}")) from None
    except MemoryError:
        raise ResourceError(f"{path}: there is not enough memory to read this file.") from None


def read_scan(path: Path, *, allow_missing_slices: bool = False) -> tuple[sitk.Image, list[str]]:
    """The image of a file, or of the largest DICOM series of a folder, and what its reader has to warn of.

    Raises:
        InputError: Nothing that can be read is there, or slices are missing (unless that is allowed).
        ResourceError: Not enough memory.
    """
    with quiet_itk():
        if path.is_dir():
            return read_series(path, allow_missing_slices=allow_missing_slices)
        return read_image(existing_file(path)), []


def read_image(path: Path, *, vector: bool = False) -> sitk.Image:
    """The image as ITK reads it, refused by its header before a voxel is loaded."""
    if is_nifti(path):
        check_nifti(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if min(reader.GetSpacing()) <= 0:  # ITK would turn the axis around instead
            raise InputError("The voxel spacing must be positive; correct the image's header.")
        if not vector:
            check_image_kind(reader.GetDimension(), reader.GetSize(), reader.GetNumberOfComponents())
        image = reader.Execute()
    except RuntimeError as error:
        raise _reading_error(error) from None
    return _with_non_finite(image, path) if is_nifti(path) else image


def _with_non_finite(image: sitk.Image, path: Path) -> sitk.Image:
    """The image with the NaN and infinite values that ITK's NIfTI reader has turned into zeros."""
    places, values = non_finite(path)
    if len(places) == 0:
        return image
    array = sitk.GetArrayFromImage(image)
    vector = image.GetNumberOfComponentsPerPixel() > 1
    view = np.moveaxis(array, -1, 0) if vector else array  # in files, one component comes after the other
    view[np.unravel_index(places, view.shape)] = values
    restored = sitk.GetImageFromArray(array, isVector=vector)
    restored.CopyInformation(image)
    return restored


def _reading_error(error: RuntimeError) -> GenRegError:
    """One sentence for what ITK says in several lines."""
    text = str(error)
    raise_if_memory(error)
    if "orthonormal" in text or "Bad direction" in text:
        return InputError(
            "The image's axes are not perpendicular unit vectors (a singular, scaled or sheared direction matrix); "
            "correct the header or resample the image onto a regular grid."
        )
    if "spacing is not supported" in text:
        return InputError("The voxel spacing must be positive; correct the image's header.")
    if "Unable to determine ImageIO reader" in text:
        return InputError("The file is not an image that can be read; give NIfTI, NRRD, MHA/MHD or a DICOM folder.")
    return InputError("The file is damaged or incomplete and cannot be read; copy or export it again.")


def raise_if_memory(error: RuntimeError) -> None:
    if "allocate memory" in str(error) or "bad_alloc" in str(error):
        raise ResourceError("There is not enough memory to read this file.") from None


def read_series(folder: Path, *, allow_missing_slices: bool = False) -> tuple[sitk.Image, list[str]]:
    """The largest DICOM series of a folder, sorted by position, and sentences about its slices.

    Args:
        folder: Of the series.
        allow_missing_slices: Warn of gaps of a slice or more instead of refusing them.

    Raises:
        InputError: No series, missing slices, several images at one position, or whatever makes an image unusable.
    """
    ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    series = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in ids]
    if not series:
        raise InputError("The folder holds no DICOM images.")
    names = max(series, key=len)
    if len(names) == 1:  # an enhanced (multi-frame) file is a volume by itself
        return read_image(Path(names[0])), []
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _reading_error(error) from None
    check_image_kind(image.GetDimension(), image.GetSize(), image.GetNumberOfComponentsPerPixel())
    warnings = _slice_warnings(reader, len(names), image, allow_missing_slices)
    if len(series) > 1:
        warnings.append(f"The folder holds {len(series)} DICOM series; the largest ({len(names)} images) was read.")
    return image, warnings


def _slice_warnings(reader: sitk.ImageSeriesReader, count: int, image: sitk.Image, allow_missing: bool) -> list[str]:
    """What the slices' positions say: ITK gives uneven slices the mean spacing."""
    try:
        texts = [reader.GetMetaData(n, POSITION_TAG) for n in range(count)]
        positions = np.array([[float(x) for x in text.split("\\")] for text in texts])
    except (RuntimeError, ValueError):
        return ["The DICOM slices carry no positions; their order and spacing may be wrong."]
    heights = positions @ np.reshape(image.GetDirection(), (3, 3))[:, 2]
    if np.diff(np.sort(heights)).min() < SAME_POSITION_MM:
        raise InputError(
            "The DICOM series has several images at one position (a time series or several echoes); "
            "export the one you want as a series of its own."
        )
    gaps = np.diff(np.sort(heights))
    missing = int(np.rint(gaps / np.median(gaps) - 1).clip(0).sum())
    lacking = f"The DICOM series lacks {missing} slice{'s' if missing > 1 else ''}"
    if missing and not allow_missing:
        raise InputError(f"{lacking}; export it again, or read it as it is with --allow-missing-slices.")
    if missing:
        return [f"{lacking} and was read as evenly spaced, so anatomy near the gaps is displaced."]
    deviation = np.abs(np.abs(np.diff(heights)) - image.GetSpacing()[2]).max()
    if deviation > MAX_SLICE_DEVIATION * image.GetSpacing()[2]:
        return [f"The DICOM slices are unevenly spaced (by up to {deviation:.2g} mm) but were read as evenly spaced."]
    return []
