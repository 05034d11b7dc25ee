"""The demo: the real engine on its own pair, and every file that it promises."""

import json

import pytest

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.files.transforms import read_transform
from GenRegLogic.phantom.demo import KINDS, PICTURE, TRANSFORM, WARPED, make_folder, run_demo
from GenRegLogic.phantom.scans import make_pair
from GenRegLogic.quality.measure import tre

STAGES = []
"""That the one run told of, in order."""


@pytest.fixture(scope="module")
def pair():
    return make_pair()  # the very pair of the demo


@pytest.fixture(scope="module")
def demo(pair, tmp_path_factory):
    """Folder and outcome of one run."""
    folder = make_folder(tmp_path_factory.mktemp("demo") / "results")
    return folder, run_demo(folder, pair=pair, on_progress=lambda progress: STAGES.append(progress.stage))


def test_the_landmarks_come_closer_by_more_than_half(demo):
    _folder, outcome = demo
    assert outcome.tre_after_mm < 0.5 * outcome.tre_before_mm


def test_the_last_that_is_told_is_that_it_writes(demo):
    assert STAGES.index("writing") == len(STAGES) - 1


def test_every_promised_file_is_there_and_no_other(demo):
    folder, _outcome = demo
    assert sorted(path.name for path in folder.iterdir()) == sorted(KINDS)


def test_the_transform_on_disk_has_the_error_that_was_told(demo, pair):
    folder, outcome = demo
    errors = tre(pair.fixed_points, pair.moving_points, read_transform(folder / TRANSFORM))
    assert errors.mean() == pytest.approx(outcome.tre_after_mm, abs=0.01)


def test_the_warped_scan_lies_on_the_fixed_grid(demo, pair):
    folder, _outcome = demo
    assert read_volume(folder / WARPED).geometry.is_close(pair.fixed.geometry)


def test_the_report_on_disk_is_the_one_returned(demo):
    folder, outcome = demo
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(outcome.report))


def test_the_text_tells_the_error_the_verdict_and_how_to_go_on(demo):
    folder, outcome = demo
    assert f"{outcome.tre_before_mm:.2f} mm before, {outcome.tre_after_mm:.2f} mm after" in outcome.text
    assert f"verdict: {outcome.report['verdict']['status']}" in outcome.text
    assert "genreg register FIXED MOVING -o" in outcome.text
    assert PICTURE in outcome.text
    assert str(folder) in outcome.text


def test_giving_up_leaves_an_empty_folder(pair, tmp_path):
    with pytest.raises(Cancelled):
        run_demo(tmp_path, pair=pair, cancel=lambda: "abort")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_made_when_missing_and_kept_when_there(tmp_path):
    assert make_folder(tmp_path / "new").is_dir()
    assert make_folder(tmp_path / "new").is_dir()


def test_a_folder_that_cannot_be_made_is_refused_with_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="does not exist"):
        make_folder(tmp_path / "no" / "where")
    with pytest.raises(InputError, match="is a file"):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError):
        make_folder(tmp_path / "file" / "below")
