"""The real jobs: their results equal those of the engine called directly."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space import margin as grids
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.fieldgrid import field_grid
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.worker import jobs
from GenRegLogic.worker.control import PREVIEW_VOXELS

from .conftest import Recorder, do, make_job

SETTINGS = {"iterations": 3, "init": "header", "device": "cpu", "threads": 1}


class Control:
    """A stand-in for `JobControl` with a constant answer, for jobs that run in this process."""

    def __init__(self, answer=None):
        self.answer = answer

    def cancel(self):
        return self.answer

    def check(self):
        if self.answer == "abort":
            raise Cancelled("given up")

    def on_progress(self, progress):
        pass

    def log(self, line):
        pass


@pytest.fixture(scope="module")
def direct(scans):
    """The registration by the engine itself."""
    result = register(*scans, Settings(**SETTINGS))
    result.inverse()
    return result


@pytest.fixture(scope="module")
def recorder(real_worker, scans):
    """The listener of the same registration by the worker, with all optional results."""
    everything = dict.fromkeys(("want_inverse", "want_warped", "preview", "log"), True)
    return do(real_worker, "register", *make_job(*scans, settings=SETTINGS, **everything))


@pytest.fixture(scope="module")
def end(recorder):
    assert isinstance(recorder.end, dict), recorder.end
    return recorder.end


class TestRegister:
    def test_the_field_equals_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["forward"], direct.forward.array)
        assert end["geometries"]["forward"].is_close(direct.forward.geometry, 1e-9)

    def test_the_inverse_equals_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["inverse"], direct.inverse().array)
        assert end["geometries"]["inverse"].is_close(direct.inverse().geometry, 1e-9)

    def test_the_warped_scan_equals_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["warped"], direct.warped().array)
        assert end["geometries"]["warped"].is_close(direct.forward.geometry, 1e-9)

    def test_the_expected_error_equals_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["confidence"], direct.confidence.array)
        assert end["geometries"]["confidence"].is_close(direct.confidence.geometry, 1e-9)

    def test_the_report_equals_the_engines(self, end, direct):
        expected = direct.report_with_inverse()
        for key in ("settings", "linear_matrix", "objective", "jacobian", "inverse_error", "verdict", "notes"):
            assert end["report"][key] == expected[key]

    def test_only_what_is_wanted_is_sent(self, real_worker, job):
        assert set(do(real_worker, "register", *job).end["arrays"]) == {"forward", "confidence"}

    def test_with_a_margin_the_fields_are_slicers_grids(self, real_worker, scans, end, direct):
        parameters, arrays = make_job(*scans, settings=SETTINGS, want_inverse=True, margin=True)
        wide = do(real_worker, "register", parameters, arrays).end
        for name, field in (("forward", direct.forward), ("inverse", direct.inverse())):
            array, geometry = grids.withMargin(field.array, field.geometry)
            np.testing.assert_array_equal(wide["arrays"][name], array)
            assert wide["geometries"][name].is_close(geometry, 1e-9)

    def test_a_field_on_a_coarser_grid_is_sent_with_that_grid_and_the_warped_scan_with_the_fixed_one(self, scans):
        settings = SETTINGS | {"transform_spacing_mm": 2 * max(scans[0].geometry.spacing)}
        parameters, arrays = make_job(*scans, settings=settings, want_warped=True)
        outcome = jobs.run_register(parameters, arrays, Control())
        grid = field_grid(scans[0].geometry, settings["transform_spacing_mm"])
        assert grid.size < scans[0].geometry.size
        assert outcome.geometries["forward"].is_close(grid)
        assert outcome.arrays["forward"].shape == (*grid.shape, 3)
        assert outcome.geometries["warped"].is_close(scans[0].geometry)

    def test_bad_settings_are_refused_with_the_engines_sentence(self, real_worker, scans):
        parameters, arrays = make_job(*scans, settings={"smoothness": 9})
        end = do(real_worker, "register", parameters, arrays).end
        assert isinstance(end, InputError)
        assert "smoothness must be" in str(end)

    def test_a_constant_scan_is_refused_with_the_engines_sentence(self, real_worker, scans):
        parameters, arrays = make_job(*scans)
        end = do(real_worker, "register", parameters, arrays | {"fixed": np.zeros_like(arrays["fixed"])}).end
        assert isinstance(end, InputError)
        assert "fixed image is constant" in str(end)

    def test_keep_returns_the_best_result_so_far(self, real_worker, scans):
        listener = Recorder(lambda stage: real_worker.answer("keep") if stage == "refine" else None)
        end = do(real_worker, "register", *make_job(*scans, iterations=500), recorder=listener).end
        assert end["report"]["stopped_early"]
        assert end["arrays"]["forward"].any()


class TestProgress:
    def test_the_stages_are_reported_in_order(self, recorder, end):
        assert list(dict.fromkeys(stage for stage, *_ in recorder.reports)) == [
            "prepare",
            "linear",
            "propose",
            "refine",
            "finish",
        ]
        fractions = [fraction for _, fraction, *_ in recorder.reports]
        assert fractions == sorted(fractions)

    def test_the_refinement_reports_objective_level_and_iteration(self, recorder, end):
        found = [objective for _, _, _, objective in recorder.reports if objective is not None]
        history = end["report"]["objective"]
        assert found
        assert all(objective in history for objective in found)

    def test_a_preview_is_a_coarse_displacement_field(self, recorder, end):
        field, geometry = recorder.previews[0]
        assert field.dtype == np.float32
        assert field.shape == (*geometry.shape, 3)
        assert np.prod(geometry.size) <= PREVIEW_VOXELS

    def test_previews_and_log_are_sent_only_if_they_are_wanted(self, real_worker, job):
        quiet = do(real_worker, "register", *job)
        assert quiet.previews == []
        assert quiet.lines == []

    def test_previews_can_be_switched_on_during_the_job(self, real_worker, scans):
        listener = Recorder(lambda stage: real_worker.preview(True))
        do(real_worker, "register", *make_job(*scans, iterations=60), recorder=listener)
        assert listener.previews

    def test_the_log_contains_versions_device_and_times(self, recorder, end):
        text = "\n".join(recorder.lines)
        for word in ("torch ", "device: cpu", "stage: refine", "level 0, iteration 0", "finish: "):
            assert word in text


class TestArguments:
    """The arguments with which a job calls the engine; run in this process."""

    @pytest.fixture
    def given(self, monkeypatch, scans, direct):
        def run(**parameters):
            more = {
                name: parameters.pop(f"{name}_array")
                for name in ("fixed_mask", "initial")
                if f"{name}_array" in parameters
            }
            received = {}

            def record(fixed, moving, settings, **options):
                received.update(options, fixed=fixed, moving=moving, settings=settings)
                return direct

            monkeypatch.setattr(jobs, "register", record)
            parameters, own = make_job(*scans, settings=SETTINGS, **parameters)
            jobs.run_register(parameters, own | more, Control())
            return received

        return run

    def test_scans_and_settings_reach_the_engine(self, given, scans):
        received = given()
        for name, scan in zip(("fixed", "moving"), scans):
            np.testing.assert_array_equal(received[name].array, scan.array)
            assert received[name].geometry.is_close(scan.geometry, 1e-9)
        assert received["settings"] == Settings(**SETTINGS)

    def test_absent_inputs_are_none(self, given):
        received = given()
        names = ("initial", "fixed_mask", "moving_mask", "fixed_landmarks", "moving_landmarks")
        assert [received[name] for name in names] == [None] * 5

    def test_a_mask_reaches_the_engine_on_its_own_grid(self, given):
        grid = Geometry((5, 6, 7), (2.0, 3.0, 4.0))
        mask = np.ones(grid.shape, np.uint8)
        received = given(fixed_mask=grid.to_dict(), fixed_mask_array=mask)
        assert received["fixed_mask"].geometry.is_close(grid, 1e-9)
        np.testing.assert_array_equal(received["fixed_mask"].array, mask)

    def test_landmarks_reach_the_engine(self, given):
        points = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]]
        received = given(fixed_landmarks=points, moving_landmarks=points[::-1])
        np.testing.assert_array_equal(received["fixed_landmarks"], points)
        np.testing.assert_array_equal(received["moving_landmarks"], points[::-1])

    def test_an_initial_matrix_reaches_the_engine(self, given):
        matrix = np.eye(4)
        matrix[:3, 3] = 1, 2, 3
        received = given(initial={"matrix": matrix.tolist()})
        assert isinstance(received["initial"], AffineTransform)
        np.testing.assert_array_equal(received["initial"].matrix, matrix)

    def test_an_initial_field_reaches_the_engine(self, given, grid, make_field):
        field = make_field(grid)
        received = given(initial={"geometry": grid.to_dict()}, initial_array=field.array)
        assert isinstance(received["initial"], DisplacementField)
        np.testing.assert_array_equal(received["initial"].array, field.array)


class TestInspect:
    def parameters(self, scans):
        return (
            {role: scan.geometry.to_dict() for role, scan in zip(("fixed", "moving"), scans)},
            {role: scan.array for role, scan in zip(("fixed", "moving"), scans)},
        )

    def test_scans_of_the_same_contrast_are_recognized(self, real_worker, scans):
        report = do(real_worker, "inspect", *self.parameters(scans)).end["report"]
        assert report["same_contrast"] is True
        assert 0.68 < report["agreement"] <= 1

    def test_scans_of_different_contrast_are_recognized(self, real_worker, scans):
        fixed, moving = scans
        moving = Volume(200 * np.exp(-moving.array / 80) * (moving.array > 20), moving.geometry)
        report = do(real_worker, "inspect", *self.parameters((fixed, moving))).end["report"]
        assert report["same_contrast"] is False

    def test_abort_ends_the_job(self, scans):
        with pytest.raises(Cancelled):
            jobs.run_inspect(*self.parameters(scans), Control("abort"))


class TestDevices:
    def test_the_cpu_and_the_version_of_torch_are_listed(self, real_worker):
        report = do(real_worker, "devices").end["report"]
        assert report["torch"] == torch.__version__
        assert report["devices"][0]["id"] == "cpu"
        assert report["devices"][0]["memory_bytes"] > 0

    def test_gpus_are_listed_with_name_and_memory(self, monkeypatch):
        class Card:
            name, total_memory = "Card 9000", 24 * 2**30

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Card)
        devices = jobs.run_devices({}, {}, Control()).report["devices"]
        assert devices[2] == {"id": "cuda:1", "name": "Card 9000", "memory_bytes": 24 * 2**30, "memory_is": "total"}

    def test_an_apple_gpu_is_listed(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert jobs.run_devices({}, {}, Control()).report["devices"][-1]["id"] == "mps"
