"""The search over rotations and translations, against known poses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.pose_search import PEAK_RADIUS, PoseSearch, nearby, rotations, turn_between
from GenRegLogic.stages.prepare import prepare

from ..conftest import Scene, centered, rotation

SHIFT = np.array([40.0, -30.0, 25.0])
TURN = rotation(0.7, -1.1, 2.2)


def search(turn=None, shift=SHIFT):
    """Two scans of one scene; the moving one is turned and shifted against its header."""
    turn = np.eye(3) if turn is None else turn
    scene = Scene()
    fixed = scene.scan(centered((34, 30, 36), (3.6, 3.6, 3.6)))
    grid = centered((33, 33, 33), (3.9, 3.9, 3.9), center=shift)
    moving = scene.scan(grid, lambda p: (p - shift) @ turn, seed=1)
    scans = (prepare(volume, mask=None, device=torch.device("cpu")) for volume in (fixed, moving))
    return PoseSearch(LinearLevel(*scans, 8_000, channels=6))


@pytest.fixture(scope="module")
def straight():
    return search()


def test_the_right_translation_is_found_first(straight):
    peak = straight.peaks(np.eye(3)[None], 1)[0].matrix
    np.testing.assert_array_equal(peak[:3, :3], np.eye(3))
    assert np.linalg.norm(peak[:3, 3] - SHIFT) < 1.5 * straight.level.spacing


def test_the_objective_is_about_that_of_the_level(straight):
    peak = straight.peaks(np.eye(3)[None], 1)[0]
    assert peak.objective == pytest.approx(straight.level.objective(peak.matrix), abs=0.15)


def test_no_two_translations_are_within_the_suppressed_distance(straight):
    shifts = [peak.matrix[:3, 3] for peak in straight.peaks(np.eye(3)[None], 4, each=4)]
    assert len(shifts) == 4
    for n, a in enumerate(shifts):
        for b in shifts[n + 1 :]:
            assert np.abs(a - b).max() > PEAK_RADIUS * straight.level.spacing


def test_the_right_rotation_is_found_among_all():
    found = search(TURN).peaks(np.concatenate([rotations(100), TURN[None]]), 3)
    np.testing.assert_array_equal(found[0].matrix[:3, :3], TURN)
    assert np.linalg.norm(found[0].matrix[:3, 3] - SHIFT) < 15
    assert [peak.objective for peak in found] == sorted(peak.objective for peak in found)


def test_a_mirrored_scan_is_found_by_rotations_that_mirror():
    mirror = np.diag([1.0, -1.0, 1.0])
    found = search(mirror).peaks(np.array([np.eye(3), mirror, np.diag([-1.0, 1.0, 1.0])]), 1)[0]
    np.testing.assert_array_equal(found.matrix[:3, :3], mirror)


def test_the_right_mapping_convinces_and_a_turned_one_does_not(straight):
    right, wrong = straight.peaks(np.array([np.eye(3)]), 1)[0], straight.peaks(TURN[None], 1)[0]
    assert straight.convinces(right)
    assert not straight.convinces(wrong)


def test_a_mapping_of_little_gain_must_exceed_the_others_by_more(straight):
    right = straight.peaks(np.array([np.eye(3)]), 1)[0]
    assert straight.convinces(replace(right, objective=0.8)) <= straight.convinces(replace(right, objective=0.4))


def test_the_rotations_are_proper_and_spread_evenly():
    turns = rotations(300)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    random = np.random.default_rng(0).normal(size=(200, 3, 3))
    any_turns = [np.linalg.qr(matrix)[0] for matrix in random]
    any_turns = [turn * np.sign(np.linalg.det(turn)) for turn in any_turns]
    assert max(min(turn_between(turn, other) for other in turns) for turn in any_turns) < np.radians(36)


def test_nearby_rotations_have_their_angle_and_surround_no_rotation():
    near = nearby(0.3)
    np.testing.assert_allclose([turn_between(turn, np.eye(3)) for turn in near], 0.3)
    np.testing.assert_allclose(near @ near.transpose(0, 2, 1), np.broadcast_to(np.eye(3), near.shape), atol=1e-12)
    axes = np.array([[turn[2, 1], turn[0, 2], turn[1, 0]] for turn in near - near.transpose(0, 2, 1)])
    np.testing.assert_allclose(axes.sum(axis=0), 0, atol=1e-9)
