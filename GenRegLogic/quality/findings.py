"""Collects the figures of a run for its report."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..errors import Detail
from ..space.field import DisplacementField, Transform
from ..space.fieldgrid import nearest_voxels
from ..space.geometry import Geometry
from ..space.grid import Image, resample
from ..space.inverse import accurate_inverse_error
from ..space.jacobian import jacobian_figures
from ..space.split import without_linear
from ..space.volume import Volume
from ..stages.alignment import LEVEL_VOXELS
from ..stages.linear import Candidate, LinearLevel
from ..stages.prepare import Prepared, mask_on
from ..stages.propose import Proposal
from .measure import foreground, lncc, nmi, structured, tre
from .report import build_report, error_figures
from .rigidity import rigid_figures
from .spacing import transform_figures
from .verdict import default_tolerance

__all__ = [
    "NOT_MEASURED",
    "UNRELATED",
    "Findings",
    "body_points",
    "confidence_figures",
    "inverse_figures",
    "level_for",
    "make_report",
    "similarity",
]

INVERSE_POINTS = 20_000
"""Points of the body, about, at which the error of the inverse is measured."""

MIN_OVERLAP_VOXELS = 1000
"""Voxels that both scans must have in common for their similarity to be measured."""

UNRELATED = {"nmi": 1.0, "lncc": 0.0}
"""Similarity of scans that overlap by less before they are registered: that of two unrelated images."""

NOT_MEASURED = {"nmi": None, "lncc": None}
"""Similarity of scans that overlap by less afterward: then nothing is known of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """Results of the stages, besides the field on the fixed grid.

    Attributes:
        linear: The linear alignment that was chosen.
        proposal: The proposed field from which the refinement started.
        proposals: All proposals, with their objective.
        measure: What the scans were compared by, as the report names it.
        history: {"level", "iteration", "objective"} per iteration, in order.
        repaired: Number of voxels that folded before they were smoothed.
        stopped_early: The caller answered "keep".
        given_up: Why the deformation was given up, or None.
        notes: Sentences for the report.
        level: The grid of the linear alignment, on which the similarity is measured.
        field: The refined displacement before the linear part, ``(3, D, H, W)`` mm along the canonical fixed axes.
        confidence: Expected error, mm.
        inverse_grid: Grid that the inverse has, where it is asked for.
    """

    linear: Candidate
    proposal: Proposal
    proposals: list[Proposal]
    measure: str
    history: list[dict]
    repaired: int
    stopped_early: bool
    given_up: str | None
    notes: list[str]
    level: LinearLevel
    field: Image
    confidence: Volume
    inverse_grid: Geometry


def make_report(inputs, fixed: Prepared, forward: DisplacementField, found: Findings, device: str) -> dict:
    """Measure and judge the result of a run.

    Args:
        inputs: The checked inputs of the run: scans, settings, landmarks and labels as attributes.
        fixed: The prepared fixed scan.
        forward: Fixed -> moving, LPS mm, on the fixed grid or a coarser one between its corners.
        found: Results of the stages.
        device: Name of the device.

    Returns:
        The report, as `report.build_report` returns it; `report.record_stages` adds the stages when they have ended.
    """
    before, after = _similarities(fixed, found)
    body = nearest_voxels(foreground(inputs.fixed), forward.geometry)
    sampled = found.field if found.given_up is None else None
    transform = transform_figures(inputs.fixed.geometry, fixed, forward, sampled, found.linear.matrix)
    return build_report(
        fixed=inputs.fixed.geometry,
        moving=inputs.moving.geometry,
        settings=inputs.settings.resolved(),
        device=device,
        descriptor=found.measure,
        linear_matrix=found.linear.matrix,
        objective=found.history,
        similarity_before=before,
        similarity_after=after,
        jacobian=jacobian_figures(forward, mask=body if body.any() else None),
        transform=transform,
        inverse_error=inverse_figures(body_points(fixed, inputs.fixed.geometry), forward, found.inverse_grid),
        confidence=confidence_figures(inputs, fixed, found.confidence),
        landmarks=_landmarks(inputs, forward),
        judged=None if inputs.fixed_mask is not None else _judged(fixed, forward, inputs.moving.geometry),
        rigid=None if inputs.keep_rigid is None else rigid_figures(forward, inputs.keep_rigid),
        stopped_early=found.stopped_early,
        given_up=found.given_up,
        warnings=inputs.warnings,
        notes=[*found.notes, *_choices(found), *_coarser(transform)],
    )


def _choices(found: Findings) -> list[str]:
    scores = ", ".join(f"{p.name} {p.objective:.3f}" for p in found.proposals)
    start = f"Linear start: {found.linear.name}. Proposal: {found.proposal.name}"
    notes: list[str] = [Detail(f"{start} (mismatch as a share of chance: {scores}).")]
    if found.repaired:
        notes.append(f"{found.repaired} voxels were smoothed so that the field doesn't fold there.")
    return notes


def _coarser(transform: dict) -> list[str]:
    """What a coarser grid of the transform leaves out, as the report's notes say it."""
    if transform["error_max_mm"] is None:
        return []
    spacing = " x ".join(f"{s:.3g}" for s in transform["spacing_mm"])
    return [
        f"The transform has a vector every {spacing} mm and not at every voxel; in the body it differs from the full "
        f"one by {transform['error_mean_mm']:.2g} mm on average and {transform['error_max_mm']:.2g} mm at most."
    ]


def _similarities(fixed: Prepared, found: Findings) -> tuple[dict, dict]:
    level = found.level
    f = resample(fixed.image, level.fixed_geometry).tensor
    u = resample(found.field, level.fixed_geometry, smooth=False).tensor
    before = similarity(level, f, np.eye(4), None) or dict(UNRELATED)
    return before, similarity(level, f, found.linear.matrix, u) or dict(NOT_MEASURED)


def similarity(level: LinearLevel, f: torch.Tensor, matrix: np.ndarray, u: torch.Tensor | None) -> dict | None:
    """{"nmi", "lncc"} of the fixed and the warped moving scan in the body; None where hardly anything overlaps.

    Args:
        level: The grid to compare on, and the moving scan.
        f: The fixed scan on the level's grid, ``(D, H, W)``.
        matrix: (4, 4), LPS mm, fixed -> moving.
        u: Displacement before the matrix, ``(3, D, H, W)`` mm along the fixed axes, or None.
    """
    m, inside = level.intensities(matrix, u)
    where = (level.weight > 0) & (inside > 0)
    if int(where.sum()) < MIN_OVERLAP_VOXELS:
        return None
    a, b, mask = (x.cpu().numpy() for x in (f, m, where))
    return {"nmi": nmi(a, b, mask), "lncc": lncc(a, b, mask)}


def level_for(
    fixed: Prepared, moving: Prepared, transform: Transform, linear: np.ndarray
) -> tuple[LinearLevel, torch.Tensor, torch.Tensor]:
    """What `similarity` compares on, for a transform that need not come from a run of this engine.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        transform: Fixed -> moving, LPS mm.
        linear: (4, 4), LPS mm, fixed -> moving; about its linear part.

    Returns:
        The grid on which a run would compare the scans, the fixed scan on it, and the displacement before `linear`.
    """
    level = LinearLevel(fixed, moving, LEVEL_VOXELS[1], described=False).turned(linear)
    f = resample(fixed.image, level.fixed_geometry).tensor
    return level, f, without_linear(transform, linear, level.fixed_geometry, f.device).tensor


def body_points(fixed: Prepared, scan: Geometry) -> np.ndarray:
    """(n, 3) fixed points inside the body, LPS mm: centers of the coarse mask's voxels that lie in the scan."""
    z, y, x = np.nonzero(fixed.mask.tensor.cpu().numpy())
    points = fixed.mask.geometry.to_world(np.stack([x, y, z], axis=1))
    return points[scan.contains(points)]  # the mask's grid may extend past the scan by part of a voxel


def inverse_figures(points: np.ndarray, forward: DisplacementField, inverse_grid: Geometry) -> dict:
    """{"mean_mm", "max_mm"} of the inverse consistency error of an inverse on a grid.

    Args:
        points: (n, 3) fixed points, LPS mm; of more than 40,000, every second or third and so on is measured.
        forward: Fixed -> moving, LPS mm.
        inverse_grid: In the moving frame.
    """
    some = points[:: max(1, len(points) // INVERSE_POINTS)]
    mean, worst = accurate_inverse_error(forward, inverse_grid, some)
    return {"mean_mm": mean, "max_mm": worst}


def confidence_figures(inputs, fixed: Prepared, confidence: Volume) -> dict | None:
    """The expected error summed up, as `report.error_figures` does it.

    Args:
        inputs: The checked inputs of the run: scans and settings as attributes.
        fixed: The prepared fixed scan.
        confidence: Expected error, mm.
    """
    scans = inputs.fixed.geometry, inputs.moving.geometry
    body = mask_on(fixed, confidence.geometry).cpu().numpy() > 0
    tolerance = inputs.settings.tolerance_mm or default_tolerance(*scans)
    return error_figures(confidence, body, max(scan.mean_spacing for scan in scans), tolerance)


def _judged(fixed: Prepared, forward: DisplacementField, moving: Geometry) -> dict:
    """How much of what the fixed scan shows was compared: {"share"} of its structures, found without any mask.

    The mask of the body, on which the other figures rest, may be wrong; this is measured by other means.
    """
    mask = fixed.mask
    shown = structured(resample(fixed.image, mask.geometry).tensor.cpu()).numpy()
    z, y, x = np.nonzero(shown)
    points = mask.geometry.to_world(np.stack([x, y, z], axis=1))
    compared = mask.tensor.cpu().numpy()[z, y, x] & moving.contains(forward(points)) if len(points) else np.zeros(0)
    return {"share": float(np.mean(compared)) if len(compared) else None}


def _landmarks(inputs, forward: DisplacementField) -> dict | None:
    if inputs.fixed_landmarks is None:
        return None
    before = np.linalg.norm(inputs.fixed_landmarks - inputs.moving_landmarks, axis=1)
    after = tre(inputs.fixed_landmarks, inputs.moving_landmarks, forward)
    return {"count": len(after), "tre_before_mm": float(before.mean()), "tre_after_mm": float(after.mean())}
