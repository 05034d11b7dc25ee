"""`genreg report`, and the page that `genreg register` writes."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.transforms import write_transform
from GenRegLogic.htmlreport import measured_report, page
from GenRegLogic.space.volume import Volume

from .conftest import SHIFT_MM, blob, constant_field, is_one_sentence, names

SCANS = ("fixed.nii.gz", "moving.nii.gz")
WRITE = ("-o", "out/page.html")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Makes pages in a fraction of the time."""
    monkeypatch.setattr(page, "PIXELS_TO_TRY", (2_000,))


@pytest.fixture
def made(folder):
    """A transform in t.nii.gz and t.tfm and the report of it in r.json."""
    fixed, moving = (read_volume(folder / name) for name in SCANS)
    field = constant_field(fixed.geometry, SHIFT_MM)
    write_transform(field, folder / "t.nii.gz")
    sitk.WriteTransform(sitk.TranslationTransform(3, SHIFT_MM), str(folder / "t.tfm"))
    report = measured_report(fixed, moving, field)
    report |= {"schema_version": 1, "device": "abacus", "notes": ["Made by hand."]}
    report["verdict"] = {"status": "trustworthy", "reasons": ["A reason."]}
    (folder / "r.json").write_text(json.dumps(report))
    return folder


def text(folder):
    return (folder / "out" / "page.html").read_text(encoding="utf-8")


def test_a_page_is_made_of_scans_transform_and_report(genreg, made):
    ran = genreg("report", *SCANS, "-t", "t.nii.gz", "--json", "r.json", "--no-places", *WRITE)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["Verdict: trustworthy", "Wrote out/page.html"]
    assert names(made / "out") == ["page.html"]
    for expected in ("abacus", "Made by hand.", "A reason.", "was not estimated"):
        assert expected in text(made)


def test_without_a_report_the_figures_are_measured(genreg, made):
    assert genreg("report", *SCANS, "-t", "t.tfm", "--no-places", *WRITE).code in (0, 3)
    assert "measured afterward" in text(made)
    assert "1.0 mm at the center" in text(made)


def test_the_expected_error_is_estimated_by_default(genreg, made):
    ran = genreg("report", *SCANS, "-t", "t.nii.gz", "--device", "cpu", *WRITE)
    assert ran.code in (0, 3)
    assert "places" in ran.err
    assert "Expected error" in text(made)
    assert "was not estimated" not in text(made)


def test_the_tolerance_that_is_given_is_judged_by(genreg, made):
    genreg("report", *SCANS, "-t", "t.nii.gz", "--device", "cpu", "--tolerance", "7.5", *WRITE)
    assert "of the body within 7.5 mm" in text(made)
    assert "22.5 mm (three times the tolerance)" in text(made)


def test_another_tolerance_than_that_of_a_report_is_refused(genreg, made):
    ran = genreg("report", *SCANS, "-t", "t.nii.gz", "--json", "r.json", "--tolerance", "3", *WRITE)
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert names(made / "out") == []


def test_file_names_appear_only_with_the_option_names(genreg, made):
    words = ("report", *SCANS, "-t", "t.nii.gz", "--json", "r.json", "--no-places", *WRITE)
    genreg(*words)
    assert not [name for name in (*SCANS, "t.nii.gz", "r.json", str(made)) if name in text(made)]
    genreg(*words, "--names")
    assert all(name in text(made) for name in SCANS)


def test_a_failed_verdict_changes_the_exit_code_and_the_page_is_written(genreg, made):
    report = json.loads((made / "r.json").read_text())
    report["verdict"]["status"] = "failed"
    (made / "r.json").write_text(json.dumps(report))
    assert genreg("report", *SCANS, "-t", "t.nii.gz", "--json", "r.json", "--no-places", *WRITE).code == 3
    assert "Do not use this result." in text(made)


def test_quiet_prints_nothing(genreg, made):
    ran = genreg("report", *SCANS, "-t", "t.nii.gz", "--json", "r.json", "--quiet", *WRITE)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def other_scan():
    write_volume(Volume.from_array(blob(), spacing=(1.0, 2.0, 2.5)), "other.nii.gz")
    return ("other.nii.gz", SCANS[1], "-t", "t.nii.gz", "--json", "r.json")


def constant_scan():
    write_volume(Volume.from_array(np.full((9, 9, 9), 3.0, np.float32), spacing=(1, 1, 1)), "constant.nii.gz")
    return (SCANS[0], "constant.nii.gz", "-t", "t.nii.gz")


def broken_report():
    with open("broken.json", "w") as file:
        file.write('{"verdict": ')
    return (*SCANS, "-t", "t.nii.gz", "--json", "broken.json")


BAD = {
    "a missing scan": (lambda: ("nowhere.nii.gz", SCANS[1], "-t", "t.nii.gz"), "does not exist"),
    "a missing transform": (lambda: (*SCANS, "-t", "nowhere.nii.gz"), "does not exist"),
    "a missing report": (lambda: (*SCANS, "-t", "t.nii.gz", "--json", "nowhere.json"), "does not exist"),
    "a scan as transform": (lambda: (*SCANS, "-t", "moving.nii.gz"), "not a displacement field"),
    "a scan as report": (lambda: (*SCANS, "-t", "t.nii.gz", "--json", "moving.nii.gz"), "not JSON"),
    "a broken report": (broken_report, "not JSON"),
    "the report of other scans": (other_scan, "another fixed scan"),
    "a constant scan": (constant_scan, "constant"),
    "an unknown device": (lambda: (*SCANS, "-t", "t.nii.gz", "--device", "abacus"), "device"),
    "no transform": (lambda: SCANS, "--transform"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_one_sentence_and_nothing_is_written(genreg, made, kind):
    make, expected = BAD[kind]
    ran = genreg("report", *make(), *WRITE)
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err
    assert names(made / "out") == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [("out/page.pdf", "ending"), ("no/page.html", "does not exist"), ("r.html", "also an input"), ("out", "ending")],
)
def test_an_unwritable_output_is_refused_before_the_inputs_are_read(genreg, made, output, expected):
    (made / "r.json").rename(made / "r.html")
    ran = genreg("report", "nowhere.nii.gz", "nowhere.nii.gz", "-t", "t.nii.gz", "--json", "r.html", "-o", output)
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err


class TestRegister:
    """`genreg register --report`: the file name's ending selects what is written."""

    def test_a_json_report_and_a_page_are_written_in_one_run(self, genreg, engine, folder):
        both = ("--report", "out/r.json", "--report", "out/r.html")
        assert genreg("register", *SCANS, "-o", "out/t.h5", *both).code == 0
        assert names(folder / "out") == ["r.html", "r.json", "t.h5"]
        assert json.loads((folder / "out/r.json").read_text())["verdict"]["status"] == "trustworthy"
        assert "The result looks trustworthy." in (folder / "out/r.html").read_text(encoding="utf-8")

    def test_another_ending_is_refused_before_the_run(self, genreg, engine, folder):
        ran = genreg("register", *SCANS, "-o", "out/t.h5", "--report", "out/r.pdf")
        assert ran.code == 2
        assert ".json, .html" in ran.err
        assert engine.calls == []

    def test_the_same_file_name_twice_is_refused(self, genreg, engine, folder):
        assert genreg("register", *SCANS, "-o", "out/t.h5", "--report", "r.html", "--report", "r.html").code == 2


def test_a_device_that_there_is_not_is_refused_even_if_nothing_is_computed(genreg, made):
    result = genreg("report", *SCANS, "-t", "t.nii.gz", "-o", "out/p.html", "--no-places", "--device", "cuda:99")
    assert result.code == 2
    assert is_one_sentence(result.err)
