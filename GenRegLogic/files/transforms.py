"""Reading and writing transforms: displacement fields as images, and the transform files of ITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..machine.libraries import quiet_itk
from ..space.field import DisplacementField, Transform, from_sitk, sample_transform
from ..space.geometry import Geometry
from .atomic import IMAGE_ENDINGS, check_writable, replacing
from .images import write_image
from .nifti import is_nifti, write_nifti
from .reading import existing_file, naming, raise_if_memory, read_image

__all__ = ["read_transform", "write_transform"]

READ_TRANSFORM_ENDINGS = (".h5", ".hdf5", ".tfm", ".txt", ".mat", ".xfm")
BYTES_PER_NUMBER_IN_TEXT = 25


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


def _write_field(field: DisplacementField, path: Path) -> None:
    if is_nifti(path):
        write_nifti(field.array, field.geometry, path)
    else:
        write_image(field.to_image(), path)
