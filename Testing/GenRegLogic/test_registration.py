"""What a registration gives back, and its files."""

import json

import numpy as np
import pytest

from GenRegLogic import InputError, Settings, Volume, read_transform, register


@pytest.fixture(scope="module")
def result(pair):
    return register(pair.fixed, pair.moving, Settings(linear_only=True, init="none"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestInverse:
    def test_the_report_is_left_as_it_was(self, result):
        before = json.dumps(result.report)
        result.inverse()
        assert json.dumps(result.report) == before

    def test_the_report_to_go_with_it_has_its_own_error_and_verdict(self, result, monkeypatch):
        monkeypatch.setitem(result.report, "inverse_error", {"mean_mm": 99.0, "max_mm": 99.0})
        monkeypatch.setitem(result.report, "verdict", {"status": "made up", "reasons": []})
        report = result.report_with_inverse()
        assert report["inverse_error"] == result.inverse_error()
        assert report["inverse_error"]["mean_mm"] < 0.1
        assert report["verdict"]["status"] != "made up"


class TestSave:
    def test_a_folder_gets_everything(self, result, tmp_path):
        written = result.save(tmp_path / "new")
        assert names(tmp_path / "new") == sorted(path.name for path in written.values())
        assert set(written) == {"transform", "inverse", "warped", "report", "page"}

    def test_only_what_is_named_is_written(self, result, tmp_path):
        result.save(transform=tmp_path / "field.nrrd", report=tmp_path / "report.json")
        assert names(tmp_path) == ["field.nrrd", "report.json"]
        field = read_transform(tmp_path / "field.nrrd")
        np.testing.assert_array_equal(field.array, result.forward.rounded().array)

    def test_the_report_beside_an_inverse_is_about_that_inverse(self, result, tmp_path):
        result.save(inverse=tmp_path / "inverse.nii.gz", report=tmp_path / "report.json")
        assert json.loads((tmp_path / "report.json").read_text())["inverse_error"] == result.inverse_error()

    def test_every_ending_is_checked_before_anything_is_written(self, result, tmp_path):
        with pytest.raises(InputError, match="ending"):
            result.save(transform=tmp_path / "field.nii.gz", report=tmp_path / "report.txt")
        assert names(tmp_path) == []

    def test_if_one_file_fails_none_is_left(self, result, tmp_path, monkeypatch):
        monkeypatch.setattr("GenRegLogic.quality.report.write_report", lambda report, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            result.save(transform=tmp_path / "field.nii.gz", report=tmp_path / "report.json")
        assert names(tmp_path) == []

    def test_one_path_for_two_results_is_refused(self, result, tmp_path):
        path = tmp_path / "field.nii.gz"
        with pytest.raises(InputError, match="named by both"):
            result.save(transform=path, inverse=path)

    def test_nothing_to_save_is_refused(self, result):
        with pytest.raises(InputError, match="give a folder"):
            result.save()


def test_it_shows_itself_in_one_line_with_its_verdict(result):
    text = repr(result)
    assert text.startswith(f"Registration({result.report['verdict']['status']}")
    assert "\n" not in text
    assert len(text) < 120
    assert "Registration(" in result._repr_html_()


def test_its_volumes_are_volumes(result):
    assert isinstance(result.warped(), Volume)
