"""Headers that are made wrong on purpose."""

import numpy as np
import pytest

from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import load_script


@pytest.fixture(scope="module")
def poses():
    return load_script("poses")


def test_wrong_headers_are_rotations_and_shifts_within_reach(poses):
    made = list(poses.headers(4, 24, 50.0))
    assert [kind for kind, *_ in made] == ["turned"] * 4 + ["axes exchanged"] * 24
    for _, turn, shift in made:
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert np.abs(shift).max() <= 50
    assert len({turn.tobytes() for _, turn, _ in made[4:]}) == 24


def test_a_header_is_turned_about_the_center_of_the_scan(poses):
    volume = Volume(np.zeros((4, 5, 6)), Geometry((6, 5, 4), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0)))
    turn = np.eye(3)[[1, 2, 0]]
    moved = poses.turned(volume, turn, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(moved.geometry.center, volume.geometry.center + [1, 2, 3])
    np.testing.assert_allclose(moved.geometry.direction, turn)


def test_the_table_counts_what_was_brought_back_and_what_is_in_doubt(poses):
    header = {"kind": "turned", "away_mm": 1.0, "back": True, "doubted": False, "cpu_s": 1.0, "from": "pose 1"}
    row = {
        "pair": "a_b",
        "objective": 0.25,
        "factor": 1.7,
        "mirrored_ratio": 0.9,
        "mirrored_ratio_flipped": 1.1,
        "headers": [header, header | {"back": False, "doubted": True}, header | {"back": False}],
    }
    page = poses.to_markdown([row], {"created": "2026-11-26", "command": "scripts/poses", "commit": "abc"})
    assert "| a_b | 0.250 | 1.70 | 0.900 | 1.100 | 1 of 3 | 1 |" in page
    assert "scripts/poses" in page
