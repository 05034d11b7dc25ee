"""Whether two scans have the same contrast: decides, without asking the user, if their intensities can be compared."""

from __future__ import annotations

import numpy as np
import torch

from ..space.grid import resample
from .linear import LinearLevel
from .prepare import Prepared
from .similarity import box_sum, local_correlation

__all__ = ["SAME_CONTRAST", "contrast_agreement"]

SAME_CONTRAST = 0.68
"""Agreement from which intensities are compared too: between the pairs of one contrast that were tried, which measure
0.74 or more, and those of two contrasts, which measure 0.63 or less."""

WINDOW_RADIUS = 2
"""Of the windows in which intensities are correlated, voxels."""

NOISE_VARIANCE = 1e-6
"""Variance that counts as noise, of intensities scaled to [0, 1]."""


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
    count = (2 * WINDOW_RADIUS + 1) ** 3
    weight = (box_sum(weight, WINDOW_RADIUS) > count - 0.5).float()
    correlation = local_correlation(f, m, WINDOW_RADIUS, NOISE_VARIANCE)
    strength = float((correlation.abs() * weight).sum())
    return float((correlation * weight).sum()) / strength if strength > 0 else 0.0
