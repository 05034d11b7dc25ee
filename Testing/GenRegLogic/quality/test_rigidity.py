"""The figures of bodies that were kept rigid."""

import numpy as np
import pytest

from GenRegLogic.quality.rigidity import rigid_figures
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.volume import Volume

from ..conftest import rotation


def test_the_figures_agree_with_a_known_motion(oblique_grid):
    turn, shift = rotation(0.1, 0.2, -0.1), np.array([3.0, -2.0, 5.0])
    k, j, i = np.meshgrid(*(np.arange(n) for n in oblique_grid.shape), indexing="ij")
    points = oblique_grid.to_world(np.stack([i, j, k], axis=-1))
    moved = (points - oblique_grid.center) @ (1.1 * turn).T + oblique_grid.center + shift
    inside = np.linalg.norm(points - oblique_grid.center, axis=-1) < 6.0
    labels = Volume(inside.astype(np.uint8), oblique_grid)
    found = rigid_figures(DisplacementField(moved - points, oblique_grid), labels)[0]
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert found["volume_change_pct"] == pytest.approx(33.1, abs=0.1)
    assert found["residual_strain_pct"] == pytest.approx(100 * np.sqrt(3) * 0.105, abs=0.1)
    assert found["rotation_deg"] == pytest.approx(angle, abs=0.01)
    assert found["translation_mm"] == pytest.approx(np.linalg.norm(shift), abs=0.2)
