"""Soft landmark constraints: the field is pulled so that fixed points reach their corresponding moving points."""

from __future__ import annotations

import numpy as np
import torch

from ..space.geometry import Geometry
from ..space.smoothing import smooth

__all__ = ["LandmarkPull", "rigid_fit"]

REACH_SIGMA = 3.0
"""Standard deviation, in voxels of the level, of a landmark's influence: broad at coarse levels, local at fine ones."""

STRENGTH = 0.5
"""Share of the remaining distance that one step corrects at the landmark itself; the images determine the rest."""


class LandmarkPull:
    """Blends a step of the refinement with a step that maps fixed landmarks closer to their moving landmarks.

    Args:
        fixed: (n, 3) LPS mm.
        moving: (n, 3) LPS mm; row by row the same anatomical places in the moving scan.
        linear: (4, 4), LPS mm, fixed -> moving, applied after the displacement.
    """

    def __init__(self, fixed: np.ndarray, moving: np.ndarray, linear: np.ndarray):
        self._fixed, self._moving, self._linear = np.asarray(fixed, float), np.asarray(moving, float), linear
        back = np.linalg.inv(linear)
        self._target = self._moving @ back[:3, :3].T + back[:3, 3]  # before the linear part

    def reversed(self) -> LandmarkPull:
        """The pull from moving to fixed."""
        return LandmarkPull(self._moving, self._fixed, np.linalg.inv(self._linear))

    def blend(self, step: torch.Tensor, u: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The step, near landmarks replaced by one that follows the landmarks.

        Args:
            step: ``(3, D, H, W)`` voxels, computed from the images.
            u: ``(3, D, H, W)``, the current displacement, mm along the axes of `geometry`.
            geometry: An isotropic working grid.

        Returns:
            ``(3, D, H, W)`` voxels; `step` itself where no landmark lies in the grid.
        """
        index = (self._fixed - np.array(geometry.origin)) @ geometry.direction / np.array(geometry.spacing)
        inside = ((index >= 0) & (index <= np.array(geometry.size) - 1)).all(axis=1)
        if not inside.any():
            return step
        low = np.minimum(np.floor(index[inside]).astype(int), np.array(geometry.size) - 2)
        corners, weights = _trilinear(low, index[inside] - low, geometry.shape)
        corners, weights = corners.to(u.device), weights.to(u.device)
        present = (u.reshape(3, -1)[:, corners] * weights).sum(dim=2)  # (3, n) mm
        wanted = torch.from_numpy(((self._target - self._fixed)[inside] @ geometry.direction).T).float().to(u.device)
        pull = (wanted - present) * (STRENGTH / geometry.spacing[0])
        pull = pull / pull.norm(dim=0).clamp(min=1.0)  # at most one voxel
        splat = u.new_zeros(4, u[0].numel())
        values = torch.cat([pull, torch.ones_like(pull[:1])])[:, :, None] * weights
        splat.index_add_(1, corners.reshape(-1), values.reshape(4, -1))
        splat = smooth(splat.reshape(4, *u.shape[1:]), REACH_SIGMA)
        peak = (2 * np.pi * REACH_SIGMA**2) ** -1.5  # of a single landmark
        share = (splat[3] / peak).clamp_(max=1.0)
        follow = splat[:3] / splat[3].clamp(min=1e-6 * peak)
        return step * (1 - share) + follow * share


def _trilinear(low: np.ndarray, rest: np.ndarray, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat indices (n, 8) of the voxels around points and their weights."""
    indices, weights = [], []
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                indices.append(((low[:, 2] + dz) * shape[1] + low[:, 1] + dy) * shape[2] + low[:, 0] + dx)
                factors = [r if d else 1 - r for r, d in zip(rest.T, (dx, dy, dz))]
                weights.append(factors[0] * factors[1] * factors[2])
    return torch.from_numpy(np.stack(indices, 1)), torch.from_numpy(np.stack(weights, 1)).float()


def rigid_fit(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The rigid mapping of fixed to moving points with the least squared error (Kabsch 1976; Umeyama 1991).

    Args:
        fixed: (n, 3) LPS mm, n >= 3.
        moving: (n, 3) LPS mm, in the same order.

    Returns:
        (4, 4), LPS mm, fixed -> moving: a rotation and a translation, never a mirroring.
    """
    a, b = fixed.mean(axis=0), moving.mean(axis=0)
    u, _, vt = np.linalg.svd((moving - b).T @ (fixed - a))
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, b - rotation @ a
    return matrix
