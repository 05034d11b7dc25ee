"""Warped images, label maps and points, against SimpleITK's resampling."""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.space.field import AffineTransform, CompositeTransform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.space.warp import warp_image, warp_labels, warp_points

ITK = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "nearest": sitk.sitkNearestNeighbor}


def resampled_by_itk(moving, transform, reference, interpolation, fill):
    image = sitk.Cast(moving.to_sitk(), sitk.sitkFloat64)
    result = sitk.Resample(
        image,
        reference.size,
        transform.to_sitk(),
        ITK[interpolation],
        reference.origin,
        reference.spacing,
        reference.direction.ravel().tolist(),
        fill,
    )
    return sitk.GetArrayFromImage(result)


@pytest.fixture
def mapping(grid, make_field):
    """A deformation on the fixed grid and a small rotation that maps the corners outside the moving scan."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    turn[:3, 3] = grid.center - turn[:3, :3] @ grid.center
    return CompositeTransform((make_field(grid), AffineTransform(turn)))


@pytest.mark.parametrize("interpolation", ITK)
def test_an_image_is_warped_as_by_simpleitk(grid, mapping, make_volume, interpolation):
    moving = make_volume(grid)
    warped = warp_image(moving, mapping, grid, interpolation=interpolation, fill=-5.0)
    expected = resampled_by_itk(moving, mapping, grid, interpolation, -5.0)
    assert (expected == -5.0).any()
    np.testing.assert_allclose(warped.array, expected, atol=1e-2)
    assert warped.geometry is grid


@pytest.mark.parametrize("interpolation", ITK)
def test_large_images_are_warped_in_slabs_without_seams(monkeypatch, grid, mapping, make_volume, interpolation):
    moving = make_volume(grid)
    whole = warp_image(moving, mapping, grid, interpolation=interpolation)
    monkeypatch.setattr("GenRegLogic.space.warp.SLAB_VOXELS", 5 * grid.size[0] * grid.size[1])
    slabs = warp_image(moving, mapping, grid, interpolation=interpolation)
    assert np.mean(np.abs(slabs.array - whole.array) > 0.05) < 1e-3  # single voxels on the edge of the moving scan


def test_voxels_mapped_outside_get_the_moving_scans_smallest_value(grid, make_volume):
    far = np.eye(4)
    far[:3, 3] = 1e4
    moving = make_volume(grid)
    warped = warp_image(moving, AffineTransform(far), grid)
    np.testing.assert_array_equal(warped.array, moving.array.min())


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_the_type_is_kept_and_whole_numbers_are_rounded(grid, mapping, make_volume, dtype, interpolation):
    moving = make_volume(grid, dtype)
    warped = warp_image(moving, mapping, grid, interpolation=interpolation)
    expected = resampled_by_itk(moving, mapping, grid, interpolation, float(moving.array.min()))
    assert warped.array.dtype == moving.array.dtype
    if moving.array.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        expected = expected.clip(limits.min, limits.max)
        assert np.abs(warped.array - expected).max() <= 0.5 + 1e-2
    else:
        np.testing.assert_allclose(warped.array, expected, atol=1e-2)


def test_cubic_overshoot_stays_within_the_type(oblique_grid):
    array = np.zeros(oblique_grid.shape, np.uint8)
    array[:, :, 10:] = 255
    moving, shift = Volume(array, oblique_grid), np.eye(4)
    shift[:3, 3] = 0.4 * oblique_grid.direction[:, 0]
    expected = resampled_by_itk(moving, AffineTransform(shift), oblique_grid, "cubic", 0.0)
    assert expected.min() < -5
    assert expected.max() > 260
    warped = warp_image(moving, AffineTransform(shift), oblique_grid, interpolation="cubic")
    assert np.abs(warped.array - expected.clip(0, 255)).max() <= 0.5 + 1e-2


def test_labels_keep_their_values_and_type(grid, mapping):
    labels = np.random.default_rng(0).choice(np.array([0, 3, 70, 1000], np.uint16), grid.shape)
    warped = warp_labels(Volume(labels, grid), mapping, grid)
    expected = resampled_by_itk(Volume(labels, grid), mapping, grid, "nearest", 0)
    assert warped.array.dtype == np.uint16
    np.testing.assert_array_equal(warped.array, expected)


def test_the_result_lies_on_the_reference_grid(grid, make_volume):
    reference = Geometry((8, 8, 7), np.array(grid.spacing) * 2, grid.to_world((2, 2, 2)), grid.direction)
    warped = warp_image(make_volume(grid), AffineTransform.identity(), reference)
    assert warped.array.shape == (7, 8, 8)
    np.testing.assert_allclose(warped.array, make_volume(grid).array[2:15:2, 2:17:2, 2:17:2], rtol=1e-5)


def test_points_are_mapped_to_where_image_values_come_from(grid, mapping):
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    centers = grid.to_world(np.stack([i, j, k], axis=-1))
    positions = Volume(centers[..., 0], grid)  # an image that shows its own x coordinate
    warped = warp_image(positions, mapping, grid).array
    mapped = warp_points(centers.reshape(-1, 3), mapping).reshape(centers.shape)
    index = grid.to_index(mapped)
    inside = ((index >= 0) & (index <= np.array(grid.size) - 1)).all(axis=-1)  # between voxel centers
    assert inside.mean() > 0.5
    np.testing.assert_allclose(warped[inside], mapped[inside][:, 0], atol=1e-3 * grid.spacing[0])


def test_an_unknown_interpolation_is_refused(grid, make_volume):
    with pytest.raises(InputError, match="no interpolation 'sharp'; use one of linear, cubic, nearest"):
        warp_image(make_volume(grid), AffineTransform.identity(), grid, interpolation="sharp")


class TestMissingValues:
    @pytest.fixture
    def ramp(self):
        """A linear function with a hole, and the same without it."""
        k, j, i = np.meshgrid(np.arange(14), np.arange(15), np.arange(16), indexing="ij")
        whole = (k + 2.0 * j + 3.0 * i).astype(np.float32)
        hole = (np.abs(i - 8) < 3) & (np.abs(j - 7) < 3) & (np.abs(k - 7) < 3)
        return whole, hole

    @pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
    @pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
    def test_they_stay_where_they_are(self, ramp, interpolation, missing):
        whole, hole = ramp
        moving = Volume.from_array(np.where(hole, np.float32(missing), whole), spacing=(1, 1, 1))
        shift = np.eye(4)
        shift[0, 3] = 2  # by whole voxels, so that the hole is where it was but for two voxels
        result = warp_image(moving, AffineTransform(shift), moving.geometry, interpolation=interpolation).array
        expected = np.roll(moving.array, -2, axis=2)
        inner = np.s_[3:-3, 3:-3, 3:-4]
        np.testing.assert_array_equal(np.isfinite(result[inner]), np.isfinite(expected[inner]))
        np.testing.assert_allclose(result[inner], expected[inner], atol=1e-3)

    @pytest.mark.parametrize(("interpolation", "tolerance"), [("linear", 1e-4), ("cubic", 0.15)])
    def test_values_away_from_them_are_those_of_the_whole_scan(self, ramp, interpolation, tolerance):
        whole, hole = ramp
        shift = np.eye(4)
        shift[:3, 3] = 0.3, -0.4, 0.2
        scans = [
            Volume.from_array(a.astype(np.float32), spacing=(1, 1, 1)) for a in (np.where(hole, np.nan, whole), whole)
        ]
        results = [
            warp_image(v, AffineTransform(shift), v.geometry, interpolation=interpolation).array[3:-3, 3:-3, 12:13]
            for v in scans
        ]
        np.testing.assert_allclose(*results, atol=tolerance)

    def test_a_scan_of_nothing_but_missing_values_stays_one(self):
        nothing = Volume.from_array(np.full((4, 4, 4), np.nan, np.float32), spacing=(1, 1, 1))
        assert np.isnan(
            warp_image(nothing, AffineTransform.identity(), nothing.geometry, interpolation="cubic").array
        ).all()
