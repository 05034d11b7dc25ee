"""What callers may give for a scan, and what the engine makes of it."""

from __future__ import annotations

from os import PathLike
from typing import Any

import SimpleITK as sitk

from .errors import InputError
from .space.volume import Volume

__all__ = ["Scan", "as_volume"]

Scan = Any
"""A `Volume`, a path, a SimpleITK image, or a nibabel image (which is not imported here)."""


def as_volume(scan: Scan | None, name: str, *, optional: bool = False, series: str | None = None) -> Volume | None:
    """The scan as the engine holds it, LPS mm; voxels of a nibabel image are where its affine (RAS) says.

    Args:
        scan: A `Volume`, which is returned itself; the path of a file or of a DICOM series' folder; a SimpleITK image;
            anything with nibabel's `affine` and `dataobj`.
        name: Of the argument, for sentences.
        optional: None stays None.
        series: Which DICOM volume of a path, as for `Volume.from_file`.

    Raises:
        InputError: It is something else, it can't be read, its axes are sheared, or it is no 3D scalar image.
    """
    if isinstance(scan, Volume) or (scan is None and optional):
        return scan
    if isinstance(scan, (str, PathLike)):
        return Volume.from_file(scan, series=series)
    if isinstance(scan, sitk.Image):
        return Volume.from_sitk(scan)
    if getattr(scan, "affine", None) is not None and hasattr(scan, "dataobj"):
        return Volume.from_nibabel(scan)
    raise InputError(
        f"{name} is of type {type(scan).__name__}; give a Volume, a path, a SimpleITK image or a nibabel image (an "
        "array alone has no place in space: Volume.from_array gives it one)."
    )
