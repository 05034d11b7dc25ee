"""Doubts about the pose: whether another one fits as well, or with one of the scans mirrored.

The last happens where a header says nothing of left and right, or is wrong.

Heads and other bodies that are nearly symmetric fit almost as well when one of them is mirrored, and nothing in the
figures of such a registration shows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ..errors import Doubt
from ..stages.alignment import (
    CHANNELS,
    DOUBT_VOXELS,
    FREE_STEPS,
    LEVEL_VOXELS,
    POSE_VOXELS,
    SCOUT_STEPS,
    SCOUT_VOXELS,
    few_voxels,
    refined,
)
from ..stages.hypotheses import Hypothesis
from ..stages.linear import AFFINE, RIGID, Candidate, LinearLevel
from ..stages.pose_search import PoseSearch, rotations
from ..stages.prepare import Prepared, turn_of

__all__ = ["ALIKE", "MIRRORED", "SIDES_IN_DOUBT", "pose_doubt", "rivals_doubt", "sides_doubt"]

SIDES_IN_DOUBT = ("forms_disagree", "frame_unknown", "orientation_unknown", "position_unknown")
"""Names of the doubts that leave open which side is left."""

ALIKE = 1.04
"""Ratio of the mirrored scan's objective to the other one up to which the images leave open sides open."""

MIRRORED = 1.025
"""Ratio of the objective to that of the mirrored scan from which a header is not believed. Of the 24 pairs of
`scripts/benchmark` it is 0.06 to 0.988 as they are, and 1.00 for a symmetric atlas of fetal brains; with a mirrored
header it is 1.027 to 6.5 in 20, and 1.00 to 1.011 in the other four."""

WORTH_A_LOOK = 0.95
"""Share of the found mapping's gain from which a mirrored one is refined."""

CLOSE = 0.85
"""Ratio of the objectives from which they are computed on a finer scale too."""

MIRRORED_ROTATIONS, LOOKED_AT = 300, 6
"""Rotations of the mirrored scan, where no pose convinces, and the best mappings that are refined."""


def sides_doubt(
    fixed: Prepared, moving: Prepared, found: Candidate, warnings: Iterable[str], *, asked: bool = True
) -> Doubt | None:
    """What the images say of left and right.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        found: The linear alignment of the scans as they are.
        warnings: Of both scans, with their doubts.
        asked: False looks only where a doubt about the headers leaves the sides open; so it is with small scans.

    Returns:
        A doubt named "sides_unclear", "sides_mirrored", "sides_clear" or "sides_alike"; only the last two leave nothing
        guessed. None where the headers leave no doubt, and the images tell the sides and don't contradict them.
    """
    open_sides = bool({getattr(sentence, "name", None) for sentence in warnings} & set(SIDES_IN_DOUBT))
    if not open_sides and (not asked or few_voxels(fixed, moving)):
        return None
    ratio = mirrored_ratio(fixed, moving, found, least=0.0 if open_sides else WORTH_A_LOOK)
    if ratio > MIRRORED:
        which = "A header leaves left and right open, and the" if open_sides else "The"
        text = f"{which} scans fit better with one of them mirrored: check the sides."
        return Doubt("sides_mirrored", text, guessed=True)
    if not open_sides:
        if ratio * ALIKE <= 1:
            return None
        text = "The scans fit nearly as well with one of them mirrored, so only their headers tell left from right."
        return Doubt("sides_alike", text)
    if ratio * ALIKE > 1:
        text = "A header leaves left and right open, and the images cannot tell them apart: check the sides."
        return Doubt("sides_unclear", text, guessed=True)
    text = "A header leaves left and right open, but the scans fit better as they are than mirrored."
    return Doubt("sides_clear", text)


def pose_doubt(found: Candidate) -> Doubt | None:
    """A doubt named "pose_unclear" where other poses fit almost as well as the one that was found; else None."""
    if not found.doubted:
        return None
    text = (
        "No position and rotation of the scans fits clearly better than others: check that they show the same part of "
        "the body, and give an initial transform or landmarks if they do."
    )
    return Doubt("pose_unclear", text, guessed=True)


def rivals_doubt(chosen: Hypothesis) -> Doubt | None:
    """A doubt named "place_unclear" where another place fits nearly as well as the chosen one; else None."""
    if not chosen.doubted:
        return None
    text = (
        "Another position of the scans, such as one vertebra further up or down, fits almost as well: check that the "
        "same structures lie on one another, and give landmarks or an initial transform if not."
    )
    return Doubt("place_unclear", text, guessed=True)


def mirrored_ratio(fixed: Prepared, moving: Prepared, found: Candidate, least: float = 0.0) -> float:
    """The objective of a mapping divided by that of the best mapping that mirrors: above 1 if mirrored fits better.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        found: A mapping that doesn't mirror.
        least: 0 is returned if no mirrored mapping has this share of the found one's gain on the scale of the search.
    """
    search = PoseSearch(LinearLevel(fixed, moving, DOUBT_VOXELS if found.doubted else POSE_VOXELS, channels=CHANNELS))
    turn = turn_of(found.matrix)
    flips = [np.diag([-1.0, 1, 1]), np.diag([1, -1.0, 1]), np.diag([1, 1, -1.0]), -np.eye(3)]
    turns = np.array([turn @ flip for flip in flips])
    if found.doubted:
        turns = np.concatenate([turns, rotations(MIRRORED_ROTATIONS) @ flips[0]])
    peaks = search.peaks(turns, LOOKED_AT)
    gain = 1 - search.peaks(turn[None], 1)[0].objective
    if not 1 - peaks[0].objective > max(least * gain, 0.0):  # or not a number
        return 0.0
    level = LinearLevel(fixed, moving, SCOUT_VOXELS)

    def freed(candidate: Candidate) -> Candidate:
        return refined(level, refined(level, candidate, RIGID, SCOUT_STEPS), AFFINE, SCOUT_STEPS)

    within = [peak for peak in peaks if 1 - peak.objective >= WORTH_A_LOOK * (1 - peaks[0].objective)]
    mirrored = [freed(_stretched(peak, found, level.center)) for peak in within]
    both = freed(found), min(mirrored, key=lambda candidate: candidate.objective)
    if both[0].objective > CLOSE * both[1].objective:
        fine = LinearLevel(fixed, moving, LEVEL_VOXELS[0])
        both = tuple(refined(fine, candidate, AFFINE, FREE_STEPS) for candidate in both)
    return both[0].objective / max(both[1].objective, 1e-9)


def _stretched(peak: Candidate, found: Candidate, center: np.ndarray) -> Candidate:
    """A mapping without stretch, with the stretch of the found one; the center (4,) is mapped to the same place."""
    matrix = peak.matrix.copy()
    matrix[:3, :3] = found.matrix[:3, :3] @ turn_of(found.matrix).T @ peak.matrix[:3, :3]
    matrix[:3, 3] += ((peak.matrix - matrix) @ center)[:3]
    return dataclasses.replace(peak, matrix=matrix)
