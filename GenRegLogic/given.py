"""The types that callers may pass as a scan, and their conversion to a `Volume`."""

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
    """Convert a scan to a `Volume` in LPS, mm; the affine of a nibabel image is in RAS and is converted.

    Args:
        scan: A `Volume`, which is returned unchanged; the path of a file or of the folder of a DICOM series; a
            SimpleITK image; an object with nibabel's `affine` and `dataobj`.
        name: Name of the argument, for messages.
        optional: Whether None is allowed, which is then returned.
        series: Which DICOM volume of a path, as for `Volume.from_file`.

    Raises:
        InputError: The scan is of another type, cannot be read, has sheared axes, or is not a 3D scalar image.
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
