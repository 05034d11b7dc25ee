"""The scales of the refinement and what each of them compares."""

import numpy as np
import pytest
import torch

from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.schedule import (
    BESIDE,
    BOTH,
    DESCRIPTOR,
    INTENSITY,
    LEAST_BESIDE,
    NETWORK,
    SAME_CONTRAST,
    contrast_agreement,
    measure_for,
    schedule,
    weight_beside,
)

from ..conftest import FIXED_GRID, MOVING_GRID, Scene


@pytest.fixture(params=[INTENSITY, DESCRIPTOR])
def measure(request):
    return request.param


class TestSchedule:
    def test_it_goes_from_coarse_to_fine(self, measure):
        spacings = [level.spacing for level in schedule(measure, 1.5, 40)]
        assert spacings == sorted(spacings, reverse=True)
        assert len(spacings) > 1

    def test_no_iterations_give_no_level(self, measure):
        assert schedule(measure, 1.5, 0) == []

    def test_the_coarsest_level_has_the_iterations_asked_for(self, measure):
        assert schedule(measure, 1.5, 40)[0].iterations == 40

    def test_every_level_has_at_least_one_iteration(self, measure):
        assert min(level.iterations for level in schedule(measure, 1.5, 1)) == 1

    def test_a_networks_descriptors_are_compared_on_the_coarse_levels_only(self):
        levels = schedule(DESCRIPTOR, 1.0, 8, descriptor=BOTH)
        assert [level.measure for level in levels] == [BOTH, BOTH, DESCRIPTOR]

    def test_a_networks_descriptors_can_be_compared_on_all_levels(self):
        levels = schedule(DESCRIPTOR, 1.0, 8, descriptor=NETWORK, finest_learned=0)
        assert [level.measure for level in levels] == [NETWORK] * 3

    def test_descriptors_are_compared_beside_intensities_only(self):
        levels = schedule(INTENSITY, 1.0, 8, beside=0.5)
        assert [level.beside for level in levels] == [0.5 * (level.measure == INTENSITY) for level in levels]
        assert all(level.beside == 0 for level in schedule(DESCRIPTOR, 1.0, 8, beside=0.5))


def test_intensities_are_compared_where_contrasts_agree_and_descriptors_where_not():
    assert measure_for(SAME_CONTRAST + 0.01) == INTENSITY
    assert measure_for(SAME_CONTRAST - 0.01) == DESCRIPTOR


class TestWeightBeside:
    def test_it_falls_as_the_contrasts_agree_better(self):
        weights = [weight_beside(agreement) for agreement in np.linspace(SAME_CONTRAST, 1, 20)]
        assert weights == sorted(weights, reverse=True)
        assert weights[0] == pytest.approx(BESIDE)
        assert weights[-1] == 0

    def test_it_is_not_larger_below_the_threshold(self):
        assert weight_beside(-1) == BESIDE

    def test_a_small_weight_is_left_out(self):
        weights = [weight_beside(agreement) for agreement in np.linspace(0.9, 1, 200)]
        assert all(weight == 0 or weight >= LEAST_BESIDE for weight in weights)


def agreement(look, noise=0.5):
    scene = Scene()
    fixed = prepare(scene.scan(FIXED_GRID), mask=None, device=torch.device("cpu"))
    moving = prepare(scene.scan(MOVING_GRID, look=look, noise=noise, seed=1), mask=None, device=torch.device("cpu"))
    return contrast_agreement(LinearLevel(fixed, moving, 150_000), fixed, np.eye(4), None)


def test_two_scans_of_one_contrast_agree():
    assert agreement(lambda values: values) > 0.9


def test_offset_and_scale_of_intensities_do_not_change_the_agreement():
    assert agreement(lambda values: 7 * values + 1000) == pytest.approx(agreement(lambda values: values), abs=0.02)


def test_inverted_contrast_gives_a_negative_agreement():
    assert agreement(lambda values: (300 - values) * (values > 20)) < 0


def test_two_contrasts_agree_less_than_one_contrast():
    bent = agreement(lambda values: 100 - np.abs(values - 105) * (values > 20))
    assert bent < agreement(lambda values: values) - 0.05


def test_scans_without_overlap_have_an_agreement_of_zero():
    scan = Scene().scan(FIXED_GRID)
    fixed, moving = (prepare(scan, mask=None, device=torch.device("cpu")) for _ in range(2))
    far = np.eye(4)
    far[0, 3] = 1e4
    assert contrast_agreement(LinearLevel(fixed, moving, 30_000), fixed, far, None) == 0
