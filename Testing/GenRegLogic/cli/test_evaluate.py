"""`genreg evaluate`: one JSON object on standard output, with known values for a known transform."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import write_points
from GenRegLogic.space.volume import Volume

from .conftest import is_one_sentence

SCANS = ("--fixed", "fixed.nii.gz", "--moving", "moving.nii.gz")


@pytest.fixture
def pair(folder):
    """Labels and points of both scans, and a shift by two voxels in shift.tfm."""
    sitk.WriteTransform(sitk.TranslationTransform(3, (4.0, 0.0, 0.0)), str(folder / "shift.tfm"))
    labels = np.zeros(read_volume(folder / "fixed.nii.gz").array.shape, np.uint8)
    labels[6:12, 6:14, 4:10] = 1
    geometry = read_volume(folder / "fixed.nii.gz").geometry
    write_volume(Volume(labels, geometry), folder / "fl.nii.gz")
    write_volume(Volume(np.roll(labels, 2, axis=2) * 3, geometry), folder / "ml.nii.gz")
    body = np.zeros_like(labels)
    body[3:15, 4:16, 3:19] = 1
    write_volume(Volume(body, geometry), folder / "body.nii.gz")
    write_volume(Volume(body * 0, geometry), folder / "empty.nii.gz")
    points = np.array([[10.0, 10.0, 10.0], [20.0, 20.0, 20.0], [15.0, 25.0, 12.0]])
    write_points(points, folder / "fp.csv")
    write_points(points + (4.0, 0.0, 3.0), folder / "mp.csv")
    return folder


def test_figures_are_printed_as_json(genreg, pair):
    labels = ("--fixed-labels", "fl.nii.gz", "--moving-labels", "ml.nii.gz", "--labels", "1:3")
    points = ("--fixed-points", "fp.csv", "--moving-points", "mp.csv")
    ran = genreg("evaluate", *SCANS, "-t", "shift.tfm", *labels, *points)
    assert ran.code == 0
    figures = json.loads(ran.out)
    assert figures["dice"] == pytest.approx(1.0)
    assert figures["tre_mm"] == pytest.approx(3.0)
    assert figures["tre_before_mm"] == pytest.approx(5.0)
    assert figures["folds_pct"] == figures["ndv_pct"] == 0.0
    assert figures["inverse_mean_mm"] < 0.01


def test_without_labels_and_points_only_the_transform_is_measured(genreg, pair):
    figures = json.loads(genreg("evaluate", *SCANS, "-t", "shift.tfm").out)
    assert "sdlogj" in figures
    assert not {"dice", "tre_mm"} & figures.keys()


def test_a_mask_changes_the_figures_of_the_body_alone(genreg, pair):
    figures, masked = (
        json.loads(genreg("evaluate", *SCANS, "-t", "shift.tfm", *words).out)
        for words in ((), ("--mask", "body.nii.gz"))
    )
    assert masked["nmi_after"] != figures["nmi_after"]
    assert masked["sdlogj"] == figures["sdlogj"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--mask", "empty.nii.gz"), "mask is empty"),
        (("--mask", "nowhere.nii.gz"), "does not exist"),
        (("--fixed-labels", "fl.nii.gz"), "go together"),
        (("--moving-points", "mp.csv"), "go together"),
        (("--labels", "1"), "needs"),
        (("--labels", "1,b"), "not a list of labels"),
        (("--labels", "1:2:3"), "not a list of labels"),
        (("--fixed-labels", "fl.nii.gz", "--moving-labels", "ml.nii.gz"), "no label in common"),
        (("--fixed-points", "fp.csv", "--moving-points", "fixed.nii.gz"), "point file"),
    ],
)
def test_bad_input_is_refused_with_one_sentence(genreg, pair, words, expected):
    ran = genreg("evaluate", *SCANS, "-t", "shift.tfm", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err
