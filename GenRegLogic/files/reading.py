"""Reading scans: with ITK, or where they are DICOM by `dicom.read_dicom`; each refusal in one sentence.

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
from .dicom.headers import is_dicom
from .dicom.series import Slices, read_slices
from .nifti import check_nifti, is_nifti, non_finite

__all__ = ["existing_file", "naming", "raise_if_memory", "read_image", "read_scan"]


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


def read_scan(path: Path, *, series: str | None = None, allow_missing_slices: bool = False) -> sitk.Image | Slices:
    """The image of a file, or what makes the volume of a DICOM file or folder.

    Raises:
        InputError: Nothing that can be read is there; see `dicom.read_dicom` for what DICOM adds to that.
        ResourceError: Not enough memory.
    """
    if path.is_dir() or is_dicom(path):
        return read_slices(path, series=series, allow_missing_slices=allow_missing_slices)
    path = existing_file(path)
    if series is not None:
        raise InputError("This is no DICOM scan, so it has no series to choose from; leave out --series.")
    with quiet_itk():
        return read_image(path)


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
