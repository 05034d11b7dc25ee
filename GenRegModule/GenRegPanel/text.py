"""The panel's texts: times, memory, a report's verdict and figures, and errors as one sentence."""

import contextlib
import html
import logging

from slicer.i18n import tr as _

__all__ = [
    "asGenRegError",
    "duration",
    "errorsShown",
    "figureRows",
    "memory",
    "rowsAsHtml",
    "showError",
    "stageName",
    "timeLeft",
    "verdictHtml",
]

MINUTE, HOUR = 60, 3600
ALMOST_DONE_S = 2.0
EXACT_MINUTES = 10
"""From this many minutes on, times are rounded to five minutes."""


def duration(seconds):
    """A duration as text: "about 12 s", "about 3 min", "about 1 h 20 min"."""
    seconds = max(float(seconds), 1.0)
    if seconds < 20:
        return _("about {count} s").format(count=round(seconds))
    if seconds < 1.5 * MINUTE:
        return _("about {count} s").format(count=5 * round(seconds / 5))
    if seconds < 55 * MINUTE:
        minutes = seconds / MINUTE
        minutes = round(minutes) if minutes < EXACT_MINUTES else 5 * round(minutes / 5)
        return _("about {count} min").format(count=minutes)
    hours, minutes = divmod(5 * round(seconds / MINUTE / 5), 60)
    if minutes == 0:
        return _("about {hours} h").format(hours=hours)
    return _("about {hours} h {minutes} min").format(hours=hours, minutes=minutes)


def timeLeft(seconds):
    """The remaining time as text: "about 12 s left"; empty if it is None."""
    if seconds is None:
        return ""
    if seconds < ALMOST_DONE_S:
        return _("almost done")
    return _("{duration} left").format(duration=duration(seconds))


def memory(count):
    """A number of bytes as text: "0.4 GB", "12 GB"."""
    gigabytes = count / 1e9
    return f"{max(gigabytes, 0.1):.1f} GB" if gigabytes < 10 else f"{gigabytes:.0f} GB"


def stageName(stage):
    """The description of a stage of the engine for the user."""
    return {
        "prepare": _("Reading the scans"),
        "linear": _("Aligning position and size"),
        "propose": _("Looking for the deformation"),
        "refine": _("Refining on this pair"),
        "finish": _("Checking the result"),
    }.get(stage, stage)


def verdictHtml(report):
    """The verdict as HTML: a heading in bold, and one line for each reason."""
    verdict = report.get("verdict") or {}
    heading = {
        "trustworthy": _("The result looks trustworthy."),
        "check": _("Look at the result before you use it."),
        "failed": _("Do not use this result."),
    }.get(verdict.get("status"), _("The result was not judged."))
    reasons = "".join(f"<br>{html.escape(reason)}" for reason in verdict.get("reasons", ()))
    return f"<b>{html.escape(heading)}</b>{reasons}"


def figureRows(report):
    """The figures behind the verdict.

    Args:
        report: The engine's report; missing figures are left out.

    Returns:
        (name, value) pairs of plain text.
    """
    rows = [*_similarityRows(report.get("similarity")), *_deformationRows(report)]
    landmarks = report.get("landmarks")
    if landmarks:
        rows.append(
            (
                _("Landmark error (mean of {count})").format(count=landmarks["count"]),
                _("{before} mm before, {after} mm after").format(
                    before=_figure(landmarks["tre_before_mm"], 1), after=_figure(landmarks["tre_after_mm"], 1)
                ),
            )
        )
    confidence = report.get("confidence")
    if confidence:
        rows.append(
            (
                _("Expected error"),
                _("{mean} mm mean, 95\u00a0% below {most} mm").format(
                    mean=_figure(confidence["mean_mm"], 1), most=_figure(confidence["p95_mm"], 1)
                ),
            )
        )
    if report.get("seconds") is not None:
        seconds, where = _seconds(report["seconds"]), _device(report.get("device") or "")
        rows.append((_("Computed"), _("in {seconds} s on {device}").format(seconds=seconds, device=where)))
    return rows


def rowsAsHtml(rows, notes=()):
    """(name, value) pairs as an HTML table without borders, with notes below it."""
    cells = "".join(
        f'<tr><td style="padding-right:12px">{html.escape(name)}</td><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"<table cellspacing='0' cellpadding='1'>{cells}</table>{below}"


def _similarityRows(similarity):
    if not similarity:
        return []
    names = {"nmi": _("Similarity, shared information"), "lncc": _("Similarity, local structure")}
    before, after = similarity.get("before") or {}, similarity.get("after") or {}
    return [
        (name, _("{before} before, {after} after").format(before=_figure(before[key], 3), after=_figure(after[key], 3)))
        for key, name in names.items()
        if before.get(key) is not None and after.get(key) is not None
    ]


def _deformationRows(report):
    rows = []
    jacobian = report.get("jacobian")
    if jacobian:
        folds = jacobian["folds_pct"]
        rows.append((_("Folded voxels"), _("none") if folds == 0 else _("{share} %").format(share=f"{folds:.2g}")))
        rows.append(
            (
                _("Local volume"),
                _("×{low} to ×{high}").format(
                    low=_figure(jacobian["min_det"], 2), high=_figure(jacobian["max_det"], 2)
                ),
            )
        )
        rows.append((_("Log-Jacobian spread"), _figure(jacobian["sdlogj"], 2)))
    inverse = report.get("inverse_error")
    if inverse:
        rows.append(
            (
                _("Inverse error"),
                _("{mean} mm mean, {most} mm at most").format(
                    mean=_figure(inverse["mean_mm"], 2), most=_figure(inverse["max_mm"], 2)
                ),
            )
        )
    return rows


def _figure(value, decimals):
    return "–" if value is None else f"{value:.{decimals}f}"


def _seconds(value):
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _device(name):
    return _("the CPU") if name == "cpu" else name


def showError(error):
    """Show an error's message; nothing is shown for a canceled run, which is not an error."""
    import slicer

    from GenRegLogic.errors import Cancelled

    if not isinstance(error, Cancelled):
        slicer.util.errorDisplay(str(error), windowTitle=_("GenReg"))


def asGenRegError(error):
    """Any exception as a `GenRegError` with a message for the user; details of unexpected ones are logged.

    Returns:
        A `GenRegError`: the error itself if it is one.
    """
    from GenRegLogic.errors import GenRegError, ResourceError

    if isinstance(error, GenRegError):
        return error
    logging.error("GenReg: %s: %s", type(error).__name__, error, exc_info=error)
    if isinstance(error, MemoryError):
        return ResourceError(
            _("There is not enough memory; close other programs, or crop or resample the scans, and try again.")
        )
    return GenRegError(_("Something unexpected went wrong; the details are in the error log (menu View)."))


@contextlib.contextmanager
def errorsShown():
    """Context that shows any exception as one sentence and suppresses it."""
    try:
        yield
    except Exception as error:  # nothing further up would show it to the user
        showError(asGenRegError(error))
