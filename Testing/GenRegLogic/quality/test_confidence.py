"""The expected error, and the inverse consistency error from which it is computed."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.progress import Monitor
from GenRegLogic.quality.confidence import (
    POWERS,
    Signs,
    error_voxels,
    estimate_confidence,
    evidence,
    expected_error,
)
from GenRegLogic.settings import Settings
from GenRegLogic.space.grid import Image, resample
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare, working_grid

from ..conftest import rotation

LINEAR = np.eye(4)
LINEAR[:3, :3] = rotation(0.1, -0.2, 0.3) @ np.diag([1.1, 0.9, 1.0])
LINEAR[:3, 3] = (30.0, -20.0, 50.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def signs(pair):
    """The signs of a scan that is registered to itself exactly in both directions."""
    prepared = [prepare(scan, mask=None, device=CPU) for scan in (pair.fixed, pair.fixed)]
    level = LinearLevel(*prepared, 100_000)
    zero = torch.zeros(3, *level.fixed_geometry.shape)
    image = resample(prepared[0].image, level.fixed_geometry).tensor
    return Signs(level.fixed_geometry, image, image.clone(), torch.ones_like(image), level.weight, zero, zero)


class TestExpectedError:
    def test_the_expected_error_of_an_exact_registration_is_below_half_a_voxel(self, signs):
        error = expected_error(signs)
        assert error.array.max() < 0.5 * signs.geometry.spacing[0]

    def test_the_expected_error_is_zero_outside_the_body_and_positive_inside(self, signs):
        error = expected_error(signs)
        outside = signs.weight.numpy() == 0
        assert outside.any()
        assert not error.array[outside].any()
        assert error.array[~outside].min() > 0

    @pytest.mark.parametrize("name", POWERS)
    def test_the_expected_error_increases_with_each_sign(self, name):
        found = {key: torch.full((3,), 0.4) for key in evidence_names()}
        rising = found | {name: torch.tensor([0.1, 0.4, 2.0])}
        assert (error_voxels(rising).diff() > 0).all()

    def test_the_expected_error_is_at_least_half_the_inverse_consistency_error(self):
        found = {key: torch.zeros(1) for key in evidence_names()} | {"wide": torch.tensor([30.0])}
        assert float(error_voxels(found)) >= 15

    def test_the_expected_error_scales_with_the_size_of_the_body(self, signs):
        geometry = signs.geometry
        small = dataclasses.replace(geometry, spacing=tuple(s / 20 for s in geometry.spacing))
        residual = torch.full_like(signs.residual, 1.5)
        moved = dataclasses.replace(signs, residual=residual)
        mouse = dataclasses.replace(signs, residual=residual / 20, geometry=small)
        np.testing.assert_allclose(expected_error(mouse).array * 20, expected_error(moved).array, rtol=1e-4)

    def test_the_pull_of_a_scan_shifted_by_one_voxel_is_about_one_voxel(self, signs):
        shifted = dataclasses.replace(signs, warped=signs.warped.roll(1, dims=2))
        here, beside = (float(evidence(s)["pull"][signs.weight > 0].mean()) for s in (signs, shifted))
        assert here < 0.1
        assert 0.5 < beside < 1.5

    def test_the_expected_error_is_larger_outside_the_moving_scan(self, signs):
        inside = signs.inside.clone()
        inside[: inside.shape[0] // 2] = 0
        half = expected_error(dataclasses.replace(signs, inside=inside)).array
        whole = expected_error(signs).array
        assert whole[3].any()
        assert whole[-3].any()
        assert half[3].sum() > 1.2 * whole[3].sum()
        np.testing.assert_allclose(half[-3], whole[-3], rtol=0.05)


def evidence_names():
    return ("near", "wide", "pull", "motion")


def test_a_wrong_alignment_that_was_not_refined_has_a_large_expected_error(pair):
    """The backward registration searches by itself: if it kept the wrong start too, both would agree."""
    scans = [prepare(scan, mask=None, device=CPU) for scan in (pair.fixed, pair.moving)]
    turned = np.eye(4)
    turned[:3, :3] = rotation(0.0, 0.0, 1.2)
    grid = working_grid(scans[0], 4.0)
    still = Image(torch.zeros(3, *grid.shape), grid)
    monitor = Monitor(CPU)
    with torch.inference_mode(), monitor.stage("finish"):
        error = estimate_confidence(*scans, turned, still, Settings(linear_only=True), monitor)
    inside = error.array > 0
    assert np.median(error.array[inside]) > 1.25 * error.geometry.spacing[0]
