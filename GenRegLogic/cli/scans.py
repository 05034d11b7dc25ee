"""Reading scans for a command: what the reader has to say goes to standard error."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_reading_option", "read_scan"]


def add_reading_option(parser) -> None:
    """Add the option that lets DICOM series with missing slices pass."""
    parser.add_argument(
        "--allow-missing-slices",
        action="store_true",
        help="read a DICOM series in which slices are missing, as if its slices were evenly spaced",
    )


def read_scan(path: Path | None, args: argparse.Namespace):
    """Read a `Volume` and print its warnings; None where no path is given.

    Raises:
        InputError: As `files.images.read_volume`; slices of a DICOM series are missing and the option is not given.
    """
    from ..files.images import read_volume

    if path is None:
        return None
    volume = read_volume(path, allow_missing_slices=args.allow_missing_slices)
    for sentence in volume.warnings:
        print(f"genreg: warning: {path}: {sentence}", file=sys.stderr)
    return volume
