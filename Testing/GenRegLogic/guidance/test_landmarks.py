"""Landmarks: the rigid fit to them, and their influence on the field."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.guidance.landmarks import LandmarkPull, rigid_fit
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry

from ..conftest import FIXED_GRID, Scene, rotation

GRID = Geometry((30, 28, 26), (3.0, 3.0, 3.0), (-40.0, -35.0, -30.0), rotation(0.2, -0.1, 0.3))


class TestRigidFit:
    @pytest.mark.parametrize("noise", [0.0, 0.01])
    def test_a_known_rigid_mapping_is_recovered(self, noise):
        random = np.random.default_rng(0)
        fixed = random.uniform(-50, 50, (12, 3))
        turn, shift = rotation(0.9, -1.8, 2.5), np.array([100.0, -30.0, 7.0])
        matrix = rigid_fit(fixed, fixed @ turn.T + shift + noise * random.normal(size=(12, 3)))
        np.testing.assert_allclose(matrix[:3, :3], turn, atol=1e-9 + noise / 10)
        np.testing.assert_allclose(matrix[:3, 3], shift, atol=1e-9 + noise)

    def test_the_fit_to_mirrored_points_is_a_rotation(self):
        fixed = np.random.default_rng(0).uniform(-50, 50, (8, 3))
        assert np.linalg.det(rigid_fit(fixed, fixed * (-1, 1, 1))[:3, :3]) == pytest.approx(1)

    def test_three_points_determine_the_rotation(self):
        fixed = np.array([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 30.0, 0.0]])
        turn = rotation(0.1, 0.2, 0.3)
        np.testing.assert_allclose(rigid_fit(fixed, fixed @ turn.T)[:3, :3], turn, atol=1e-9)

    def test_no_other_rigid_mapping_fits_better(self):
        random = np.random.default_rng(0)
        fixed, moving = random.uniform(-50, 50, (9, 3)), random.uniform(-50, 50, (9, 3))

        def misfit(matrix):
            return ((fixed @ matrix[:3, :3].T + matrix[:3, 3] - moving) ** 2).sum()

        best = rigid_fit(fixed, moving)
        for _ in range(50):
            other = np.eye(4)
            other[:3, :3], other[:3, 3] = rotation(*random.normal(0, 0.05, 3)), random.normal(0, 1, 3)
            assert misfit(best) <= misfit(best @ other)


class TestPull:
    POINT = GRID.center[None]
    SHIFT = np.array([4.0, -6.0, 2.0])

    def apply(self, pull, steps):
        """The displacement, mm along the grid's axes, after some steps from landmarks alone."""
        u = torch.zeros(3, *GRID.shape)
        for _ in range(steps):
            u = u + GRID.spacing[0] * pull.blend(torch.zeros_like(u), u, GRID)
        return u

    def at(self, u, point):
        """World displacement at the voxel nearest to a point."""
        index = np.rint(GRID.to_index(point)).astype(int)
        return u.numpy()[(slice(None), *index[::-1])] @ GRID.direction.T

    def test_repeated_steps_map_a_fixed_landmark_to_its_moving_landmark(self):
        u = self.apply(LandmarkPull(self.POINT, self.POINT + self.SHIFT, np.eye(4)), 40)
        np.testing.assert_allclose(self.at(u, self.POINT[0]), self.SHIFT, atol=0.5)

    def test_far_from_landmarks_the_step_is_unchanged(self):
        pull = LandmarkPull(self.POINT, self.POINT + self.SHIFT, np.eye(4))
        step = torch.randn(3, *GRID.shape)
        blended = pull.blend(step, torch.zeros_like(step), GRID)
        torch.testing.assert_close(blended[:, :3, :3, :3], step[:, :3, :3, :3], atol=1e-4, rtol=0)

    def test_a_distant_moving_landmark_gives_a_step_of_at_most_one_voxel(self):
        pull = LandmarkPull(self.POINT, self.POINT + 1000.0, np.eye(4))
        zero = torch.zeros(3, *GRID.shape)
        assert 0.5 < float(pull.blend(zero, zero, GRID).norm(dim=0).max()) <= 1 + 1e-5

    def test_two_landmarks_at_the_same_place_have_the_effect_of_one(self):
        one = self.apply(LandmarkPull(self.POINT, self.POINT + self.SHIFT, np.eye(4)), 40)
        twice = np.repeat(self.POINT, 2, 0)
        two = self.apply(LandmarkPull(twice, twice + self.SHIFT, np.eye(4)), 40)
        np.testing.assert_allclose(self.at(two, self.POINT[0]), self.at(one, self.POINT[0]), atol=0.3)

    def test_the_displacement_is_found_before_the_linear_part(self):
        linear = np.eye(4)
        linear[:3, :3], linear[:3, 3] = rotation(0.3, 0.1, 0.0), (20.0, 0.0, -10.0)
        moving = (self.POINT + self.SHIFT) @ linear[:3, :3].T + linear[:3, 3]
        u = self.apply(LandmarkPull(self.POINT, moving, linear), 40)
        np.testing.assert_allclose(self.at(u, self.POINT[0]), self.SHIFT, atol=0.5)

    def test_landmarks_outside_the_grid_have_no_effect(self):
        step = torch.randn(3, *GRID.shape)
        pull = LandmarkPull(self.POINT + 1000.0, self.POINT, np.eye(4))
        assert torch.equal(pull.blend(step, torch.zeros_like(step), GRID), step)

    def test_a_landmark_at_the_edge_of_the_grid_has_an_effect(self):
        corner = GRID.to_world(np.array(GRID.size) - 1.0)[None]
        zero = torch.zeros(3, *GRID.shape)
        blended = LandmarkPull(corner - 1e-6, corner + 5.0, np.eye(4)).blend(zero, zero, GRID)
        assert float(blended[:, -1, -1, -1].norm()) > 0.1


class TestRegister:
    @pytest.fixture(scope="class")
    @staticmethod
    def dent():
        """The registration of a scan to itself, with landmarks according to which one place has moved by 6 mm."""
        scene = Scene()
        scan = scene.scan(FIXED_GRID)
        still = scene.points(12, depth=0.3)
        still = still[np.linalg.norm(still - (10.0, 10.0, 10.0), axis=1) > 30]
        fixed = np.vstack([still, [(10.0, 10.0, 10.0)]])
        moving = fixed.copy()
        moving[-1] += (6.0, 0.0, 0.0)
        return register(scan, scan, fixed_landmarks=fixed, moving_landmarks=moving), fixed, moving

    def test_landmarks_change_the_field_against_the_images(self, dent):
        result, fixed, _ = dent
        moved = result.forward(fixed) - fixed
        assert moved[-1, 0] > 2.0
        assert np.linalg.norm(moved[:-1], axis=1).mean() < 1.0

    def test_the_landmark_error_before_and_after_is_reported(self, dent):
        result, fixed, moving = dent
        after = np.linalg.norm(result.forward(fixed) - moving, axis=1).mean()
        report = result.report["landmarks"]
        assert report["count"] == len(fixed)
        assert report["tre_before_mm"] == pytest.approx(6.0 / len(fixed))
        assert report["tre_after_mm"] == pytest.approx(after, abs=1e-3)
        assert report["tre_after_mm"] < report["tre_before_mm"]

    def test_the_field_does_not_fold_between_landmarks(self, dent):
        assert dent[0].report["jacobian"]["ndv_pct"] == 0

    def test_without_landmarks_no_landmark_error_is_reported(self, registered):
        assert registered.report["landmarks"] is None

    def test_landmarks_of_one_scan_alone_are_refused(self, pair):
        with pytest.raises(InputError, match="both scans"):
            register(pair.fixed, pair.moving, Settings(linear_only=True), fixed_landmarks=pair.points[:5])
