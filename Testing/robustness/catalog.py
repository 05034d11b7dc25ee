"""All cases, and those that are known to fall short, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from . import commands, faults, formats, headers, scans
from .trial import Case

__all__ = ["KINDS", "KNOWN", "all_cases", "known"]

KINDS = (
    "formats",
    "headers",
    "geometry",
    "intensity",
    "pairs without hope",
    "options",
    "outputs",
    "process",
    "Python",
    "worker",
)

SMALL = (
    "Pairs of 20 voxels on an edge that cannot belong together are called trustworthy: the expected error was "
    "calibrated on bodies of 100,000 voxels, and in so few voxels one shape can be pressed into another."
)
KNOWN = {
    "pairs without hope: two organs": SMALL,
    "pairs without hope: mirrored": SMALL,
    "pairs without hope: turned by a quarter": SMALL,
    "pairs without hope: boxes of different walls 0": SMALL,
    "pairs without hope: noise in a box and an organ 2": SMALL,
    "formats: enhanced DICOM, as text with other line ends": (
        "Bytes put in between the voxels of a DICOM file shift them unnoticed: what follows the voxels has no fixed "
        "length."
    ),
}
"""By the beginning of the name, as `str(case)` gives it: what GenReg does not master yet, and why."""


def all_cases() -> Iterator[Case]:
    """Every case, kind by kind; `Case.subset` says which are in the test suite."""
    for room in (formats, headers, scans, commands, faults):
        yield from room.cases()


def known(case: Case) -> str | None:
    """The reason why a case is known to fall short, or None."""
    return next((why for name, why in KNOWN.items() if str(case).startswith(name)), None)
