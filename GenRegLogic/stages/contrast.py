"""Which comparison a pair asks for, decided from the data and never asked of the user."""

from __future__ import annotations

import numpy as np
import torch

from ..space.grid import resample
from .linear import LinearLevel
from .prepare import Prepared
from .similarity import box_sum, local_correlation

__all__ = ["SAME_CONTRAST", "contrast_agreement"]

SAME_CONTRAST = 0.68
"""Agreement from which intensities are compared too. Of the pairs tried, those of one contrast measure 0.74 and more,
those of two contrasts 0.63 and less."""

WINDOW_RADIUS = 2
NOISE_VARIANCE = 1e-6


def contrast_agreement(level: LinearLevel, fixed: Prepared, linear: np.ndarray, u: torch.Tensor | None) -> float:
    """How far the two scans agree about which side of an edge is brighter.

    The mean signed local correlation over the mean absolute one, in windows that lie wholly inside the body (air
    beside tissue agrees in any two modalities): near 1 for two scans of one contrast, near 0 where brightness has
    nothing in common, below 0 for inverted contrast. Meant for scans that are roughly aligned.

    Args:
        level: the grids to compare on, and the moving scan.
        fixed: the fixed scan.
        linear: 4x4, LPS mm, fixed -> moving.
        u: displacement before it, mm on the level's fixed grid ``(3, D, H, W)``, or None.
    """
    f = resample(fixed.image, level.fixed_geometry).tensor
    m, inside = level.intensities(linear, u)
    weight = level.weight * inside
    count = (2 * WINDOW_RADIUS + 1) ** 3
    weight = (box_sum(weight, WINDOW_RADIUS) > count - 0.5).float()
    correlation = local_correlation(f, m, WINDOW_RADIUS, NOISE_VARIANCE)
    strength = float((correlation.abs() * weight).sum())
    return float((correlation * weight).sum()) / strength if strength > 0 else 0.0
