"""The phantom pair: its true transform, landmarks and intensities."""

import numpy as np
import pytest

from GenRegLogic.phantom.scans import MAX_DISPLACEMENT_MM, make_pair, sampled_flow
from GenRegLogic.space.field import sample_transform

COARSENESS = 2.0


@pytest.fixture(scope="module")
def pair():
    return make_pair(seed=0, coarseness=COARSENESS)


@pytest.fixture(scope="module")
def full_pair():
    return make_pair(seed=0)


@pytest.fixture(scope="module")
def true_field(pair):
    return sample_transform(pair.motion, pair.fixed.geometry)


def sample(volume, points):
    """Values at the voxels nearest to LPS points."""
    i, j, k = np.rint(volume.geometry.to_index(points)).astype(int).T
    return volume.array[k, j, i].astype(float)


def test_the_default_pair_has_the_documented_size(full_pair):
    assert full_pair.fixed.geometry.size == (128, 104, 112)
    assert full_pair.moving.geometry.size == (116, 124, 84)


def test_the_same_seed_gives_the_same_pair(pair):
    again = make_pair(seed=0, coarseness=COARSENESS)
    np.testing.assert_array_equal(again.fixed.array, pair.fixed.array)
    np.testing.assert_array_equal(again.moving.array, pair.moving.array)
    np.testing.assert_array_equal(again.moving_points, pair.moving_points)


def test_another_seed_gives_another_deformation(pair):
    other = make_pair(seed=1, coarseness=COARSENESS)
    assert np.abs(other.motion(pair.fixed_points) - pair.moving_points).max() > 5.0


def test_the_largest_displacement_is_near_its_limit_but_not_above(pair):
    moved = np.linalg.norm(pair.moving_points - pair.fixed_points, axis=1)
    assert 0.6 * MAX_DISPLACEMENT_MM < moved.max() <= MAX_DISPLACEMENT_MM


def test_the_inverse_flow_maps_moving_to_fixed_landmarks(pair):
    back = pair.motion.inverse()(pair.moving_points)
    np.testing.assert_allclose(back, pair.fixed_points, atol=1e-3)


def test_the_sampled_inverse_flow_maps_moving_to_fixed_landmarks(pair):
    sampled = sampled_flow(pair.motion.inverse(), pair.moving.geometry)
    np.testing.assert_allclose(sampled(pair.moving_points), pair.fixed_points, atol=0.05 * COARSENESS**2)


def test_at_full_size_the_sampled_inverse_flow_is_exact_to_a_twentieth_of_a_millimeter(full_pair):
    sampled = sampled_flow(full_pair.motion.inverse(), full_pair.moving.geometry)
    errors = np.linalg.norm(sampled(full_pair.moving_points) - full_pair.fixed_points, axis=1)
    assert errors.max() < 0.05


def test_the_true_transform_does_not_fold(pair, true_field):
    u = true_field.array.astype(float)
    gradient = [np.gradient(u, s, axis=2 - a) for a, s in enumerate(pair.fixed.geometry.spacing)]
    jacobian = np.stack(gradient, axis=-1) + np.eye(3)
    assert np.linalg.det(jacobian).min() > 0.2


def test_over_a_hundred_landmarks_are_spread_through_the_body(pair):
    assert len(pair.fixed_points) >= 100
    assert (np.ptp(pair.fixed_points, axis=0) > (200, 100, 200)).all()
    apart = np.linalg.norm(pair.fixed_points[:, None] - pair.fixed_points[None], axis=2)
    assert apart[np.triu_indices_from(apart, 1)].min() > 10.0


def test_landmarks_lie_inside_both_scans(pair):
    assert pair.fixed.geometry.contains(pair.fixed_points).all()
    assert pair.moving.geometry.contains(pair.moving_points).all()


def test_ct_values_at_landmarks_predict_mr_values_better_after_the_true_motion(pair):
    ct = sample(pair.fixed, pair.fixed_points)
    air = ct < -600  # lung in CT is dark in MR; elsewhere it is not
    matched = sample(pair.moving, pair.moving_points)
    unmatched = sample(pair.moving, pair.fixed_points)
    assert np.median(matched[air]) < 0.4 * np.median(matched[~air])
    assert matched[air].std() < unmatched[air].std()


def test_the_scans_differ_in_grid_axes_and_contrast(pair):
    assert not pair.fixed.geometry.is_close(pair.moving.geometry)
    assert np.abs(pair.moving.geometry.direction - np.eye(3)).max() > 0.5
    assert pair.fixed.array.min() < -900
    assert pair.moving.array.min() >= 0


def test_the_table_is_in_the_ct_only(pair):
    with_table = make_pair(seed=0, coarseness=COARSENESS, table=True)
    changed = np.abs(with_table.fixed.array.astype(float) - pair.fixed.array) > 100
    k, j, i = np.nonzero(changed)
    heights = pair.fixed.geometry.to_world(np.stack([i, j, k], axis=1))[:, 1]
    assert changed.any()
    assert heights.min() > 100.0  # behind the back
    np.testing.assert_array_equal(with_table.moving.array, pair.moving.array)
