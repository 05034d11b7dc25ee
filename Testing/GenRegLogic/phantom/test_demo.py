"""The demo: a registration of the phantom pair, and the files that it writes."""

import json

import pytest

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.files.transforms import read_transform
from GenRegLogic.phantom.demo import KINDS, PICTURE, TRANSFORM, WARPED, make_folder, run_demo
from GenRegLogic.phantom.scans import make_pair
from GenRegLogic.quality.measure import tre


@pytest.fixture(scope="module")
def pair():
    return make_pair()  # the default pair of the demo


@pytest.fixture(scope="module")
def demo(pair, tmp_path_factory):
    """Folder, outcome and reported stages of one run."""
    folder, stages = make_folder(tmp_path_factory.mktemp("demo") / "results"), []
    return folder, run_demo(folder, pair=pair, on_progress=lambda progress: stages.append(progress.stage)), stages


def test_the_landmark_error_falls_by_more_than_half(demo):
    _folder, outcome, _stages = demo
    assert outcome.tre_after_mm < 0.5 * outcome.tre_before_mm


def test_writing_is_reported_last_and_once(demo):
    _folder, _outcome, stages = demo
    assert stages.index("writing") == len(stages) - 1 > 0


def test_exactly_the_documented_files_are_written(demo):
    folder, _outcome, _stages = demo
    assert sorted(path.name for path in folder.iterdir()) == sorted(KINDS)


def test_the_written_transform_has_the_landmark_error_of_the_outcome(demo, pair):
    folder, outcome, _stages = demo
    errors = tre(pair.fixed_points, pair.moving_points, read_transform(folder / TRANSFORM))
    assert errors.mean() == pytest.approx(outcome.tre_after_mm, abs=0.01)


def test_the_written_warped_scan_lies_on_the_fixed_grid(demo, pair):
    folder, _outcome, _stages = demo
    assert read_volume(folder / WARPED).geometry.is_close(pair.fixed.geometry)


def test_the_written_report_is_that_of_the_outcome(demo):
    folder, outcome, _stages = demo
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == json.loads(json.dumps(outcome.report))


def test_the_text_has_the_landmark_error_the_verdict_and_the_next_command(demo):
    folder, outcome, _stages = demo
    assert f"{outcome.tre_before_mm:.2f} mm before, {outcome.tre_after_mm:.2f} mm after" in outcome.text
    assert f"verdict: {outcome.report['verdict']['status']}" in outcome.text
    assert "genreg register FIXED MOVING -o" in outcome.text
    assert PICTURE in outcome.text
    assert str(folder) in outcome.text


def test_a_cancelled_demo_writes_nothing(pair, tmp_path):
    with pytest.raises(Cancelled):
        run_demo(tmp_path, pair=pair, cancel=lambda: "abort")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_created_and_an_existing_one_is_kept(tmp_path):
    folder = make_folder(tmp_path / "new")
    (folder / "file").write_text("x")
    assert make_folder(tmp_path / "new") == folder
    assert (folder / "file").read_text() == "x"


def test_a_folder_that_cannot_be_created_is_refused_with_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="does not exist"):
        make_folder(tmp_path / "no" / "where")
    with pytest.raises(InputError, match="is a file"):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be made"):
        make_folder(tmp_path / "file" / "below")
