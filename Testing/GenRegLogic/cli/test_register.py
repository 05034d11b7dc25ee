"""`genreg register`: options reach the engine, and all or none of the results are written."""

import errno
import json
import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.cli.register import largest_result
from GenRegLogic.errors import Cancelled, InputError, ResourceError
from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import write_points
from GenRegLogic.settings import Settings
from GenRegLogic.space.volume import Volume

from .conftest import SHIFT_MM, is_one_sentence, names

RESULTS = ("-o", "out/t.nii.gz", "--warped", "out/w.nii.gz", "--inverse", "out/i.nii.gz", "--report", "out/r.json")


def displacement(path, point=(20.0, 20.0, 20.0)):
    """Displacement of a point by a transform file, LPS mm, as SimpleITK reads it."""
    if str(path).endswith((".h5", ".tfm")):
        transform = sitk.ReadTransform(str(path))
    else:
        transform = sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))
    return np.subtract(transform.TransformPoint(point), point)


def test_all_requested_results_are_written(genreg, engine, folder):
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", *RESULTS).code == 0
    assert names(folder / "out") == ["i.nii.gz", "r.json", "t.nii.gz", "w.nii.gz"]
    np.testing.assert_allclose(displacement(folder / "out/t.nii.gz"), SHIFT_MM, atol=1e-3)
    np.testing.assert_allclose(displacement(folder / "out/i.nii.gz"), np.negative(SHIFT_MM), atol=1e-3)
    assert json.loads((folder / "out/r.json").read_text())["verdict"]["status"] == "trustworthy"


def test_the_map_of_the_expected_error_is_written_as_an_image(genreg, engine, folder):
    assert (
        genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nrrd", "--expected-error", "out/e.nii.gz").code
        == 0
    )
    np.testing.assert_array_equal(read_volume(folder / "out/e.nii.gz").array, 1.5)


def test_no_map_of_the_expected_error_is_left_when_another_result_fails(genreg, engine, folder, monkeypatch):
    def full(report, path):
        raise ResourceError(f"{path} cannot be written: the disk is full.")

    monkeypatch.setattr("GenRegLogic.quality.report.write_report", full)
    results = ("-o", "out/t.nrrd", "--expected-error", "out/e.nrrd", "--report", "out/r.json")
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", *results).code == 2
    assert names(folder / "out") == []


def test_only_the_transform_is_written_when_nothing_else_is_requested(genreg, engine, folder):
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nrrd").code == 0
    assert names(folder / "out") == ["t.nrrd"]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".h5", ".tfm"])
def test_the_file_name_ending_selects_the_kind_of_transform_file(genreg, engine, folder, ending):
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", f"out/t{ending}").code == 0
    np.testing.assert_allclose(displacement(folder / f"out/t{ending}"), SHIFT_MM, atol=1e-3)


@pytest.mark.parametrize("words", [["--linear-only"], ["--kind", "rigid"], ["--kind", "affine"]])
def test_a_linear_result_is_written_to_a_transform_file_as_a_matrix(genreg, engine, folder, words):
    results = ("-o", "out/t.tfm", "--inverse", "out/i.h5", *words)
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", *results).code == 0
    for name, shift in (("t.tfm", SHIFT_MM), ("i.h5", np.negative(SHIFT_MM))):
        assert sitk.ReadTransform(str(folder / "out" / name)).IsLinear()
        np.testing.assert_allclose(displacement(folder / "out" / name, (900.0, 0.0, 0.0)), shift, atol=1e-6)


def test_the_defaults_are_those_of_the_engine(genreg, engine):
    genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    assert engine.call.settings == Settings()
    assert engine.call.initial is engine.call.fixed_mask is engine.call.moving_landmarks is None


def test_every_option_reaches_the_engine(genreg, engine, folder):
    write_points(np.array([[20.0, 20.0, 20.0]] * 3), folder / "p.csv")
    sitk.WriteTransform(sitk.TranslationTransform(3, (0.0, 0.0, 4.0)), str(folder / "start.tfm"))
    options = """--linear-only --kind similarity --init header
        --iterations 7 --smoothness 2.5 --resolution 3 --device cpu --seed 5
        --threads 1 --network off --transform-spacing 2.5 --fixed-mask fixed.nii.gz --moving-mask moving.nii.gz
        --initial start.tfm --fixed-landmarks p.csv --moving-landmarks q.csv --keep-rigid labels.nii.gz
        --regions labels.nii.gz --one-way --tolerance 3.5 --quiet"""
    write_points(np.array([[25.0, 20.0, 20.0]] * 3), folder / "q.csv")
    fixed = read_volume(folder / "fixed.nii.gz")
    write_volume(Volume((fixed.array > 250).astype(np.uint8), fixed.geometry), folder / "labels.nii.gz")
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5", *options.split()).code == 0
    settings = engine.call.settings
    assert (settings.linear_only, settings.init, settings.iterations) == (True, "header", 7)
    assert settings.kind == "similarity"
    assert settings.one_way
    assert settings.tolerance_mm == 3.5
    assert (settings.smoothness, settings.resolution_mm, settings.device) == (2.5, 3.0, "cpu")
    assert (settings.seed, settings.threads, settings.network) == (5, 1, "off")
    assert settings.transform_spacing_mm == 2.5
    np.testing.assert_array_equal(engine.call.fixed_mask.array, engine.call.fixed.array)
    np.testing.assert_array_equal(engine.call.moving_mask.array, engine.call.moving.array)
    np.testing.assert_array_equal(engine.call.keep_rigid.array, fixed.array > 250)
    np.testing.assert_array_equal(engine.call.regions.array, fixed.array > 250)
    np.testing.assert_allclose(engine.call.initial([[0.0, 0.0, 0.0]]), [[0.0, 0.0, 4.0]])
    np.testing.assert_allclose(engine.call.fixed_landmarks, [[20.0, 20.0, 20.0]] * 3)
    np.testing.assert_allclose(engine.call.moving_landmarks, [[25.0, 20.0, 20.0]] * 3)


def test_a_transform_with_a_vector_for_every_voxel_is_asked_for_with_full(genreg, engine):
    options = ("-o", "out/t.h5", "--transform-spacing", "full")
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", *options).code == 0
    assert engine.call.settings.transform_spacing_mm == 0


@pytest.mark.parametrize("spacing", ["0", "-1", "nan", "inf", "fine", ""])
def test_a_spacing_that_is_no_positive_number_is_refused_with_one_sentence(genreg, engine, folder, spacing):
    options = ("-o", "out/t.h5", f"--transform-spacing={spacing}")
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", *options)
    assert ran.code == 2
    assert "give a positive number of mm, or full" in ran.err
    assert is_one_sentence(ran.err)
    assert names(folder / "out") == []


def test_the_verdict_and_the_files_are_printed_at_the_end(genreg, engine):
    out = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5").out
    assert out.splitlines() == ["Verdict: trustworthy", "  A reason.", "  A warning.", "Wrote out/t.h5"]


def test_the_stage_writing_is_shown_before_any_file_is_written(genreg, engine, folder, monkeypatch):
    from GenRegLogic.cli import register as command

    real, found = command.write_outputs, []

    def write_outputs(jobs):
        found.extend(names(folder / "out"))
        print("the files", file=sys.stderr)
        real(jobs)

    monkeypatch.setattr(command, "write_outputs", write_outputs)
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", *RESULTS)
    assert (ran.code, found) == (0, [])
    assert ran.err.splitlines()[-2:] == ["100 %  writing", "the files"]


def test_quiet_prints_nothing_during_a_successful_run(genreg, engine):
    progress = SimpleNamespace(stage="refine", fraction=0.5, seconds_left=3.0)
    engine.before_return = lambda on_progress, cancel: on_progress(progress)
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize(("status", "code"), [("trustworthy", 0), ("check", 0), ("failed", 3)])
def test_only_a_failed_verdict_changes_the_exit_code_and_the_files_are_written(genreg, engine, folder, status, code):
    engine.status = status
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5").code == code
    assert names(folder / "out") == ["t.h5"]


def test_one_ctrl_c_writes_the_best_result_so_far(genreg, engine, folder):
    answers = []

    def interrupt(on_progress, cancel):
        answers.append(cancel())
        os.kill(os.getpid(), signal.SIGINT)
        answers.append(cancel())

    engine.before_return = interrupt
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    assert answers == [None, "keep"]
    assert ran.code == 130
    assert names(folder / "out") == ["t.h5"]
    assert "best result so far" in ran.err


def test_a_second_ctrl_c_gives_up_and_writes_nothing(genreg, engine, folder):
    def interrupt_twice(on_progress, cancel):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert cancel() == "abort"
        raise Cancelled("The registration was cancelled.")

    engine.before_return = interrupt_twice
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5").code == 130
    assert names(folder / "out") == []


def test_a_termination_signal_gives_up_and_writes_nothing(genreg, engine, folder):
    def terminate(on_progress, cancel):
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancel() == "abort"
        raise Cancelled("The registration was cancelled.")

    engine.before_return = terminate
    assert genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5").code == 130
    assert names(folder / "out") == []


def test_the_signal_handlers_are_restored_after_a_run(genreg, engine):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("error", [InputError, ResourceError])
def test_an_error_of_the_engine_is_printed_as_one_sentence_and_nothing_is_written(genreg, engine, folder, error):
    def refuse(on_progress, cancel):
        raise error("The scans show nothing in common.")

    engine.before_return = refuse
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", *RESULTS)
    assert ran.code == 2
    assert ran.err == "genreg: The scans show nothing in common.\n"
    assert names(folder / "out") == []


def test_no_result_is_left_when_the_disk_fills_up_while_writing(genreg, engine, folder, monkeypatch):
    import GenRegLogic.quality.report

    def full(report, path):
        raise ResourceError(f"{path} cannot be written: the disk is full.")

    monkeypatch.setattr(GenRegLogic.quality.report, "write_report", full)
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", *RESULTS)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "genreg: out/r.json cannot be written: the disk is full."
    assert names(folder / "out") == []


def test_existing_results_are_kept_when_a_run_fails(genreg, engine, folder):
    (folder / "out/t.h5").write_bytes(b"former")

    def refuse(on_progress, cancel):
        raise InputError("No.")

    engine.before_return = refuse
    genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    assert (folder / "out/t.h5").read_bytes() == b"former"


def test_too_little_disk_space_is_refused_before_any_work(genreg, engine, folder, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=1000))
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert "disk is full" in ran.err
    assert engine.calls == []


def test_the_map_of_the_expected_error_counts_for_the_room_on_the_disk():
    scan = Volume.from_array(np.zeros((30, 30, 30), np.uint8), spacing=(1.0, 1.0, 1.0))
    coarse = Settings(transform_spacing_mm=10.0)
    assert largest_result(scan, scan, coarse) == scan.array.size
    assert largest_result(scan, scan, coarse, error_map=True) == 4 * scan.array.size


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-o", "nowhere/t.h5"), "does not exist"),
        (("-o", "fixed.nii.gz/t.h5"), "does not exist"),
        (("-o", "out"), "ending"),
        (("-o", "out/t.png"), "ending"),
        (("-o", "out/t.h5", "--warped", "out/w.h5"), "ending"),
        (("-o", "out/t.h5", "--report", "out/r.txt"), "ending"),
        (("-o", "out/t.h5", "--expected-error", "out/e.h5"), "ending"),
        (("-o", "out/t.h5", "--expected-error", "nowhere/e.mha"), "does not exist"),
        (("-o", "out/t.h5", "--expected-error", "fixed.nii.gz"), "also an input"),
        (("-o", "out/t.nrrd", "--expected-error", "out/t.nrrd"), "named by both"),
        (("-o", "moving.nii.gz"), "also an input"),
        (("-o", "out/../fixed.nii.gz"), "also an input"),
        (("-o", "out/t.nii.gz", "--inverse", "out/t.nii.gz"), "named by both"),
        (("-o", "out/t.h5", "--fixed-landmarks", "p.csv"), "go together"),
        (("--warped", "out/w.nii.gz"), "required"),
        (("-o", "out/t.h5", "--iterations", "many"), "invalid int value"),
        (("-o", "out/t.h5", "--init", "best"), "invalid choice"),
        (("-o", "out/t.h5", "--tolerance", "0"), "The tolerance must be a positive number of mm"),
        (("-o", "out/t.h5", "--tolerance", "small"), "invalid float value"),
        (("-o", "out/t.h5", "--warp", "out/w.nii.gz"), "unrecognized"),
    ],
)
def test_invalid_arguments_are_refused_before_any_work(genreg, engine, folder, words, expected):
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", *words)
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err
    assert engine.calls == []
    assert names(folder / "out") == []


def test_a_read_only_folder_is_refused_before_any_work(genreg, engine, folder, monkeypatch):
    (folder / "out").chmod(0o500)
    if os.access(folder / "out", os.W_OK):  # the superuser can write anywhere, so the refusal is simulated

        def refuse(*args, **kwargs):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.h5")
    (folder / "out").chmod(0o700)
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert "read-only" in ran.err
    assert engine.calls == []
    assert names(folder / "out") == []
