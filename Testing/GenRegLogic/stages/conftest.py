"""Two scans of one scene that a known linear mapping brings onto one another."""

import numpy as np
import torch

from GenRegLogic.stages.prepare import prepare

from ..conftest import Scene, centered, rotation

CPU = torch.device("cpu")
SCENE = Scene()
FIXED_GRID = centered((34, 30, 36), (3.6, 3.6, 3.6))
STRAIGHT_GRID = centered((32, 28, 30), (3.8, 3.9, 4.3))
MOVING_GRID = centered(STRAIGHT_GRID.size, STRAIGHT_GRID.spacing, rotation(0.1, -0.05, 0.15))


def rigid(angles=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation(*angles), shift
    return matrix


def scans(matrix, moving=STRAIGHT_GRID, scene=SCENE):
    """The scene, and the scene after a linear mapping (fixed points to moving points), both prepared."""
    back = np.linalg.inv(matrix)
    volumes = scene.scan(FIXED_GRID), scene.scan(moving, lambda p: p @ back[:3, :3].T + back[:3, 3], seed=1)
    return tuple(prepare(volume, mask=None, device=CPU) for volume in volumes)


def error(found, truth):
    """Largest distance, mm, between two mappings of points in the body."""
    points = np.c_[SCENE.points(), np.ones(200)].T
    return np.linalg.norm(((found - truth) @ points)[:3], axis=0).max()
