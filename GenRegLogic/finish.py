"""Stage 6, finish: the field on the fixed scan's own grid, free of folds, and what is known about its quality."""

from __future__ import annotations

import numpy as np
import torch

from .errors import GenRegError
from .field import DisplacementField
from .grid import Image, Sampler, canonical_array, canonical_geometry, resample, sample, stored_array
from .measure import determinants
from .prepare import Prepared
from .similarity import box_sum, smooth
from .volume import Geometry, Volume

__all__ = ["confidence_map", "full_field", "to_displacement"]

SAFE_DETERMINANT = 0.02
"""Least one-sided determinant that a repaired voxel must reach, of the deformation without its linear part."""

REPAIR_ROUNDS = 60
REPAIR_REACH = 2
"""Voxels around a bad one that are smoothed with it."""


def to_displacement(field: Image, linear: np.ndarray, geometry: Geometry | None = None) -> DisplacementField:
    """The whole mapping ``x -> A (x + R u(x))`` as a displacement field.

    Args:
        field: u, ``(3, D, H, W)`` mm along the canonical axes R.
        linear: A, 4x4, LPS mm.
        geometry: a grid with the stored axes of the fixed scan; None gives the field's own (canonical) grid.
    """
    target = field.geometry if geometry is None else canonical_geometry(geometry)
    u = resample(field, target, smooth=False).tensor
    index = target.index_to_world
    matrix = torch.from_numpy(linear[:3, :3] @ target.direction).float().to(u.device)
    offset = (linear - np.eye(4)) @ index                                     # index -> displacement of A alone
    d, h, w = target.shape
    out = (matrix @ u.reshape(3, -1)).reshape(3, d, h, w)
    for column, (count, shape) in enumerate(((w, (1, 1, w)), (h, (1, h, 1)), (d, (d, 1, 1)))):
        line = torch.from_numpy(offset[:3, column])[:, None] * torch.arange(count, dtype=torch.float64)
        if column == 0:
            line = line + torch.from_numpy(offset[:3, 3])[:, None]
        out += line.float().to(u.device).reshape(3, *shape)
    array = out.permute(1, 2, 3, 0).cpu().numpy()
    if geometry is None:
        return DisplacementField(array, target)
    return DisplacementField(stored_array(array, geometry), geometry)


def full_field(field: Image, linear: np.ndarray, geometry: Geometry) -> tuple[DisplacementField, int]:
    """The mapping on the fixed scan's grid, rounded as files hold it, and how many voxels had to be repaired.

    The refinement doesn't fold; what interpolation onto another grid may add is smoothed away where it is.

    Raises:
        GenRegError: Folds remain (never seen; a linear part that mirrors space would do it).
    """
    forward = to_displacement(field, linear, geometry).rounded()
    bad = _bad_voxels(forward, 0.0)
    if not bad.any():
        return forward, 0
    count = int(bad.sum())
    canonical = canonical_geometry(geometry)
    u = resample(field, canonical, smooth=False).tensor
    limit = SAFE_DETERMINANT * float(np.linalg.det(linear[:3, :3]))
    for _ in range(REPAIR_ROUNDS):
        bad = _bad_voxels(forward, limit)
        if not bad.any():
            return forward, count
        where = torch.from_numpy(np.ascontiguousarray(canonical_array(bad, geometry))).float().to(u.device)
        share = smooth((box_sum(where, REPAIR_REACH) > 0).float(), 1.0)
        u = u + (smooth(u, 1.5) - u) * share
        forward = to_displacement(Image(u, canonical), linear, geometry).rounded()
    raise GenRegError("The deformation still folds after repair; register again with a larger --smoothness.")


def _bad_voxels(field: DisplacementField, limit: float) -> np.ndarray:
    """(k, j, i) bool: any of the eight one-sided determinants is at or below the limit."""
    bad = np.zeros(field.geometry.shape, bool)
    for start, _, least in determinants(field):
        bad[start:start + len(least)] = (least <= limit).numpy()
    return bad


def confidence_map(fixed: Prepared, moving: Prepared, linear: np.ndarray, forward: Image, backward: Image) -> Volume:
    """Expected error in mm: how far one comes back from where one started, there and back by separate registrations.

    Args:
        fixed, moving: the scans.
        linear: 4x4, LPS mm, fixed -> moving; `backward` was found under its inverse.
        forward: displacement on the fixed axes, mm ``(3, D, H, W)``, applied before `linear`.
        backward: displacement on the moving axes, mm, applied before the inverse of `linear`.

    Returns:
        A float32 volume on the grid of `backward`'s scale over the fixed body, canonical axes.
    """
    geometry = forward.geometry
    u = forward.tensor
    sampler = Sampler(geometry, backward.geometry, linear, u.device)
    w = sample(backward.tensor, sampler.coordinates(u))                       # mm along the moving axes
    # A^-1 (A (x + R u) + R' w) - x = R u + A^-1 R' w
    axes = torch.from_numpy(geometry.direction.T @ np.linalg.inv(linear[:3, :3]) @ backward.geometry.direction)
    back = (axes.float().to(u.device) @ w.reshape(3, -1)).reshape(w.shape)
    error = smooth((u + back).norm(dim=0), 1.0)
    return Volume(error.cpu().numpy(), geometry)
