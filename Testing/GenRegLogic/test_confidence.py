"""The expected error: how far there and back misses."""

import numpy as np
import pytest
import torch

from GenRegLogic.confidence import confidence_map
from GenRegLogic.grid import Image
from GenRegLogic.prepare import prepare

from .conftest import FIXED_GRID, MOVING_GRID, Scene, rotation

LINEAR = np.eye(4)
LINEAR[:3, :3] = rotation(0.1, -0.2, 0.3) @ np.diag([1.1, 0.9, 1.0])
LINEAR[:3, 3] = (30.0, -20.0, 50.0)
CPU = torch.device("cpu")


class TestConfidence:
    @pytest.fixture(scope="class")
    @staticmethod
    def scans():
        scene = Scene()
        return tuple(prepare(scene.scan(grid), mask=None, device=CPU) for grid in (FIXED_GRID, MOVING_GRID))

    @staticmethod
    def there_and_back(scans, shift, linear):
        """Fields that move by a shift (LPS mm, before the linear part) and back."""
        fixed, moving = (scan.mask.geometry for scan in scans)
        home = np.linalg.inv(linear)[:3, :3]                  # w so that A^-1 (y + R' w) undoes the shift
        w = moving.direction.T @ (-np.linalg.inv(home) @ shift)
        u = fixed.direction.T @ shift
        return [Image(torch.from_numpy(v).float().view(3, 1, 1, 1).repeat(1, *g.shape), g)
                for v, g in ((u, fixed), (w, moving))]

    @pytest.mark.parametrize("linear", [np.eye(4), LINEAR], ids=["alone", "under a linear part"])
    def test_where_the_way_back_leads_home_the_expected_error_is_small(self, scans, linear):
        forward, backward = self.there_and_back(scans, np.array([4.0, -3.0, 2.0]), linear)
        error = confidence_map(linear, forward, backward)
        assert error.array.max() < 1e-3

    def test_where_it_does_not_the_expected_error_is_how_far_it_misses(self, scans):
        forward, backward = self.there_and_back(scans, np.array([4.0, -3.0, 2.0]), np.eye(4))
        error = confidence_map(np.eye(4), forward, Image(0 * backward.tensor, backward.geometry))
        np.testing.assert_allclose(error.array, np.sqrt(16 + 9 + 4), rtol=1e-3)

    def test_only_the_broken_place_is_marked(self, scans):
        forward, backward = self.there_and_back(scans, np.array([4.0, -3.0, 2.0]), np.eye(4))
        place = backward.geometry.to_world(np.array(backward.geometry.size) / 2)
        k, j, i = (n // 2 for n in backward.geometry.shape)
        backward.tensor[0, k - 2:k + 3, j - 2:j + 3, i - 2:i + 3] += 12.0
        error = confidence_map(np.eye(4), forward, backward)
        points = error.geometry.to_world(np.argwhere(np.ones(error.array.shape))[:, ::-1])
        away = np.linalg.norm(points + (4.0, -3.0, 2.0) - place, axis=1).reshape(error.array.shape)
        assert error.array[away < 4].mean() > 6
        assert error.array[away > 40].max() < 0.1

    def test_it_lies_on_the_grid_of_the_forward_field(self, scans):
        forward, backward = self.there_and_back(scans, np.zeros(3), np.eye(4))
        assert confidence_map(np.eye(4), forward, backward).geometry is forward.geometry
