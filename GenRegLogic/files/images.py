"""Reading and writing scans, masks and label maps.

Everything is written under a temporary name in the same folder and renamed when complete: a file of the final name is
always whole, even when the program is killed.
"""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from ..machine.libraries import quiet_itk
from ..space.geometry import Geometry
from ..space.volume import Volume
from .atomic import check_writable, replacing
from .niftiwriting import is_nifti, write_nifti

__all__ = ["read_volume", "write_image", "write_volume"]

ITK_COMPRESSION_LEVEL = 1


def read_volume(path: str | Path, *, series: str | None = None, allow_missing_slices: bool = False) -> Volume:
    """Read a 3D scalar image, or a DICOM file or folder; see `Volume.from_file`.

    Raises:
        InputError: It can't be read; the sentence says why.
        ResourceError: Not enough memory.
    """
    return Volume.from_file(path, series=series, allow_missing_slices=allow_missing_slices)


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write a volume as .nii.gz, .nii, .nrrd or .mha (compressed, except .nii).

    Raises:
        InputError: The ending is unknown or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "image")
    with replacing(path, volume.array.nbytes) as temporary:
        write_image(volume.to_sitk(), temporary)


def write_image(image: sitk.Image, path: Path) -> None:
    """Write a SimpleITK image under this very name, without a temporary one."""
    if is_nifti(path):
        write_nifti(sitk.GetArrayViewFromImage(image), Geometry.from_sitk(image), path)
    else:
        with quiet_itk():
            sitk.WriteImage(image, str(path), True, ITK_COMPRESSION_LEVEL)
