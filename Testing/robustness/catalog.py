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

KNOWN = {
    "pairs without hope: 32: two organs": (
        "Two ellipsoids of 33,000 voxels with soft blobs in them are pressed into each other without strain that tissue "
        "could not have, and both directions agree: nothing that is measured so far tells them from two people's livers."
    ),
    "pairs without hope: 32: mirrored": (
        "Of a body whose header leaves no doubt about its sides nobody asks whether it fits better mirrored."
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
