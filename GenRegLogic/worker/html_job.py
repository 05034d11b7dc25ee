"""The worker's job "html": a registration on one page. Loads torch."""

from __future__ import annotations

import numpy as np

from ..htmlreport import build_html, measured_report
from ..space.field import DisplacementField
from ..space.volume import Geometry, Volume
from .jobs import Outcome
from .server import JobControl

__all__ = ["run_html"]


def run_html(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Make the page about a registration.

    Args:
        parameters: "fixed", "moving" and "field" (grids, as `Geometry.to_dict` writes them); "report", as `register`
            made it, or else the figures are measured; perhaps "confidence" (its grid), "worst" (as the job "maps"
            lists them) and "names" ([fixed, moving], which the page names only then).
        arrays: "fixed" and "moving" (k, j, i), "field" (k, j, i, 3), LPS mm, fixed -> moving, on any grid; perhaps
            "confidence" (k, j, i) mm.
        control: Answers.

    Returns:
        A report of "html", the page.

    Raises:
        InputError: A scan is constant or not finite.
    """
    fixed, moving, confidence = (
        Volume(arrays[name], Geometry.from_dict(parameters[name])) if name in arrays else None
        for name in ("fixed", "moving", "confidence")
    )
    field = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
    control.check()
    report = parameters.get("report") or measured_report(fixed, moving, field, confidence=confidence)
    control.check()
    page = build_html(
        fixed,
        moving,
        field,
        report,
        confidence=confidence,
        worst=parameters.get("worst"),
        names=parameters.get("names"),
    )
    return Outcome({"html": page})
