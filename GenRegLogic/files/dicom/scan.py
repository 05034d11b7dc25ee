"""Reading a DICOM scan as a `Volume`."""

from __future__ import annotations

from pathlib import Path

from ...space.volume import Volume
from .series import read_slices

__all__ = ["read_dicom"]


def read_dicom(path: Path, *, series: str | None = None, allow_missing_slices: bool = False) -> Volume:
    """Read a DICOM scan: its slices sorted by position, its values in the unit that the headers give (HU, Gy ...).

    Args:
        path: The folder of a series, or one file that holds a whole scan (enhanced, RT dose).
        series: Which volume, where there are several: its number in the list with which a choice is asked for, its
            SeriesInstanceUID, or its SeriesNumber.
        allow_missing_slices: Interpolate where slices are missing, with a doubt, instead of refusing it.

    Returns:
        The volume, LPS mm, with a `Doubt` for whatever was left out, resampled or guessed.

    Raises:
        InputError: It is no scan, it is damaged, its places are unknown, slices are missing, or there are several.
        ResourceError: Not enough memory.
        DependencyError: pydicom is not installed.
    """
    return Volume(*read_slices(path, series=series, allow_missing_slices=allow_missing_slices))
