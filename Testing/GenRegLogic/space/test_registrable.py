"""What a scan must be to be registered, and the padding that is no part of it."""

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.space.registrable import check_registrable, without_padding
from GenRegLogic.space.volume import Volume

SHAPE = (24, 26, 28)
AIR, TISSUE = -1000.0, 50.0


def distance():
    """Distance from the axis of the middle along k, in shares of half the width."""
    j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE[1:]], indexing="ij")
    return np.broadcast_to(np.hypot(i, j), SHAPE)


@pytest.fixture
def body():
    """A body in noisy air, without any padding."""
    noise = np.random.default_rng(0).normal(0, 12, SHAPE)
    return np.where(distance() < 0.6, TISSUE + 300 * np.sin(6 * distance()), AIR) + noise


def volume(array, dtype=np.float32):
    return Volume.from_array(np.asarray(array).astype(dtype), spacing=(1, 1, 1))


@pytest.mark.parametrize("value", [-2000, -32768, 3071, 32767, 63536, 0, np.nan])
def test_a_value_around_a_round_field_of_view_becomes_background(body, value):
    outside = distance() > 0.95
    result = without_padding(volume(np.where(outside, value, body)), "fixed")
    assert [doubt.name for doubt in result.warnings] == ["padding_ignored"]
    assert not result.warnings[0].guessed
    np.testing.assert_array_equal(result.array[~outside], volume(body).array[~outside])
    assert np.ptp(result.array[outside]) == 0
    assert AIR - 60 < result.array[outside].flat[0] < AIR + 60


def test_two_values_of_padding_are_both_found(body):
    array = np.where(distance() > 0.95, -2000, body)
    array[:, :3] = 30000
    result = without_padding(volume(array), "fixed")
    assert result.array.max() < 1000
    assert result.array.min() > AIR - 100


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float64])
def test_the_type_of_the_values_is_kept(body, dtype):
    array = np.where(distance() > 0.95, -2000, np.rint(body))
    assert without_padding(volume(array, dtype), "fixed").array.dtype == dtype


def test_the_given_scan_is_left_as_it_was(body):
    padded = volume(np.where(distance() > 0.95, 32767, body))
    before = padded.array.copy()
    without_padding(padded, "fixed")
    np.testing.assert_array_equal(padded.array, before)


@pytest.mark.parametrize(
    "make",
    [
        lambda body: body,
        lambda body: np.where(distance() < 0.6, body + 1100, 0),
        lambda body: np.where(distance() < 0.6, 500 + 0.1 * body, 0),
        lambda body: np.clip(body, -1000, 3071),
        lambda body: (distance() < 0.6) * 1.0,
        lambda body: (distance() > 0.6) * 1.0,
        lambda body: np.where((distance() > 0.95) & (np.indices(SHAPE)[0] == 3), 900, body),
        lambda body: np.where(distance() > 0.9, 255, np.clip(body + 300 * distance(), 0, 255)),
        lambda body: np.clip(np.rint((body - body.min()) / 25), 0, 255),
    ],
    ids=[
        "no padding",
        "zero around a body",
        "a brain cut out",
        "air that is clipped",
        "a mask",
        "its inverse",
        "a small patch",
        "brightness that is clipped",
        "noise of few gray levels",
    ],
)
def test_background_that_belongs_to_the_scan_is_no_padding(body, make):
    scan = volume(make(body))
    assert without_padding(scan, "fixed") is scan


def test_a_bright_island_inside_is_no_padding(body):
    array = body.copy()
    array[8:16, 8:16, 8:16] = 30000
    scan = volume(array)
    assert without_padding(scan, "fixed") is scan


def test_missing_values_around_a_brain_make_no_scan_unusable(body):
    scan = check_registrable(volume(np.where(distance() > 0.6, np.nan, body)), "moving")
    assert np.isfinite(scan.array).all()
    assert "padded with nan" in scan.warnings[0]


@pytest.mark.parametrize("role", ["fixed", "moving"])
def test_voxels_a_thousand_times_as_long_as_thin_are_an_error_of_the_header(body, role):
    check_registrable(Volume.from_array(body, spacing=(0.01, 0.01, 10)), role)
    with pytest.raises(InputError, match=f"The {role} image's voxels are 1e.06 times as long .* correct"):
        check_registrable(Volume.from_array(body, spacing=(1e-6, 1, 1)), role)
