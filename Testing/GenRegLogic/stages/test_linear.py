"""Linear alignment, against known mappings."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.grid import Image
from GenRegLogic.stages.linear import LinearLevel, chance_mismatch

from ..conftest import centered
from .conftest import FIXED_GRID, MOVING_GRID, SCENE, error, rigid, scans


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

    def test_a_moving_mask_smaller_than_the_fixed_body_costs_no_overlap(self):
        fixed, moving = scans(np.eye(4), FIXED_GRID)
        middle = torch.zeros_like(moving.mask.tensor)
        middle[tuple(slice(n // 3, 2 * n // 3) for n in middle.shape)] = True
        masked = dataclasses.replace(moving, mask=Image(middle, moving.mask.geometry), automatic=False)
        assert LinearLevel(fixed, masked, 30_000).objective(np.eye(4)) < 0.15

    def test_refinement_lowers_it(self, level):
        start = rigid((0.1, 0.05, 0.0), (6.0, -5.0, 4.0))
        matrix, value = level.refine(start, freedom=6, steps=8)
        assert value < level.objective(start)
        assert value == pytest.approx(level.objective(matrix), abs=1e-6)

    def test_six_degrees_of_freedom_stay_rigid(self, level):
        matrix, _ = level.refine(rigid((0.1, 0.05, 0.0), (6.0, -5.0, 4.0)), freedom=6, steps=8)
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(matrix[:3, :3]) > 0

    def test_seven_degrees_of_freedom_add_one_scale(self, level):
        matrix, _ = level.refine(np.diag([1.1, 1.1, 1.1, 1.0]), freedom=7, steps=8)
        product = matrix[:3, :3] @ matrix[:3, :3].T
        np.testing.assert_allclose(product, np.eye(3) * product[0, 0], atol=1e-9)
        assert product[0, 0] == pytest.approx(1.0, abs=0.01)

    def test_a_mapping_that_mirrors_is_described_mirrored(self, level):
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        matrix, value = level.turned(mirror).refine(mirror, freedom=6, steps=3)
        assert np.linalg.det(matrix[:3, :3]) < 0
        assert value > 2 * level.objective(np.eye(4))


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
