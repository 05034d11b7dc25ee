"""All figures of a registration, from its transform and from labels or landmarks where they are known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from .errors import InputError
from .guidance.masks import check_mask
from .quality.findings import NOT_MEASURED, UNRELATED, body_points, inverse_figures, level_for, similarity
from .quality.measure import dice, foreground, tre
from .space.field import DisplacementField, Transform, sample_transform
from .space.fieldgrid import field_grid
from .space.inverse import fit_affine
from .space.jacobian import jacobian_figures
from .space.registrable import check_registrable
from .space.volume import Volume, as_labels
from .space.warp import warp_labels
from .stages.prepare import Prepared, part_of, prepare

__all__ = ["evaluate"]


def evaluate(
    fixed: Volume,
    moving: Volume,
    transform: Transform,
    *,
    mask: Volume | None = None,
    fixed_labels: Volume | None = None,
    moving_labels: Volume | None = None,
    pairs: Iterable[int | tuple[int, int]] | None = None,
    fixed_points: np.ndarray | None = None,
    moving_points: np.ndarray | None = None,
) -> dict:
    """Measure the quality of a transform as the report of a registration does.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        transform: Fixed -> moving, LPS mm.
        mask: Nonzero where the fixed scan counts, on any grid in its frame, for similarity and inverse consistency;
            give the mask with which the scans were registered. Without it the body is found as a registration does.
        fixed_labels: Label map of the fixed scan, on any grid in its frame.
        moving_labels: Label map of the moving scan, on any grid in its frame.
        pairs: Labels to compare, see `measure.dice`; by default those that both maps have.
        fixed_points: (n, 3) landmarks, LPS mm.
        moving_points: (n, 3) landmarks, LPS mm, in the same order.

    Returns:
        What each figure counts is in brackets.

        Of the Jacobian determinants: folds_pct, ndv_pct, min_det, max_det (all voxels of the fixed scan), sdlogj (its
        voxels above the 25th percentile of the intensities, see `measure.foreground`).

        Of the inverse consistency error: inverse_mean_mm, inverse_max_mm (20,000 to 40,000 points spread over the mask,
        or all of its points if there are fewer, that the transform maps into the moving scan; the inverse is on the
        moving scan's grid and interpolated).

        Of the similarity: nmi_before, nmi_after, lncc_before, lncc_after (voxels of the mask that the moving scan
        covers, on a grid of cubes, 200,000 in the box around the mask, or of the coarser scan's mean voxel size where
        that is larger). Where the scans have too few voxels in common they are 1 and 0 before and NaN after.

        With labels: dice (mean), dice_min and dice_per_label (all voxels of the fixed label map). With landmarks:
        tre_before_mm, tre_mm (mean), tre_p90_mm (90th percentile).

    Raises:
        InputError: Labels or landmarks of one scan only, unequal numbers of landmarks, no common label, a mask that is
            empty or not over the body, or an image that is constant or not finite.
    """
    for what, a, b in (("labels", fixed_labels, moving_labels), ("points", fixed_points, moving_points)):
        if (a is None) != (b is None):
            raise InputError(f"Give the {what} of both scans, the fixed and the moving one.")
    fixed, moving = (check_registrable(volume, role) for volume, role in ((fixed, "fixed"), (moving, "moving")))
    field = _on_grid(transform, fixed)
    result = jacobian_figures(field, mask=foreground(fixed))
    with torch.inference_mode():
        result |= _in_the_body(fixed, moving, field, None if mask is None else check_mask(mask, fixed, "fixed"))
    if fixed_labels is not None:
        result |= _overlap(fixed_labels, moving_labels, transform, pairs)
    if fixed_points is not None:
        result |= _landmarks(fixed_points, moving_points, transform)
    return result


def _on_grid(transform: Transform, fixed: Volume) -> DisplacementField:
    if isinstance(transform, DisplacementField):
        return transform.resampled(fixed.geometry)
    return sample_transform(transform, fixed.geometry)


def _in_the_body(fixed: Volume, moving: Volume, field: DisplacementField, mask: Volume | None) -> dict:
    """The figures of inverse and similarity."""
    prepared, other = _prepared(fixed, moving, mask)
    linear = fit_affine(field).matrix
    error = inverse_figures(body_points(prepared, fixed.geometry), field, field_grid(moving.geometry))
    level, f, u = level_for(prepared, other, field, linear)
    before = similarity(level, f, np.eye(4), None) or UNRELATED
    after = similarity(level, f, linear, u) or dict.fromkeys(NOT_MEASURED, math.nan)
    result = {"inverse_mean_mm": error["mean_mm"], "inverse_max_mm": error["max_mm"]}
    for when, figures in (("before", before), ("after", after)):
        result |= {f"{name}_{when}": value for name, value in figures.items()}
    return result


def _prepared(fixed: Volume, moving: Volume, mask: Volume | None) -> tuple[Prepared, Prepared]:
    """Both scans with the bodies that a registration of them compares."""
    cpu = torch.device("cpu")
    a, b = prepare(fixed, mask=mask, device=cpu), prepare(moving, mask=None, device=cpu, role="moving")
    return part_of(a, b) or a, part_of(b, a) or b


def _overlap(fixed_labels: Volume, moving_labels: Volume, transform: Transform, pairs) -> dict:
    fixed_labels, moving_labels = (
        replace(labels, array=as_labels(labels, f"The {role} label map"))
        for role, labels in (("fixed", fixed_labels), ("moving", moving_labels))
    )
    if pairs is None:
        pairs = sorted(set(np.unique(fixed_labels.array)) & set(np.unique(moving_labels.array)) - {0})
    pairs = list(pairs)
    if not pairs:
        raise InputError("The label maps have no label in common; give maps that number the structures alike.")
    scores = dice(fixed_labels, warp_labels(moving_labels, transform, fixed_labels.geometry), pairs)
    values = [v for v in scores.values() if np.isfinite(v)]
    return {
        "dice": float(np.mean(values)) if values else float("nan"),
        "dice_min": float(np.min(values)) if values else float("nan"),
        "dice_per_label": {str(label): score for label, score in scores.items()},
    }


def _landmarks(fixed_points: np.ndarray, moving_points: np.ndarray, transform: Transform) -> dict:
    errors = tre(fixed_points, moving_points, transform)
    before = np.linalg.norm(np.asarray(fixed_points) - np.asarray(moving_points), axis=1)
    return {
        "tre_before_mm": float(before.mean()),
        "tre_mm": float(errors.mean()),
        "tre_p90_mm": float(np.percentile(errors, 90)),
    }
