"""Linear alignment, against known mappings."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.stages.linear import LinearLevel, align, chance_mismatch
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


class TestRecovery:
    def test_a_translation_of_half_the_field_of_view_is_recovered(self):
        truth = rigid(shift=(60.0, -45.0, 55.0))
        fixed, moving = scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(60.0, -45.0, 55.0)))
        best, _ = align(fixed, moving)
        assert error(best.matrix, truth) < 1.0

    def test_a_translation_to_the_edge_of_the_scan_is_recovered(self):
        truth = rigid(shift=(0.0, 0.0, 35.0))
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.5

    @pytest.mark.parametrize("axis", range(3))
    def test_a_rotation_of_12_degrees_is_recovered(self, axis):
        angles = np.zeros(3)
        angles[axis] = np.radians(12)
        truth = rigid(angles)
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.0

    def test_a_scaling_is_recovered(self):
        truth = np.diag([1.1, 0.93, 1.05, 1.0])
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.5

    def test_headers_hundreds_of_mm_apart_are_aligned(self):
        truth = rigid(shift=(900.0, -700.0, 400.0))
        best, _ = align(*scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(905.0, -690.0, 398.0))))
        assert error(best.matrix, truth) < 1.0

    def test_a_header_that_is_right_is_kept(self):
        best, _ = align(*scans(np.eye(4)))
        assert error(best.matrix, np.eye(4)) < 1.0

    def test_a_header_that_is_right_is_kept_on_an_oblique_grid(self):
        best, _ = align(*scans(np.eye(4), MOVING_GRID))
        assert error(best.matrix, np.eye(4)) < 1.0


@pytest.fixture(scope="module")
def given_start():
    """A rotation that is not found without it, given as a start; and the two values that `align` returns."""
    truth = rigid((0.3, -0.4, 1.5), (10.0, 20.0, -5.0))
    return truth, *align(*scans(truth), given=[("initial", truth)])


class TestResult:
    def test_the_result_is_not_worse_than_the_header(self, pair):
        fixed, moving = (prepare(volume, mask=None, device=CPU) for volume in (pair.fixed, pair.moving))
        best, level = align(fixed, moving)
        assert best.objective <= level.objective(np.eye(4))

    def test_the_result_is_not_worse_than_the_header_of_unrelated_scans(self):
        fixed = prepare(SCENE.scan(FIXED_GRID), mask=None, device=CPU)
        moving = prepare(Scene(seed=77).scan(MOVING_GRID), mask=None, device=CPU)
        best, level = align(fixed, moving)
        assert best.objective <= level.objective(np.eye(4))

    def test_the_result_is_not_worse_than_a_given_start(self, given_start):
        truth, best, level = given_start
        assert best.objective <= level.objective(truth)

    def test_a_given_start_that_is_right_is_kept(self, given_start):
        truth, best, _ = given_start
        assert best.name == "initial"
        assert error(best.matrix, truth) < 1.5

    def test_the_returned_objective_is_that_of_the_returned_matrix(self):
        best, level = align(*scans(rigid(shift=(5.0, 0.0, 0.0))))
        assert best.objective == pytest.approx(level.objective(best.matrix), abs=1e-6)


class TestInit:
    def test_init_none_keeps_the_header(self):
        best, _ = align(*scans(rigid(shift=(8.0, 0.0, 0.0))), init="none")
        np.testing.assert_array_equal(best.matrix, np.eye(4))

    def test_init_none_keeps_a_given_start(self):
        given = rigid((0.05, 0.0, 0.0), (3.0, 2.0, 1.0))
        best, _ = align(*scans(np.eye(4)), init="none", given=[("initial", given)])
        np.testing.assert_array_equal(best.matrix, given)

    def test_init_header_refines_the_header(self):
        truth = rigid(shift=(6.0, -4.0, 3.0))
        best, _ = align(*scans(truth), init="header")
        assert best.name == "header"
        assert error(best.matrix, truth) < 1.0

    def test_init_center_starts_from_the_centers_of_the_scans(self):
        truth = rigid(shift=(300.0, 0.0, 0.0))
        best, _ = align(
            *scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(302.0, 1.0, 0.0))), init="center"
        )
        assert best.name == "center"
        assert error(best.matrix, truth) < 1.0

    def test_the_reported_fractions_rise_and_do_not_exceed_one(self):
        fractions = []
        align(*scans(np.eye(4)), tell=fractions.append)
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] < fractions[-1] <= 1


@pytest.fixture(scope="module")
def level():
    return LinearLevel(*scans(np.eye(4), FIXED_GRID), 30_000)


class TestObjective:
    def test_it_is_near_0_for_the_same_scan(self, level):
        assert level.objective(np.eye(4)) < 0.1

    def test_it_grows_with_the_distance(self, level):
        values = [level.objective(rigid(shift=(d, 0.0, 0.0))) for d in (0.0, 3.0, 8.0, 20.0)]
        assert values == sorted(values)

    def test_it_is_about_1_far_from_the_right_alignment(self, level):
        assert 0.8 < level.objective(rigid(shift=(50.0, 50.0, 0.0))) <= 1.1

    def test_it_is_1_without_overlap(self, level):
        assert level.objective(rigid(shift=(1e4, 0.0, 0.0))) == 1

    def test_refinement_lowers_it(self, level):
        start = rigid((0.1, 0.05, 0.0), (6.0, -5.0, 4.0))
        matrix, value = level.refine(start, freedom=6, steps=8)
        assert value < level.objective(start)
        assert value == pytest.approx(level.objective(matrix), abs=1e-6)

    def test_six_degrees_of_freedom_stay_rigid(self, level):
        matrix, _ = level.refine(rigid((0.1, 0.05, 0.0), (6.0, -5.0, 4.0)), freedom=6, steps=8)
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(matrix[:3, :3]) > 0


def test_a_chance_match_is_the_mean_over_shuffled_voxels():
    generator = torch.Generator().manual_seed(0)
    f = torch.rand(3, 12, 12, 12, generator=generator)
    m = torch.rand(3, 12, 12, 12, generator=generator) ** 2
    ones = torch.ones(12, 12, 12)
    shuffled = m.reshape(3, -1)[:, torch.randperm(12**3, generator=generator)].reshape(m.shape)
    assert chance_mismatch(f, ones, m, ones) == pytest.approx(float((f - shuffled).square().mean()), rel=0.03)


FAR_GRID = centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(2000.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def disjoint():
    return SCENE.scan(FIXED_GRID), SCENE.scan(FAR_GRID, lambda p: p - (2000.0, 0.0, 0.0), seed=1)


class TestDisjointHeaders:
    def test_init_auto_aligns_them(self, disjoint):
        result = register(*disjoint, Settings(linear_only=True))
        assert error(result.linear.matrix, rigid(shift=(2000.0, 0.0, 0.0))) < 1.0

    @pytest.mark.parametrize("init", ["header", "none"])
    def test_keeping_the_header_is_refused_with_one_sentence(self, disjoint, init):
        with pytest.raises(InputError, match="do not overlap") as caught:
            register(*disjoint, Settings(init=init))
        text = str(caught.value)
        assert text.endswith(".")
        assert "\n" not in text
