"""Scans that cannot be registered: exit code 2, one sentence, nothing written.

These tests use the real readers and the real engine.
"""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.files.images import write_volume
from GenRegLogic.files.points import write_points
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import SHAPE, SPACING, blob, is_one_sentence, names


def save(array, name, spacing=SPACING, **geometry):
    write_volume(Volume.from_array(array, spacing=spacing, **geometry), name)
    return name


def save_itk(image, name):
    sitk.WriteImage(image, name)
    return name


def damaged_nifti(**fields):
    """A NIfTI file whose header fields (byte offset -> float32 values) are overwritten."""
    save(blob(), "bad.nii")
    with open("bad.nii", "r+b") as file:
        for offset, values in fields.items():
            file.seek(int(offset.lstrip("_")))
            file.write(np.array(values, "<f4").tobytes())
    return "bad.nii"


def edited_header(name, old, new):
    """An MHA file with a line of its text header replaced."""
    image = sitk.GetImageFromArray(blob())
    sitk.WriteImage(image, name)
    with open(name, "rb") as file:
        content = file.read()
    assert old in content
    with open(name, "wb") as file:
        file.write(content.replace(old, new))
    return name


def text_file():
    with open("notes.nii.gz", "w") as file:
        file.write("not an image")
    return "notes.nii.gz"


def truncated():
    with open("fixed.nii.gz", "rb") as file:
        content = file.read()
    with open("half.nii.gz", "wb") as file:
        file.write(content[: len(content) // 2])
    return "half.nii.gz"


def with_values(value, share, ending=".mha"):
    array = blob()
    scattered = np.random.default_rng(0).permutation(array.size)
    array.ravel()[scattered[: int(share * array.size)]] = value
    return save(array, f"values{ending}")


UNREADABLE = {
    "missing": (lambda: "nowhere.nii.gz", "does not exist"),
    "a folder without images": (lambda: "out", "no DICOM images"),
    "text": (text_file, "not an image"),
    "cut off": (truncated, "damaged"),
    "2D": (lambda: save_itk(sitk.Image(32, 32, sitk.sitkFloat32), "flat.nrrd"), "2D"),
    "one slice": (lambda: save_itk(sitk.Image(32, 32, 1, sitk.sitkFloat32), "slice.nrrd"), "single slice"),
    "4D": (lambda: save_itk(sitk.Image([8, 8, 8, 3], sitk.sitkFloat32), "series.nrrd"), "4D"),
    "vector": (lambda: save_itk(sitk.Image([8, 8, 8], sitk.sitkVectorFloat32, 3), "vector.nrrd"), "vector"),
    "color": (lambda: save_itk(sitk.Image([8, 8, 8], sitk.sitkVectorUInt8, 3), "color.nrrd"), "color"),
    "NaN": (lambda: with_values(np.nan, 0.2), "NaN or infinite"),
    "infinite": (lambda: with_values(np.inf, 0.2), "NaN or infinite"),
    "constant": (lambda: save(np.full(SHAPE, 7, np.int16), "constant.nii.gz"), "constant"),
    "zero spacing": (
        lambda: edited_header("zero.mha", b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1"),
        "spacing",
    ),
    "singular direction": (
        lambda: edited_header("singular.mha", b"TransformMatrix = 1 0 0 0 1 0", b"TransformMatrix = 1 0 0 1 0 0"),
        "axes",
    ),
}


@pytest.mark.parametrize("role", ["fixed", "moving"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unusable_scan_is_refused_with_one_sentence(genreg, folder, kind, role):
    make, expected = UNREADABLE[kind]
    scans = (make(), "moving.nii.gz") if role == "fixed" else ("fixed.nii.gz", make())
    ran = genreg("register", *scans, "-o", "out/t.nii.gz")
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err
    assert names(folder / "out") == []


def test_a_negative_spacing_is_refused_with_one_sentence(genreg, folder):
    scan = damaged_nifti(_80=[-2.0, 2.0, 2.5], _252=[0.0] * 6, _280=[0.0] * 12)
    ran = genreg("register", scan, "moving.nii.gz", "-o", "out/t.nii.gz")
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert names(folder / "out") == []


def test_nan_values_in_a_nifti_file_are_refused_as_in_other_formats(genreg, folder):
    ran = genreg("register", with_values(np.nan, 0.2, ".nii.gz"), "moving.nii.gz", "-o", "out/t.nii.gz")
    assert ran.code == 2
    assert "NaN or infinite" in ran.err


def test_a_few_bad_voxels_are_replaced_and_reported(genreg, folder):
    scan = with_values(np.nan, 0.005)
    ran = genreg("register", scan, "moving.nii.gz", "-o", "out/t.nii.gz", "--report", "out/r.json")
    assert ran.code in (0, 3)
    assert "were replaced" in ran.out
    assert "were replaced" in (folder / "out/r.json").read_text()


def box(low, high):
    array = np.zeros(SHAPE, np.uint8)
    array[low:high, low:high, low:high] = 1
    return array


def scattered(count, spread=6.0):
    center = Geometry(SHAPE[::-1], SPACING).center
    return center + np.random.default_rng(0).uniform(-spread, spread, (count, 3))


def save_points(points, name):
    write_points(points, name)
    return name


GUIDANCE = {
    "an empty fixed mask": (lambda: ("--fixed-mask", save(box(0, 0), "m.nii.gz")), "fixed mask is empty"),
    "an empty moving mask": (lambda: ("--moving-mask", save(box(0, 0), "m.nii.gz")), "moving mask is empty"),
    "a mask outside the scan": (
        lambda: ("--fixed-mask", save(box(5, 12), "m.nii.gz", origin=(900.0, 0.0, 0.0))),
        "does not lie over",
    ),
    "a missing mask": (lambda: ("--fixed-mask", "nowhere.nii.gz"), "does not exist"),
    "unequal landmarks": (
        lambda: (
            "--fixed-landmarks",
            save_points(scattered(4), "f.csv"),
            "--moving-landmarks",
            save_points(scattered(5), "m.csv"),
        ),
        "4 fixed but 5 moving",
    ),
    "two landmarks": (
        lambda: (
            "--fixed-landmarks",
            save_points(scattered(2), "f.csv"),
            "--moving-landmarks",
            save_points(scattered(2), "m.csv"),
        ),
        "only 2 landmarks",
    ),
    "landmarks outside": (
        lambda: (
            "--fixed-landmarks",
            save_points(scattered(4) + 500.0, "f.csv"),
            "--moving-landmarks",
            save_points(scattered(4), "m.csv"),
        ),
        "outside the fixed image",
    ),
    "an unknown device": (lambda: ("--device", "abacus"), "device"),
    "a device number too high": (lambda: ("--device", "cuda:99"), "cuda"),
    "negative iterations": (lambda: ("--iterations", "-1"), "iterations"),
    "no smoothness": (lambda: ("--smoothness", "0"), "smoothness"),
    "a negative resolution": (lambda: ("--resolution", "-2"), "resolution"),
    "no threads": (lambda: ("--threads", "0"), "threads"),
    "an image as initial transform": (lambda: ("--initial", "moving.nii.gz"), "not a displacement field"),
}


@pytest.mark.parametrize("kind", GUIDANCE)
def test_unusable_guidance_is_refused_with_one_sentence(genreg, folder, kind):
    make, expected = GUIDANCE[kind]
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nii.gz", *make())
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected.lower() in ran.err.lower()
    assert names(folder / "out") == []


def test_cuda_is_refused_with_one_sentence_where_there_is_none(genreg, folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nii.gz", "--device", "cuda")
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert names(folder / "out") == []


def test_scans_that_do_not_overlap_are_refused_without_linear_alignment(genreg, folder):
    save(blob(), "far.nii.gz", origin=(5000.0, 0.0, 0.0))
    ran = genreg("register", "fixed.nii.gz", "far.nii.gz", "-o", "out/t.nii.gz", "--init", "none", "--quiet")
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert "overlap" in ran.err
    assert names(folder / "out") == []


def test_a_mask_on_another_grid_is_resampled_and_reported(genreg, folder):
    save(np.ones((9, 10, 11), np.uint8), "m.nii.gz", spacing=(4.0, 4.0, 5.0))
    ran = genreg("register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nii.gz", "--fixed-mask", "m.nii.gz")
    assert ran.code in (0, 3)
    assert "was resampled" in ran.out
