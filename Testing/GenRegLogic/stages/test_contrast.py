"""The agreement of the contrasts of two scans."""

import numpy as np
import pytest
import torch

from GenRegLogic.stages.contrast import contrast_agreement
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare

from ..conftest import FIXED_GRID, MOVING_GRID, Scene


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
