"""Exhaustive search over rotations and translations, on coarse descriptors: starts for the linear alignment.

The moving scan is turned, described anew (descriptors follow the axes on which they are computed), and correlated with
the fixed one by Fourier transform, which gives the gain of every translation at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from ..space.geometry import Geometry
from ..space.grid import Sampler, sample_quickly
from .linear import Candidate, LinearLevel, chance_mismatch
from .prepare import FINER_BEFORE_TURNING, moving_level, turn_of

__all__ = ["OTHERWISE", "PoseSearch", "nearby", "rotations", "turn_between"]

PEAK_RADIUS = 3
"""Translations within so many voxels of a found one, along each axis, are not found again."""

LEAST_SHARE = 0.15
"""Of the smaller body that must overlap: over a few voxels chance alone can be kind."""

OTHERWISE = math.radians(40)
"""Angle from which a rotation counts as another."""

CONVINCING = ((24, 1.6), (72, 1.1))
"""Numbers of rotations with which a mapping is compared, and factors by which its gain must exceed all of theirs: by
the first at once, or by the last in the end. Of 24 pairs of `scripts/benchmark` it exceeds 48 others by 1.17 to 3.5 in
23; in 46 runs with a header turned at random that the neighborhood of the header didn't bring back, by 0.3 to 1.04."""

LEAST_GAIN = 0.3
"""A mapping of less gain must exceed all others by the larger factor. The 24 pairs have 0.37 or more; those with a
turned header mostly less than 0.27."""

FAST_SIZES = (8, 12, 16, 20, 24, 30, 36, 40, 48, 54, 60, 72, 80, 96, 108, 120, 144, 160, 192)

_SPIRAL = math.sqrt(2), 1.533751168755204288118041


def rotations(count: int) -> np.ndarray:
    """``(count, 3, 3)`` rotations, spread evenly over all of them.

    Alexa, "Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3)" (CVPR 2022).

    Example:
        >>> turns = rotations(300)
        >>> nearest = max(np.trace(turn) for turn in turns)  # to no rotation at all
        >>> bool(np.degrees(np.arccos((nearest - 1) / 2)) < 30)
        True
    """
    s = np.arange(count) + 0.5
    small, large = np.sqrt(s / count), np.sqrt(1 - s / count)
    a, b = (2 * np.pi * s / constant for constant in _SPIRAL)
    x, y, z, w = small * np.sin(a), small * np.cos(a), large * np.sin(b), large * np.cos(b)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def nearby(angle: float) -> np.ndarray:
    """``(20, 3, 3)`` rotations by one angle (radians) about the corners of a dodecahedron."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    for a in (-golden, golden):
        for b in (-1 / golden, 1 / golden):
            corners += [(0, b, a), (b, a, 0), (a, 0, b)]
    x, y, z = np.array(corners).T / math.sqrt(3)
    cross = np.moveaxis(np.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]]), -1, 0)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def turn_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle, radians, between two rotations (3x3)."""
    return math.acos(float(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1)))


class PoseSearch:
    """The best translation for each rotation of a pair.

    Args:
        level: Both scans at a coarse scale.
        pulse: Called before each rotation; an exception that it raises (`Cancelled`) ends the search.

    Attributes:
        level: The same level.
    """

    def __init__(self, level: LinearLevel, pulse: Callable[[], None] = lambda: None):
        self.level, self._pulse = level, pulse
        moving = moving_level(level.moving_scan, level.spacing * FINER_BEFORE_TURNING, margin_voxels=3)
        self._moving = torch.stack([moving.image.tensor, moving.weight])
        self._moving_geometry = moving.image.geometry
        body = torch.nonzero(moving.weight.cpu() > 0.5).numpy()[:, ::-1]
        # a body smaller than a voxel: the whole scan
        self._body = (
            self._moving_geometry.to_world(body.astype(float)) if len(body) else self._moving_geometry.corners()
        )
        self._transforms: dict[tuple[int, ...], torch.Tensor] = {}

    def peaks(self, turns: np.ndarray, count: int, each: int = 1) -> list[Candidate]:
        """The best of all rotations and translations.

        Args:
            turns: ``(n, 3, 3)`` rotations, fixed -> moving; with a determinant of -1 they mirror the moving scan.
            count: How many to return.
            each: Translations to look at for each rotation.

        Returns:
            Mappings (4x4, LPS mm, fixed -> moving) with an objective like that of `LinearLevel`, the best one first.
        """
        found = [candidate for turn in turns for candidate in self._translations(turn, each)]
        return sorted(found, key=lambda candidate: candidate.objective)[:count]

    def convinces(self, found: Candidate) -> bool:
        """Whether a mapping fits clearly better than other rotations do.

        All are compared by their best translation.
        """
        advantage = math.inf
        for count, factor in CONVINCING:
            advantage = min(advantage, self.advantage(found, count))
            if 1 - found.objective < LEAST_GAIN:
                factor = CONVINCING[0][1]
            if advantage > factor:
                return True
        return False

    def advantage(self, found: Candidate, count: int = CONVINCING[-1][0]) -> float:
        """The gain of a mapping's rotation divided by the highest one of so many other rotations."""
        own = turn_of(found.matrix)
        turns = rotations(count)
        others = turns[[turn_between(turn, np.eye(3)) > OTHERWISE for turn in turns]] @ own
        gain, highest = (1 - self.peaks(turns, 1)[0].objective for turns in (own[None], others))
        return gain / max(highest, 1e-9)

    def _translations(self, turn: np.ndarray, count: int) -> list[Candidate]:
        self._pulse()
        level, h = self.level, self.level.spacing
        gain, grid = self._gains(turn)
        shape = np.array(gain.shape)
        found = []
        for _ in range(count):
            at = np.array(np.unravel_index(int(gain.argmax()), tuple(shape)))
            lag = np.where(at >= np.array(grid.shape), at - shape, at)  # voxels, (z, y, x)
            there = np.array(grid.origin) + grid.direction @ (lag[::-1] * h)  # of the fixed grid's first voxel
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = turn, there - turn @ np.array(level.fixed_geometry.origin)
            found.append(Candidate(matrix, 1 - float(gain[tuple(at)]), "search"))
            _suppress(gain, at, radius=PEAK_RADIUS)
        return found

    def _gains(self, turn: np.ndarray) -> tuple[torch.Tensor, Geometry]:
        """1 minus the objective for all translations (cyclic lags, voxels), and the grid of the turned moving scan."""
        level, h = self.level, self.level.spacing
        axes = turn @ level.fixed_geometry.direction
        along = self._body @ axes
        low, high = along.min(axis=0) - 1.5 * h, along.max(axis=0) + 1.5 * h
        size = np.maximum(np.ceil((high - low) / h).astype(int) + 1, 3)
        grid = Geometry(tuple(int(n) for n in size), (h, h, h), tuple(float(v) for v in axes @ low), axes)
        sampler = Sampler(grid, self._moving_geometry, np.eye(4), level.device)
        coordinates = sampler.coordinates(None)
        image, weight = sample_quickly(self._moving, coordinates)
        m, wm = level.describe(image), (weight > 0.5) * sampler.inside(coordinates).float()
        chance = chance_mismatch(level.fixed, level.weight, m, wm)
        shape = tuple(_fast_size(a + b) for a, b in zip(level.weight.shape, wm.shape))
        f_t = self._fixed_transform(shape)
        m_t = _transform(torch.cat([m * wm, ((m * m).mean(dim=0) * wm)[None], wm[None]]), shape)
        # sum_x wf(x) wm(x + t) (chance - mean_c (f(x) - m(x + t))^2), and the same without the bracket
        overlap = f_t[-1] * m_t[-1]
        total = (f_t[:-2] * m_t[:-2]).sum(dim=0) * (2 / len(m)) - f_t[-1] * m_t[-2] - f_t[-2] * m_t[-1]
        gain, overlap = torch.fft.irfftn(torch.stack([total + overlap * chance, overlap]), s=shape, dim=(1, 2, 3))
        least = max(LEAST_SHARE * min(level.total, float(wm.sum())), 1.0)
        gain /= (overlap.clamp(min=least) * level.total).sqrt_() * chance
        return gain.masked_fill_(overlap < least, -1.0), grid

    def _fixed_transform(self, shape: tuple[int, ...]) -> torch.Tensor:
        if shape not in self._transforms:
            f, wf = self.level.fixed, self.level.weight
            rows = torch.cat([f * wf, ((f * f).mean(dim=0) * wf)[None], wf[None]])
            self._transforms[shape] = _transform(rows, shape).conj()
        return self._transforms[shape]


def _transform(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.fft.rfftn(x, s=shape, dim=(1, 2, 3))


def _suppress(gain: torch.Tensor, at: np.ndarray, radius: int) -> None:
    index = [torch.arange(a - radius, a + radius + 1, device=gain.device) % n for a, n in zip(at, gain.shape)]
    gain[index[0][:, None, None], index[1][None, :, None], index[2][None, None, :]] = -math.inf


def _fast_size(n: int) -> int:
    """The next of a few lengths that are fast to transform: few, so that the fixed scan is transformed seldom."""
    return next(size for size in itertools.chain(FAST_SIZES, itertools.count(FAST_SIZES[-1], 64)) if size >= n)
