"""Only the content of the masks is registered."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare

from .conftest import Scene, centered, rotation

LINEAR = Settings(linear_only=True)


class TwoBodies(Scene):
    """Two different bodies at two places."""

    def __init__(self, first, second):
        super().__init__()
        self._bodies = (Scene(60.0, seed=3), first), (Scene(60.0, seed=4), second)

    def __call__(self, points):
        return sum(body(points - place) for body, place in self._bodies)


class TestMasks:
    """Two bodies side by side, of which one moves."""

    CENTERS = np.array([-45.0, 0.0, 0.0]), np.array([45.0, 0.0, 0.0])
    GRID = centered((66, 26, 26), (3.0, 3.0, 3.0))
    SHIFT = np.array([0.0, 6.0, -5.0])

    @pytest.fixture(scope="class")
    @staticmethod
    def scans():
        first, second = TestMasks.CENTERS
        return [
            TwoBodies(first, second + shift_mm).scan(TestMasks.GRID, seed=seed)
            for seed, shift_mm in enumerate((np.zeros(3), TestMasks.SHIFT))
        ]

    def mask(self, center, geometry=None):
        geometry = geometry or self.GRID
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        points = geometry.to_world(np.stack([i, j, k], axis=-1))
        return Volume((np.linalg.norm(points - center, axis=-1) < 36).astype(np.uint8), geometry)

    def moved(self, result, center):
        return result.linear(center[None])[0] - center

    def test_the_body_in_the_fixed_mask_is_aligned(self, scans):
        for center, shift_mm in zip(self.CENTERS, (np.zeros(3), self.SHIFT)):
            result = register(*scans, LINEAR, fixed_mask=self.mask(center))
            np.testing.assert_allclose(self.moved(result, center), shift_mm, atol=1.0)

    def test_the_body_in_masks_of_both_scans_is_aligned(self, scans):
        center = self.CENTERS[1]
        result = register(*scans, LINEAR, fixed_mask=self.mask(center), moving_mask=self.mask(center + self.SHIFT))
        np.testing.assert_allclose(self.moved(result, center), self.SHIFT, atol=1.0)

    def test_a_moving_mask_alone_limits_the_comparison_to_its_body(self, scans):
        moving = self.mask(self.CENTERS[1] + self.SHIFT)
        inside = LinearLevel(
            *(prepare(scan, mask=mask, device=torch.device("cpu")) for scan, mask in zip(scans, (None, moving))), 50_000
        )
        _, weight = inside.warped(np.eye(4))
        index = np.argwhere(weight.numpy() > 0)[:, ::-1]
        assert len(index) > 100
        assert (inside.fixed_geometry.to_world(index)[:, 0] > 0).all()

    def test_a_mask_outside_the_body_is_refused(self, scans):
        corner = self.GRID.to_world(np.array([[1.0, 1.0, 1.0]]))[0]
        k, j, i = np.meshgrid(*(np.arange(n) for n in self.GRID.shape), indexing="ij")
        away = np.linalg.norm(self.GRID.to_world(np.stack([i, j, k], axis=-1)) - corner, axis=-1)
        with pytest.raises(InputError, match="not lie over the body"):
            register(*scans, LINEAR, fixed_mask=Volume((away < 8).astype(np.uint8), self.GRID))

    def test_a_mask_on_another_grid_is_resampled_and_mentioned(self, scans):
        center = self.CENTERS[1]
        other = centered((40, 20, 20), (5.0, 4.0, 4.0), rotation(0.0, 0.1, 0.2))
        result = register(*scans, LINEAR, fixed_mask=self.mask(center, other))
        np.testing.assert_allclose(self.moved(result, center), self.SHIFT, atol=1.0)
        assert any("resampled" in sentence for sentence in result.report["warnings"])

    def test_an_empty_mask_is_refused(self, scans):
        with pytest.raises(InputError, match="moving mask is empty"):
            register(*scans, LINEAR, moving_mask=Volume(np.zeros(self.GRID.shape, np.uint8), self.GRID))
