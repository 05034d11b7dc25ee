"""What the commands of `genreg` share: exit codes, the end of their help, common arguments, and reading scans.

Key functions: `help_end`; `add_scans`, `add_transforms` and the other functions that add arguments to a parser or to a
group of its arguments; `read_scan`.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import InputError

if TYPE_CHECKING:
    from ..space.volume import Volume

__all__ = [
    "BAD_INPUT",
    "DONE",
    "EXIT_CODES_HELP",
    "INTERRUPTED",
    "NOT_TRUSTWORTHY",
    "UNEXPECTED",
    "add_device_option",
    "add_landmarks",
    "add_quiet_option",
    "add_reading_options",
    "add_result_options",
    "add_scans",
    "add_threads_option",
    "add_tolerance_option",
    "add_transform_spacing_option",
    "add_transforms",
    "check_pair",
    "help_end",
    "print_last",
    "read_scan",
    "series_option",
    "silence",
    "warn",
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
    """The end of a command's help.

    Args:
        examples: Command lines without the program's name.
        exit_codes: Whether to list the exit codes; for commands that have more than success and failure.
    """
    lines = "".join(f"  genreg {example}\n" for example in examples)
    heading = "example" if len(examples) == 1 else "examples"
    return (f"{EXIT_CODES_HELP}\n" if exit_codes else "") + f"{heading}:\n{lines}"


def add_scans(parser, *, tense: str = "present") -> None:
    """Add the arguments FIXED and MOVING.

    Args:
        parser: Parser of the command.
        tense: "present", or "past" for a command that takes a finished registration.
    """
    stays, is_deformed = {"present": ("stays", "is deformed"), "past": ("stayed", "was deformed")}[tense]
    parser.add_argument("fixed", metavar="FIXED", type=Path, help=f"the scan that {stays}")
    parser.add_argument("moving", metavar="MOVING", type=Path, help=f"the scan that {is_deformed} onto it")


def add_transforms(parser, text: str = "fixed to moving; several are applied in the order given") -> None:
    """Add the option -t, which can be given several times; `text` is its help."""
    parser.add_argument("-t", "--transform", metavar="TRANSFORM", type=Path, action="append", required=True, help=text)


def add_landmarks(group, text: str) -> None:
    """Add the options for landmarks in both scans; `text` says in the help what the points are."""
    group.add_argument(
        "--fixed-landmarks",
        metavar="FILE",
        type=Path,
        help=f"{text} to be brought together softly: .csv (x,y,z in LPS mm), .fcsv or .mrk.json",
    )
    group.add_argument("--moving-landmarks", metavar="FILE", type=Path, help="the same points in the moving scan")


def check_pair(args: argparse.Namespace, what: str) -> None:
    """Refuse landmarks, points or labels of one scan without those of the other.

    Args:
        args: The command's arguments, with the options --fixed-WHAT and --moving-WHAT.
        what: "landmarks", "points" or "labels".

    Raises:
        InputError: Only one of the two options was given.
    """
    if (getattr(args, f"fixed_{what}") is None) != (getattr(args, f"moving_{what}") is None):
        raise InputError(f"--fixed-{what} and --moving-{what} go together; give both or neither.")


def add_result_options(group, metavar: str) -> None:
    """Add the options for the resulting transform, whose placeholder is `metavar`, and for the warped scan."""
    group.add_argument(
        "-o",
        "--output",
        metavar=metavar,
        type=Path,
        required=True,
        help="displacement field image (.nii.gz, .nii, .nrrd, .mha) or ITK transform (.h5, .tfm), by its ending",
    )
    group.add_argument("--warped", metavar="FILE", type=Path, help="the moving scan on the fixed scan's grid")


def add_device_option(group) -> None:
    """Add the option that chooses the device."""
    group.add_argument(
        "--device", metavar="auto|cpu|cuda[:N]|mps", default="auto", help="where to compute (default: auto)"
    )


def add_threads_option(group) -> None:
    """Add the option that limits the number of CPU threads."""
    group.add_argument("--threads", metavar="N", type=int, help="CPU threads, at most (default: all)")


def add_transform_spacing_option(group) -> None:
    """Add the option that sets the voxel size of the resulting transform."""
    group.add_argument(
        "--transform-spacing",
        metavar="MM|full",
        type=_transform_spacing,
        help="voxel size of the written transform, mm; full: a vector for every voxel of the fixed scan "
        "(default: full, or as fine as 200 MB allow)",
    )


def add_tolerance_option(group) -> None:
    """Add the option that sets the error that is small enough."""
    group.add_argument(
        "--tolerance",
        metavar="MM",
        type=float,
        help="error that is small enough: the verdict says in what share of the body the alignment lies within it "
        "(default: the larger of two voxels and 2 mm)",
    )


def _transform_spacing(text: str) -> float:
    """The setting that an option's value stands for."""
    if text == "full":
        return 0.0
    try:
        spacing = float(text)
    except ValueError:
        spacing = math.nan
    if not 0 < spacing < math.inf:
        raise argparse.ArgumentTypeError(f"give a positive number of mm, or full, not {text!r}.")
    return spacing


def add_quiet_option(group) -> None:
    """Add the option that silences a command."""
    group.add_argument("--quiet", action="store_true", help="say nothing unless something is wrong")


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


def read_scan(path: Path | None, args: argparse.Namespace, role: str | None = None) -> Volume | None:
    """Read a scan and print its warnings on standard error.

    Args:
        path: Of the scan.
        args: Of the command.
        role: Which of the roles of `add_reading_options` the scan has; None if it has none.

    Raises:
        InputError: As `files.images.read_volume`; also if a DICOM series has missing slices and the option is not
            given.
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
    warn(volume.warnings, path)
    return volume


def warn(sentences: Iterable[str], path: Path | None = None) -> None:
    """Print warnings on standard error, with the file that they are about."""
    for sentence in sentences if sys.stderr is not None else ():
        with contextlib.suppress(OSError):  # a full disk behind standard error
            print("genreg: warning: " + (f"{path}: " if path else "") + sentence, file=sys.stderr)


def print_last(text: str) -> None:
    """Print on standard output what a command has to say about files that it has written.

    Where that fails because a disk is full, the files are there nevertheless, so it is a warning.

    Raises:
        BrokenPipeError: Nobody reads the output any more.
    """
    if sys.stdout is None:
        return
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        warn([f"The results were written, but standard output could not be ({error.strerror or error})."])
        silence(sys.stdout)


def silence(stream: TextIO) -> None:
    """Send what is left in a stream that cannot be written to nowhere, so that the end of the process doesn't fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
