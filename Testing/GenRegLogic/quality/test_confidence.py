"""The map of the expected error: where there is one, and that it tells a right registration from a wrong one."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.progress import Monitor
from GenRegLogic.quality.confidence import confidence_of, expected_error_of
from GenRegLogic.quality.signs import gather
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import AffineTransform, sample_transform
from GenRegLogic.space.grid import Image
from GenRegLogic.stages.prepare import prepare, working_grid

from ..conftest import rotation

CPU = torch.device("cpu")


@pytest.fixture
def signs(exact_signs):
    """Those of a refinement in one direction."""
    return dataclasses.replace(exact_signs, apart=None)


def test_the_expected_error_of_an_exact_registration_is_below_half_a_voxel(signs):
    assert expected_error_of(signs).array.max() < 0.5


def test_the_expected_error_is_zero_outside_the_body_and_positive_inside(signs):
    error = expected_error_of(signs).array
    outside = signs.weight.numpy() == 0
    assert outside.any()
    assert not error[outside].any()
    assert error[~outside].min() > 0


def test_outside_the_moving_scan_there_is_no_expected_error(signs):
    inside = signs.inside.clone()
    inside[: inside.shape[0] // 2] = 0
    error = expected_error_of(dataclasses.replace(signs, inside=inside)).array
    assert not error[: inside.shape[0] // 2].any()
    assert error[inside.shape[0] // 2 :].any()


def test_a_wrong_alignment_that_was_not_refined_has_a_large_expected_error(pair):
    """The further registrations search by themselves: if they kept the wrong start too, all would agree."""
    scans = [prepare(scan, mask=None, device=CPU) for scan in (pair.fixed, pair.moving)]
    turned = np.eye(4)
    turned[:3, :3] = rotation(0.0, 0.0, 1.2)
    grid = working_grid(scans[0], 4.0)
    still = Image(torch.zeros(3, *grid.shape), grid)
    monitor = Monitor(CPU)
    with torch.inference_mode(), monitor.stage("finish"):
        error = expected_error_of(gather(*scans, turned, still, Settings(linear_only=True), monitor))
    assert np.median(error.array[error.array > 0]) > 1.25 * error.geometry.spacing[0]


def test_a_transform_made_elsewhere_is_judged_by_the_scans(pair):
    """The true mapping, and the same shifted by 10 mm."""
    matrix = np.eye(4)
    matrix[1, 3] = 10.0
    grid = pair.fixed.geometry
    with torch.inference_mode():
        right, wrong = (
            confidence_of(pair.fixed, pair.fixed, sample_transform(AffineTransform(m), grid))
            for m in (np.eye(4), matrix)
        )
    medians = [float(np.median(error.array[error.array > 0])) for error in (right, wrong)]
    assert medians[0] < 1.0
    assert 7.0 < medians[1] < 14.0
