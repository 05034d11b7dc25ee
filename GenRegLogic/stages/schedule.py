"""Which scales the refinement works at, from coarse to fine, and what each of them compares.

Key names: `Level`, `schedule`.
"""

from __future__ import annotations

import dataclasses

__all__ = ["BOTH", "DESCRIPTOR", "INTENSITY", "INTENSITY_ONLY", "NETWORK", "Level", "schedule"]

INTENSITY, DESCRIPTOR = "intensity", "mind-ssc"
NETWORK, BOTH = "network", "mind-ssc+network"
"""Descriptors to compare in DESCRIPTOR's place; they need a network."""

INTENSITY_ONLY = "intensity-only"
"""Intensities on the coarse levels too: for comparisons, not for use."""

FINEST_LEARNED = 2.0
"""The network's descriptors find the place, and are no better than MIND-SSC at the last half voxel, where they cost
most (Resources/benchmark/ablation.md)."""


@dataclasses.dataclass(frozen=True)
class Level:
    """One scale of the refinement.

    Attributes:
        measure: what is compared: INTENSITY or a descriptor.
        spacing: voxel size, mm.
        iterations: largest number of steps.
        step_sigma: Gaussian smoothing of each step, voxels.
        field_sigma: Gaussian smoothing of the field after each step, voxels.
    """

    measure: str
    spacing: float
    iterations: int
    step_sigma: float
    field_sigma: float


@dataclasses.dataclass(frozen=True)
class _Rung:
    """A level in relative terms: spacing in finest voxels, iterations as a share of the coarsest level's."""

    measure: str
    factor: float
    share: float
    step_sigma: float
    field_sigma: float


# Descriptors say where edges are and not whether two places are the same: they need a stiff field, whose stiffness
# in mm hardly falls from level to level. Intensities of one contrast can be trusted with finer detail at the end.
# The widths were chosen on the pairs of the benchmark, one table for all of them.
_COARSE = (_Rung(DESCRIPTOR, 4, 1.0, 3.0, 1.5), _Rung(DESCRIPTOR, 2, 0.5, 4.0, 2.0))
_LADDERS = {
    DESCRIPTOR: (*_COARSE, _Rung(DESCRIPTOR, 1.4, 0.25, 5.0, 2.5)),
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
) -> list[Level]:
    """Levels from coarse to fine.

    Args:
        measure: What the finest levels compare, INTENSITY or DESCRIPTOR; the coarse ones compare descriptors, which
            see farther. INTENSITY_ONLY compares intensities on all of them.
        finest: voxel size, mm, that the scans carry.
        iterations: of the coarsest level; 0 gives no level.
        descriptor: which ones: DESCRIPTOR, NETWORK or BOTH.
        finest_learned: voxel size, as a multiple of the finest, of the last level that compares a network's
            descriptors; finer ones compare MIND-SSC.
        coarsest_only: number of levels to keep, from the coarsest on; None keeps all.

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
        )
        for r in rungs
    ]
