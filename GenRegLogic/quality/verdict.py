"""Whether a registration can be trusted, in plain language.

The verdict follows from figures and named thresholds. Every sentence is written for the person who looks at the scans,
without technical abbreviations and formulas. "trustworthy" does not mean that every structure is aligned: it means that
everything that can be measured without a reference was measured, and that none of it indicates an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..space.geometry import DIMENSION, Geometry

__all__ = ["CHECK", "FAILED", "SCALE_TOLERANCES", "TRUSTWORTHY", "default_tolerance", "verdict"]

TRUSTWORTHY, CHECK, FAILED = "trustworthy", "check", "failed"

SCANS = ("fixed", "moving")

MAX_NDV_PCT = 0.001
"""Largest share of non-diffeomorphic volume (NDV: one-sided determinants at or below 0), in percent."""

MAX_LOG_SPREAD = 0.75
"""Largest standard deviation of the log Jacobian determinant. Plausible registrations of different people reach 0.4;
at about twice that value the field fits noise."""

VOLUME_CHANGE_RANGE = (1 / 50, 50.0)
"""Range of local volume changes (without the linear part) that tissue can undergo."""

MAX_INVERSE_ERROR_MM = 0.1
MAX_INVERSE_ERROR_VOXELS = 0.5
"""The mean inverse consistency error may reach the larger of the two limits: 0.1 mm is most of a voxel in a mouse
brain, but negligible in a scan with 5 mm slices."""

TOLERANCE_MM, TOLERANCE_VOXELS, TOLERANCE_SHARE = 2.0, 2.0, 0.02
"""The error that is small enough where nobody says otherwise: the larger of so many voxels of the coarser scan and so
many mm, but of a small body, as a mouse's, at most this share of the longest edge in place of the mm."""

SCALE_TOLERANCES = 3.0
"""Tolerances that the last color of a picture of the expected error stands for: one scale, by which patients can be
compared by eye."""

TRUSTED_SHARE, FAILED_SHARE = 0.85, 0.1
"""Share of the judged body that must be expected to lie within the tolerance for a result to be trusted, and below
which it has failed. Chosen on the runs of `scripts/trust` (Resources/benchmark/trust.md)."""

MIN_JUDGED_SHARE = 0.25
"""Least share of the fixed scan's structures that must have been compared. On 45 scans of `scripts/benchmark`'s pairs
the automatic mask holds 0.42 to 1; one that misses the body holds next to nothing."""

MIN_VOXELS = 20_000
"""Least voxels of each scan. The expected error was calibrated on scans of 60,000 and more (`scripts/trust`). The
fewer there are, the more easily one shape is pressed into any other and both directions agree: of the trial's pairs
without hope of 33,000 voxels 25 of 109 have no other sign of it (Resources/benchmark/robustness.md)."""

ALL_JUDGED = 0.98
"""Share of the body from which the rest, which lies outside the moving scan, is not worth a word."""

SIMILARITY_TOLERANCE = 0.005
"""A relative loss of similarity below this comes from interpolation and does not indicate a worse alignment."""

LANDMARK_LOSS = 1.05
"""Mean landmark distance after the registration, relative to before, above which it counts as worse."""

LANDMARK_LEFT_VOXELS = 3.0
"""Mean landmark distance after the registration, in voxels of the coarser scan, above which the status is "check"."""


NOT_MEASURED = {
    "similarity": "How well the scans match before and after was not measured; compare them in the blended view.",
    "jacobian": "The deformation was not measured for folds and extreme changes of volume; look at the grid.",
    "inverse_error": "The way back from the other scan was not measured; use the inverse transform with care.",
    "confidence": (
        "The expected error was not measured, so nothing tells how far off the alignment may be: compare the scans "
        "by eye."
    ),
    "landmarks": "The distance of the landmarks could not be measured; check them.",
    "inputs": "The sizes of the scans and their voxels are not known, so the errors in mm could not be judged by them.",
    "linear_matrix": "The linear part of the transform is not known, so changes of volume could not be judged by it.",
}
"""Reason given for a figure that every run should have and that is missing or not finite."""

NEEDED = {
    "jacobian": ("folds_pct", "ndv_pct", "sdlogj", "min_det", "max_det"),
    "inverse_error": ("mean_mm",),
    "confidence": ("median_mm", "p95_mm", "tolerance_mm", "within_share", "judged_share"),
    "landmarks": ("tre_before_mm", "tre_after_mm"),
}
"""Keys of a report's parts that the judgment needs."""


def default_tolerance(fixed: Geometry, moving: Geometry) -> float:
    """The error, mm, that is small enough for scans with these grids where nobody says otherwise.

    Example:
        >>> head, mouse = Geometry((200, 200, 150), (1.0, 1.0, 1.0)), Geometry((128, 128, 128), (0.15, 0.15, 0.15))
        >>> default_tolerance(head, head), round(default_tolerance(mouse, mouse), 2)
        (2.0, 0.38)
    """
    voxels = TOLERANCE_VOXELS * max(scan.mean_spacing for scan in (fixed, moving))
    return max(voxels, min(TOLERANCE_MM, TOLERANCE_SHARE * float(fixed.extent_mm.max())))


def verdict(figures: Mapping) -> tuple[str, list[str]]:
    """Judge a registration by its figures.

    Args:
        figures: A report, or the part of one that is known: `similarity`, `jacobian`, `inverse_error`, `confidence`,
            `landmarks`, `inputs`, `linear_matrix`, `judged`, `given_up`, `guessed` and `stopped_early` as
            `report.build_report` returns them. All but `landmarks`, `given_up`, `guessed` and `stopped_early` are
            required: one that is absent, None or not finite counts as not measured, and the status is then "check" at
            best.

    Returns:
        The status, "trustworthy", "check" or "failed", and the sentences that give its reasons, the most serious first.
    """
    findings = list(_findings(figures))
    for status in (FAILED, CHECK):
        if any(found == status for found, _ in findings):
            order = sorted(findings, key=lambda finding: finding[0] != FAILED)
            return status, [sentence for _, sentence in order]
    return TRUSTWORTHY, _good_reasons(figures)


def _findings(figures: Mapping) -> Iterator[tuple[str, str]]:
    if figures.get("given_up"):  # the result is then without the deformation, whatever its figures are
        yield FAILED, figures["given_up"]
    for sentence in figures.get("guessed") or ():
        yield CHECK, sentence
    for name, sentence in NOT_MEASURED.items():
        if not _measured(name, figures.get(name)):
            yield CHECK, sentence
    yield from _judge_size(figures.get("inputs"))
    yield from _judge_share(figures.get("judged"))
    yield from _judge_similarity(figures.get("similarity"))
    yield from _judge_landmarks(figures.get("landmarks"), _voxel_mm(figures))
    yield from _judge_deformation(figures.get("jacobian"), figures.get("linear_matrix"))
    yield from _judge_inverse(figures.get("inverse_error"), _voxel_mm(figures))
    yield from _judge_confidence(figures.get("confidence"))
    if figures.get("stopped_early"):
        yield CHECK, "The registration was stopped before it had finished, so the alignment may still be coarse."


def _measured(name: str, part) -> bool:
    """Whether every figure of a report's part that the judgment needs is present and finite."""
    if name == "landmarks" and part is None:
        return True  # landmarks are optional
    if part is None or len(part) == 0:
        return False
    if name == "linear_matrix":
        return bool(np.isfinite(np.asarray(part, np.float64)).all())
    if name == "inputs":
        return all(_are_positive((part.get(role) or {}).get(key)) for role in SCANS for key in ("spacing_mm", "size"))
    if name == "similarity":
        numbers = [(part.get(when) or {}).get(key) for when in ("before", "after") for key in ("nmi", "lncc")]
    else:
        numbers = [part.get(key) for key in NEEDED[name]]
    return all(math.isfinite(_number(number)) for number in numbers)


def _judge_size(inputs: Mapping | None) -> Iterator[tuple[str, str]]:
    if not _measured("inputs", inputs):
        return
    least = min(int(np.prod(inputs[role]["size"])) for role in SCANS)
    if least < MIN_VOXELS:
        yield (
            CHECK,
            (
                f"A scan of only {least:,} voxels can be fitted to nearly anything, so the other figures say little: "
                "look at the result, or register scans of finer resolution."
            ),
        )


def _judge_share(judged: Mapping | None) -> Iterator[tuple[str, str]]:
    if judged is None:  # a mask was given, or the figure is older than this one
        return
    share = _number(judged.get("share"))
    if math.isnan(share):
        yield CHECK, "The fixed scan shows no structures, so nothing says how much of it was compared."
    elif share < MIN_JUDGED_SHARE:
        yield (
            CHECK,
            (
                f"Only {100 * share:.0f} % of what the fixed scan shows could be compared with the moving scan, so the "
                "other figures say little: check that the scans show the same region, or give masks of the body."
            ),
        )


def _judge_similarity(similarity: Mapping | None) -> Iterator[tuple[str, str]]:
    gains = [gain for gain in _gains(similarity) if gain is not None]
    if not gains:
        return
    worse = [gain < -SIMILARITY_TOLERANCE for gain in gains]
    if all(worse):
        yield (
            FAILED,
            (
                "The two scans match less well after the registration than before, so it went wrong: "
                "check that they show the same region, or start from another initial alignment."
            ),
        )
    elif any(worse):
        yield (
            CHECK,
            (
                "One of two measures says that the scans match less well than before, the other does not: "
                "look at the edges of organs in the blended view."
            ),
        )


def _judge_landmarks(landmarks: Mapping | None, voxel_mm: float | None) -> Iterator[tuple[str, str]]:
    if not landmarks:
        return
    before, after = (_number(landmarks.get(key)) for key in NEEDED["landmarks"])
    if after > before * LANDMARK_LOSS:
        yield (
            FAILED,
            (
                f"The landmarks lie farther apart after the registration ({after:.1f} mm) than before "
                f"({before:.1f} mm): check that the two lists are in the same order."
            ),
        )
    elif voxel_mm and after > LANDMARK_LEFT_VOXELS * voxel_mm:
        yield CHECK, f"The landmarks still lie {after:.1f} mm apart on average."


def _judge_deformation(jacobian: Mapping | None, linear_matrix) -> Iterator[tuple[str, str]]:
    if not jacobian:
        return
    folds_pct, ndv_pct, spread, least, most = (_number(jacobian.get(key)) for key in NEEDED["jacobian"])
    if folds_pct > 0:
        yield (
            FAILED,
            (f"In {_percent(folds_pct)} of the volume the deformation folds tissue over itself, which no body can do."),
        )
    elif ndv_pct > MAX_NDV_PCT:
        yield CHECK, f"In {_percent(ndv_pct)} of the volume the deformation comes close to folding."
    if spread > MAX_LOG_SPREAD:
        yield (
            CHECK,
            (
                "The deformation squeezes and stretches neighboring places very unevenly: "
                "look at the grid, and try a higher smoothness."
            ),
        )
    scale = 1.0
    if _measured("linear_matrix", linear_matrix):
        scale = abs(float(np.linalg.det(np.asarray(linear_matrix)[:3, :3])))
    low, high = VOLUME_CHANGE_RANGE
    extreme = least < low * scale or most > high * scale
    if not folds_pct > 0 and extreme:
        yield CHECK, f"Somewhere tissue shrinks or grows more than {high:.0f}-fold: look at that place in the grid."


def _judge_inverse(error: Mapping | None, voxel_mm: float | None) -> Iterator[tuple[str, str]]:
    if not error:
        return
    allowed = max(MAX_INVERSE_ERROR_MM, MAX_INVERSE_ERROR_VOXELS * (voxel_mm or 0.0))
    mean = _number(error.get("mean_mm"))
    if mean > allowed:
        yield (
            CHECK,
            (
                f"Going to the other scan and back misses the starting point by {mean:.2f} mm on average; "
                "use the inverse transform with care."
            ),
        )


def _judge_confidence(confidence: Mapping | None) -> Iterator[tuple[str, str]]:
    if not confidence or not _measured("confidence", confidence):
        return
    median, p95, tolerance, within, judged = (_number(confidence.get(key)) for key in NEEDED["confidence"])
    size = f"typically off by {_millimeters(median)}, 95 % of it by less than {_millimeters(p95)}"
    if within < FAILED_SHARE:
        yield (
            FAILED,
            (
                f"The alignment is probably wrong nearly everywhere: only {_share(within)} of the body is expected to "
                f"lie within {_millimeters(tolerance)} ({size}). Check that the scans show the same region and that "
                "neither is mirrored, or start from another initial alignment."
            ),
        )
    elif within < TRUSTED_SHARE:
        yield (
            CHECK,
            (
                f"Only {_share(within)} of the body is expected to be aligned within {_millimeters(tolerance)} "
                f"({size}): the map of the expected error shows where to look."
            ),
        )
    if judged < MIN_JUDGED_SHARE:
        yield (
            CHECK,
            f"Only {_share(judged)} of the fixed body lies in the moving scan; the rest of it could not be judged.",
        )


def _good_reasons(figures: Mapping) -> list[str]:
    """The reasons for "trustworthy"; every figure is present, except perhaps those of landmarks."""
    better = any(gain > SIMILARITY_TOLERANCE for gain in _gains(figures["similarity"]))
    reasons = [
        "The two scans match better than before."
        if better
        else "The two scans matched as well before; the deformation changes little."
    ]
    if figures.get("landmarks"):
        before, after = figures["landmarks"]["tre_before_mm"], figures["landmarks"]["tre_after_mm"]
        reasons.append(
            f"The landmarks lie {after:.1f} mm apart on average ({before:.1f} mm before); as they guided the run, that "
            "says nothing of other places."
        )
    return [
        *reasons,
        _within(figures["confidence"]),
        "The deformation is smooth and folds nothing.",
        f"Going to the other scan and back is exact to {figures['inverse_error']['mean_mm']:.2f} mm.",
    ]


def _within(confidence: Mapping) -> str:
    tolerance, within, judged = (confidence[key] for key in ("tolerance_mm", "within_share", "judged_share"))
    typical, p95 = (_millimeters(confidence[key]) for key in ("median_mm", "p95_mm"))
    sentence = (
        f"The alignment is expected to lie within {_millimeters(tolerance)} in {_share(within)} of the body (typically "
        f"off by {typical}, 95 % of it by less than {p95})."
    )
    if judged >= ALL_JUDGED:
        return sentence
    return f"{sentence[:-1]}; {_share(1 - judged)} of it lies outside the moving scan and was not judged."


def _gains(similarity: Mapping | None) -> Iterator[float | None]:
    """Relative gain of each measure of similarity; None where it was not measured."""
    if not similarity:
        return
    for name in ("nmi", "lncc"):
        before, after = (_number((similarity.get(when) or {}).get(name)) for when in ("before", "after"))
        if not (math.isfinite(before) and math.isfinite(after)):
            yield None
        else:
            yield (after - before) / max(abs(before), 1e-6)


def _voxel_mm(figures: Mapping) -> float | None:
    """Mean spacing of the coarser of the two scans, mm; None where the report does not have it."""
    inputs = figures.get("inputs")
    if not _measured("inputs", inputs):
        return None
    return max(Geometry((1, 1, 1), inputs[role]["spacing_mm"]).mean_spacing for role in SCANS)


def _are_positive(numbers: Sequence[float | None] | None) -> bool:
    return numbers is not None and len(numbers) == DIMENSION and all(0 < _number(x) < math.inf for x in numbers)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _millimeters(value: float) -> str:
    return f"{value:.1f} mm" if value >= 0.5 else f"{value:.2g} mm"


def _share(share: float) -> str:
    """A share in whole percent, never rounded up to 100."""
    return f"{min(math.floor(100 * share + 0.5), 99) if share < 1 else 100} %"


def _percent(value: float) -> str:
    return f"{value:.2g} %" if value >= 1e-3 else "less than 0.001 %"
