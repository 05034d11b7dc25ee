"""The page: verdict, figures, pictures, the places to look at first, and settings and provenance."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch

from ..files.atomic import check_writable, replacing
from ..space.field import DisplacementField
from ..space.registrable import check_registrable
from ..space.volume import Volume
from ..version import __version__
from .contours import LINE_COLOR
from .illustrations import TILT_WORTH_SAYING, Plates
from .objective_plot import curve_svg, shares
from .render import ERROR_COLORS
from .reports import belongs, coverage, distinct, of_one_contrast
from .style import STYLE
from .table import (
    figure_rows,
    geometry_rows,
    items_of,
    motion_rows,
    part_of,
    provenance_rows,
    rigid_rows,
    settings_rows,
    stage_rows,
)
from .worst_places import PlaceToSee, body_of, places_to_see

__all__ = ["MAX_BYTES", "build_html", "write_html"]

MAX_BYTES = 3_000_000
PIXELS_TO_TRY = (96_000, 56_000, 32_000, 18_000)
"""Pixels per picture: the first number with which the page is smaller than `MAX_BYTES`; noise compresses badly."""

FULL_COVERAGE = 0.98
"""Share of the fixed scan covered by the transform below which the page warns."""

HEADINGS = {
    "trustworthy": "The result looks trustworthy.",
    "check": "Look at the result before you use it.",
    "failed": "Do not use this result.",
}
SIGNS = {
    "trustworthy": '<circle cx="12" cy="12" r="11" fill="#1a7f4b"/>'
    '<path d="M6 12.5l4 4 8-9" fill="none" stroke="#fff" stroke-width="3"/>',
    "check": '<path d="M12 1L23.5 22H.5z" fill="#c77700"/><path d="M12 8v7M12 17v3" stroke="#fff" stroke-width="2.6"/>',
    "failed": '<circle cx="12" cy="12" r="11" fill="#c0271f"/>'
    '<path d="M7 7l10 10M17 7L7 17" stroke="#fff" stroke-width="3"/>',
}
"""The shapes differ too, so that they can be told apart without color."""

PROMISE = (
    "The verdict says whether anything that can be measured without a reference speaks against the alignment. It is no "
    "promise that every structure is aligned: look at the pictures below."
)
ORIENTED = "Middle of the body, in radiological convention: R right, L left, A front, P back, S head, I feet. "
BLENDED = (
    'In the pictures of both scans the fixed one is <span class="key" style="background:#00b400"></span>green and the '
    'moving one <span class="key" style="background:#d000d0"></span>magenta; gray is where both are equally bright. '
)
LINES = (
    "The scans show the same tissue differently. In the pictures of both, the lines "
    '<span class="key" style="background:{color}"></span> are edges of the {lines} scan over the {under} scan in gray; '
    "where the scans are aligned, they follow what lies under them. "
)
READING = (
    "The grid is a regular one of the moving scan, as the transform brings it onto the fixed scan: where it stays "
    "square, nothing is deformed."
)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Forbids browsers to load anything, whatever the page contains."""


def build_html(
    fixed: Volume,
    moving: Volume,
    forward: DisplacementField,
    report: Mapping,
    *,
    confidence: Volume | None = None,
    worst: Iterable | None = None,
    names: Sequence[str] | None = None,
) -> str:
    """Make one self-contained HTML page about a registration, without scripts and external resources.

    Args:
        fixed: The fixed scan.
        moving: The moving scan at the position at which it was registered.
        forward: Displacement field, fixed -> moving, LPS mm, on any grid in the fixed frame.
        report: As returned by `quality.report.build_report` or `measured_report`; missing parts are left out.
        confidence: Expected error, mm, on any grid in the fixed frame; None if it was not estimated.
        worst: `quality.maps.Place` objects or mappings (see `worst_places.places_to_see`); None takes them from
            `confidence`.
        names: Names of the fixed and the moving scan; without them, the page contains no names of files or patients.

    Returns:
        The page, normally under 3 MB.

    Raises:
        InputError: A scan is constant or not finite.
    """
    fixed, moving = check_registrable(fixed, "fixed"), check_registrable(moving, "moving")
    with torch.inference_mode():
        body = body_of(fixed)
        one_contrast = of_one_contrast(report, fixed, moving, forward)
        plates = Plates(
            fixed, moving, forward, confidence, body, one_contrast=one_contrast, tolerance_mm=_tolerance(report)
        )
        places = places_to_see(worst, confidence, fixed.geometry, body)
        below = _places(plates, places, known=worst is not None or confidence is not None)
        above = _head(report, names) + _verdict(report, fixed, moving, forward)
        above += _figures(report, fixed, moving, forward, names)
        below += _course(report) + _provenance(report) + _foot(names)
        for pixels in PIXELS_TO_TRY:
            page = f"{above}{_pictures(plates, pixels)}{below}</body>\n</html>\n"
            if len(page.encode()) < MAX_BYTES:
                break
    return page


def _head(report: Mapping, names: Sequence[str] | None) -> str:
    title = "Registration report"
    if names:
        title += f": {names[1]} to {names[0]}"
    version = part_of(report, "versions").get("genreg", __version__)
    created = str(report.get("created") or "")[:10]
    line = " · ".join(part for part in (f"GenReg {version}", created) if part)
    scans = f"<p>Moving scan <b>{escape(names[1])}</b> onto fixed scan <b>{escape(names[0])}</b></p>" if names else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<header><h1>Registration report</h1><p>{escape(line)}</p>{scans}</header>\n"
    )


def _verdict(report: Mapping, fixed: Volume, moving: Volume, forward: DisplacementField) -> str:
    verdict = part_of(report, "verdict")
    status = verdict.get("status") if verdict.get("status") in HEADINGS else None
    sign = f'<svg viewBox="0 0 24 24" aria-hidden="true">{SIGNS[status]}</svg>' if status else ""
    warnings = [str(sentence) for sentence in items_of(report, "warnings")]
    covered = coverage(forward, fixed.geometry)
    if covered < FULL_COVERAGE:
        warnings.append(f"The transform covers {100 * covered:.0f} % of the fixed scan; beyond it nothing is moved.")
    if not report.get("inputs"):
        warnings.append("The report says nothing about the scans, so it is not certain that it belongs to them.")
    elif not belongs(report, fixed.geometry, moving.geometry):
        warnings.append("The report was made for scans of other voxels or at other places than those pictured here.")
    heading, reasons = HEADINGS.get(status, "The result was not judged."), distinct(items_of(verdict, "reasons"))
    warnings = distinct(warnings, reasons)
    return (
        f'<section class="verdict {status or "unjudged"}"><h2>{sign}{heading}</h2>'
        + _sentences(reasons)
        + (f"<p><b>To know about the scans and the run</b></p>{_sentences(warnings)}" if warnings else "")
        + f'</section>\n<p class="hint">{PROMISE}</p>\n'
    )


def _sentences(sentences: Iterable) -> str:
    items = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _figures(report: Mapping, fixed: Volume, moving: Volume, forward: DisplacementField, names) -> str:
    rows = ""
    for name, before, after, reading in (*figure_rows(report), *motion_rows(report, fixed.geometry, forward)):
        cells = f"<td>{escape(before)}</td><td>" if before else '<td colspan="2">'
        cells += f"{escape(after)}</td>"
        rows += f'<tr><th scope="row">{escape(name)}</th>{cells}<td class="reading">{escape(reading)}</td></tr>'
    rigid = list(rigid_rows(report))
    kept = _table("Kept rigid", ("Label", "Turn", "Shift", "Volume change", "Strain left"), rigid) if rigid else ""
    columns = (
        "",
        *(
            f"{role.capitalize()} scan" + (f": {name}" if name else "")
            for role, name in zip(("fixed", "moving"), names or ("", ""))
        ),
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Before", "After", "How to read it"))
    return (
        '<section><h2>Figures</h2><table class="figures">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{kept}"
        f"</section>\n<section><h2>Scans</h2>{_table('', columns, geometry_rows(fixed.geometry, moving.geometry))}"
        "</section>\n"
    )


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _tolerance(report: Mapping) -> float | None:
    """The tolerance that the report was judged by, or None."""
    value = part_of(report, "confidence").get("tolerance_mm")
    return float(value) if isinstance(value, (int, float)) and 0 < value < math.inf else None


def _pictures(plates: Plates, pixels: int) -> str:
    text = ORIENTED + _both(plates) + READING
    if plates.tilt >= TILT_WORTH_SAYING:
        text += f" The planes follow the fixed scan's own axes, tilted by up to {plates.tilt:.0f}° from the body's."
    if plates.error_mm is not None:
        stops = ", ".join(map(_hex, ERROR_COLORS))
        scale = f'<span class="scale" style="background:linear-gradient(to right, {stops})"></span>'
        text += f" Expected error: 0 {scale} {plates.error_mm:.3g} mm (three times the tolerance) and more."
        text += " Where nothing was judged there is no color."
    return (
        f'<section class="newpage"><h2>Before and after</h2><p class="hint">{text}</p>'
        f"{plates.planes(pixels)}</section>\n"
    )


def _both(plates: Plates) -> str:
    """How to read the pictures of both scans."""
    if plates.lines_of is None:
        return BLENDED
    under = "moving" if plates.lines_of == "fixed" else "fixed"
    return LINES.format(color=_hex(LINE_COLOR), lines=plates.lines_of, under=under)


def _hex(color: np.ndarray) -> str:
    """A color, red, green and blue from 0 to 1, as CSS writes it."""
    return "#" + bytes(np.rint(255 * color).astype(np.uint8)).hex()


def _places(plates: Plates, places: Sequence[PlaceToSee], *, known: bool) -> str:
    if places:
        text = "Where the alignment is least certain, the worst first. The mark leaves the place itself free."
    elif known:
        text = "The map of the expected error singles out no place."
    else:
        text = "The expected error was not estimated, so no place is singled out."
    first, *rest = [plates.place(number, place) for number, place in enumerate(places, 1)] or [""]
    head = f'<div class="keep"><h2>Where to look first</h2><p class="hint">{text}</p>{first}</div>'
    return f"<section>{head}{''.join(rest)}</section>\n"


def _course(report: Mapping) -> str:
    values = shares(entry for entry in items_of(report, "objective") if isinstance(entry, Mapping))
    if len(values) < 2:
        return ""
    return (
        '<section class="keep"><h2>Course of the refinement</h2><p class="hint">The mismatch that is left, from coarse '
        f"to fine scales; a curve that still falls at its end had more to gain.</p>{curve_svg(values)}</section>\n"
    )


def _provenance(report: Mapping) -> str:
    tables = [
        _table(caption, columns, rows)
        for caption, columns, rows in (
            ("Settings", ("Setting", "Value"), list(settings_rows(report))),
            ("Provenance", ("What", "Value"), list(provenance_rows(report))),
            ("Stages", ("Stage", "Seconds", "Peak MB"), list(stage_rows(report))),
        )
        if rows
    ]
    body = f'<div class="triple">{"".join(tables)}</div>' if tables else ""
    body += _notes(report)
    return f"<section><h2>How it was made</h2>{body}</section>\n" if body else ""


def _notes(report: Mapping) -> str:
    """What was not said above already; what is for programs is there for those who unfold it."""
    said = [*items_of(part_of(report, "verdict"), "reasons"), *items_of(report, "warnings")]
    details = [str(detail) for detail in items_of(report, "details")]
    notes = _sentences(distinct((note for note in items_of(report, "notes") if note not in details), said))
    notes = f"<h3>Notes</h3>{notes}" if notes else ""
    hidden = _sentences(distinct(details))
    return notes + (f"<details><summary>For programs and developers</summary>{hidden}</details>" if hidden else "")


def _foot(names: Sequence[str] | None) -> str:
    made = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    private = "" if names else " It holds no patient's name, no file name and no identifier."
    return (
        '<div class="sign"><span>Reviewed by</span><span>Date</span><span>Decision</span></div>\n'
        "<footer>Positions are of the fixed scan, in mm; the transform maps fixed points to moving points. This page "
        f"is complete in itself and loads nothing.{private} Page made {made} UTC.</footer>\n"
    )


def write_html(page: str, path: str | Path) -> None:
    """Write a page; the file appears only when it is complete.

    Args:
        page: The page, as `build_html` returns it.
        path: Where it is written; must end in .html.

    Raises:
        InputError: The ending is not .html, or the folder is missing or read-only.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "page")
    content = page.encode("utf-8")
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)
