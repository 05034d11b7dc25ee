"""All cases, and those that are known to fall short, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from . import commands, faults, formats, headers, interface, scans
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

SOFT = (
    "Ellipsoids with soft blobs in them are pressed into each other with no more strain than tissue has, and both "
    "directions agree: nothing that is measured so far tells them from the livers of two people."
)
KNOWN = {
    "pairs without hope: 32: turned by a quarter": SOFT,
}
"""By the beginning of the name, as `str(case)` gives it: what GenReg does not master yet, and why."""


def all_cases() -> Iterator[Case]:
    """Every case, kind by kind; `Case.subset` says which are in the test suite."""
    for room in (formats, headers, scans, commands, faults, interface):
        yield from room.cases()


def known(case: Case) -> str | None:
    """The reason why a case is known to fall short, or None."""
    return next((why for name, why in KNOWN.items() if str(case).startswith(name)), None)
