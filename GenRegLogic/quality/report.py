"""The report of a registration: every figure, where it came from, and the verdict, as plain JSON.

One documented layout, `report.schema.json` beside this file, with a version. A report holds no file name, no patient's
name and no path: geometry, settings and figures only, so that it can be passed on.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from ..files.atomic import check_writable, replacing
from ..space.geometry import Geometry
from ..version import __version__
from .verdict import verdict

__all__ = ["SCHEMA_VERSION", "build_report", "plain", "record_stages", "verdict", "versions", "write_report"]

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes; new keys that a reader may ignore do not raise it."""

DEPENDENCIES = ("torch", "numpy", "SimpleITK")
"""Packages whose versions can change a result."""


def build_report(
    *,
    fixed: Geometry,
    moving: Geometry,
    settings,
    device: str,
    descriptor: str,
    linear_matrix: np.ndarray,
    objective: Sequence[Mapping],
    similarity_before: Mapping,
    similarity_after: Mapping,
    jacobian: Mapping,
    stages: Sequence[Mapping] = (),
    inverse_error: Mapping | None = None,
    confidence: Mapping | None = None,
    landmarks: Mapping | None = None,
    rigid: Sequence[Mapping] | None = None,
    repair: Mapping | None = None,
    stopped_early: bool = False,
    given_up: str | None = None,
    warnings: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> dict:
    """Assemble the report, judge it, and return it as plain JSON values.

    Args:
        fixed: Geometry of the fixed scan.
        moving: Geometry of the moving scan.
        settings: The `Settings` of the run (a dataclass or a mapping) as they were resolved.
        device: The device by its name, "cpu" or "cuda:0 (name of the card)".
        descriptor: What the scans were compared by, as chosen from the data.
        linear_matrix: (4, 4), LPS mm, fixed -> moving.
        objective: {"level", "iteration", "objective"} per iteration, in order; lower is better.
        similarity_before: {"nmi", "lncc"} of the scans by their headers alone.
        similarity_after: The same after the whole transform.
        jacobian: What `space.jacobian.jacobian_figures` returns for the forward field.
        stages: {"name", "seconds", "peak_memory_mb"} per stage, in order; `record_stages` puts them in later.
        inverse_error: {"mean_mm", "max_mm"} inside the body, or None where no inverse was made.
        confidence: {"mean_mm", "median_mm", "p95_mm"} of the expected error inside the body, and "grid_mm", the voxel
            edge of the grid it is estimated on; None where it was not estimated.
        landmarks: {"count", "tre_before_mm", "tre_after_mm"}, or None where none were given.
        rigid: What `rigidity.rigid_figures` returns for bodies that were kept rigid, or None where none were.
        repair: Figures of a local repair (see `repair.repair`), or None for a whole registration.
        stopped_early: The caller said "keep the best so far".
        given_up: Why the deformation was given up, where it folded beyond repair.
        warnings: Sentences about the inputs and the run that the user has to know.
        notes: Sentences that explain choices, such as a smaller plan for want of memory.

    Returns:
        The report. Values that are not finite stand as None, as JSON has no word for them.
    """
    report = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": versions(),
            "device": device,
            "inputs": {"fixed": fixed.to_dict(), "moving": moving.to_dict()},
            "settings": settings,
            "descriptor": descriptor,
            "linear_matrix": linear_matrix,
            "stages": [],
            "seconds": 0.0,
            "objective": list(objective),
            "similarity": {"before": similarity_before, "after": similarity_after},
            "jacobian": jacobian,
            "inverse_error": inverse_error,
            "confidence": confidence,
            "landmarks": landmarks,
            "rigid": rigid,
            "repair": repair,
            "stopped_early": stopped_early,
            "given_up": given_up,
            "warnings": list(dict.fromkeys(warnings)),
            "notes": list(dict.fromkeys(notes)),
        }
    )
    report["seed"] = report["settings"].get("seed")
    record_stages(report, stages)
    status, reasons = verdict(report)
    return report | {"verdict": {"status": status, "reasons": reasons}}


def record_stages(report: dict, stages: Sequence[Mapping]) -> None:
    """Put the stages into a report: what makes the report belongs to the last of them, which ends only afterward."""
    report["stages"] = plain(list(stages))
    report["seconds"] = plain(sum(stage["seconds"] for stage in stages))


def versions() -> dict[str, str]:
    """Versions of GenReg, Python and the packages that can change a result."""
    return {
        "genreg": __version__,
        "python": platform.python_version(),
        **{name.lower(): _installed_version(name) for name in DEPENDENCIES},
    }


def write_report(report: Mapping, path: str | Path) -> None:
    """Write a report as indented JSON; the file appears only when it is complete.

    Raises:
        InputError: The ending is not .json, or the folder is missing or read-only.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "report")
    text = json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def plain(value):
    """The value in JSON's own types: arrays to lists, dataclasses to objects, NaN and infinity to None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def _installed_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # a copy without its metadata, as some applications bundle it
        return "unknown"
