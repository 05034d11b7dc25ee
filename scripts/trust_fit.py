"""Fits the expected error to registrations of known errors, and tells how well it does on scans that a fit hasn't seen.

Key functions: `fit`, `held_out` (fits that have not seen a subject), `predicted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from trust_runs import Sample

from GenRegLogic.quality.calibration import FLOOR, MEDIAN, Calibration, expected_error, logarithm

SIGNS = (
    "back_near",
    "back_wide",
    "followed_near",
    "followed_wide",
    "pull",
    "motion",
    "strain",
    f"{MEDIAN}pull",
)
"""Of refinements in one direction."""

BOTH_SIGNS = (*SIGNS, "apart_near", "apart_wide", f"{MEDIAN}apart_near")
"""Of those in both."""

WEIGHTS = {"real": 3.0, "variant": 1.0, "known": 1.0, "damaged": 0.3}
"""Of the runs that a fit uses, by group: landmarks of real pairs are the rarest and the best evidence; damage by hand
is found too easily to say much."""

RIDGE = 0.01
"""Share of each sign's variance that is added to it, because the signs resemble one another."""

OUTLYING_LANDMARKS = {"brain_mni_colin_afids": (28, 29)}
"""Rows whose true difference is anatomy and no error (README of the data)."""


def known_errors(sample: Sample) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """Evidence and true errors, mm, of a run at places or landmarks; None where nothing is known."""
    medians = {name: value for name, value in sample.evidence.items() if name.startswith(MEDIAN)}
    if sample.error is not None:
        judged = sample.inside
        places = {name: value[judged] for name, value in sample.evidence.items() if name not in medians}
        return (places | medians, sample.error[judged]) if judged.sum() > 2 else None
    if sample.landmarks is None:
        return None
    found, error = sample.landmarks
    keep = np.ones(len(error), bool)
    keep[[row for row in OUTLYING_LANDMARKS.get(sample.scan, ()) if row < len(error)]] = False
    return {name: value[keep] for name, value in found.items()} | medians, error[keep]


def fit(samples: Iterable[Sample], signs: tuple[Sequence[str], Sequence[str]] = (SIGNS, BOTH_SIGNS)) -> Calibration:
    """Powers and constants by weighted least squares on logarithms, no power below 0; each run has its group's weight.

    The spread and the mean are those of the runs that were fitted; `held_out` says more of others.
    """
    used = [(s, known_errors(s)) for s in samples if s.group in WEIGHTS]
    used = [(s, known) for s, known in used if known is not None]
    both = [pair for pair in used if "apart_near" in pair[0].evidence]
    one_way = _least_squares(used, signs[0])
    fits = one_way, _least_squares(both, signs[1]) if both else one_way
    plain = Calibration(tuple(p for p, _ in fits), tuple(c for _, c in fits), 1.0, 1.0)
    return _with_spread(plain, _residuals(used, plain))


def _least_squares(used: list, names: Sequence[str]) -> tuple[dict[str, float], float]:
    rows, wanted, weights = [], [], []
    for sample, (found, error) in used:
        rows.append(np.stack([_logarithm(name, found[name], sample, len(error)) for name in names], axis=1))
        wanted.append(np.log(error / sample.voxel_mm + FLOOR))
        weights.append(np.full(len(error), WEIGHTS[sample.group] / len(error)))
    x, y, w = np.concatenate(rows), np.concatenate(wanted), np.concatenate(weights)
    w /= w.sum()
    mean, center = w @ x, float(w @ y)
    x, y = x - mean, y - center
    square, right = (x * w[:, None]).T @ x, (x * w[:, None]).T @ y
    square += RIDGE * np.diag(np.diag(square) + 1e-6)
    kept = list(range(len(names)))
    while True:  # signs with a negative power are left out, the most negative first
        powers = np.linalg.solve(square[np.ix_(kept, kept)], right[kept])
        worst = int(np.argmin(powers))
        if powers[worst] >= 0:
            break
        del kept[worst]
    constant = center - float(powers @ mean[kept])
    return {names[k]: float(p) for k, p in zip(kept, powers)}, constant


def _logarithm(name: str, values: np.ndarray, sample: Sample, count: int) -> np.ndarray:
    out = logarithm(name, torch.from_numpy(np.asarray(values, np.float64)), sample.voxel_mm).numpy()
    return np.broadcast_to(out, (count,))


def _residuals(used: list, fitted: Calibration) -> list[tuple[np.ndarray, float]]:
    """(residual logarithms, weight) of each run."""
    return [
        (np.log((error / s.voxel_mm + FLOOR) / (predicted(s, found, fitted) / s.voxel_mm + FLOOR)), WEIGHTS[s.group])
        for s, (found, error) in used
    ]


def _with_spread(plain: Calibration, residuals: list[tuple[np.ndarray, float]]) -> Calibration:
    total = sum(weight for _, weight in residuals)
    spread = np.sqrt(sum(weight * np.mean(r**2) for r, weight in residuals) / total)
    mean = sum(weight * np.mean(np.exp(r)) for r, weight in residuals) / total
    return Calibration(plain.powers, plain.constants, float(spread), float(mean))


def held_out(
    samples: Sequence[Sample], signs: tuple[Sequence[str], Sequence[str]] = (SIGNS, BOTH_SIGNS)
) -> dict[frozenset[str], Calibration]:
    """By the families of a run, a fit to the runs of all other ones, with the spread of such fits on those left out.

    The spread, too, is that on other families, by fits of their own, which have seen this one.
    """
    fits = {families: fit(_others(samples, families), signs) for families in {s.families for s in samples}}
    missed = _missed(samples, fits)
    return {
        families: _with_spread(fitted, [r for other, found in missed.items() if not other & families for r in found])
        for families, fitted in fits.items()
    }


def shipped(samples: Sequence[Sample]) -> Calibration:
    """The fit to all runs, with the spread that fits have on runs left out."""
    fits = {families: fit(_others(samples, families)) for families in {s.families for s in samples}}
    return _with_spread(fit(samples), [r for found in _missed(samples, fits).values() for r in found])


def _others(samples: Sequence[Sample], families: frozenset[str]) -> list[Sample]:
    return [s for s in samples if not s.families & families]


def _missed(samples: Sequence[Sample], fits: dict[frozenset[str], Calibration]) -> dict[frozenset[str], list]:
    """By families, the residuals of each of their runs by the fit that has not seen them."""
    missed = {}
    for families, fitted in fits.items():
        used = [(s, known_errors(s)) for s in samples if s.families == families and s.group in WEIGHTS]
        missed[families] = _residuals([pair for pair in used if pair[1] is not None], _plain(fitted))
    return missed


def _plain(fitted: Calibration) -> Calibration:
    return Calibration(fitted.powers, fitted.constants, 1.0, 1.0)


def predicted(sample: Sample, found: dict[str, np.ndarray], fitted: Calibration | None = None) -> np.ndarray:
    """Expected errors, mm, of evidence of a run."""
    tensors = {name: torch.from_numpy(np.asarray(values, np.float64)) for name, values in found.items()}
    both_ways = "apart_near" in sample.evidence
    return expected_error(tensors, sample.voxel_mm, both_ways=both_ways, fitted=fitted).numpy()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    first, second = (np.argsort(np.argsort(x)).astype(float) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])
