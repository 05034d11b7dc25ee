"""The scales of the refinement, from coarse to fine, and what each of them compares.

Intensities are compared where both scans have the same contrast, which is found from the data (`contrast_agreement`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..space.grid import resample
from .linear import LinearLevel
from .prepare import Prepared
from .similarity import box_sum, local_correlation

__all__ = [
    "BOTH",
    "DESCRIPTOR",
    "INTENSITY",
    "INTENSITY_ONLY",
    "NETWORK",
    "SAME_CONTRAST",
    "Level",
    "contrast_agreement",
    "measure_for",
    "schedule",
    "weight_beside",
]

INTENSITY, DESCRIPTOR = "intensity", "mind-ssc"
NETWORK, BOTH = "network", "mind-ssc+network"
"""Descriptors that are compared in place of DESCRIPTOR; they need a network."""

INTENSITY_ONLY = "intensity-only"
"""Intensities on the coarse levels too; only for measuring what the descriptors contribute."""

FINEST_LEARNED = 2.0
"""Voxel size, as a multiple of the finest, of the last level that compares a network's descriptors. They improve the
coarse alignment, but not the last half voxel, where they cost most (Resources/benchmark/ablation.md)."""

SAME_CONTRAST = 0.78
"""Agreement from which intensities are compared too: of the benchmark's pairs those of one contrast measure 0.84 or
more, those of two 0.61 or less (Resources/benchmark/hypotheses.md)."""

BESIDE, LEAST_BESIDE = 2.0, 0.2
"""Weight of the descriptors beside the intensities of scans that agree no more than `SAME_CONTRAST`; it falls to 0 for
those that agree entirely, and below the second value they are left out. 1 and 2 were compared on the six pairs of the
benchmark that agree by 0.84 to 0.96: of 2 an abdomen, a lung and a hippocampus gain 0.034, 0.002 and 0.004 Dice, two
spines nothing, and brains of two ages lose 0.014; of 1 all the same, by half."""

CONTRAST_RADIUS = 2
"""Of the windows in which intensities are correlated, voxels."""

CONTRAST_NOISE = 1e-6
"""Variance that counts as noise, of intensities scaled to [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Level:
    """One scale of the refinement.

    Attributes:
        measure: What is compared: INTENSITY, DESCRIPTOR, NETWORK or BOTH.
        spacing: Voxel size, mm.
        iterations: Largest number of steps.
        step_sigma: Standard deviation of the Gaussian that smooths each step, voxels.
        field_sigma: Standard deviation of the Gaussian that smooths the field after each step, voxels.
        max_step: Longest displacement of one step, voxels.
        beside: Weight of MIND-SSC beside INTENSITY.
    """

    measure: str
    spacing: float
    iterations: int
    step_sigma: float
    field_sigma: float
    max_step: float = 1.0
    beside: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Rung:
    """A level in relative terms: spacing in finest voxels, iterations as a share of the coarsest level's."""

    measure: str
    factor: float
    share: float
    step_sigma: float
    field_sigma: float
    max_step: float = 1.0


# Descriptors show where edges are but not whether two points correspond, so they need strong smoothing, nearly the same
# in mm on all levels, and shorter steps. Intensities of one contrast allow weaker smoothing at the end. The widths were
# chosen on the benchmark's pairs (Resources/benchmark), the same ones for all pairs.
_COARSE = (_Rung(DESCRIPTOR, 4, 1.0, 3.0, 1.5), _Rung(DESCRIPTOR, 2, 0.5, 4.0, 2.0))
_SHORTER = 0.7
_LADDERS = {
    DESCRIPTOR: (
        _Rung(DESCRIPTOR, 4, 1.0, 3.0, 1.5, _SHORTER),
        _Rung(DESCRIPTOR, 2, 0.5, 5.0, 2.5, _SHORTER),
        _Rung(DESCRIPTOR, 1.4, 0.25, 5.5, 2.7, _SHORTER),
    ),
    INTENSITY: (*_COARSE, _Rung(INTENSITY, 2, 0.5, 1.73, 0.71), _Rung(INTENSITY, 1, 0.5, 1.25, 0.4)),
}
_LADDERS[INTENSITY_ONLY] = (_Rung(INTENSITY, 4, 1.0, 1.73, 0.71), *_LADDERS[INTENSITY][2:])


def schedule(
    measure: str,
    finest: float,
    iterations: int,
    *,
    descriptor: str = DESCRIPTOR,
    finest_learned: float = FINEST_LEARNED,
    coarsest_only: int | None = None,
    beside: float = 0.0,
) -> list[Level]:
    """Levels from coarse to fine.

    Args:
        measure: What the finest levels compare, INTENSITY or DESCRIPTOR; the coarse ones compare descriptors, which
            have a larger capture range. INTENSITY_ONLY compares intensities on all of them.
        finest: Finest voxel size that the scans allow, mm.
        iterations: Of the coarsest level; 0 gives no level.
        descriptor: Which descriptors are compared: DESCRIPTOR, NETWORK or BOTH.
        finest_learned: Voxel size, as a multiple of the finest, of the last level that compares a network's
            descriptors; finer ones compare MIND-SSC.
        coarsest_only: Number of levels to keep, from the coarsest on; None keeps all.
        beside: Weight of MIND-SSC on levels that compare INTENSITY.

    Returns:
        The levels in the order in which they are refined.

    Example:
        >>> [(level.measure, level.spacing, level.iterations) for level in schedule(DESCRIPTOR, 1.0, 40)]
        [('mind-ssc', 4.0, 40), ('mind-ssc', 2.0, 20), ('mind-ssc', 1.4, 10)]
    """
    if iterations == 0:
        return []
    rungs = _LADDERS[measure][:coarsest_only]
    return [
        Level(
            descriptor if r.measure == DESCRIPTOR and r.factor >= finest_learned else r.measure,
            finest * r.factor,
            max(1, round(iterations * r.share)),
            r.step_sigma,
            r.field_sigma,
            r.max_step,
            beside if r.measure == INTENSITY else 0.0,
        )
        for r in rungs
    ]


def contrast_agreement(level: LinearLevel, fixed: Prepared, linear: np.ndarray, u: torch.Tensor | None) -> float:
    """Agreement of two scans on which side of an edge is brighter.

    The mean signed local correlation divided by the mean absolute one, in windows that lie entirely inside the body (at
    the skin any two modalities agree). Meaningful for scans that are roughly aligned.

    Args:
        level: The grids to compare on, and the moving scan.
        fixed: The fixed scan.
        linear: 4x4, LPS mm, fixed -> moving.
        u: Displacement before the linear part, mm on the level's fixed grid ``(3, D, H, W)``, or None.

    Returns:
        -1 to 1: near 1 for two scans of one contrast, near 0 for unrelated contrasts, below 0 for inverted contrast; 0
        where nothing can be compared.
    """
    f = resample(fixed.image, level.fixed_geometry).tensor
    m, inside = level.intensities(linear, u)
    weight = level.weight * inside
    count = (2 * CONTRAST_RADIUS + 1) ** 3
    weight = (box_sum(weight, CONTRAST_RADIUS) > count - 0.5).float()
    correlation = local_correlation(f, m, CONTRAST_RADIUS, CONTRAST_NOISE)
    strength = float((correlation.abs() * weight).sum())
    return float((correlation * weight).sum()) / strength if strength > 0 else 0.0


def measure_for(agreement: float) -> str:
    """What the finest levels compare, INTENSITY or DESCRIPTOR, from two scans' `contrast_agreement`."""
    return INTENSITY if agreement > SAME_CONTRAST else DESCRIPTOR


def weight_beside(agreement: float) -> float:
    """Weight of the descriptors beside the intensities of two scans, from their `contrast_agreement`.

    Example:
        >>> [round(weight_beside(agreement), 2) for agreement in (1.0, 0.98, 0.89, 0.78)]
        [0.0, 0.0, 1.0, 2.0]
    """
    weight = BESIDE * min(1.0, (1 - agreement) / (1 - SAME_CONTRAST))
    return weight if weight >= LEAST_BESIDE else 0.0
