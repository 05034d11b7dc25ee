"""Structures that are kept rigid, measured in the resulting field."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.guidance.rigid import RigidBodies, check_rigid, rigid_field
from GenRegLogic.quality.rigidity import rigid_figures
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, canonical_geometry
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.finish import full_field

from ..conftest import FIXED_GRID, centered, make_scene_pair, motion, rotation

CPU = torch.device("cpu")
QUICK = Settings(iterations=6, init="header", threads=1)
MAX_VOLUME_CHANGE_PCT = 0.5


def ball(geometry, center, radius, label=1, into=None):
    """A label map with a ball, or the label map `into` with one more ball."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    points = geometry.to_world(np.stack([i, j, k], axis=-1))
    array = np.zeros(geometry.shape, np.int16) if into is None else into.array.copy()
    array[np.linalg.norm(points - np.array(center), axis=-1) < radius] = label
    return Volume(array, geometry)


@pytest.fixture(scope="module")
def bodies():
    """Two balls far from each other, and a third that nearly touches the second."""
    labels = ball(FIXED_GRID, (-20, 0, 0), 14)
    labels = ball(FIXED_GRID, (20, 5, 10), 12, 2, labels)
    return ball(FIXED_GRID, (20, 5, -8), 5, 7, labels)


@pytest.fixture(scope="module")
def kept(pair, bodies):
    return register(pair.fixed, pair.moving, QUICK, keep_rigid=bodies)


class TestRegister:
    def test_each_body_keeps_its_volume_and_shape(self, kept):
        assert [each["label"] for each in kept.report["rigid"]] == [1, 2, 7]
        for each in kept.report["rigid"]:
            assert abs(each["volume_change_pct"]) <= MAX_VOLUME_CHANGE_PCT
            assert each["residual_strain_pct"] <= MAX_VOLUME_CHANGE_PCT

    def test_the_same_structures_deform_without_the_constraint(self, pair, bodies):
        free = register(pair.fixed, pair.moving, QUICK)
        assert free.report["rigid"] is None
        assert max(each["residual_strain_pct"] for each in rigid_figures(free.forward, bodies)) > 3

    def test_a_field_with_rigid_bodies_does_not_fold(self, kept):
        assert kept.report["jacobian"]["ndv_pct"] == 0

    def test_the_bodies_are_mapped_to_their_places_in_the_moving_scan(self, kept, pair, bodies):
        for label in (1, 2, 7):
            places = FIXED_GRID.to_world(np.argwhere(bodies.array == label)[:, ::-1])
            off = kept.forward(places).mean(axis=0) - pair.truth(places).mean(axis=0)
            assert np.linalg.norm(off) < 2.0
            assert np.linalg.norm(pair.truth(places).mean(axis=0) - places.mean(axis=0)) > 2.0

    def test_the_tissue_around_rigid_bodies_is_still_registered(self, kept, pair):
        assert kept.report["similarity"]["after"]["lncc"] > kept.report["similarity"]["before"]["lncc"]
        assert np.median(pair.error(kept.forward)) < 0.6 * np.median(pair.start)

    def test_a_body_rotates_with_its_surroundings(self):
        """Everything is rotated, so the body must rotate too."""
        turn = rotation(0.0, 0.0, np.radians(8))
        pair = make_scene_pair(flow=_Turn(turn))
        result = register(pair.fixed, pair.moving, QUICK, keep_rigid=ball(FIXED_GRID, (-15, 5, 0), 14))
        assert result.report["rigid"][0]["rotation_deg"] == pytest.approx(8, abs=1.5)
        assert abs(result.report["rigid"][0]["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT

    def test_a_linear_registration_keeps_bodies_rigid(self):
        """The affine part shrinks everything except the body by a tenth."""
        pair = make_scene_pair(flow=_Turn(0.9 * np.eye(3)))
        settings = dataclasses.replace(QUICK, linear_only=True)
        result = register(pair.fixed, pair.moving, settings, keep_rigid=ball(FIXED_GRID, (0, 0, 0), 12))
        assert np.linalg.det(result.linear.matrix[:3, :3]) < 0.9
        assert abs(result.report["rigid"][0]["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT
        assert result.report["jacobian"]["ndv_pct"] == 0


class _Turn:
    """A linear mapping with the interface of a flow."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, points):
        return points @ self.matrix.T

    def inverse(self):
        return _Turn(np.linalg.inv(self.matrix))


def field_of(geometry, function):
    """u along canonical axes for ``x -> x + function(x)`` without a linear part."""
    grid = canonical_geometry(geometry)
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    values = function(grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))) @ grid.direction
    return Image(torch.from_numpy(values.T.reshape(3, *grid.shape).copy()).float(), grid)


class TestRigidField:
    def made(self, geometry, labels, function, linear=None):
        linear = np.eye(4) if linear is None else linear
        return rigid_field(field_of(geometry, function), linear, RigidBodies(labels, linear, CPU))

    def test_a_body_is_rigid_on_every_grid(self, grid):
        extent = grid.extent_mm.min()
        labels = ball(grid, grid.center, 0.22 * extent)
        wave = motion(extent, 0.06 * extent)
        forward, _ = self.made(grid, labels, lambda p: wave(p - grid.center) - (p - grid.center))
        figures = rigid_figures(forward, labels)[0]
        assert abs(figures["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT
        assert figures["residual_strain_pct"] < MAX_VOLUME_CHANGE_PCT
        assert jacobian_figures(forward)["ndv_pct"] == 0
        assert figures["translation_mm"] > 0

    def test_a_body_is_rigid_under_a_linear_part_that_scales_and_shears(self, oblique_grid, affine):
        labels = ball(oblique_grid, oblique_grid.center, 5.0)
        forward, _ = self.made(oblique_grid, labels, lambda p: 0 * p, affine.matrix)
        figures = rigid_figures(forward, labels)[0]
        assert abs(figures["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT
        assert jacobian_figures(forward)["ndv_pct"] == 0

    def test_far_from_bodies_the_field_is_unchanged(self):
        grid = centered((60, 40, 40), (2.0, 2.0, 2.0))
        labels = ball(grid, (-40, 0, 0), 10)
        image = field_of(grid, lambda p: 2 * np.sin(p / 15))
        forward, _ = rigid_field(image, np.eye(4), RigidBodies(labels, np.eye(4), CPU))
        free, _ = full_field(image, np.eye(4), grid)
        np.testing.assert_array_equal(forward.array[:, :, 45:], free.array[:, :, 45:])

    def test_colliding_bodies_stay_rigid_without_folds(self):
        grid = centered((48, 32, 32), (2.0, 2.0, 2.0))
        labels = ball(grid, (12, 0, 0), 10, 2, ball(grid, (-12, 0, 0), 10))
        forward, repaired = self.made(grid, labels, lambda p: -np.sign(p[:, :1]) * [[8.0, 0, 0]] * np.ones((1, 1)))
        assert repaired > 0
        assert jacobian_figures(forward)["ndv_pct"] == 0
        for figures in rigid_figures(forward, labels):
            assert abs(figures["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT

    COLLIDING = centered((48, 32, 32), (2.0, 2.0, 2.0))

    def collision(self, **hooks):
        """Two balls that are displaced by 16 mm toward each other."""
        labels = ball(self.COLLIDING, (12, 0, 0), 10, 2, ball(self.COLLIDING, (-12, 0, 0), 10))
        field = field_of(self.COLLIDING, lambda p: -np.sign(p[:, :1]) * [[8.0, 0, 0]])
        return labels, rigid_field(field, np.eye(4), RigidBodies(labels, np.eye(4), CPU), **hooks)[0]

    def test_a_deformation_that_still_folds_is_replaced_by_one_rigid_motion(self, monkeypatch):
        monkeypatch.setattr("GenRegLogic.guidance.rigid.MAX_ROUNDS", 1)
        sentences = []
        labels, forward = self.collision(warn=sentences.append)
        assert "one rigid motion" in sentences[0]
        assert jacobian_figures(forward)["min_det"] == pytest.approx(1, abs=0.01)
        assert max(each["residual_strain_pct"] for each in rigid_figures(forward, labels)) < MAX_VOLUME_CHANGE_PCT

    def test_the_caller_can_cancel_the_fold_repair(self):
        def cancel(fraction):
            raise Cancelled("stop")

        with pytest.raises(Cancelled, match="stop"):
            self.collision(tell=cancel)

    def test_the_labels_of_three_colliding_bodies_do_not_change_the_field(self):
        grid = centered((48, 36, 32), (2.0, 2.0, 2.0))
        places = {(-14, 0, 0): 9, (14, 0, 0): 9, (0, 20, 0): 8}

        def outcome(numbers):
            labels = None
            for (center, radius), number in zip(places.items(), numbers):
                labels = ball(grid, center, radius, number, labels)
            return self.made(grid, labels, lambda p: -np.sign(p[:, :1]) * [[8.0, 0, 0]] - [[0, 0.2, 0]] * p)

        (first, repaired), (second, _) = outcome((1, 2, 3)), outcome((3, 1, 2))
        assert repaired > 0
        np.testing.assert_allclose(first.array, second.array, atol=0.01)

    def test_a_body_of_one_voxel_keeps_its_volume(self):
        grid = centered((24, 24, 24), (2.0, 2.0, 2.0))
        array = np.zeros(grid.shape, np.uint8)
        array[12, 12, 12] = 1
        forward, _ = self.made(grid, Volume(array, grid), lambda p: 2 * np.sin(p / 8))
        figures = rigid_figures(forward, Volume(array, grid))[0]
        assert abs(figures["volume_change_pct"]) < MAX_VOLUME_CHANGE_PCT

    def test_a_body_at_the_edge_of_the_scan_is_rigid(self):
        grid = centered((24, 20, 22), (2.0, 2.5, 2.0))
        array = np.zeros(grid.shape, np.uint8)
        array[:6, :, 18:] = 3
        forward, _ = self.made(grid, Volume(array, grid), lambda p: 2 * np.sin(p / 12))
        assert rigid_figures(forward, Volume(array, grid))[0]["residual_strain_pct"] < MAX_VOLUME_CHANGE_PCT


class TestTogether:
    def test_the_order_of_colliding_bodies_does_not_change_their_motions(self):
        grid = centered((48, 36, 32), (2.0, 2.0, 2.0))
        labels = ball(grid, (0, 20, 0), 8, 3, ball(grid, (14, 0, 0), 9, 2, ball(grid, (-14, 0, 0), 9, 1)))
        bodies = RigidBodies(labels, np.eye(4), CPU).on(canonical_geometry(grid))
        shifts = ([6.0, 0, 0], [-6.0, 0, 0], [0, -5.0, 0])
        motions = [(torch.zeros(3, 3, dtype=torch.float64), torch.tensor(s, dtype=torch.float64)) for s in shifts]
        halfway = bodies.together(motions, [0, 1, 2], 0.5)
        backwards = bodies.together(motions, [2, 1, 0], 0.5)
        assert len(halfway) == len(backwards) == 3
        for one, other in zip(halfway, backwards):
            np.testing.assert_allclose(one[1], other[1], atol=1e-3)


class TestCheck:
    IMAGE = Volume(np.random.default_rng(0).normal(size=(8, 8, 8)), Geometry((8, 8, 8)))

    @pytest.mark.parametrize(
        ("array", "sentence"),
        [
            (np.zeros((8, 8, 8)), "rigid is empty"),
            (np.full((8, 8, 8), 0.5), "whole numbers"),
            (np.full((8, 8, 8), np.nan), "whole numbers"),
            (np.arange(512).reshape(8, 8, 8), "different values"),
        ],
    )
    def test_a_volume_that_is_no_label_map_is_refused(self, array, sentence):
        with pytest.raises(InputError, match=sentence):
            check_rigid(Volume(array, self.IMAGE.geometry), self.IMAGE)

    def test_a_label_map_outside_the_scan_is_refused(self):
        with pytest.raises(InputError, match="does not lie over"):
            check_rigid(Volume(np.ones((4, 4, 4)), Geometry((4, 4, 4), origin=(90.0, 0, 0))), self.IMAGE)

    def test_a_label_map_on_another_grid_is_resampled_and_mentioned(self):
        labels = check_rigid(Volume(np.full((4, 4, 4), 5.0), Geometry((4, 4, 4))), self.IMAGE)
        assert set(np.unique(labels.array)) == {0, 5}
        assert "resampled" in labels.warnings[0]
