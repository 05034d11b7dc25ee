"""`genreg repair`, and `genreg register --keep-rigid`, with the real engine on small scans."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.cli.common import BAD_INPUT, DONE, NOT_TRUSTWORTHY
from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import write_points
from GenRegLogic.files.transforms import read_transform, write_transform
from GenRegLogic.space.field import AffineTransform, DisplacementField, sample_transform
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume

from .conftest import is_one_sentence

QUICK = ("--threads", "1", "--iterations", "3", "--quiet")


@pytest.fixture
def ready(folder):
    """The folder with a transform, a region and landmarks."""
    fixed = read_volume(folder / "fixed.nii.gz")
    field = np.zeros((*fixed.geometry.shape, 3), np.float32)
    field[..., 0] = 3.0
    write_transform(DisplacementField(field, fixed.geometry), folder / "t.nii.gz")
    region = np.zeros(fixed.geometry.shape, np.uint8)
    region[4:14, 5:15, 6:17] = 1
    write_volume(Volume(region, fixed.geometry), folder / "region.nii.gz")
    for name, shift in (("f.csv", 0.0), ("m.csv", 1.0)):
        write_points(fixed.geometry.center[None] + shift, folder / name)
    return folder


def test_the_stage_writing_is_shown_last(genreg, ready):
    done = genreg(
        *("repair", "fixed.nii.gz", "moving.nii.gz", "-t", "t.nii.gz", "--region", "region.nii.gz"),
        *("-o", "out/new.nii.gz", "--iterations", "1", "--threads", "1"),
    )
    assert done.err.splitlines()[-1] == "100 %  writing"


def test_a_region_is_refined_and_the_rest_is_unchanged(genreg, ready):
    done = genreg(
        "repair",
        "fixed.nii.gz",
        "moving.nii.gz",
        "-t",
        "t.nii.gz",
        "--region",
        "region.nii.gz",
        "-o",
        "out/new.nii.gz",
        "--warped",
        "out/warped.nii.gz",
        "--report",
        "out/r.json",
        "--tolerance",
        "7.5",
        *QUICK,
    )
    assert done.code in (DONE, NOT_TRUSTWORTHY), done.err
    new, old = read_transform(ready / "out/new.nii.gz"), read_transform(ready / "t.nii.gz")
    outside = read_volume(ready / "region.nii.gz").array == 0
    np.testing.assert_array_equal(new.array[outside], old.array[outside])
    assert (new.array != old.array).any()
    assert jacobian_figures(new)["ndv_pct"] == 0
    report = json.loads((ready / "out/r.json").read_text())
    assert report["repair"]["region_ml"] > 0
    assert report["confidence"]["tolerance_mm"] == 7.5
    assert (ready / "out/warped.nii.gz").exists()


def test_landmarks_select_the_region_and_a_translation_is_accepted_as_transform(genreg, ready):
    shift = sitk.TranslationTransform(3, (3.0, 0.0, 0.0))
    sitk.WriteTransform(shift, str(ready / "shift.tfm"))
    done = genreg(
        "repair",
        "fixed.nii.gz",
        "moving.nii.gz",
        "-t",
        "shift.tfm",
        "--fixed-landmarks",
        "f.csv",
        "--moving-landmarks",
        "m.csv",
        "-o",
        "out/new.h5",
        *QUICK,
    )
    assert done.code in (DONE, NOT_TRUSTWORTHY), done.err
    geometry = read_volume(ready / "fixed.nii.gz").geometry
    assert np.abs(sample_transform(read_transform(ready / "out/new.h5"), geometry).array - [3, 0, 0]).max() > 0.5


def test_a_repair_without_region_and_landmarks_is_refused(genreg, ready):
    done = genreg("repair", "fixed.nii.gz", "moving.nii.gz", "-t", "t.nii.gz", "-o", "out/new.nii.gz")
    assert done.code == BAD_INPUT
    assert "Nothing says where" in done.err
    assert is_one_sentence(done.err)


def test_landmarks_of_one_scan_only_are_refused(genreg, ready):
    done = genreg(
        "repair",
        "fixed.nii.gz",
        "moving.nii.gz",
        "-t",
        "t.nii.gz",
        "--fixed-landmarks",
        "f.csv",
        "-o",
        "out/new.nii.gz",
    )
    assert done.code == BAD_INPUT
    assert "go together" in done.err


def test_writing_over_the_input_transform_is_refused(genreg, ready):
    done = genreg(
        "repair", "fixed.nii.gz", "moving.nii.gz", "-t", "t.nii.gz", "--region", "region.nii.gz", "-o", "t.nii.gz"
    )
    assert done.code == BAD_INPUT
    assert "also an input" in done.err


def test_register_keeps_a_mask_rigid(genreg, ready):
    done = genreg(
        "register",
        "fixed.nii.gz",
        "moving.nii.gz",
        "--keep-rigid",
        "region.nii.gz",
        "-o",
        "out/new.nii.gz",
        "--report",
        "out/r.json",
        *QUICK,
    )
    assert done.code in (DONE, NOT_TRUSTWORTHY), done.err
    (body,) = json.loads((ready / "out/r.json").read_text())["rigid"]
    assert abs(body["volume_change_pct"]) < 0.5
    assert body["residual_strain_pct"] < 0.5


def test_a_linear_result_with_a_rigid_mask_is_written_as_a_field(genreg, ready):
    done = genreg(
        "register",
        "fixed.nii.gz",
        "moving.nii.gz",
        "--linear-only",
        "--keep-rigid",
        "region.nii.gz",
        "-o",
        "out/new.h5",
        *QUICK,
    )
    assert done.code in (DONE, NOT_TRUSTWORTHY), done.err
    field, linear = read_transform(ready / "out/new.h5").parts
    assert isinstance(field, DisplacementField)
    assert isinstance(linear, AffineTransform)
