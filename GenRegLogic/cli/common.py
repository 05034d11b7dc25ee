"""What the commands of `genreg` share: exit codes, which scripts rely on, the end of their help, and reading scans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = [
    "BAD_INPUT",
    "DONE",
    "EXIT_CODES_HELP",
    "INTERRUPTED",
    "NOT_TRUSTWORTHY",
    "UNEXPECTED",
    "add_reading_option",
    "help_end",
    "read_scan",
]

DONE = 0
UNEXPECTED = 1
BAD_INPUT = 2
NOT_TRUSTWORTHY = 3
INTERRUPTED = 130

EXIT_CODES_HELP = """\
exit codes:
  0    done
  1    an error in GenReg itself
  2    bad input, or no room left on disk or in memory; nothing was written
  3    done and written, but the verdict is "failed": don't trust the result
  130  interrupted; after one Ctrl-C the best result so far was written, after two nothing
"""


def help_end(*examples: str, exit_codes: bool = False) -> str:
    """The end of a command's help: the exit codes where they say more than done or not, and examples to copy."""
    lines = "".join(f"  genreg {example}\n" for example in examples)
    heading = "example" if len(examples) == 1 else "examples"
    return (f"{EXIT_CODES_HELP}\n" if exit_codes else "") + f"{heading}:\n{lines}"


def add_reading_option(parser) -> None:
    """Add the option that lets DICOM series with missing slices pass."""
    parser.add_argument(
        "--allow-missing-slices",
        action="store_true",
        help="read a DICOM series in which slices are missing, as if its slices were evenly spaced",
    )


def read_scan(path: Path | None, args: argparse.Namespace):
    """Read a `Volume` and print its warnings, on standard error; None where no path is given.

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
