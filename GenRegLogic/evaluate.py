"""All figures of a registration, from its transform and from labels or landmarks where they are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from .errors import InputError
from .quality.measure import dice, foreground, lncc, nmi, tre
from .space.field import AffineTransform, DisplacementField, Transform, sample_transform
from .space.inverse import invert
from .space.jacobian import jacobian_figures
from .space.registrable import check_registrable
from .space.volume import Volume, as_labels
from .space.warp import warp_image, warp_labels

__all__ = ["evaluate"]


def evaluate(
    fixed: Volume,
    moving: Volume,
    transform: Transform,
    *,
    fixed_labels: Volume | None = None,
    moving_labels: Volume | None = None,
    pairs: Iterable[int | tuple[int, int]] | None = None,
    fixed_points: np.ndarray | None = None,
    moving_points: np.ndarray | None = None,
) -> dict:
    """Measure the quality of a transform on the grid of the fixed scan.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        transform: Fixed -> moving, LPS mm.
        fixed_labels: Label map of the fixed scan, on any grid in its frame.
        moving_labels: Label map of the moving scan, on any grid in its frame.
        pairs: Labels to compare, see `measure.dice`; by default those that both maps have.
        fixed_points: (n, 3) landmarks, LPS mm.
        moving_points: (n, 3) landmarks, LPS mm, in the same order.

    Returns:
        Of the Jacobian determinants: folds_pct, ndv_pct, sdlogj (over the fixed foreground), min_det, max_det. Of the
        inverse consistency error: inverse_mean_mm, inverse_max_mm. Of the similarity in the fixed foreground:
        nmi_before, nmi_after, lncc_before, lncc_after. With labels: dice (mean), dice_min and dice_per_label. With
        landmarks: tre_before_mm, tre_mm (mean), tre_p90_mm (90th percentile).

    Raises:
        InputError: Labels or landmarks of one scan only, unequal numbers of landmarks, no common label, or an image
            that is constant or not finite.
    """
    for what, a, b in (("labels", fixed_labels, moving_labels), ("points", fixed_points, moving_points)):
        if (a is None) != (b is None):
            raise InputError(f"Give the {what} of both scans, the fixed and the moving one.")
    fixed, moving = (check_registrable(volume, role) for volume, role in ((fixed, "fixed"), (moving, "moving")))
    field = _on_grid(transform, fixed)
    body = foreground(fixed)
    result = jacobian_figures(field, mask=body)
    error = invert(field, geometry=moving.geometry)[1]
    result |= {"inverse_mean_mm": error.mean_mm, "inverse_max_mm": error.max_mm}
    result |= _similarity(fixed, moving, field, body)
    if fixed_labels is not None:
        result |= _overlap(fixed_labels, moving_labels, transform, pairs)
    if fixed_points is not None:
        result |= _landmarks(fixed_points, moving_points, transform)
    return result


def _on_grid(transform: Transform, fixed: Volume) -> DisplacementField:
    if isinstance(transform, DisplacementField):
        return transform.resampled(fixed.geometry)
    return sample_transform(transform, fixed.geometry)


def _similarity(fixed: Volume, moving: Volume, field: DisplacementField, body: np.ndarray) -> dict:
    result = {}
    for name, transform in (("before", AffineTransform.identity()), ("after", field)):
        warped = warp_image(moving, transform, fixed.geometry)
        result[f"nmi_{name}"] = nmi(fixed, warped, body)
        result[f"lncc_{name}"] = lncc(fixed, warped, body)
    return result


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
