"""The result of a registration, and how it is saved."""

import dataclasses
import json

import numpy as np
import pytest

from GenRegLogic import InputError, Settings, Volume, read_transform, register
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry


@pytest.fixture(scope="module")
def result(pair):
    return register(pair.fixed, pair.moving, Settings(linear_only=True, init="none"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestInverse:
    def test_computing_it_does_not_change_the_report(self, result):
        before = json.dumps(result.report)
        result.inverse()
        assert json.dumps(result.report) == before

    def test_the_report_with_the_inverse_has_its_error_and_a_new_verdict(self, result, monkeypatch):
        monkeypatch.setitem(result.report, "inverse_error", {"mean_mm": 99.0, "max_mm": 99.0})
        monkeypatch.setitem(result.report, "verdict", {"status": "made up", "reasons": []})
        report = result.report_with_inverse()
        assert report["inverse_error"] == result.inverse_error()
        assert report["inverse_error"]["mean_mm"] < 0.1
        assert report["verdict"]["status"] != "made up"


class TestSave:
    def test_a_missing_folder_is_created_and_receives_every_result(self, result, tmp_path):
        written = result.save(tmp_path / "new")
        assert set(written) == {"transform", "inverse", "warped", "report", "page"}
        assert names(tmp_path / "new") == sorted(path.name for path in written.values())

    def test_without_a_folder_only_the_named_files_are_written(self, result, tmp_path):
        result.save(transform=tmp_path / "field.nrrd", report=tmp_path / "report.json")
        assert names(tmp_path) == ["field.nrrd", "report.json"]
        field = read_transform(tmp_path / "field.nrrd")
        np.testing.assert_array_equal(field.array, result.forward.rounded().array)

    def test_a_report_saved_with_an_inverse_has_the_error_of_that_inverse(self, result, tmp_path):
        result.save(inverse=tmp_path / "inverse.nii.gz", report=tmp_path / "report.json")
        assert json.loads((tmp_path / "report.json").read_text())["inverse_error"] == result.inverse_error()

    def test_the_map_of_the_expected_error_is_written_where_it_is_named(self, result, tmp_path):
        saved = result.save(tmp_path / "all", expected_error=tmp_path / "error.nii.gz")
        assert saved["expected_error"] == tmp_path / "error.nii.gz"
        assert names(tmp_path) == ["all", "error.nii.gz"]
        written = Volume.from_file(tmp_path / "error.nii.gz")
        np.testing.assert_allclose(written.array, result.expected_error().array, rtol=1e-6)

    def test_no_file_is_written_if_a_wanted_map_of_the_expected_error_does_not_exist(self, result, tmp_path):
        without = dataclasses.replace(result, confidence=None)
        with pytest.raises(InputError, match="no map of the expected error"):
            without.save(tmp_path / "new", expected_error=tmp_path / "error.nii.gz")
        assert names(tmp_path) == []

    @pytest.mark.parametrize("name", ["error.h5", "error.json", "error"])
    def test_the_map_of_the_expected_error_is_no_transform_and_no_report(self, result, tmp_path, name):
        with pytest.raises(InputError, match="ending"):
            result.save(transform=tmp_path / "field.nrrd", expected_error=tmp_path / name)
        assert names(tmp_path) == []

    def test_every_ending_is_checked_before_anything_is_written(self, result, tmp_path):
        with pytest.raises(InputError, match="ending"):
            result.save(transform=tmp_path / "field.nii.gz", report=tmp_path / "report.txt")
        assert names(tmp_path) == []

    def test_if_one_file_fails_none_is_left(self, result, tmp_path, monkeypatch):
        monkeypatch.setattr("GenRegLogic.quality.report.write_report", lambda report, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            result.save(transform=tmp_path / "field.nii.gz", report=tmp_path / "report.json")
        assert names(tmp_path) == []

    @pytest.mark.parametrize("folder", ["new", "new/and/deeper"])
    def test_a_folder_created_for_a_refused_save_is_removed_again(self, result, tmp_path, folder):
        with pytest.raises(InputError, match="ending"):
            result.save(tmp_path / folder, report=tmp_path / "report.txt")
        assert names(tmp_path) == []

    def test_a_folder_created_for_a_save_that_fails_is_removed_again(self, result, tmp_path, monkeypatch):
        monkeypatch.setattr("GenRegLogic.quality.report.write_report", lambda report, path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            result.save(tmp_path / "new")
        assert names(tmp_path) == []

    def test_a_refused_save_keeps_a_folder_that_was_there(self, result, tmp_path):
        (tmp_path / "there").mkdir()
        with pytest.raises(InputError, match="ending"):
            result.save(tmp_path / "there", report=tmp_path / "report.txt")
        assert names(tmp_path) == ["there"]

    def test_a_folder_that_cannot_be_created_is_refused_and_nothing_is_left(self, result, tmp_path):
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(InputError, match="cannot be made"):
            result.save(tmp_path / "file" / "folder")
        assert names(tmp_path) == ["file"]

    def test_one_path_for_two_results_is_refused(self, result, tmp_path):
        path = tmp_path / "field.nii.gz"
        with pytest.raises(InputError, match="named by both"):
            result.save(transform=path, inverse=path)
        assert names(tmp_path) == []

    def test_a_save_without_any_path_is_refused(self, result):
        with pytest.raises(InputError, match="give a folder"):
            result.save()


class TestExpectedError:
    def test_it_lies_on_the_grid_of_the_fixed_scan_and_is_zero_where_nothing_was_judged(self, result, pair):
        error = result.expected_error()
        assert error.geometry == pair.fixed.geometry
        coarse = result.confidence
        index = np.argwhere(error.array == 0)[::97, ::-1]
        places = coarse.geometry.to_index(error.geometry.to_world(index.astype(float)))
        beside = np.rint(places).astype(int).clip(0, np.array(coarse.geometry.size) - 1)
        within = coarse.geometry.contains(coarse.geometry.to_world(places))
        assert (~within).any() or (coarse.array == 0).any()
        assert np.median(coarse.array[tuple(beside[within].T[::-1])]) == 0
        assert error.array.max() <= coarse.array.max() * 1.001

    def test_without_the_fixed_scan_it_lies_on_the_grid_of_the_transform(self, result):
        grid = Geometry((9, 8, 7), (6.0, 6.0, 6.0), (-3.0, -3.0, -3.0))
        field = DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid)
        error = dataclasses.replace(result, forward=field, _fixed=None).expected_error()
        assert error.geometry == grid
        assert error.array.dtype == np.float32
        assert error.array.any()

    def test_it_is_zero_beyond_the_grid_on_which_it_was_estimated(self, result):
        grid = Geometry((5, 5, 5), (2.0, 2.0, 2.0), (20.0, 20.0, 20.0))
        known = Volume(np.full(grid.shape, 2.5, np.float32), grid)
        error = dataclasses.replace(result, confidence=known).expected_error()
        k, j, i = np.indices(error.array.shape)
        inside = grid.contains(error.geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3).astype(float)))
        assert inside.any()
        np.testing.assert_allclose(error.array.reshape(-1)[inside], 2.5, rtol=1e-6)
        assert not error.array.reshape(-1)[~inside].any()

    def test_a_result_without_one_says_so(self, result):
        with pytest.raises(InputError, match="no map of the expected error"):
            dataclasses.replace(result, confidence=None).expected_error()


def test_the_representation_is_one_line_with_the_verdict(result):
    text = repr(result)
    assert text.startswith(f"Registration({result.report['verdict']['status']}")
    assert "\n" not in text
    assert len(text) < 120
    assert "Registration(" in result._repr_html_()


def test_the_warped_scan_is_a_volume_on_the_fixed_grid(result, pair):
    warped = result.warped()
    assert isinstance(warped, Volume)
    assert warped.geometry.is_close(pair.fixed.geometry)
