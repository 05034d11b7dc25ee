"""Headers that are made wrong on purpose, crops, and what counts as found."""

import numpy as np
import pytest

from GenRegLogic.files.images import write_volume
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import load_script


@pytest.fixture(scope="module")
def wrong():
    return load_script("wrong_headers.py")


@pytest.fixture(scope="module")
def capture():
    return load_script("capture")


def test_wrong_headers_are_rotations_and_shifts_within_reach(wrong):
    made = list(wrong.headers(4, 24, 50.0))
    assert [kind for kind, *_ in made] == ["turned"] * 4 + ["axes exchanged"] * 24
    for _, turn, shift in made:
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        assert np.abs(shift).max() <= 50
    assert len({turn.tobytes() for _, turn, _ in made[4:]}) == 24


def test_a_header_is_turned_about_the_center_of_the_scan(wrong):
    volume = Volume(np.zeros((4, 5, 6)), Geometry((6, 5, 4), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0)))
    turn = np.eye(3)[[1, 2, 0]]
    moved = wrong.turned(volume, turn, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(moved.geometry.center, volume.geometry.center + [1, 2, 3])
    np.testing.assert_allclose(moved.geometry.direction, turn)


def test_nine_crops_keep_their_voxels_where_they_were(wrong):
    array = np.arange(10 * 12 * 15, dtype=np.float32).reshape(10, 12, 15)
    volume = Volume(array, Geometry((15, 12, 10), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0)))
    made = dict(wrong.crops(volume))
    assert len(made) == 9
    for crop in made.values():
        index = np.rint(volume.geometry.to_index(crop.geometry.to_world(np.zeros((1, 3))))).astype(int)[0]
        assert crop.array[0, 0, 0] == array[tuple(index[::-1])]
    assert made["middle of k"].array.shape == (4, 12, 15)
    np.testing.assert_array_equal(made["last of i"].array, array[:, :, 9:])


RUNS = [
    {"kind": "turned", "error_mm": 1.0, "limit_mm": 2.0, "verdict": "trustworthy"},
    {"kind": "turned", "error_mm": 9.0, "limit_mm": 2.0, "verdict": "trustworthy"},
    {"kind": "turned", "error_mm": 9.0, "limit_mm": 2.0, "verdict": "failed"},
    {"kind": "cropped", "error_mm": 1.0, "limit_mm": 2.0, "verdict": "check"},
]


def test_what_was_found_and_what_was_trusted_though_lost_is_counted(capture):
    row = {"pair": "a_b", "method": "GenReg", "runs": RUNS}
    assert capture.counts(row, "turned") == (1, 3, 1)
    page = capture.to_markdown([row], {"created": "2026-11-27", "command": "scripts/capture", "commit": "abc"})
    assert "| a_b | GenReg | 0 of 0 | 1 of 3 | 1 of 1 | 50.0 % | 1 |" in page


class Options:
    turns, axis_turns, crops, shift = 2, 1, 3, 40.0


class Referee:
    @staticmethod
    def read_points(_):
        return np.array([[x, y, z] for x in (4.0, 10.0) for y in (6.0, 18.0) for z in (6.0, 24.0)])


class Bench:
    """A pair of one scan with itself; the landmarks are the same places."""

    cases, referee = {"a_b": {"fixed_points": "p.csv"}}, Referee()

    def __init__(self, folder):
        self._path = folder / "scan.nii"
        grid = Geometry((15, 12, 10), (1.0, 2.0, 3.0))
        write_volume(Volume(np.random.default_rng(0).random(grid.shape, np.float32), grid), self._path)

    def file(self, *_):
        return self._path


@pytest.mark.parametrize("known", [True, False])
def test_a_method_is_measured_against_what_was_done_to_the_header(capture, tmp_path, known):
    made = []

    def run(fixed, scan):
        made.append(scan)
        moved = scan.geometry.index_to_world @ np.linalg.inv(fixed.geometry.index_to_world)
        cropped = scan.array.shape != fixed.array.shape
        return AffineTransform(moved if known and not cropped else np.eye(4)), "check"

    finished = capture.Finished(tmp_path / "capture.json")
    runs = list(capture.measured(Bench(tmp_path), "a_b", "e", run, finished, Options))
    assert capture.counts({"runs": runs}, "turned")[:2] == (2 if known else 0, 2)
    before = len(made)
    assert list(capture.measured(Bench(tmp_path), "a_b", "e", run, finished, Options)) == runs
    assert len(made) == before  # what is finished isn't run again


def test_a_run_without_a_result_is_lost(capture, tmp_path):
    answers = iter([(AffineTransform(np.eye(4)), "check")] + [(None, "refused")] * 20)
    finished = capture.Finished(tmp_path / "capture.json")
    runs = list(capture.measured(Bench(tmp_path), "a_b", "e", lambda *_: next(answers), finished, Options))
    assert capture.counts({"runs": runs}, "turned") == (0, 2, 0)
