"""Stage 4, propose: fields to start the refinement from, and the choice between them.

A proposer is anything that makes a displacement field for a pair under a linear mapping, such as the discrete search.
An improver, such as the network, is given the best one so far. All are scored on one objective over the body, identity
among them, so that a bad proposal is never used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..space.geometry import Geometry
from ..space.grid import Image, resample
from .linear import LinearLevel, chance_mismatch
from .search import search
from .similarity import smooth

__all__ = ["Improver", "Proposal", "Proposer", "identity", "propose", "search_proposal"]

POOLING = 2
SEARCH_RADIUS = 4
"""Control voxels in every direction: with 20,000 control points, a sixth of the body's width or more."""

MIN_GAIN = 0.002
"""A proposal must beat a simpler one by this much of a chance match: noise is no reason to deform."""


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """A field to start from.

    Attributes:
        name: Who made it.
        field: Displacement in mm along the fixed scan's canonical axes, ``(3, D, H, W)``, before the linear part.
        objective: Mismatch as a share of a chance match, lower is better; None before it is scored.
    """

    name: str
    field: Image
    objective: float | None = None


Proposer = Callable[[LinearLevel, np.ndarray], Proposal]
"""Takes the pair's descriptors at a coarse scale and the linear mapping (4x4, LPS mm), returns a proposal."""


Improver = Callable[[LinearLevel, np.ndarray, Proposal], Proposal]
"""Takes the same and a proposal, returns a better one."""


def identity(level: LinearLevel, linear: np.ndarray) -> Proposal:
    """No deformation."""
    zero = torch.zeros((3, *level.fixed_geometry.shape), device=level.device)
    return Proposal("identity", Image(zero, level.fixed_geometry))


def search_proposal(level: LinearLevel, linear: np.ndarray) -> Proposal:
    """The inverse-consistent coupled-convex search on pooled descriptors."""
    warped, valid = level.warped_by(linear, None)
    pooled = [F.avg_pool3d(x[None], POOLING)[0] for x in (level.fixed, warped)]
    weight, inside = (F.avg_pool3d(x[None, None], POOLING)[0, 0] for x in (level.weight, valid))
    chance = chance_mismatch(pooled[0], weight, pooled[1], inside * weight)
    geometry = pooled_geometry(level.fixed_geometry, weight.shape)
    field = search(*pooled, inside, weight, SEARCH_RADIUS, chance).mul_(geometry.spacing[0])
    return Proposal("search", Image(smooth(field, 0.7), geometry))


def pooled_geometry(geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
    """The grid of cells of POOLING voxels."""
    spacing = tuple(s * POOLING for s in geometry.spacing)
    shift = geometry.direction @ (np.array(geometry.spacing) * (POOLING - 1) / 2)
    return Geometry(
        size=tuple(reversed(shape)),
        spacing=spacing,
        direction=geometry.direction,
        origin=tuple(float(v) for v in np.array(geometry.origin) + shift),
    )


def score(level: LinearLevel, linear: np.ndarray, proposal: Proposal) -> Proposal:
    """The proposal with its objective."""
    u = resample(proposal.field, level.fixed_geometry, smooth=False).tensor
    if not bool(torch.isfinite(u).all()):
        return dataclasses.replace(proposal, objective=float("inf"))
    warped, valid = level.warped_by(linear, u)
    return dataclasses.replace(proposal, objective=level.mismatch(warped, valid * level.weight))


def propose(
    level: LinearLevel, linear: np.ndarray, proposers: Sequence[Proposer], improvers: Sequence[Improver] = ()
) -> tuple[Proposal, list[Proposal]]:
    """The best of all proposals, and all of them scored.

    Args:
        level: descriptors of both scans at a coarse scale.
        linear: 4x4, LPS mm, fixed -> moving.
        proposers: the simplest first; a later one must be clearly better.
        improvers: Each is given the best so far, and what it makes of it must be clearly better too.
    """
    scored: list[Proposal] = []
    best = None
    for proposer in proposers:
        scored.append(score(level, linear, proposer(level, linear)))
        best = _better(best, scored[-1])
    for improver in improvers:
        scored.append(score(level, linear, improver(level, linear, best)))
        best = _better(best, scored[-1])
    return best, scored


def _better(best: Proposal | None, other: Proposal) -> Proposal:
    return other if best is None or other.objective < best.objective - MIN_GAIN else best
