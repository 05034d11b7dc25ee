"""The real jobs: what comes back is what the engine makes."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space import margin as grids
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.worker import jobs
from GenRegLogic.worker.control import PREVIEW_VOXELS

from .conftest import STAND_IN, Ear, do, make_job

SETTINGS = {"iterations": 3, "init": "header", "device": "cpu", "threads": 1}


class Control:
    """What a job has of the program, in this process."""

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
def ear(real_worker, scans):
    """The same by the worker, everything wanted."""
    everything = dict.fromkeys(("want_inverse", "want_warped", "preview", "log"), True)
    return do(real_worker, "register", *make_job(*scans, settings=SETTINGS, **everything))


@pytest.fixture(scope="module")
def end(ear):
    assert isinstance(ear.end, dict), ear.end
    return ear.end


class TestRegister:
    def test_the_field_is_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["forward"], direct.forward.array)
        assert end["geometries"]["forward"].is_close(direct.forward.geometry, 1e-9)

    def test_the_inverse_is_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["inverse"], direct.inverse().array)
        assert end["geometries"]["inverse"].is_close(direct.inverse().geometry, 1e-9)

    def test_the_warped_scan_is_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["warped"], direct.warped().array)
        assert end["geometries"]["warped"].is_close(direct.forward.geometry, 1e-9)

    def test_the_expected_error_is_the_engines(self, end, direct):
        np.testing.assert_array_equal(end["arrays"]["confidence"], direct.confidence.array)
        assert end["geometries"]["confidence"].is_close(direct.confidence.geometry, 1e-9)

    def test_the_report_is_the_engines(self, end, direct):
        for key in ("settings", "linear_matrix", "objective", "jacobian", "inverse_error", "verdict", "notes"):
            assert end["report"][key] == direct.report[key]

    def test_only_what_is_wanted_is_sent(self, real_worker, job):
        assert set(do(real_worker, "register", *job).end["arrays"]) == {"forward", "confidence"}

    def test_with_a_margin_the_fields_are_slicers_grids(self, real_worker, scans, end, direct):
        parameters, arrays = make_job(*scans, settings=SETTINGS, want_inverse=True, margin=True)
        wide = do(real_worker, "register", parameters, arrays).end
        for name, field in (("forward", direct.forward), ("inverse", direct.inverse())):
            array, geometry = grids.withMargin(field.array, field.geometry)
            np.testing.assert_array_equal(wide["arrays"][name], array)
            assert wide["geometries"][name].is_close(geometry, 1e-9)

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

    def test_keep_gives_the_best_so_far(self, real_worker, scans):
        listener = Ear(lambda stage: real_worker.answer("keep") if stage == "refine" else None)
        end = do(real_worker, "register", *make_job(*scans, iterations=500), ear=listener).end
        assert end["report"]["stopped_early"]
        assert end["arrays"]["forward"].any()


class TestProgress:
    def test_the_stages_come_in_order_to_the_end(self, ear, end):
        assert list(dict.fromkeys(stage for stage, *_ in ear.told)) == [
            "prepare",
            "linear",
            "propose",
            "refine",
            "finish",
        ]
        fractions = [fraction for _, fraction, *_ in ear.told]
        assert fractions == sorted(fractions)

    def test_the_refinement_tells_objective_level_and_iteration(self, ear, end):
        told = [objective for _, _, _, objective in ear.told if objective is not None]
        history = end["report"]["objective"]
        assert told
        assert all(objective in history for objective in told)

    def test_a_preview_comes_with_the_refinement(self, ear, end):
        field, geometry = ear.previews[0]
        assert field.dtype == np.float32
        assert field.shape == (*geometry.shape, 3)
        assert np.prod(geometry.size) <= PREVIEW_VOXELS

    def test_without_the_wish_there_is_no_preview_and_no_log(self, real_worker, job):
        quiet = do(real_worker, "register", *job)
        assert quiet.previews == []
        assert quiet.lines == []

    def test_a_preview_can_be_wished_for_later(self, real_worker, scans):
        listener = Ear(lambda stage: real_worker.preview(True))
        do(real_worker, "register", *make_job(*scans, iterations=60), ear=listener)
        assert listener.previews

    def test_the_log_names_versions_device_and_times(self, ear, end):
        text = "\n".join(ear.lines)
        for word in ("torch ", "device: cpu", "stage: refine", "level 0, iteration 0", "finish: "):
            assert word in text


class TestArguments:
    """What the engine is given, heard in this process."""

    @pytest.fixture
    def given(self, monkeypatch, scans, direct):
        def run(**parameters):
            more = {
                name: parameters.pop(f"{name}_array")
                for name in ("fixed_mask", "initial")
                if f"{name}_array" in parameters
            }
            heard = {}

            def listen(fixed, moving, settings, **options):
                heard.update(options, fixed=fixed, moving=moving, settings=settings)
                return direct

            monkeypatch.setattr(jobs, "register", listen)
            parameters, own = make_job(*scans, settings=SETTINGS, **parameters)
            jobs.run_register(parameters, own | more, Control())
            return heard

        return run

    def test_scans_and_settings_are_given(self, given, scans):
        heard = given()
        for name, scan in zip(("fixed", "moving"), scans):
            np.testing.assert_array_equal(heard[name].array, scan.array)
            assert heard[name].geometry.is_close(scan.geometry, 1e-9)
        assert heard["settings"] == Settings(**SETTINGS)

    def test_what_is_absent_is_none(self, given):
        heard = given()
        names = ("initial", "fixed_mask", "moving_mask", "fixed_landmarks", "moving_landmarks")
        assert [heard[name] for name in names] == [None] * 5

    def test_a_mask_is_given_on_its_own_grid(self, given):
        grid = Geometry((5, 6, 7), (2.0, 3.0, 4.0))
        mask = np.ones(grid.shape, np.uint8)
        heard = given(fixed_mask=grid.to_dict(), fixed_mask_array=mask)
        assert heard["fixed_mask"].geometry.is_close(grid, 1e-9)
        np.testing.assert_array_equal(heard["fixed_mask"].array, mask)

    def test_landmarks_are_given(self, given):
        points = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 10.0]]
        heard = given(fixed_landmarks=points, moving_landmarks=points)
        np.testing.assert_array_equal(heard["moving_landmarks"], points)

    def test_an_initial_matrix_is_given(self, given):
        matrix = np.eye(4)
        matrix[:3, 3] = 1, 2, 3
        heard = given(initial={"matrix": matrix.tolist()})
        assert isinstance(heard["initial"], AffineTransform)
        np.testing.assert_array_equal(heard["initial"].matrix, matrix)

    def test_an_initial_field_is_given(self, given, grid, make_field):
        field = make_field(grid)
        heard = given(initial={"geometry": grid.to_dict()}, initial_array=field.array)
        assert isinstance(heard["initial"], DisplacementField)
        np.testing.assert_array_equal(heard["initial"].array, field.array)


class TestInspect:
    def parameters(self, scans):
        return (
            {role: scan.geometry.to_dict() for role, scan in zip(("fixed", "moving"), scans)},
            {role: scan.array for role, scan in zip(("fixed", "moving"), scans)},
        )

    def test_one_contrast_is_found_to_be_one(self, real_worker, scans):
        report = do(real_worker, "inspect", *self.parameters(scans)).end["report"]
        assert report["same_contrast"] is True
        assert 0.68 < report["agreement"] <= 1

    def test_two_contrasts_are_found_to_be_two(self, real_worker, scans):
        fixed, moving = scans
        moving = Volume(200 * np.exp(-moving.array / 80) * (moving.array > 20), moving.geometry)
        report = do(real_worker, "inspect", *self.parameters((fixed, moving))).end["report"]
        assert report["same_contrast"] is False

    def test_it_can_be_given_up(self, scans):
        with pytest.raises(Cancelled):
            jobs.run_inspect(*self.parameters(scans), Control("abort"))


class TestDevices:
    def test_the_cpu_and_the_version_of_torch_are_told(self, real_worker):
        report = do(real_worker, "devices").end["report"]
        assert report["torch"] == torch.__version__
        assert report["devices"][0]["id"] == "cpu"
        assert report["devices"][0]["memory_bytes"] > 0

    def test_gpus_are_told_with_name_and_memory(self, monkeypatch):
        class Card:
            name, total_memory = "Card 9000", 24 * 2**30

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: Card)
        devices = jobs.run_devices({}, {}, Control()).report["devices"]
        assert devices[2] == {"id": "cuda:1", "name": "Card 9000", "memory_bytes": 24 * 2**30, "memory_is": "total"}

    def test_apples_gpu_is_told(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert jobs.run_devices({}, {}, Control()).report["devices"][-1]["id"] == "mps"


class TestGpuMemory:
    HOLDING = STAND_IN.replace(
        "class Outcome", "from GenRegLogic.worker import server\nserver.holds_gpu = lambda: True\n\nclass Outcome"
    )

    def test_a_process_that_holds_a_gpu_ends_with_its_job(self, make_worker):
        worker = make_worker(self.HOLDING)
        end = do(worker, "where", arrays={"a": np.ones(3)}).end
        assert not worker.running
        assert do(worker, "where").end["report"]["pid"] != end["report"]["pid"]

    def test_it_stays_if_that_is_wanted(self, make_worker):
        worker = make_worker(self.HOLDING)
        first, second = (do(worker, "where", {"keep_warm": True}).end["report"]["pid"] for _ in range(2))
        assert first == second

    def test_it_ends_after_an_error_too(self, make_worker):
        worker = make_worker(self.HOLDING)
        assert isinstance(do(worker, "fail", {"kind": "input", "text": "x"}).end, InputError)
        assert not worker.running
