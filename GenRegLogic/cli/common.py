"""What the commands of `genreg` share: exit codes, which scripts rely on, the end of their help, and reading scans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import InputError

__all__ = [
    "BAD_INPUT",
    "DONE",
    "EXIT_CODES_HELP",
    "INTERRUPTED",
    "NOT_TRUSTWORTHY",
    "UNEXPECTED",
    "add_reading_options",
    "help_end",
    "read_scan",
    "series_option",
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


def add_reading_options(parser, *roles: str) -> None:
    """Add the options that say how a DICOM scan is read.

    Args:
        parser: Or a group of its arguments.
        roles: Names of the arguments that are scans: "fixed" gets the option `--fixed-series`, "image" plain
            `--series`.
    """
    for role in roles:
        parser.add_argument(
            series_option(role),
            dest=f"{role}_series",
            metavar="N|UID",
            help=f"which DICOM series of the {role}{'' if role in ('image', 'reference') else ' scan'}",
        )
    parser.add_argument(
        "--allow-missing-slices",
        action="store_true",
        help="interpolate where slices of a DICOM series are missing",
    )


def series_option(role: str) -> str:
    """The option that chooses among the DICOM series of an argument."""
    return "--series" if role == "image" else f"--{role}-series"


def read_scan(path: Path | None, args: argparse.Namespace, role: str | None = None):
    """Read a `Volume` and print its warnings, on standard error; None where no path is given.

    Args:
        path: Of the scan.
        args: Of the command.
        role: Which of the roles of `add_reading_options` the scan has; None if it has none.

    Raises:
        InputError: As `files.images.read_volume`; slices of a DICOM series are missing and the option is not given.
    """
    from ..files.images import read_volume

    if path is None:
        return None
    series = None if role is None else getattr(args, f"{role}_series")
    try:
        volume = read_volume(path, series=series, allow_missing_slices=args.allow_missing_slices)
    except InputError as error:
        text = str(error)
        if "--series" not in text:
            raise
        if role is None:
            text = text.partition("; choose one with --series")[0].rstrip(".") + "; give a folder with one of them."
        raise InputError(text.replace("--series", series_option(role or "image"))) from None
    for sentence in volume.warnings:
        print(f"genreg: warning: {path}: {sentence}", file=sys.stderr)
    return volume
