"""`genreg warp` and `genreg warp-points`, compared with SimpleITK."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import read_points, write_points
from GenRegLogic.files.transforms import read_transform, write_transform
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.inverse import fit_affine
from GenRegLogic.space.volume import Volume

from .conftest import is_one_sentence, names

GRID = Geometry((30, 28, 26), (2.0, 2.0, 2.5), (-10.0, -10.0, -10.0))
POINTS = np.array([[18.0, 20.0, 22.0], [25.0, 15.0, 18.0], [21.0, 26.0, 30.0]])


def smooth_field():
    """A smooth field of up to 2 mm along each axis."""
    k, j, i = np.indices(GRID.shape, np.float32)
    shift = np.stack([2 * np.sin(j / 6), 1.5 * np.cos(k / 7), np.sin(i / 5)], axis=-1)
    return DisplacementField(shift.astype(np.float32), GRID)


@pytest.fixture
def transforms(folder):
    """The folder with a rigid transform in rigid.tfm, a smooth field in bend.nii.gz, and points in points.csv."""
    rigid = sitk.Euler3DTransform((20.0, 20.0, 20.0), 0.1, 0.05, 0.2, (1.0, -2.0, 1.5))
    sitk.WriteTransform(rigid, str(folder / "rigid.tfm"))
    write_transform(smooth_field(), folder / "bend.nii.gz")
    write_points(POINTS, folder / "points.csv")
    return folder


def itk(name):
    if name.endswith(".tfm"):
        return sitk.ReadTransform(name)
    return sitk.DisplacementFieldTransform(sitk.ReadImage(name, sitk.sitkVectorFloat64))


def through(points, *names):
    """Points transformed by SimpleITK with the transform files in the given order."""
    for name in names:
        points = [itk(name).TransformPoint(tuple(float(v) for v in p)) for p in points]
    return np.array(points)


def test_an_image_is_warped_as_by_simpleitk(genreg, transforms):
    assert genreg("warp", "moving.nii.gz", "-t", "bend.nii.gz", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz").code == 0
    moving, fixed = sitk.ReadImage("moving.nii.gz"), sitk.ReadImage("fixed.nii.gz")
    fill = float(sitk.GetArrayViewFromImage(moving).min())
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, itk("bend.nii.gz"), sitk.sitkLinear, fill))
    result = read_volume("out/w.nii.gz")
    assert result.geometry.is_close(read_volume("fixed.nii.gz").geometry)
    np.testing.assert_allclose(result.array, expected, atol=1e-2)


def test_a_warped_label_map_keeps_its_type_and_values(genreg, transforms):
    labels = (read_volume("moving.nii.gz").array > 250).astype(np.uint8) * 7
    write_volume(Volume(labels, read_volume("moving.nii.gz").geometry), "labels.nii.gz")
    words = ("-t", "rigid.tfm", "-r", "fixed.nii.gz", "-o", "out/l.nii.gz", "--labels")
    assert genreg("warp", "labels.nii.gz", *words).code == 0
    result = read_volume("out/l.nii.gz").array
    assert result.dtype == np.uint8
    assert set(np.unique(result)) == {0, 7}


def test_several_transforms_are_applied_in_the_order_given(genreg, transforms):
    assert genreg("warp-points", "points.csv", "-t", "rigid.tfm", "-t", "bend.nii.gz", "-o", "out/p.csv").code == 0
    expected = through(POINTS, "rigid.tfm", "bend.nii.gz")
    np.testing.assert_allclose(read_points("out/p.csv"), expected, atol=1e-3)
    assert np.abs(expected - through(POINTS, "bend.nii.gz", "rigid.tfm")).max() > 0.1


def test_an_image_is_warped_through_several_transforms_in_the_same_order_as_points(genreg, transforms):
    chain = ("-t", "rigid.tfm", "-t", "bend.nii.gz")
    genreg("warp", "moving.nii.gz", *chain, "-r", "fixed.nii.gz", "-o", "out/w.nii.gz")
    genreg("warp-points", "points.csv", *chain, "-o", "out/p.csv")
    warped, moving = sitk.ReadImage("out/w.nii.gz"), sitk.ReadImage("moving.nii.gz")
    points = read_volume("out/w.nii.gz").geometry.to_world([[8, 9, 7], [12, 8, 9], [10, 11, 10]])
    there = through(points, "rigid.tfm", "bend.nii.gz")
    found = [warped.EvaluateAtPhysicalPoint(p.tolist()) for p in points]
    expected = [moving.EvaluateAtPhysicalPoint(p.tolist()) for p in there]
    np.testing.assert_allclose(found, expected, atol=0.5)


@pytest.mark.parametrize("chain", [["rigid.tfm"], ["bend.nii.gz"], ["rigid.tfm", "bend.nii.gz"]])
def test_the_inverse_of_the_chain_returns_the_original_points(genreg, transforms, chain):
    words = [word for name in chain for word in ("-t", name)]
    genreg("warp-points", "points.csv", *words, "-o", "out/there.csv")
    assert genreg("warp-points", "out/there.csv", *words, "--invert", "-o", "out/back.csv").code == 0
    np.testing.assert_allclose(read_points("out/back.csv"), POINTS, atol=0.03)


def test_a_field_of_large_displacements_is_inverted_where_it_leads(genreg, transforms):
    field = smooth_field()
    write_transform(DisplacementField(field.array + np.float32([300, 0, 0]), GRID), "far.nii.gz")
    genreg("warp-points", "points.csv", "-t", "far.nii.gz", "-o", "out/there.csv")
    genreg("warp-points", "out/there.csv", "-t", "far.nii.gz", "--invert", "-o", "out/back.csv")
    np.testing.assert_allclose(read_points("out/back.csv"), POINTS, atol=0.03)


def test_a_strongly_enlarging_field_is_inverted_wherever_it_leads(genreg, transforms):
    k, j, i = np.indices(GRID.shape, np.float32)
    points = GRID.to_world(np.stack([i, j, k], axis=-1))
    write_transform(DisplacementField((3 * (points - GRID.center)).astype(np.float32), GRID), "four_times.nii.gz")
    corners = GRID.center + 0.9 * (GRID.corners() - GRID.center)
    write_points(corners, "corners.csv")
    genreg("warp-points", "corners.csv", "-t", "four_times.nii.gz", "-o", "out/there.csv")
    genreg("warp-points", "out/there.csv", "-t", "four_times.nii.gz", "--invert", "-o", "out/back.csv")
    np.testing.assert_allclose(read_points("out/back.csv"), corners, atol=0.03)


def test_the_inverse_of_a_composite_file_returns_the_original_points(genreg, transforms):
    sitk.WriteTransform(sitk.CompositeTransform([itk("rigid.tfm"), itk("bend.nii.gz")]), "both.h5")
    genreg("warp-points", "points.csv", "-t", "both.h5", "-o", "out/there.csv")
    genreg("warp-points", "out/there.csv", "-t", "both.h5", "--invert", "-o", "out/back.csv")
    np.testing.assert_allclose(read_points("out/back.csv"), POINTS, atol=0.03)


def test_a_transform_that_cannot_be_inverted_is_refused(genreg, transforms):
    sitk.WriteTransform(sitk.BSplineTransform(3, 3), "spline.tfm")
    ran = genreg("warp-points", "points.csv", "-t", "spline.tfm", "--invert", "-o", "out/p.csv")
    assert ran.code == 2
    assert "cannot be inverted" in ran.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("warp", "nowhere.nii.gz", "-t", "bend.nii.gz", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz"), "does not exist"),
        (("warp", "moving.nii.gz", "-t", "moving.nii.gz", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz"), "displacement"),
        (("warp", "moving.nii.gz", "-t", "bend.nii.gz", "-r", "fixed.nii.gz", "-o", "moving.nii.gz"), "also an input"),
        (("warp", "moving.nii.gz", "-t", "bend.nii.gz", "-r", "fixed.nii.gz", "-o", "no/w.nii.gz"), "does not exist"),
        (("warp-points", "fixed.nii.gz", "-t", "bend.nii.gz", "-o", "out/p.csv"), "point file"),
        (("warp-points", "points.csv", "-t", "bend.nii.gz", "-o", "out/p.nii"), "ending"),
    ],
)
def test_bad_input_is_refused_with_one_sentence_and_nothing_is_written(genreg, transforms, words, expected):
    ran = genreg(*words)
    assert ran.code == 2
    assert is_one_sentence(ran.err), ran.err
    assert expected in ran.err
    assert names(transforms / "out") == []


class TestOutsideTheGrid:
    def test_points_are_carried_by_the_linear_part_and_named(self, genreg, transforms):
        far = GRID.center + np.array([[400.0, 0, 0]])
        write_points(np.vstack([POINTS, far]), "far.csv")
        ran = genreg("warp-points", "far.csv", "-t", "bend.nii.gz", "-o", "out/p.csv")
        assert ran.code == 0
        assert "1 of 4 points (number 4) lies outside the grid of the transform" in ran.err
        linear = fit_affine(read_transform("bend.nii.gz"))
        np.testing.assert_allclose(read_points("out/p.csv")[3], linear(far)[0], atol=1e-3)
        np.testing.assert_allclose(read_points("out/p.csv")[:3], through(POINTS, "bend.nii.gz"), atol=1e-3)

    def test_points_inside_are_not_spoken_of(self, genreg, transforms):
        ran = genreg("warp-points", "points.csv", "-t", "bend.nii.gz", "-o", "out/p.csv")
        assert (ran.code, ran.err) == (0, "")

    def test_the_share_of_the_reference_is_said(self, genreg, transforms):
        larger = Geometry((60, 28, 26), GRID.spacing, GRID.origin)
        write_volume(Volume(np.zeros(larger.shape, np.int16), larger), "large.nii.gz")
        ran = genreg("warp", "moving.nii.gz", "-t", "bend.nii.gz", "-r", "large.nii.gz", "-o", "out/w.nii.gz")
        assert ran.code == 0
        assert "% of the reference grid lies outside the grid of the transform" in ran.err


def test_a_field_of_another_program_is_converted_and_said(genreg, transforms):
    path = transforms / "bend.nii"
    write_transform(smooth_field(), path)
    content = bytearray(path.read_bytes())
    content[328:344] = b"NREG_TRANS".ljust(16, b"\0")
    struct.pack_into("<f", content, 56, 1.0)
    path.write_bytes(content)
    ran = genreg("warp-points", "points.csv", "-t", "bend.nii", "-o", "out/p.csv")
    assert ran.code == 0
    assert "NiftyReg's displacement field; it was converted" in ran.err
    assert not np.allclose(read_points("out/p.csv"), through(POINTS, "bend.nii.gz"), atol=0.5)
