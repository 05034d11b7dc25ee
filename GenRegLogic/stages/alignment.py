"""Stage 2, linear: the best linear mapping from many starts, by one objective; never worse than the headers.

Starts come from the headers, the centers and an exhaustive search over all translations; where none of them leads to a
pose that fits clearly better than others do, from a search over all rotations too (`pose_search`). Each is refined by
Gauss-Newton steps on a coarse scale, the best ones on finer scales, rigid first and then with more freedom.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .linear import AFFINE, RIGID, SIMILARITY, Candidate, LinearLevel, level_spacing
from .pose_search import OTHERWISE, PoseSearch, nearby, rotations, turn_between
from .prepare import Prepared, turn_of

__all__ = ["FREEDOM", "SEARCHING", "align", "starts"]

SEARCHING = ("auto", "any")
"""Values of `Settings.init` that search; the others are what the user knows."""

FREEDOM = {"rigid": RIGID, "similarity": SIMILARITY, "affine": AFFINE}
"""Degrees of freedom by the name of a kind of linear mapping."""

CHANNELS = 6
"""Principal components of the descriptors on the scales of the search over poses: half the cost of all twelve."""

DOUBT_VOXELS, POSE_VOXELS = 4_000, 8_000
SCOUT_VOXELS = 20_000
LEVEL_VOXELS = (50_000, 200_000)
"""Of the fixed working grid: where a pose is doubted, in the search over poses, for the steps from all starts, from the
best ones, and at the end."""

LEAST_LEVEL_VOXELS = 8_000
"""Of the first scales of scans that have fewer voxels than the last one: theirs are fewer in proportion, for they would
be as fine as the last."""

PEAKS = 8
"""Starts that the search over translations gives."""

ROTATIONS, RANKED, POSES, LIKELY_POSES = 300, 90, 45, 8
"""Rotations of the search over poses, the best ones that are searched on a finer scale, that are refined, and that go
on: in bodies that are small in their scans, as cords and vertebrae, the right rotation is seldom the first one. What
comes of it: `scripts/poses`."""

ZOOMED, NEARBY, NEAREST = 2, (math.radians(12), math.radians(24)), 4
"""The neighborhoods of so many poses are searched too, at these angles, and so many poses of each are refined: steps
from a rotation between two of the grid can end nearby."""

LEAST_VOXELS = 20_000
"""Of scans whose poses are searched for unasked. Of smaller ones too little can be seen for any verdict but "check"."""

PREFERRED = 1.1
"""Factor by which the gain of a pose must exceed that of the best mapping near the header: headers are seldom wrong."""

CLEAR, UNDOUBTED = 1.25, 1.1
"""Factors by which a mapping's gain must exceed those of refined ones with other rotations: to end the search over
poses early, and to be in no doubt after it."""

FINALISTS, MOST_FINALISTS = 3, 6
"""Results of the coarsest scale that are refined further; more than the first only where they fit nearly as well as the
best one."""

ALIKE_GAIN = 0.8
"""Share of the best mapping's gain from which another one is a rival: vertebrae and discs look alike, and which one is
meant shows only where the scans are deformed (`hypotheses`)."""

APART_VOXELS, RIVALS = 2.5, 3
"""Rivals are so far from one another, on average over the fixed grid (voxels of the middle scale), and so many."""

SAME_VOXELS = 1.0
"""Starts closer than this (voxels of the coarse level, at the corners) count as one."""

MAX_TURNS = 4
"""The moving scan is described again at most so many times while one start is refined."""

FIRST_STEPS, POSE_STEPS = 3, 8
"""Largest number of Gauss-Newton steps from the poses of the search, at first and from the best ones."""

SCOUT_STEPS, RIGID_STEPS, FREE_STEPS, FINAL_STEPS = 12, 12, 12, 10
"""Largest number of Gauss-Newton steps: rigid on the scale of the starts, then rigid and with all freedom on the middle
scale, and on the finest one."""


def starts(fixed: Prepared, moving: Prepared, init: str) -> list[Candidate]:
    """The starts that need no search; their objectives are not computed.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        init: "auto" and "any" give the headers, the centers of the images and those of the bodies; see `Settings`.
    """
    header = _start("header", np.eye(4))
    centers = _start("center", _shift(moving.image.geometry.center - fixed.image.geometry.center))
    if init in ("header", "none"):
        return [header]
    if init == "center":
        return [centers]
    return [header, centers, _start("body", _shift(_body_center(moving) - _body_center(fixed)))]


def _start(name: str, matrix: np.ndarray) -> Candidate:
    return Candidate(matrix, math.inf, name)


def _shift(offset: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def _body_center(prepared: Prepared) -> np.ndarray:
    geometry = prepared.mask.geometry
    z, y, x = torch.nonzero(prepared.mask.tensor.cpu(), as_tuple=True)  # MPS has no double precision
    index = np.array([float(v.double().mean()) for v in (x, y, z)]) if len(x) else (np.array(geometry.size) - 1) / 2
    return geometry.index_to_world[:3, :3] @ index + geometry.index_to_world[:3, 3]


def align(
    fixed: Prepared,
    moving: Prepared,
    *,
    init: str = "auto",
    freedom: int = AFFINE,
    given: Sequence[tuple[str, np.ndarray]] = (),
    tell: Callable[[float], None] = lambda fraction: None,
) -> tuple[Candidate, LinearLevel]:
    """The best linear mapping found from all starts.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        init: "auto", "any", "header", "center" or "none" (see `Settings`).
        freedom: Of the mapping: RIGID, SIMILARITY or AFFINE. Given starts that have more are reduced to the nearest
            mapping with as much.
        given: Further starts, name and matrix (4x4, LPS mm, fixed -> moving): an initial transform, a fit to
            landmarks. With init "none" the first of them, or else the header, is returned unchanged.
        tell: Called with the fraction of the alignment that is done.

    Returns:
        The mapping of the lowest objective, with its rivals, and the level on which it was scored.
    """
    fine = LinearLevel(fixed, moving, LEVEL_VOXELS[1])
    tell(0.2)
    known = [_start(name, reduced(matrix, freedom, fine.center[:3])) for name, matrix in given]
    header = _start("header", np.eye(4))
    if init == "none":
        return _scored((known or [header])[0], fine)
    coarse = LinearLevel(fixed, moving, in_proportion(LEVEL_VOXELS[0], fixed, moving))
    scouted = _scouted(fixed, moving, [*known, *starts(fixed, moving, init)], init, tell)
    tell(0.6)

    def freed(tried: list[Candidate]) -> list[Candidate]:
        tried = [refined(coarse, candidate, RIGID, RIGID_STEPS) for candidate in tried]
        tried = _distinct(sorted(tried, key=_objective), coarse)
        return sorted((refined(coarse, candidate, freedom, FREE_STEPS) for candidate in tried), key=_objective)

    found = freed(scouted.near)
    if scouted.poses:
        posed = freed(scouted.poses)
        if 1 - posed[0].objective > (1 if init == "any" else PREFERRED) * (1 - found[0].objective):
            found = posed
    best, others = found[0], _rivals(found, coarse)
    tell(0.8)
    best = refined(fine, best, freedom, FINAL_STEPS)
    # The result must never be worse than the header or what the caller gave.
    best = min([best, *(_scored(candidate, fine)[0] for candidate in (*known, header))], key=_objective)
    rivals = tuple(dataclasses.replace(other, doubted=scouted.doubted) for other in others)
    best = dataclasses.replace(best, doubted=scouted.doubted, rivals=rivals)
    return best, fine.turned(best.matrix)


def _rivals(found: list[Candidate], level: LinearLevel) -> list[Candidate]:
    """Mappings, best first, that fit nearly as well as the first and lead elsewhere."""
    kept = [found[0]]
    for other in found[1:]:
        alike = 1 - other.objective >= ALIKE_GAIN * (1 - found[0].objective)
        if alike and all(_apart(other, one, level) > APART_VOXELS * level.spacing for one in kept):
            kept.append(other)
    return kept[1 : RIVALS + 1]


def _apart(one: Candidate, other: Candidate, level: LinearLevel) -> float:
    """Root mean square distance, mm, of where two mappings lead, over the level's fixed grid."""
    geometry, difference = level.fixed_geometry, one.matrix - other.matrix
    turned = difference[:3, :3] @ geometry.direction
    sizes = np.array(geometry.spacing) * (np.array(geometry.size) - 1)
    at_center = (difference @ level.center)[:3]
    return math.sqrt((at_center**2).sum() + (turned**2).sum(0) @ sizes**2 / 12)


@dataclasses.dataclass(frozen=True)
class _Scouted:
    """The best few rigid mappings at the coarsest scale, and whether the best of all is in doubt."""

    near: list[Candidate]
    poses: list[Candidate]
    doubted: bool


def _scouted(
    fixed: Prepared, moving: Prepared, found: list[Candidate], init: str, tell: Callable[[float], None]
) -> _Scouted:
    """Mappings near the given starts and those of the search over translations, and from the search over all poses."""
    scout = LinearLevel(fixed, moving, in_proportion(SCOUT_VOXELS, fixed, moving))

    def best_of(found: list[Candidate]) -> list[Candidate]:
        tried = [refined(scout, candidate, RIGID, SCOUT_STEPS) for candidate in _distinct(found, scout)]
        tried = _distinct(sorted(tried, key=_objective), scout)
        alike = sum(1 - candidate.objective >= ALIKE_GAIN * (1 - tried[0].objective) for candidate in tried)
        return tried[: min(max(FINALISTS, alike), MOST_FINALISTS)]

    if init not in SEARCHING:
        return _Scouted(best_of(found), [], False)
    peaks = PoseSearch(scout).peaks(np.eye(3)[None], PEAKS, each=PEAKS)
    near = best_of(found + [dataclasses.replace(peak, name=f"search {n + 1}") for n, peak in enumerate(peaks)])
    tell(0.4)
    if init == "auto" and few_voxels(fixed, moving):
        return _Scouted(near, [], False)

    def pulse() -> None:
        tell(0.4)

    judge = PoseSearch(LinearLevel(fixed, moving, DOUBT_VOXELS, channels=CHANNELS), pulse)
    if init == "auto" and judge.convinces(near[0]):
        return _Scouted(near, [], False)
    poses, doubted = _poses(fixed, moving, judge, None if init == "any" else near[0], pulse)
    return _Scouted(near, best_of(poses), doubted)


def in_proportion(voxels: int, fixed: Prepared, moving: Prepared) -> int:
    """Voxels of a coarse scale; see `LEAST_LEVEL_VOXELS`."""
    whole, last = (level_spacing(fixed, moving, count) for count in (1, LEVEL_VOXELS[1]))
    share = (whole / last) ** 3 / LEVEL_VOXELS[1]  # 1 unless the last scale has fewer voxels than that
    return max(round(voxels * share), min(voxels, LEAST_LEVEL_VOXELS))


def few_voxels(*scans: Prepared) -> bool:
    """Whether a scan is so small that nothing is asked of its pose."""
    return any(scan.image.tensor.numel() < LEAST_VOXELS for scan in scans)


def _poses(
    fixed: Prepared, moving: Prepared, coarse: PoseSearch, known: Candidate | None, pulse: Callable[[], None]
) -> tuple[list[Candidate], bool]:
    """Rigid mappings from a search over all rotations and translations, and whether the best one is in doubt.

    Args:
        fixed: The prepared fixed scan.
        moving: The prepared moving scan.
        coarse: The search on a coarser scale.
        known: A mapping after which the search ends early if the likeliest poses fit clearly worse than it; or None.
        pulse: Called often; an exception that it raises ends the search.
    """
    level = LinearLevel(fixed, moving, POSE_VOXELS, channels=CHANNELS)
    peaks = coarse.peaks(rotations(ROTATIONS), RANKED)
    if known is not None:
        known = refined(level, known, RIGID, POSE_STEPS)
        if _clear(known, _refined_all(level, peaks[:LIKELY_POSES], pulse), CLEAR):
            return [], False
    search = PoseSearch(level, pulse)
    turns = np.array([turn_of(peak.matrix) for peak in peaks])
    found = _refined_all(level, search.peaks(turns, POSES), pulse, FIRST_STEPS)
    found = _refined_all(level, found[: 2 * LIKELY_POSES], pulse)
    for pose in found[: 1 if _clear(found[0], found, CLEAR) else ZOOMED]:
        near = np.concatenate([nearby(angle) for angle in NEARBY]) @ turn_of(pose.matrix)
        found += _refined_all(level, search.peaks(near, NEAREST), pulse)
    found = _distinct(sorted(found, key=_objective), level)
    best = min([found[0], *([] if known is None else [known])], key=_objective)
    poses = [dataclasses.replace(pose, name=f"pose {n + 1}") for n, pose in enumerate(found[:LIKELY_POSES])]
    return poses, not _clear(best, found, UNDOUBTED)


def _clear(best: Candidate, others: list[Candidate], factor: float) -> bool:
    """Whether a mapping's gain is positive and exceeds by a factor those of all others that are turned against it."""
    own, gain = turn_of(best.matrix), 1 - best.objective
    turned = [other for other in others if turn_between(turn_of(other.matrix), own) > OTHERWISE]
    return gain > 0 and all(gain > factor * (1 - other.objective) for other in turned)


def _refined_all(
    level: LinearLevel, poses: list[Candidate], pulse: Callable[[], None], steps: int = POSE_STEPS
) -> list[Candidate]:
    found = []
    for pose in poses:
        pulse()
        found.append(refined(level, pose, RIGID, steps))
    return _distinct(sorted(found, key=_objective), level)


def reduced(matrix: np.ndarray, freedom: int, center: np.ndarray) -> np.ndarray:
    """A mapping (4x4) as one of the given freedom, which moves the center (3,), LPS mm, to the same place."""
    if freedom == AFFINE:
        return matrix
    out = np.eye(4)
    out[:3, :3] = turn_of(matrix)
    if freedom == SIMILARITY:
        out[:3, :3] *= abs(np.linalg.det(matrix[:3, :3])) ** (1 / 3)
    out[:3, 3] = matrix[:3, :3] @ center + matrix[:3, 3] - out[:3, :3] @ center
    return out


def _scored(candidate: Candidate, level: LinearLevel) -> tuple[Candidate, LinearLevel]:
    level = level.turned(candidate.matrix)
    return dataclasses.replace(candidate, objective=level.objective(candidate.matrix)), level


def refined(level: LinearLevel, start: Candidate, freedom: int, steps: int) -> Candidate:
    """Gauss-Newton steps from a start; whenever the mapping has rotated the moving scan, that is described again."""
    matrix = start.matrix
    level = level.turned(matrix)
    for _ in range(MAX_TURNS):
        matrix, value = level.refine(matrix, freedom=freedom, steps=steps)
        turned = level.turned(matrix)
        if turned is level:
            break
        level, value = turned, turned.objective(matrix)
    return Candidate(matrix, value, start.name)


def _objective(candidate: Candidate) -> float:
    return candidate.objective


def _distinct(found: list[Candidate], level: LinearLevel) -> list[Candidate]:
    """Without those that are nearly the same as an earlier one."""
    corners = np.c_[level.fixed_geometry.corners(), np.ones(8)].T
    kept: list[Candidate] = []
    for candidate in found:
        apart = [((candidate.matrix - other.matrix) @ corners)[:3] for other in kept]
        if all(np.linalg.norm(far, axis=0).max() > SAME_VOXELS * level.spacing for far in apart):
            kept.append(candidate)
    return kept
