"""The figures of a report as rows of text. Missing parts of a report are left out, invalid numbers become a dash."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ..quality.measure import motion_over
from ..space.field import DisplacementField
from ..space.geometry import Geometry
from ..space.grid import canonical_axes
from .cuts import tilt_degrees

__all__ = [
    "figure_rows",
    "geometry_rows",
    "items_of",
    "length",
    "motion_rows",
    "number",
    "part_of",
    "provenance_rows",
    "rigid_rows",
    "settings_rows",
    "stage_rows",
]

DASH = "–"
STAGES = {
    "prepare": "Reading the scans",
    "linear": "Aligning position and size",
    "propose": "Looking for the deformation",
    "refine": "Refining on this pair",
    "finish": "Checking the result",
}
SETTINGS = {
    "iterations": "Iterations at the coarsest scale",
    "init": "Start of the linear alignment",
    "kind": "Kind of transform",
    "linear_only": "Linear alignment only",
    "smoothness": "Smoothness",
    "one_way": "Refined from fixed to moving only",
    "resolution_mm": "Finest voxel size, mm",
    "transform_spacing_mm": "Voxel size of the transform, mm",
    "tolerance_mm": "Tolerance, mm",
    "network": "Use of the trained network",
    "device": "Device asked for",
    "seed": "Seed",
    "threads": "CPU threads",
}
PACKAGES = {
    "genreg": "GenReg",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "simpleitk": "SimpleITK",
    "network": "Weights of the network",
}
ROUNDING_MM = 5e-4
"""Deformations below this are rounding errors, and count as none."""

OBLIQUE_DEGREES = 0.5
"""Tilt of the axes from which on it is mentioned."""


def part_of(report: Mapping, key: str) -> Mapping:
    """The mapping under a key of a report; empty if there is none."""
    part = report.get(key) if isinstance(report, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def items_of(report: Mapping, key: str) -> list:
    """The list under a key of a report; empty if there is none."""
    items = report.get(key)
    return list(items) if isinstance(items, (list, tuple)) else []


def number(value, decimals: int, unit: str = "") -> str:
    """A number as text, or a dash.

    Args:
        value: Anything; what is not a finite number becomes a dash.
        decimals: Number of decimals.
        unit: Appended to the number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return DASH
    if value and abs(value) < 0.5 * 10.0**-decimals:
        return f"under {10.0**-decimals:.{decimals}f}{unit}"
    return f"{value:.{decimals}f}{unit}"


def length(value) -> str:
    """A length in mm as text, with two significant digits below 1 mm and one decimal above; a dash if it is none."""
    small = isinstance(value, (int, float)) and 0 < abs(value) < 1
    return (f"{value:.2g}" if small else number(value, 1)) + " mm"


def figure_rows(report: Mapping) -> Iterator[tuple[str, str, str, str]]:
    """(name, value before, value after, how to read it); "before" is empty for figures with one value only."""
    before, after = (part_of(part_of(report, "similarity"), when) for when in ("before", "after"))
    for key, name, reading in (
        ("nmi", "Similarity, shared information", "Higher is more alike, whatever the contrast; 1 is unrelated."),
        ("lncc", "Similarity, local structure", "Higher is more alike; 1 is alike everywhere."),
    ):
        if before.get(key) is not None or after.get(key) is not None:
            yield name, number(before.get(key), 3), number(after.get(key), 3), reading
    landmarks = part_of(report, "landmarks")
    if landmarks:
        name = f"Landmarks apart, mean of {landmarks.get('count', DASH)}"
        distances = (length(landmarks.get(f"tre_{when}_mm")) for when in ("before", "after"))
        yield name, *distances, "Lower is better; these landmarks guided the registration."
    confidence = part_of(report, "confidence")
    if confidence:
        value = f"{length(confidence.get('mean_mm'))} mean, 95 % below {length(confidence.get('p95_mm'))}"
        yield "Expected error", "", value, "How far the alignment is probably off, inside the body."
        within = confidence.get("within_share")
        if isinstance(within, (int, float)):
            value = f"{number(100 * within, 0)} % of the body within {length(confidence.get('tolerance_mm'))}"
            yield "Expected within the tolerance", "", value, "What lies outside the moving scan is not counted."
    yield from _deformation_rows(report)


def _deformation_rows(report: Mapping) -> Iterator[tuple[str, str, str, str]]:
    jacobian = part_of(report, "jacobian")
    if jacobian:
        for key, name, reading in (
            ("folds_pct", "Folded voxels", "Must be none: no body folds over itself."),
            ("ndv_pct", "Nearly folded voxels", "The strict, one-sided test of the same."),
        ):
            share = jacobian.get(key)
            yield name, "", "none" if share == 0 else number(share, 4, " %"), reading
        low, high = number(jacobian.get("min_det"), 2), number(jacobian.get("max_det"), 2)
        yield "Local volume change", "", f"×{low} to ×{high}", "Extremes anywhere in the scan; ×1 keeps the volume."
        yield (
            "Spread of the volume change",
            "",
            number(jacobian.get("sdlogj"), 2),
            "Standard deviation of its logarithm; 0 is the same everywhere.",
        )
    inverse = part_of(report, "inverse_error")
    if inverse:
        mean, worst = (number(inverse.get(key), 2, " mm") for key in ("mean_mm", "max_mm"))
        value = f"{mean} mean, {worst} at the worst point"
        yield (
            "Inverse consistency error",
            "",
            value,
            "How far a point that is carried to the other scan and back ends from its start, at points throughout what "
            "was registered.",
        )


def motion_rows(report: Mapping, fixed: Geometry, forward: DisplacementField) -> Iterator[tuple[str, str, str, str]]:
    """Rows, as those of `figure_rows`, about the transform: its linear part, and the deformation added to it.

    Args:
        report: The report; without its "linear_matrix", the displacement as a whole is described instead.
        fixed: Grid of the fixed scan.
        forward: Displacement field, fixed -> moving, LPS mm.
    """
    matrix = _matrix(report.get("linear_matrix"))
    if matrix is None:
        yield (
            "Displacement",
            "",
            _motion(fixed, forward, None),
            "Shift, turn and deformation together, over the whole scan.",
        )
        return
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    turn = u @ vt
    angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    shift = float(np.linalg.norm(matrix[:3, :3] @ fixed.center + matrix[:3, 3] - fixed.center))
    value = f"{length(shift)} at the center, {angle:.1f}°, volume ×{abs(np.linalg.det(matrix[:3, :3])):.2f}"
    yield "Linear part", "", value, "Shift, turn and scaling of the moving scan as a whole."
    yield "Deformation", "", _motion(fixed, forward, matrix), "What is added to the linear part, over the whole scan."


def _motion(fixed: Geometry, forward: DisplacementField, linear: np.ndarray | None) -> str:
    mean, most = (0.0 if mm < ROUNDING_MM else mm for mm in motion_over(fixed, forward, linear))
    return f"{length(mean)} mean, {length(most)} at most"


def _matrix(values) -> np.ndarray | None:
    try:
        matrix = np.array(values, float)
    except (TypeError, ValueError):
        return None
    return matrix if matrix.shape == (4, 4) and np.isfinite(matrix).all() else None


def geometry_rows(fixed: Geometry, moving: Geometry) -> Iterator[tuple[str, str, str]]:
    """(property, its value for the fixed grid, its value for the moving grid)."""
    for name, words in (
        ("Voxels", lambda g: " × ".join(str(n) for n in g.size)),
        ("Voxel size, mm", lambda g: " × ".join(f"{s:.4g}" for s in g.spacing)),
        ("Extent, mm", lambda g: " × ".join(f"{e:.4g}" for e in g.extent_mm)),
        ("Axes run to", _axes),
        ("First voxel, LPS mm", lambda g: ", ".join(f"{x:.2f}" for x in g.origin)),
    ):
        yield name, words(fixed), words(moving)


def _axes(geometry: Geometry) -> str:
    """Directions in which the stored axes run, as "left, back, head", and their tilt."""
    order, sign = canonical_axes(geometry.direction)
    words = ("right", "left"), ("front", "back"), ("feet", "head")
    names = [words[order.index(axis)][int(sign[order.index(axis)] > 0)] for axis in range(3)]
    tilt = tilt_degrees(geometry)
    return ", ".join(names) + (f"; tilted by {tilt:.0f}°" if tilt >= OBLIQUE_DEGREES else "")


def rigid_rows(report: Mapping) -> Iterator[tuple[str, ...]]:
    """(label, rotation, translation, volume change, residual strain) for each body that was kept rigid."""
    for body in items_of(report, "rigid"):
        if isinstance(body, Mapping):
            shift = body.get("translation_mm")
            shift = float(np.linalg.norm(shift)) if isinstance(shift, (list, tuple)) else shift
            yield (
                str(body.get("label", DASH)),
                number(body.get("rotation_deg"), 1, "°"),
                length(shift),
                number(body.get("volume_change_pct"), 2, " %"),
                number(body.get("residual_strain_pct"), 2, " %"),
            )


def settings_rows(report: Mapping) -> Iterator[tuple[str, str]]:
    """(name, value) of every setting."""
    for key, value in part_of(report, "settings").items():
        if value is None or isinstance(value, bool):
            value = {None: "automatic", True: "yes", False: "no"}[value]
        yield SETTINGS.get(key, key.replace("_", " ")), f"{value:g}" if isinstance(value, float) else str(value)


def provenance_rows(report: Mapping) -> Iterator[tuple[str, str]]:
    """(name, value) of the registration's date, device, descriptor and software versions."""
    if isinstance(report.get("created"), str):
        yield "Registered", report["created"].replace("T", " ").replace("+00:00", " UTC")
    if report.get("device"):
        yield "Computed on", "CPU" if report["device"] == "cpu" else str(report["device"])
    if report.get("descriptor"):
        yield "Compared by", str(report["descriptor"])
    for key, version in part_of(report, "versions").items():
        yield PACKAGES.get(key, key), str(version)


def stage_rows(report: Mapping) -> Iterator[tuple[str, str, str]]:
    """(stage, seconds, peak memory in MB) of each stage, and a row with the total time."""
    stages = [stage for stage in items_of(report, "stages") if isinstance(stage, Mapping)]
    for stage in stages:
        name = str(stage.get("name"))
        yield STAGES.get(name, name), number(stage.get("seconds"), 1), number(stage.get("peak_memory_mb"), 0)
    if stages:
        yield "Together", number(report.get("seconds"), 1), ""
