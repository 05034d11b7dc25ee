"""How the signs of an error translate into millimeters: constants that were fitted to registrations of known errors.

The error's logarithm is a constant and a sum of the signs' logarithms with powers of at least 0, so that it increases
with each of them; lengths are in voxels of the coarser scan, so that a mouse and a man are alike. What the sum doesn't
explain is normally distributed about it. `scripts/calibrate` makes calibration.json beside this file, and
Resources/benchmark/trust.md shows how well it holds on scans that the fit has not seen.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import torch

__all__ = [
    "FLOOR",
    "SHARES",
    "Calibration",
    "calibration",
    "expected_error",
    "expected_quantiles",
    "share_within",
    "summed_up",
]

FLOOR = 0.05
"""Added to lengths, voxels: differences far below it carry no information."""

SHARE_FLOOR = 0.01
"""The same for signs that are shares."""

SHARES = ("strain",)
"""Signs that are no lengths."""

MEDIAN = "median_"
"""Before the name of a sign: its median over the body, one number for the whole run, which tells good from bad ones."""

REACH, BISECTIONS = 4.0, 40
"""Standard deviations beyond the largest expected error within which quantiles are looked for, and steps of that."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The fitted constants.

    Attributes:
        powers: By sign, each at least 0: of refinements in one direction, and in both, whose distance is a sign too.
        constants: Logarithm of the error where all signs are 1, in the same order.
        spread: Standard deviation of the logarithm of the true error about what is expected.
        mean_factor: Mean of the true error divided by its expected median.
    """

    powers: tuple[Mapping[str, float], Mapping[str, float]]
    constants: tuple[float, float]
    spread: float
    mean_factor: float


@functools.cache
def calibration() -> Calibration:
    """The constants in calibration.json."""
    content = json.loads(resources.files(__package__).joinpath("calibration.json").read_text(encoding="utf-8"))
    fits = content["one_way"], content["both_ways"]
    return Calibration(
        tuple(fit["powers"] for fit in fits),
        tuple(fit["constant"] for fit in fits),
        content["spread"],
        content["mean_factor"],
    )


def logarithm(name: str, values: torch.Tensor, voxel_mm: float) -> torch.Tensor:
    """The logarithm of a sign, as the sum has it.

    Args:
        name: Of the sign, as `signs.evidence` names it; or `MEDIAN` and its name.
        values: Of any shape; mm, or shares.
        voxel_mm: Mean spacing of the coarser of the two scans.
    """
    if name.removeprefix(MEDIAN) in SHARES:
        return (values + SHARE_FLOOR).log()
    return (values / voxel_mm + FLOOR).log()


def expected_error(
    found: Mapping[str, torch.Tensor], voxel_mm: float, *, both_ways: bool, fitted: Calibration | None = None
) -> torch.Tensor:
    """The mean error to be expected, mm.

    Args:
        found: As `signs.evidence` returns them, of one shape; and, with `MEDIAN` before their names, their medians over
            the body, of one number each.
        voxel_mm: Mean spacing of the coarser of the two scans.
        both_ways: Whether the refinement had two directions, whose distance is then a sign.
        fitted: None takes the constants of `calibration`.
    """
    fitted = fitted or calibration()
    powers = fitted.powers[both_ways]
    total = torch.full_like(found["back_near"], fitted.constants[both_ways])
    for name, power in powers.items():
        total += power * logarithm(name, found[name], voxel_mm)
    return (total.exp_().mul_(fitted.mean_factor) - FLOOR).clamp_(min=FLOOR / 2).mul_(voxel_mm)


def share_within(
    errors_mm: np.ndarray, tolerance_mm: float, voxel_mm: float, fitted: Calibration | None = None
) -> float:
    """The share of places whose true error is expected to be at most a tolerance.

    Args:
        errors_mm: (n,) expected errors, as `expected_error` returns them.
        tolerance_mm: More than 0.
        voxel_mm: Mean spacing of the coarser of the two scans.
        fitted: None takes the constants of `calibration`.
    """
    fitted = fitted or calibration()
    medians = (np.asarray(errors_mm, np.float64) / voxel_mm + FLOOR) / fitted.mean_factor
    z = (math.log(tolerance_mm / voxel_mm + FLOOR) - np.log(medians)) / fitted.spread
    return float(torch.special.ndtr(torch.from_numpy(z)).mean())


def expected_quantiles(
    errors_mm: np.ndarray, shares: Sequence[float], voxel_mm: float, fitted: Calibration | None = None
) -> list[float]:
    """The errors, mm, that these shares of the places are expected not to exceed; for the arguments see `share_within`.

    Example:
        >>> median, most = expected_quantiles(np.full(10, 1.0), (0.5, 0.95), voxel_mm=1.0)
        >>> median < 1.0 < most
        True
    """
    fitted = fitted or calibration()
    out = []
    for share in shares:
        low, high = 0.0, (float(np.max(errors_mm)) + voxel_mm) * math.exp(REACH * fitted.spread)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if share_within(errors_mm, middle, voxel_mm, fitted) < share else (low, middle)
        out.append((low + high) / 2)
    return out


def summed_up(errors_mm: np.ndarray, tolerance_mm: float, voxel_mm: float, fitted: Calibration | None = None) -> dict:
    """Expected errors in a few figures; for the arguments see `share_within`.

    Returns:
        "mean_mm"; "median_mm", "p90_mm" and "p95_mm", which half, 90 % and 95 % of the places are expected not to
        exceed; "tolerance_mm", and "within_share" of the places that are expected to lie within it.
    """
    median, p90, p95 = expected_quantiles(errors_mm, (0.5, 0.9, 0.95), voxel_mm, fitted)
    return {
        "mean_mm": float(np.mean(errors_mm)),
        "median_mm": median,
        "p90_mm": p90,
        "p95_mm": p95,
        "tolerance_mm": tolerance_mm,
        "within_share": share_within(errors_mm, tolerance_mm, voxel_mm, fitted),
    }
