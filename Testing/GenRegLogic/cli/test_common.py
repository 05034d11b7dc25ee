"""DICOM folders on the command line: no warning of the reader is lost, and what has to be chosen can be."""

import os

import pytest
import SimpleITK as sitk

from GenRegLogic.cli.common import print_last

from ..files.dicom.conftest import even, heights, save, true_slice, write_scan
from .conftest import is_one_sentence, names

GAP = heights(0, 3, 6, 12, 15, 18)

COMMANDS = {
    "warp": ("warp", "scan", "-t", "t.tfm", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz"),
    "warp onto it": ("warp", "fixed.nii.gz", "-t", "t.tfm", "-r", "scan", "-o", "out/w.nii.gz"),
    "evaluate": ("evaluate", "--fixed", "scan", "--moving", "scan", "-t", "t.tfm"),
    "report": ("report", "scan", "scan", "-t", "t.tfm", "-o", "out/p.html", "--no-places", "--quiet"),
    "register": ("register", "scan", "scan", "-o", "out/t.h5", "--quiet"),
}
REPAIR = ("repair", "scan", "scan", "-t", "t.tfm", "--region", "scan", "-o", "out/t.nii.gz", "--quiet")
OPTIONS = {
    "warp": ("--series",),
    "warp onto it": ("--reference-series",),
    "evaluate": ("--fixed-series", "--moving-series"),
    "report": ("--fixed-series", "--moving-series"),
    "register": ("--fixed-series", "--moving-series"),
}


@pytest.fixture
def run(genreg, folder, engine):
    """Runs a command on the folder "scan", beside an identity transform."""
    sitk.WriteTransform(sitk.Euler3DTransform(), str(folder / "t.tfm"))
    return lambda command, *more: genreg(*command, *more)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gap_in_a_series_is_refused_in_one_sentence_and_nothing_is_written(run, folder, command):
    write_scan(folder / "scan", GAP)
    ran = run(COMMANDS[command])
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert "lacks 1 slice;" in ran.err
    assert names(folder / "out") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gap_that_is_allowed_is_said_on_standard_error(run, folder, command):
    write_scan(folder / "scan", GAP)
    ran = run(COMMANDS[command], "--allow-missing-slices")
    assert ran.code in (0, 3)
    assert "genreg: warning: scan: The DICOM series lacks 1 slice, interpolated" in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_several_series_are_refused_with_the_option_that_chooses(run, folder, command):
    for n in (1, 2):
        write_scan(folder / "scan", even(), series=n)
    ran = run(COMMANDS[command])
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert f"choose one with {OPTIONS[command][0]} NUMBER (of this list) or {OPTIONS[command][0]} UID." in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_chosen_series_is_read(run, folder, command):
    for n in (1, 2):
        write_scan(folder / "scan", even(), series=n)
    ran = run(COMMANDS[command], *(word for option in OPTIONS[command] for word in (option, "2")))
    assert ran.code in (0, 3)
    assert "series" not in ran.err


def test_a_mask_of_several_series_is_refused_without_an_option_that_there_is_not(run, folder):
    for n in (1, 2):
        write_scan(folder / "scan", even(), series=n)
    ran = run(REPAIR, "--fixed-series", "1", "--moving-series", "1")
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert "; give a folder with one of them." in ran.err
    assert "--series" not in ran.err


def test_what_was_left_out_is_said_on_standard_error(run, folder):
    write_scan(folder / "scan", even())
    save(true_slice((0, 0, 0), series=2), folder / "scan" / "single.dcm")
    ran = run(COMMANDS["warp"])
    assert ran.code == 0
    assert "genreg: warning: scan: The folder holds 2 DICOM series" in ran.err


def test_a_good_series_is_read_in_silence(run, folder):
    write_scan(folder / "scan", even())
    ran = run(COMMANDS["warp"])
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device here")
def test_a_full_standard_output_after_writing_is_a_warning(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        print_last("Wrote t.nii.gz")
        monkeypatch.undo()
    assert "The results were written, but standard output could not be" in capsys.readouterr().err


def test_links_in_a_circle_are_refused_in_one_sentence(genreg, folder):
    (folder / "a.nii").symlink_to("b.nii")
    (folder / "b.nii").symlink_to("a.nii")
    result = genreg("register", "a.nii", "moving.nii.gz", "-o", "out/t.nii.gz")
    assert result.code == 2
    assert is_one_sentence(result.err)
