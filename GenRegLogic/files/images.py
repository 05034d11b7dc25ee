"""Reading and writing scans and transforms.

Key functions: `read_volume`, `write_volume`, `read_transform`, `write_transform`, and `check_writable`, which a
program calls before a long run so that the run isn't for nothing. (Landmarks are in `points`.)

Everything is written under a temporary name in the same folder and renamed when complete: a file of the final name is
always whole, even when the program is killed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..machine.quiet import quiet_itk
from ..space.field import DisplacementField, Transform, from_sitk, sample_transform
from ..space.volume import Geometry, Volume
from .atomic import replacing, writing_error
from .nifti import is_nifti, write_nifti
from .reading import existing_file, naming, raise_if_memory, read_image, read_series

__all__ = ["check_writable", "read_transform", "read_volume", "replacing", "write_transform", "write_volume"]

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
READ_TRANSFORM_ENDINGS = (".h5", ".hdf5", ".tfm", ".txt", ".mat", ".xfm")
WRITTEN_TRANSFORM_ENDINGS = (".h5", ".tfm")

WRITABLE_ENDINGS = {
    "image": IMAGE_ENDINGS,
    "transform": (*IMAGE_ENDINGS, *WRITTEN_TRANSFORM_ENDINGS),
    "points": (".csv", ".txt", ".fcsv", ".mrk.json", ".json"),
    "report": (".json",),
    "page": (".html",),
    "report or page": (".json", ".html"),
    "picture": (".png",),
}
"""What `check_writable` knows, with the endings that each kind may have."""

ITK_COMPRESSION_LEVEL = 1
BYTES_PER_NUMBER_IN_TEXT = 25


def read_volume(path: str | Path, *, allow_missing_slices: bool = False) -> Volume:
    """Read a 3D scalar image.

    Args:
        path: NIfTI, NRRD, MHA/MHD or anything else that ITK reads; or the folder of a DICOM series, of which the
            largest series is taken, sorted by position.
        allow_missing_slices: Read a DICOM series with gaps of a slice or more, as if its slices were evenly spaced;
            the volume's warnings then say so.

    Raises:
        InputError: The file is missing, unreadable, not an image, damaged, not 3D scalar, or its header is unusable;
            slices of a DICOM series are missing and that was not allowed.
        ResourceError: Not enough memory.
    """
    path = Path(path)
    with naming(path), quiet_itk():
        if path.is_dir():
            return read_series(path, allow_missing_slices=allow_missing_slices)
        return Volume.from_sitk(read_image(existing_file(path)))


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume as .nii.gz, .nii, .nrrd or .mha (compressed, except .nii).

    Raises:
        InputError: The ending is unknown or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "image")
    with replacing(path, volume.array.nbytes) as temporary:
        _write_image(volume.to_sitk(), temporary)


def read_transform(path: str | Path) -> Transform:
    """Read a transform, fixed -> moving, LPS mm.

    Args:
        path: A displacement field image (.nii, .nii.gz, .nrrd, .mha, .mhd), or an ITK transform file (.h5, .tfm, .txt,
            .mat, .xfm).

    Raises:
        InputError: The file is missing, unreadable, or holds no transform of 3D points.
        ResourceError: Not enough memory.
    """
    path = existing_file(path)
    with naming(path), quiet_itk():
        if not path.name.lower().endswith(READ_TRANSFORM_ENDINGS):
            return DisplacementField.from_image(read_image(path, vector=True))
        try:
            transform = sitk.ReadTransform(str(path))
        except RuntimeError as error:
            raise_if_memory(error)
            raise InputError(
                "The file holds no transform that ITK can read; if Slicer wrote an inverted grid transform, save it "
                "as a displacement field image instead."
            ) from None
        return from_sitk(transform)


def write_transform(transform: Transform, path: str | Path, *, geometry: Geometry | None = None) -> None:
    """Write a transform; the ending says how.

    Args:
        transform: Fixed -> moving.
        path: .nii.gz, .nii, .nrrd or .mha write the displacement field as an image of float32 mm, LPS, rounded as
            `DisplacementField.rounded` says; .h5 and .tfm write an ITK transform.
        geometry: Grid for the image; needed only where the transform isn't a field itself.

    Raises:
        InputError: The ending is unknown, the folder cannot be written to, or there is no grid for an image.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "transform")
    if geometry is not None:
        transform = sample_transform(transform, geometry)
    is_field = isinstance(transform, DisplacementField)
    if path.name.lower().endswith(IMAGE_ENDINGS):
        if not is_field:
            raise InputError(
                f"{path}: this transform has no grid, so it cannot be written as an image; choose the ending .h5 or "
                ".tfm, or name a reference image."
            )
        with replacing(path, transform.array.nbytes) as temporary:
            _write_field(transform.rounded(), temporary)
        return
    numbers = transform.array.size if is_field else 0
    needed = numbers * (BYTES_PER_NUMBER_IN_TEXT if path.suffix == ".tfm" else np.float64().nbytes)
    with replacing(path, needed) as temporary, quiet_itk():
        sitk.WriteTransform(transform.to_sitk(), str(temporary))


def check_writable(path: str | Path, kind: str) -> Path:
    """Make sure, before any work is done, that a file can be written under this name.

    Args:
        path: The file to be written.
        kind: "image", "transform", "points", "report", "page", "report or page" or "picture" (see `WRITABLE_ENDINGS`).

    Returns:
        The path as a `Path`.

    Raises:
        InputError: The ending doesn't suit the kind, the folder is missing or cannot be written to, or the path is a
            folder.
        ResourceError: The disk is full.
    """
    path = Path(path)
    endings = WRITABLE_ENDINGS[kind]
    if not path.name.lower().endswith(endings):
        raise InputError(f"{path}: the ending is not one that a {kind} can have; use one of {', '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as trial:  # only trying tells, on network and Windows folders too
            trial.write(b"\0")
    except OSError as error:
        raise writing_error(error, path) from None
    return path


def _write_image(image: sitk.Image, path: Path) -> None:
    if is_nifti(path):
        write_nifti(sitk.GetArrayViewFromImage(image), Geometry.from_sitk(image), path)
    else:
        with quiet_itk():
            sitk.WriteImage(image, str(path), True, ITK_COMPRESSION_LEVEL)


def _write_field(field: DisplacementField, path: Path) -> None:
    if is_nifti(path):
        write_nifti(field.array, field.geometry, path)
    else:
        _write_image(field.to_image(), path)
