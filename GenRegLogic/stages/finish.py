"""Stage 5, finish: the field on the fixed scan's own grid, free of folds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..errors import GenRegError
from ..space.field import DisplacementField
from ..space.geometry import Geometry
from ..space.grid import Image, canonical_array, canonical_geometry, resample
from ..space.jacobian import determinants
from ..space.smoothing import smooth
from ..space.split import with_linear
from .similarity import box_sum

__all__ = ["bad_voxels", "check_orientation", "full_field", "smoothed_near"]

SAFE_DETERMINANT = 0.02
"""Least one-sided determinant, of the deformation without its linear part, at which a voxel counts as repaired."""

SMOOTHING_ROUNDS, WEAKENING = 20, 0.8
"""Rounds that only smooth, and the factor by which every later one also multiplies the whole field."""

MAX_REPAIR_ROUNDS = 80
"""The last round leaves a millionth of the deformation (0.8 to the power of 60)."""

GIVEN_UP = (
    "The deformation folded and could not be repaired, so the result is the linear alignment alone; start without the "
    "initial transform or with a higher smoothness."
)

REPAIR_REACH = 2
"""Voxels on each side of a folded one that are smoothed with it."""

REPAIR_SIGMA, TRANSITION_SIGMA = 1.5, 1.0
"""Standard deviations, voxels, of the smoothing and of the transition from the smoothed field to the given one."""


def full_field(
    field: Image,
    linear: np.ndarray,
    geometry: Geometry,
    *,
    tell: Callable[[float], None] = lambda fraction: None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> tuple[DisplacementField, int]:
    """The mapping on the fixed scan's grid, rounded as in files and free of folds.

    The refinement does not fold; folds that the interpolation onto another grid adds are smoothed away locally. A field
    that smoothing cannot repair (such as a folded initial transform) is weakened in every further round, and after
    `MAX_REPAIR_ROUNDS` replaced by the linear part alone.

    Args:
        field: Displacement before the linear part, ``(3, D, H, W)`` mm on canonical axes, fixed -> moving.
        linear: The linear part, 4x4, LPS mm, fixed -> moving.
        geometry: The fixed scan's grid.
        tell: Called before each round of the repair with the fraction of the rounds that are done; an exception that
            it raises (`Cancelled`) ends the repair.
        warn: Called with a sentence if the deformation had to be replaced by the linear part.

    Returns:
        The field, fixed -> moving, and the number of voxels that folded before the repair.

    Raises:
        GenRegError: The linear part mirrors space.
    """
    volume_change = check_orientation(linear)
    forward = with_linear(field, linear, geometry).rounded()
    bad = bad_voxels(forward, 0.0)
    if not bad.any():
        return forward, 0
    count = int(bad.sum())
    canonical = canonical_geometry(geometry)
    u = resample(field, canonical, smooth=False).tensor
    limit = SAFE_DETERMINANT * volume_change
    for number in range(MAX_REPAIR_ROUNDS):
        tell(number / MAX_REPAIR_ROUNDS)
        bad = bad_voxels(forward, limit)
        if not bad.any():
            return forward, count
        if number >= SMOOTHING_ROUNDS:
            u = u * WEAKENING
        u = smoothed_near(u, torch.from_numpy(np.ascontiguousarray(canonical_array(bad, geometry))).to(u.device))
        forward = with_linear(Image(u, canonical), linear, geometry).rounded()
    if bad_voxels(forward, limit).any():
        warn(GIVEN_UP)
        forward = with_linear(Image(torch.zeros_like(u), canonical), linear, geometry).rounded()
    return forward, count


def check_orientation(linear: np.ndarray) -> float:
    """The determinant of a linear part (4x4), by which it changes volumes.

    Raises:
        GenRegError: It is not positive: the linear part mirrors space.
    """
    volume_change = float(np.linalg.det(linear[:3, :3]))
    if volume_change <= 0:
        raise GenRegError("The linear part mirrors space, so every voxel folds; give another initial transform.")
    return volume_change


def smoothed_near(u: torch.Tensor, bad: torch.Tensor) -> torch.Tensor:
    """A field ``(3, D, H, W)``, smoothed within a few voxels of the marked ones, ``(D, H, W)`` bool."""
    share = smooth((box_sum(bad.float(), REPAIR_REACH) > 0).float(), TRANSITION_SIGMA)
    return u + (smooth(u, REPAIR_SIGMA) - u) * share


def bad_voxels(field: DisplacementField, limit: float) -> np.ndarray:
    """(k, j, i) bool: where any of the eight determinants of one-sided differences is at or below the limit."""
    bad = np.zeros(field.geometry.shape, bool)
    for start, _, least in determinants(field):
        bad[start : start + len(least)] = (least <= limit).numpy()
    return bad
