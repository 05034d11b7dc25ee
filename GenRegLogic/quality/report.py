"""The report of a registration: every figure, where it came from, and the verdict, as plain JSON.

Its layout is documented by `report.schema.json` beside this file and has a version. A report holds no file name, no
patient's name and no path: only geometry, settings and figures, so that it can be passed on.
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

from ..errors import Detail
from ..files.atomic import check_writable, replacing
from ..space.geometry import Geometry
from ..space.volume import Volume
from ..version import __version__
from .calibration import summed_up
from .verdict import verdict

__all__ = [
    "SCHEMA_VERSION",
    "ReportFigures",
    "build_report",
    "error_figures",
    "guessed",
    "plain",
    "record_stages",
    "verdict",
    "versions",
    "write_report",
]

SCHEMA_VERSION = 1
"""Increased when a key changes its meaning or is removed; not for new keys, which a reader may ignore."""

DEPENDENCIES = ("torch", "numpy", "SimpleITK")
"""Packages whose versions can change a result."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReportFigures:
    """What a report is made of.

    Attributes:
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
        transform: What `spacing.transform_figures` returns: grid of the forward field, and its error where that is
            coarser than the fixed scan's; None where it was not measured.
        stages: {"name", "seconds", "peak_memory_mb"} per stage, in order; `record_stages` adds them later.
        inverse_error: {"mean_mm", "max_mm"} inside the body, or None where no inverse was computed.
        confidence: What `error_figures` returns for the expected error inside the body; None where it was not
            estimated.
        landmarks: {"count", "tre_before_mm", "tre_after_mm"}, or None where none were given.
        judged: {"share"} of the fixed scan's structures that was compared; None where a mask was given.
        rigid: What `rigidity.rigid_figures` returns for bodies that were kept rigid, or None where none were.
        repair: Figures of a local repair (see `repair.repair`), or None for a whole registration.
        stopped_early: The caller answered "keep": stop, and keep the best result so far.
        given_up: Why the deformation was given up, where its folding could not be repaired; otherwise None.
        warnings: Sentences about the inputs and the run that the user has to know.
        notes: Sentences that explain choices, such as a coarser working grid for lack of memory; those of the class
            `errors.Detail` are for programs, and the key "details" names them.
    """

    fixed: Geometry
    moving: Geometry
    settings: object
    device: str
    descriptor: str
    linear_matrix: np.ndarray
    objective: Sequence[Mapping]
    similarity_before: Mapping
    similarity_after: Mapping
    jacobian: Mapping
    stages: Sequence[Mapping] = ()
    transform: Mapping | None = None
    inverse_error: Mapping | None = None
    confidence: Mapping | None = None
    landmarks: Mapping | None = None
    judged: Mapping | None = None
    rigid: Sequence[Mapping] | None = None
    repair: Mapping | None = None
    stopped_early: bool = False
    given_up: str | None = None
    warnings: Iterable[str] = ()
    notes: Iterable[str] = ()

    def to_dict(self) -> dict:
        """The keys of the report that follow from the figures alone, in their order; values may be arrays."""
        return {
            "device": self.device,
            "inputs": {"fixed": self.fixed.to_dict(), "moving": self.moving.to_dict()},
            "settings": self.settings,
            "descriptor": self.descriptor,
            "linear_matrix": self.linear_matrix,
            "stages": [],
            "seconds": 0.0,
            "objective": list(self.objective),
            "similarity": {"before": self.similarity_before, "after": self.similarity_after},
            "jacobian": self.jacobian,
            "transform": self.transform,
            "inverse_error": self.inverse_error,
            "confidence": self.confidence,
            "landmarks": self.landmarks,
            "judged": self.judged,
            "rigid": self.rigid,
            "repair": self.repair,
            "stopped_early": self.stopped_early,
            "given_up": self.given_up,
            "warnings": list(dict.fromkeys(self.warnings)),
            "guessed": guessed(self.warnings),
            "notes": list(dict.fromkeys(self.notes)),
            "details": list(dict.fromkeys(str(note) for note in self.notes if isinstance(note, Detail))),
        }


def guessed(warnings: Iterable[str]) -> list[str]:
    """Those of the sentences that say that a place or a value was guessed, for the key "guessed" of a report."""
    return list(dict.fromkeys(str(sentence) for sentence in warnings if getattr(sentence, "guessed", False)))


def build_report(**figures) -> dict:
    """Assemble the report with its verdict, as plain JSON values.

    Args:
        **figures: The attributes of `ReportFigures`, by name.

    Returns:
        The report. Values that are not finite are None, because JSON cannot express them.
    """
    parts = ReportFigures(**figures)
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    report = {"schema_version": SCHEMA_VERSION, "created": created, "versions": versions(), **plain(parts.to_dict())}
    report["seed"] = report["settings"].get("seed")
    record_stages(report, parts.stages)
    status, reasons = verdict(report)
    return report | {"verdict": {"status": status, "reasons": reasons}}


def error_figures(confidence: Volume, body: np.ndarray, voxel_mm: float, tolerance_mm: float) -> dict | None:
    """The expected error summed up, for the key "confidence" of a report.

    Args:
        confidence: Expected error, mm, as `confidence.expected_error_of` returns it; 0 where nothing was judged.
        body: (k, j, i) bool, the fixed body on its grid.
        voxel_mm: Mean spacing of the coarser of the two scans.
        tolerance_mm: The error that is small enough.

    Returns:
        None where nothing was judged; else what `calibration.summed_up` returns for the judged places, "judged_share"
        (of the body), and "grid_mm", the voxel edge of the grid.
    """
    errors = confidence.array[body & (confidence.array > 0)]
    if errors.size == 0:
        return None
    return summed_up(errors, tolerance_mm, voxel_mm) | {
        "judged_share": errors.size / int(body.sum()),
        "grid_mm": float(confidence.geometry.spacing[0]),
    }


def record_stages(report: dict, stages: Sequence[Mapping]) -> None:
    """Put the stages and their total time into a report.

    Separate from `build_report`, because building the report is part of the last stage, which ends only afterward.

    Args:
        report: Changed in place.
        stages: {"name", "seconds", "peak_memory_mb"} per stage, in order.
    """
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

    Args:
        report: Arrays and dataclasses in it become lists and objects, as `plain` does it.
        path: Ends in .json.

    Raises:
        InputError: The ending is not .json, or the folder is missing or read-only.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "report")
    text = json.dumps(plain(report), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def plain(value):
    """The value in JSON's own types: arrays to lists, dataclasses to objects, NaN and infinity to None.

    Raises:
        TypeError: The value, or one inside it, is of a type that has no counterpart in JSON.
    """
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
