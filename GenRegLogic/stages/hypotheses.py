"""Between propose and refine: what is left open is decided by how well the coarse scales fit with each answer.

Open are the linear part, where repeated structures (vertebrae, discs, ribs) or little overlap leave rivals, and
whether organs slide: an affine mapping that one organ's motion has bent, and smoothing across the surface along which
it slides, are then dropped. Scans that leave nothing open, as most do, are not tried at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..errors import Detail
from ..guidance.sliding import SlidingRegions
from ..space.grid import Image, Sampler, resample
from ..space.smoothing import strain
from .alignment import FREE_STEPS, LEVEL_VOXELS, reduced, refined
from .linear import RIGID, Candidate, LinearLevel
from .prepare import Prepared
from .propose import Improver, Proposal, Proposer, improve, propose, score
from .refine import Refiner
from .schedule import Level

__all__ = ["Hypothesis", "Trial", "choose", "simpler", "strained_share"]

BETTER = 0.01
"""Share of its objective by which a rival must be better than the mapping that fits best without deformation."""

JUMPING, JUMPING_SHARE = 0.5, 0.06
"""Strain, and the share of the body that the proposed field must strain by as much, for sliding to be tried: 11 of the
24 pairs of Resources/benchmark/hypotheses.md pay for the trial."""

SLIDING_HINT, SLIDING_GAIN = 0.03, 0.08
"""Share of the objective that smoothing up to the field's jumps must take away: for simpler linear parts to be tried,
and under the best of them to be taken. The liver that breathes by 16 mm gains 0.12, no other pair more than 0.06
(Resources/benchmark/hypotheses.md)."""

SIMPLER_GAIN = 0.5
"""Share of the linear alignment's gain that a simpler linear part must have by itself."""

NEARLY = 0.97
"""Share of the chosen mapping's gain from which a rival leaves a doubt, if it leads elsewhere by more than `ELSEWHERE`
voxels of the finer trial scale on average."""

ELSEWHERE = 3.0


@dataclasses.dataclass(frozen=True, eq=False)
class Hypothesis:
    """A linear part, a proposed field and a kind of smoothing.

    Attributes:
        linear: The linear part.
        level: The scale on which the proposals are scored, described along its axes.
        proposal: The best proposal.
        proposals: All of them.
        sliding: True where the field is smoothed only up to its jumps.
        objective: After the trial on the coarse scales; None where nothing was tried.
        field: The displacement after that trial.
        doubted: True if a rival fits nearly as well.
        notes: Sentences for the report on what was tried.
    """

    linear: Candidate
    level: LinearLevel
    proposal: Proposal
    proposals: list[Proposal]
    sliding: bool = False
    objective: float | None = None
    field: Image | None = None
    doubted: bool = False
    notes: tuple[str, ...] = ()

    def field_on_level(self) -> torch.Tensor:
        """The proposed displacement on the level's fixed grid, ``(3, D, H, W)`` mm."""
        return resample(self.proposal.field, self.level.fixed_geometry, smooth=False).tensor


class Trial:
    """Refines proposals on the coarse scales, and compares what comes of it.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        levels: Of the refinement, comparing descriptors; the first two are tried, at most as fine as the level on which
            proposals are scored.
        smoothness: Factor on the smoothing widths.
        regions: That slide along one another, where the user has named them; then nothing else is taken to slide.
    """

    def __init__(
        self,
        fixed: Prepared,
        moving: Prepared,
        levels: Sequence[Level],
        smoothness: float,
        regions: SlidingRegions | None = None,
    ):
        self.fixed, self.moving, self.levels, self.smoothness = fixed, moving, levels[:2], smoothness
        self.regions = regions

    def __call__(self, hypothesis: Hypothesis, *, sliding: bool = False) -> Hypothesis:
        """The hypothesis after the trial; with sliding on the finer of the two scales alone.

        The coarser one, which smooths by more than an organ's width, would lose the jumps that the search found.
        """
        level = hypothesis.level
        coarse, fine = (
            dataclasses.replace(rung, spacing=max(rung.spacing, factor * level.spacing))
            for rung, factor in zip(self.levels, (2, 1))
        )
        refiner = Refiner(
            self.fixed,
            self.moving,
            hypothesis.linear.matrix,
            smoothness=self.smoothness,
            sliding=sliding,
            regions=self.regions,
        )
        field = refiner.run([fine] if sliding else [coarse, fine], hypothesis.proposal.field)
        tried = score(level, hypothesis.linear.matrix, Proposal("trial", field))
        return dataclasses.replace(hypothesis, sliding=sliding, objective=tried.objective, field=field)


def choose(
    found: Candidate,
    level: LinearLevel,
    proposers: Sequence[Proposer],
    improvers: Sequence[Improver],
    trial: Trial | None,
    *,
    rivals: bool = True,
    pulse: Callable[[], None] = lambda: None,
) -> Hypothesis:
    """The linear part, the proposal and the kind of smoothing with which the refinement starts.

    Args:
        found: The linear alignment, with its rivals.
        level: The scale on which proposals are scored.
        proposers: Of fields; see `propose.propose`.
        improvers: Of the best one; only the chosen hypothesis is improved.
        trial: Compares hypotheses; None tries none.
        rivals: False keeps the linear part, because the user knows it.
        pulse: Called between the steps; an exception that it raises ends the choice.

    Returns:
        The hypothesis, with the improved proposal.
    """

    def proposed(linear: Candidate) -> Hypothesis:
        pulse()
        turned = level.turned(linear.matrix)
        return Hypothesis(linear, turned, *propose(turned, linear.matrix, proposers))

    best = proposed(found)
    if trial is not None:
        if rivals and found.rivals:
            best = _best_of([trial(best), *(trial(proposed(linear)) for linear in found.rivals)])
        if trial.regions is None and strained_share(best) > JUMPING_SHARE:
            best = _slid(best, trial, proposed if rivals else None)
        elif trial.regions is not None and rivals:
            best = _unbent(best, trial, proposed)
    proposal, improved = improve(best.level, best.linear.matrix, best.proposal, improvers)
    return dataclasses.replace(best, proposal=proposal, proposals=[*best.proposals, *improved])


def _best_of(tried: list[Hypothesis]) -> Hypothesis:
    """The first one, or one that is better than it by `BETTER`; doubted where another one is nearly as good."""
    best = min(tried, key=lambda one: one.objective)
    if best.objective > (1 - BETTER) * tried[0].objective:
        best = tried[0]
    doubted = any(
        1 - other.objective > NEARLY * (1 - best.objective) and _leads_elsewhere(other, best)
        for other in tried
        if other is not best
    )
    scores = ", ".join(f"{one.linear.name} {one.objective:.3f}" for one in tried)
    note = Detail(f"Rival alignments were refined coarsely and compared: {scores}; {best.linear.name} was taken.")
    return dataclasses.replace(best, doubted=doubted, notes=(*best.notes, note))


def _leads_elsewhere(one: Hypothesis, other: Hypothesis) -> bool:
    """Whether two hypotheses map the fixed body to places that differ by more than `ELSEWHERE` voxels on average."""
    level = other.level
    fixed, moving, weight = level.fixed_geometry, level.moving_geometry, level.weight
    ends = [
        Sampler(fixed, moving, each.linear.matrix, weight.device).coordinates(
            resample(each.field, fixed, smooth=False).tensor
        )
        for each in (one, other)
    ]
    half = (np.array(moving.size) - 1) * np.array(moving.spacing) / 2  # mm for 1 in normalized coordinates
    apart = ((ends[0] - ends[1]) * torch.tensor(half, dtype=weight.dtype, device=weight.device).view(3, 1, 1, 1)).norm(
        dim=0
    )
    return float((apart * weight).sum()) > ELSEWHERE * level.spacing * float(weight.sum())


def strained_share(hypothesis: Hypothesis) -> float:
    """Share of the fixed body that the proposed field strains by more than `JUMPING`."""
    level = hypothesis.level
    strained = strain(hypothesis.field_on_level(), level.spacing)[level.weight > 0] > JUMPING
    return float(strained.float().mean()) if strained.numel() else 0.0


def _slid(best: Hypothesis, trial: Trial, proposed: Callable[[Candidate], Hypothesis] | None) -> Hypothesis:
    """The hypothesis, or one of sliding organs if that takes away enough of its objective."""
    plain = best if best.objective is not None else trial(best)
    slid = trial(best, sliding=True)
    if proposed is not None and slid.objective < (1 - SLIDING_HINT) * plain.objective:
        others = [trial(proposed(linear), sliding=True) for linear in simpler(best)]
        slid = min([slid, *others], key=lambda one: one.objective)
    if slid.objective > (1 - SLIDING_GAIN) * plain.objective:
        return best
    notes = (
        "Organs slide along one another, so the field is smoothed up to its jumps only.",
        Detail(f"Mismatch {slid.objective:.3f} in place of {plain.objective:.3f}; linear part: {slid.linear.name}."),
    )
    return dataclasses.replace(slid, doubted=best.doubted, notes=(*best.notes, *notes))


def _unbent(best: Hypothesis, trial: Trial, proposed: Callable[[Candidate], Hypothesis]) -> Hypothesis:
    """The hypothesis, or a better one with a simpler linear part, for regions that slide along one another."""
    others = [trial(proposed(linear)) for linear in simpler(best)]
    tried = best if best.objective is not None else trial(best)
    unbent = min([tried, *others], key=lambda one: one.objective)
    if unbent is tried:
        return best
    notes = (
        "One of the regions had bent the linear part, so a simpler one was taken.",
        Detail(f"Simpler linear part: {unbent.linear.name}."),
    )
    return dataclasses.replace(unbent, doubted=best.doubted, notes=(*best.notes, *notes))


def simpler(hypothesis: Hypothesis) -> list[Candidate]:
    """Linear parts that no single organ's motion has bent: the headers alone, and a rigid one; if they fit at all."""
    level = LinearLevel(hypothesis.level.fixed_scan, hypothesis.level.moving_scan, LEVEL_VOXELS[0])
    linear = hypothesis.linear
    rigid = dataclasses.replace(linear, matrix=reduced(linear.matrix, RIGID, level.center[:3]), name="rigid")
    header = dataclasses.replace(linear, matrix=np.eye(4), name="header")

    def gain(candidate: Candidate) -> float:
        return 1 - level.turned(candidate.matrix).objective(candidate.matrix)

    least = SIMPLER_GAIN * gain(linear)
    return [linear for linear in (header, refined(level, rigid, RIGID, FREE_STEPS)) if gain(linear) >= least]
