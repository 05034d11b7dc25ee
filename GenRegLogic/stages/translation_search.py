"""Exhaustive search over all translations by Fourier transform: starts for the linear alignment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..space.geometry import Geometry
from ..space.grid import Sampler, sample

if TYPE_CHECKING:
    from .linear import LinearLevel

__all__ = ["translation_peaks"]

PEAK_RADIUS = 3
"""Translations within so many voxels of a found one, along each axis, are not found again."""


def translation_peaks(level: LinearLevel, matrix: np.ndarray, count: int) -> list[np.ndarray]:
    """The best of all translations, as starts for the refinement.

    The gain over a chance match, summed over the overlap, is a sum of correlations, so that the Fourier transform gives
    it for every translation at once.

    Args:
        level: Descriptors of both scans.
        matrix: 4x4, LPS mm, fixed -> moving: the mapping before which the translations are applied.
        count: How many to return.

    Returns:
        Mappings, 4x4, LPS mm, fixed -> moving, the best one first.
    """
    # The moving scan on the fixed grid's axes, over its whole extent.
    to_fixed = np.linalg.inv(matrix)
    corners = (to_fixed @ np.c_[level.moving_geometry.corners(), np.ones(8)].T)[:3].T
    axes, h = level.fixed_geometry.direction, level.spacing
    along = corners @ axes
    size = np.maximum(np.ceil((along.max(0) - along.min(0)) / h).astype(int) + 1, 2)
    middle = axes @ ((along.max(0) + along.min(0)) / 2)
    grid = Geometry(
        size=tuple(int(s) for s in size),
        spacing=(h, h, h),
        origin=tuple(float(v) for v in middle - axes @ ((size - 1) / 2 * h)),
        direction=axes,
    )
    sampler = Sampler(grid, level.moving_geometry, matrix, level.device)
    coordinates = sampler.coordinates(None)
    m = sample(level.moving, coordinates)
    wm = sample(level.moving_weight[None], coordinates)[0] * sampler.inside(coordinates)
    gain = _correlation_gain(level.fixed, level.weight, m, wm, level.chance)
    shape = np.array(gain.shape)
    peaks = []
    for _ in range(count):
        at = np.array(np.unravel_index(int(gain.argmax()), tuple(shape)))
        lag = np.where(at >= np.array(grid.shape), at - shape, at)  # voxels, (z, y, x)
        shift = np.array(grid.origin) + axes @ (lag[::-1] * h) - np.array(level.fixed_geometry.origin)
        start = np.eye(4)
        start[:3, 3] = shift
        peaks.append(matrix @ start)
        _suppress(gain, at, radius=PEAK_RADIUS)
    return peaks


def _suppress(gain: torch.Tensor, at: np.ndarray, radius: int) -> None:
    index = [torch.arange(a - radius, a + radius + 1, device=gain.device) % n for a, n in zip(at, gain.shape)]
    gain[index[0][:, None, None], index[1][None, :, None], index[2][None, None, :]] = -math.inf


def _correlation_gain(f, wf, m, wm, chance: float) -> torch.Tensor:
    """sum_x wf(x) wm(x + t) (chance - mean_c (f(x) - m(x + t))^2) for all lags t (cyclic, padded)."""
    shape = tuple(_fast_size(a + b) for a, b in zip(wf.shape, wm.shape))

    def transform(x):
        return torch.fft.rfftn(x, s=shape, dim=(-3, -2, -1))

    channels = f.shape[0]
    wf_t, wm_t = transform(wf), transform(wm)
    total = wf_t.conj() * wm_t * chance
    total -= transform(wf * (f * f).mean(dim=0)).conj() * wm_t
    total -= wf_t.conj() * transform(wm * (m * m).mean(dim=0))
    for channel in range(channels):
        total += transform(wf * f[channel]).conj() * transform(wm * m[channel]) * (2 / channels)
    return torch.fft.irfftn(total, s=shape, dim=(-3, -2, -1))


def _fast_size(n: int) -> int:
    while True:
        m = n
        for p in (2, 3, 5):
            while m % p == 0:
                m //= p
        if m == 1:
            return n
        n += 1
