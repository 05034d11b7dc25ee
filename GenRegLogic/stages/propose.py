"""Stage 3, propose: fields from which the refinement can start, and the choice between them.

A proposer computes a displacement field for a pair under a linear mapping, as the discrete search does. An improver,
such as the network, is given the best field so far. All are scored by one objective over the body, the identity among
them, so that a field that is worse than no deformation is never used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..space.field import DisplacementField, Transform, sample_transform
from ..space.geometry import Geometry
from ..space.grid import Image, canonical_geometry, resample
from ..space.smoothing import smooth
from ..space.split import without_linear
from .linear import LinearLevel, chance_mismatch
from .search import search

__all__ = [
    "Improver",
    "InitialField",
    "Proposal",
    "Proposer",
    "coarsely_sampled",
    "identity",
    "propose",
    "search_proposal",
]

POOLING = 2
"""Voxels of the level along each axis of a control voxel of the search."""

SEARCH_RADIUS = 4
"""Control voxels in every direction: with 20,000 control points, a sixth of the body's width or more."""

SEARCH_SIGMA = 0.7
"""Standard deviation, control voxels, by which the searched field is smoothed."""

INITIAL_VOXELS = 500_000
"""Voxels of the grid on which a non-linear initial transform is sampled."""

MIN_GAIN = 0.002
"""A proposal replaces a simpler one only if its objective is lower by this share of a chance match: noise alone can
lower it a little."""


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """A field from which the refinement can start.

    Attributes:
        name: Of its proposer or improver.
        field: Displacement before the linear part, ``(3, D, H, W)`` mm along the fixed scan's canonical axes.
        objective: Mismatch as a share of a chance match, lower is better; None before it is scored.
    """

    name: str
    field: Image
    objective: float | None = None


Proposer = Callable[[LinearLevel, np.ndarray], Proposal]
"""Takes the pair's descriptors at a coarse scale and the linear mapping (4x4, LPS mm, fixed -> moving), returns a
proposal."""

Improver = Callable[[LinearLevel, np.ndarray, Proposal], Proposal]
"""Takes the same and the best proposal so far, returns another one."""


@dataclasses.dataclass(frozen=True, eq=False)
class InitialField:
    """Proposes the non-linear transform that the caller gave, fixed -> moving, over the fixed scan's grid."""

    transform: Transform
    fixed: Geometry

    def __call__(self, level: LinearLevel, linear: np.ndarray) -> Proposal:
        field = coarsely_sampled(self.transform, self.fixed)
        return Proposal("initial", without_linear(field, linear, field.geometry, level.device))


def coarsely_sampled(transform: Transform, geometry: Geometry) -> DisplacementField:
    """A transform sampled over the fixed scan, on canonical axes with about `INITIAL_VOXELS` voxels."""
    grid = canonical_geometry(geometry)
    return sample_transform(transform, grid.coarsened_by(grid.factor_to(INITIAL_VOXELS)))


def identity(level: LinearLevel, linear: np.ndarray) -> Proposal:
    """No deformation."""
    zero = torch.zeros((3, *level.fixed_geometry.shape), device=level.device)
    return Proposal("identity", Image(zero, level.fixed_geometry))


def search_proposal(level: LinearLevel, linear: np.ndarray) -> Proposal:
    """The field of the inverse-consistent coupled-convex search on pooled descriptors (see `search`)."""
    warped, valid = level.warped_by(linear, None)
    pooled = [F.avg_pool3d(x[None], POOLING)[0] for x in (level.fixed, warped)]
    weight, inside = (F.avg_pool3d(x[None, None], POOLING)[0, 0] for x in (level.weight, valid))
    chance = chance_mismatch(pooled[0], weight, pooled[1], inside * weight)
    geometry = pooled_geometry(level.fixed_geometry, weight.shape)
    seen = None if level.moving_scan.automatic else inside  # else what a mask leaves out would be drawn into it
    field = search(*pooled, inside, weight, SEARCH_RADIUS, chance, seen=seen).mul_(geometry.spacing[0])
    return Proposal("search", Image(smooth(field, SEARCH_SIGMA), geometry))


def pooled_geometry(geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
    """The grid whose voxels are blocks of POOLING voxels along each axis."""
    spacing = tuple(s * POOLING for s in geometry.spacing)
    shift = geometry.direction @ (np.array(geometry.spacing) * (POOLING - 1) / 2)
    return Geometry(
        size=tuple(reversed(shape)),
        spacing=spacing,
        direction=geometry.direction,
        origin=tuple(float(v) for v in np.array(geometry.origin) + shift),
    )


def score(level: LinearLevel, linear: np.ndarray, proposal: Proposal) -> Proposal:
    """The proposal with its objective; infinity if its field is not finite."""
    u = resample(proposal.field, level.fixed_geometry, smooth=False).tensor
    if not bool(torch.isfinite(u).all()):
        return dataclasses.replace(proposal, objective=float("inf"))
    warped, valid = level.warped_by(linear, u)
    return dataclasses.replace(proposal, objective=level.mismatch(warped, valid * level.weight))


def propose(
    level: LinearLevel, linear: np.ndarray, proposers: Sequence[Proposer], improvers: Sequence[Improver] = ()
) -> tuple[Proposal, list[Proposal]]:
    """Compute, score and compare proposals.

    Args:
        level: Descriptors of both scans at a coarse scale.
        linear: 4x4, LPS mm, fixed -> moving.
        proposers: The simplest first; a later one must be better by `MIN_GAIN`.
        improvers: Each is given the best proposal so far; its own must be better by `MIN_GAIN` too.

    Returns:
        The best proposal, and all of them with their objectives, in the order in which they were computed.
    """
    scored: list[Proposal] = []
    best = None
    for proposer in proposers:
        scored.append(score(level, linear, proposer(level, linear)))
        best = _better(best, scored[-1])
    best, improved = improve(level, linear, best, improvers)
    return best, [*scored, *improved]


def improve(
    level: LinearLevel, linear: np.ndarray, best: Proposal, improvers: Sequence[Improver]
) -> tuple[Proposal, list[Proposal]]:
    """The best of a scored proposal and of what the improvers make of it, and all of the latter; see `propose`."""
    scored: list[Proposal] = []
    for improver in improvers:
        scored.append(score(level, linear, improver(level, linear, best)))
        best = _better(best, scored[-1])
    return best, scored


def _better(best: Proposal | None, other: Proposal) -> Proposal:
    return other if best is None or other.objective < best.objective - MIN_GAIN else best
