"""The signs of an error become millimeters by fitted constants, for a mouse as for a man."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.quality.calibration import MEDIAN, calibration, expected_error, expected_quantiles, share_within

SIGNS = ("back_near", "back_wide", "followed_near", "followed_wide", "pull", "motion", "strain")
BOTH = (*SIGNS, "apart_near", "apart_wide")


def signs(value=0.4, count=3):
    found = {name: torch.full((count,), value, dtype=torch.float64) for name in BOTH}
    return found | {f"{MEDIAN}{name}": torch.tensor(value, dtype=torch.float64) for name in BOTH}


@pytest.mark.parametrize("both_ways", [False, True])
def test_the_expected_error_increases_with_each_sign_that_counts(both_ways):
    for name in calibration().powers[both_ways]:
        changed = (signs() | {name: torch.full_like(signs()[name], value)} for value in (0.1, 0.4, 2.0))
        errors = [float(expected_error(found, 1.0, both_ways=both_ways)[0]) for found in changed]
        assert errors[0] < errors[1] < errors[2], name


def test_no_fitted_power_is_negative():
    assert all(power >= 0 for powers in calibration().powers for power in powers.values())


@pytest.mark.parametrize("both_ways", [False, True])
def test_the_expected_error_scales_with_the_size_of_the_body(both_ways):
    lengths = [name for name in signs() if not name.endswith("strain")]
    small = signs() | {name: signs()[name] / 20 for name in lengths}
    man, mouse = expected_error(signs(), 1.0, both_ways=both_ways), expected_error(small, 0.05, both_ways=both_ways)
    np.testing.assert_allclose(20 * mouse, man, rtol=1e-9)


def test_the_distance_of_the_two_directions_counts_only_where_there_were_two():
    far = signs() | {"apart_near": torch.full((3,), 4.0), f"{MEDIAN}apart_near": torch.tensor(4.0)}
    assert torch.equal(expected_error(far, 1.0, both_ways=False), expected_error(signs(), 1.0, both_ways=False))
    assert (expected_error(far, 1.0, both_ways=True) > expected_error(signs(), 1.0, both_ways=True)).all()


def test_the_mean_of_errors_drawn_as_the_calibration_says_is_the_expected_error():
    fitted = dataclasses.replace(calibration(), spread=0.5, mean_factor=float(np.exp(0.5**2 / 2)))
    expected = float(expected_error(signs(), 1.0, both_ways=True, fitted=fitted)[0])
    median = (expected + 0.05) / fitted.mean_factor
    drawn = median * np.random.default_rng(1).lognormal(0.0, 0.5, 200_000) - 0.05
    assert drawn.mean() == pytest.approx(expected, rel=0.01)
    assert share_within(np.full(5, expected), 2.0, 1.0, fitted) == pytest.approx(np.mean(drawn <= 2.0), abs=0.01)
    (most,) = expected_quantiles(np.full(5, expected), (0.95,), 1.0, fitted)
    assert most == pytest.approx(np.percentile(drawn, 95), rel=0.02)
