"""DICOM folders on the command line: the reader's warnings are printed, and missing slices are refused by default."""

import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from .conftest import is_one_sentence, names

sys.path.insert(0, str(Path(__file__).parents[1] / "files"))
from test_reading import write_series

EVEN = [2.5 * n for n in range(6)]
GAP = [0.0, 2.5, 5.0, 10.0, 12.5, 15.0]

COMMANDS = {
    "warp": ("warp", "scan", "-t", "t.tfm", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz"),
    "warp onto it": ("warp", "fixed.nii.gz", "-t", "t.tfm", "-r", "scan", "-o", "out/w.nii.gz"),
    "evaluate": ("evaluate", "--fixed", "scan", "--moving", "scan", "-t", "t.tfm"),
    "report": ("report", "scan", "scan", "-t", "t.tfm", "-o", "out/p.html", "--no-places", "--quiet"),
    "register": ("register", "scan", "scan", "-o", "out/t.h5", "--quiet"),
}


@pytest.fixture
def run(genreg, folder, engine):
    """Writes slices at the given heights to the folder "scan", and an identity transform; then runs a command."""
    sitk.WriteTransform(sitk.Euler3DTransform(), str(folder / "t.tfm"))

    def act(command, heights, *more):
        write_series(folder / "scan", heights)
        return genreg(*COMMANDS[command], *more)

    return act


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gap_in_a_series_is_refused_in_one_sentence_and_nothing_is_written(run, folder, command):
    ran = run(command, GAP)
    assert ran.code == 2
    assert is_one_sentence(ran.err)
    assert "lacks 1 slice;" in ran.err
    assert names(folder / "out") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gap_that_is_allowed_is_reported_on_standard_error(run, command):
    ran = run(command, GAP, "--allow-missing-slices")
    assert ran.code in (0, 3)
    assert "genreg: warning: scan: The DICOM series lacks 1 slice and" in ran.err


def test_the_choice_among_two_series_is_reported_on_standard_error(run, folder):
    (folder / "scan").mkdir()
    write_series(folder / "scan", EVEN[:3], number=2, seed=1)
    ran = run("warp", EVEN)
    assert ran.code == 0
    assert "genreg: warning: scan: The folder holds 2 DICOM series" in ran.err


def test_a_complete_series_is_read_without_a_warning(run):
    ran = run("warp", EVEN)
    assert (ran.code, ran.err) == (0, "")
