"""The report from which a page is made: read from a file, or measured from scans and transform."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..evaluate import evaluate
from ..files.reading import existing_file
from ..quality.findings import level_for
from ..quality.report import error_figures, guessed, plain, verdict, versions
from ..quality.verdict import default_tolerance
from ..space.field import DisplacementField
from ..space.geometry import Geometry
from ..space.inverse import fit_affine
from ..space.volume import Volume
from ..stages.prepare import prepare
from ..stages.schedule import INTENSITY, contrast_agreement, measure_for
from .worst_places import body_of, inside_body

__all__ = ["check_report", "distinct", "measured_report", "of_one_contrast", "read_report"]

MEASURED_NOTE = (
    "The page was made from the scans and the transform alone: the figures were measured afterward, and how the "
    "transform was made is not known."
)


def read_report(path: str | Path) -> dict:
    """Read the report that `genreg register --report FILE.json` wrote.

    Raises:
        InputError: The file is missing, is not JSON, or is not a report.
    """
    path = existing_file(path)
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON; give the report that 'genreg register --report' wrote.") from None
    verdict_part = report.get("verdict") if isinstance(report, Mapping) else None
    if not isinstance(verdict_part, Mapping) or "status" not in verdict_part or "inputs" not in report:
        raise InputError(f"{path} is not a report; give the one that 'genreg register --report' wrote.")
    return report


def distinct(sentences: Iterable, said: Iterable = ()) -> list[str]:
    """The sentences once each, without those that were said before.

    Only equal ones: a warning must not be lost because it resembles another one.

    Example:
        >>> distinct(["A slice is missing.", "A slice is double.", "A slice is missing."], said=["A slice is double."])
        ['A slice is missing.']
    """
    known = set(map(str, said))
    return [sentence for sentence in dict.fromkeys(map(str, sentences)) if sentence not in known]


def of_one_contrast(report: Mapping, fixed: Volume, moving: Volume, forward: DisplacementField) -> bool:
    """Whether tissue that is brighter in one scan is brighter in the other too, so that blending them shows errors.

    Args:
        report: Its key "descriptor" tells; without it the scans are compared, in the way a registration does.
        fixed: The fixed scan.
        moving: The moving scan.
        forward: Displacement field, fixed -> moving, LPS mm.
    """
    descriptor = report.get("descriptor")
    if isinstance(descriptor, str) and descriptor:
        return descriptor.startswith(INTENSITY)
    cpu, linear = torch.device("cpu"), fit_affine(forward).matrix
    a, b = (prepare(scan, mask=None, device=cpu, role=role) for scan, role in ((fixed, "fixed"), (moving, "moving")))
    level, _, u = level_for(a, b, forward, linear)
    return measure_for(contrast_agreement(level, a, linear, u)) == INTENSITY


def check_report(report: Mapping, fixed: Geometry, moving: Geometry) -> None:
    """Check that a report was made for scans with these grids, so that no page shows the figures of other scans.

    Args:
        report: The report.
        fixed: Grid of the fixed scan.
        moving: Grid of the moving scan.

    Raises:
        InputError: The report was made for other scans, or does not describe its scans.
    """
    for role, geometry in (("fixed", fixed), ("moving", moving)):
        try:
            reported = Geometry.from_dict(report["inputs"][role])
        except (KeyError, TypeError, ValueError, InputError):
            raise InputError(f"The report does not say what the {role} scan was; make it again.") from None
        if not reported.is_close(geometry):
            raise InputError(
                f"The report was made for another {role} scan (its voxels lie elsewhere); give the scans and the "
                "report of one registration."
            )


def belongs(report: Mapping, fixed: Geometry, moving: Geometry) -> bool:
    """Whether a report was made for scans with these grids."""
    try:
        check_report(report, fixed, moving)
    except InputError:
        return False
    return True


def measured_report(
    fixed: Volume,
    moving: Volume,
    forward: DisplacementField,
    *,
    confidence: Volume | None = None,
    tolerance_mm: float | None = None,
) -> dict:
    """Make the part of a report that can be measured: geometry, similarity, folding, inverse error, verdict.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        forward: Displacement field, fixed -> moving, LPS mm.
        confidence: Expected error, mm, or None.
        tolerance_mm: The error that is small enough; None takes `quality.verdict.default_tolerance`.

    Raises:
        InputError: A scan is constant or not finite.
    """
    figures = evaluate(fixed, moving, forward)
    report = plain(
        {
            "versions": versions(),
            "inputs": {"fixed": fixed.geometry.to_dict(), "moving": moving.geometry.to_dict()},
            "similarity": {
                when: {name: figures[f"{name}_{when}"] for name in ("nmi", "lncc")} for when in ("before", "after")
            },
            "linear_matrix": fit_affine(forward).matrix,
            "jacobian": {name: figures[name] for name in ("folds_pct", "ndv_pct", "sdlogj", "min_det", "max_det")},
            "inverse_error": {"mean_mm": figures["inverse_mean_mm"], "max_mm": figures["inverse_max_mm"]},
            "confidence": None if confidence is None else _expected_error(fixed, moving, confidence, tolerance_mm),
            "warnings": list(dict.fromkeys((*fixed.warnings, *moving.warnings))),
            "guessed": guessed((*fixed.warnings, *moving.warnings)),
            "notes": [MEASURED_NOTE],
        }
    )
    status, reasons = verdict(report)
    return report | {"verdict": {"status": status, "reasons": reasons}}


def _expected_error(fixed: Volume, moving: Volume, confidence: Volume, tolerance_mm: float | None) -> dict | None:
    scans = fixed.geometry, moving.geometry
    ones = Volume(np.ones(confidence.geometry.shape, np.float32), confidence.geometry)
    body = inside_body(ones, body_of(fixed)).array > 0
    finite = Volume(np.nan_to_num(confidence.array), confidence.geometry)
    voxel_mm = max(scan.mean_spacing for scan in scans)
    return error_figures(finite, body, voxel_mm, tolerance_mm or default_tolerance(*scans))


def coverage(forward: DisplacementField, fixed: Geometry) -> float:
    """The share of the fixed scan that the transform's grid covers; beyond it nothing is moved."""
    step = [max(1, n // 24) for n in fixed.size]
    index = np.stack(np.meshgrid(*(np.arange(0, n, s) for n, s in zip(fixed.size, step)), indexing="ij"), axis=-1)
    return float(forward.geometry.contains(fixed.to_world(index.reshape(-1, 3))).mean())
