"""Volumes and their geometry, against SimpleITK."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.registrable import check_registrable
from GenRegLogic.space.volume import Volume, as_labels


class TestGeometry:
    def test_voxels_lie_where_simpleitk_has_them(self, grid, make_volume):
        image = make_volume(grid).to_sitk()
        indices = np.random.default_rng(0).uniform(-5, 30, (20, 3))
        expected = [image.TransformContinuousIndexToPhysicalPoint(index) for index in indices.tolist()]
        np.testing.assert_allclose(grid.to_world(indices), expected, atol=1e-9)

    def test_world_to_index_inverts_index_to_world(self, grid):
        np.testing.assert_allclose(grid.world_to_index @ grid.index_to_world, np.eye(4), atol=1e-12)

    def test_a_geometry_survives_conversion_to_simpleitk_and_back(self, grid, make_volume):
        assert Geometry.from_sitk(make_volume(grid).to_sitk()).is_close(grid, 1e-9)

    def test_the_center_is_the_middle_of_the_corners(self, grid):
        np.testing.assert_allclose(grid.center, grid.corners().mean(axis=0), atol=1e-9)

    def test_the_shape_is_the_size_in_reverse_order(self):
        assert Geometry((2, 3, 4)).shape == (4, 3, 2)

    def test_the_extent_counts_whole_voxels(self):
        np.testing.assert_allclose(Geometry((10, 20, 30), (0.5, 1.0, 2.0)).extent_mm, (5.0, 20.0, 60.0))

    def test_the_outer_half_voxel_belongs_to_the_image(self, grid):
        last = np.array(grid.size) - 1
        inside = grid.to_world([[-0.49, 0, 0], last + 0.49])
        outside = grid.to_world([[-0.51, 0, 0], last + [0, 0, 0.51]])
        assert grid.contains(inside).all()
        assert not grid.contains(outside).any()

    def test_rounding_of_a_header_does_not_make_another_grid(self, grid):
        rounded = Geometry(grid.size, np.float32(grid.spacing), np.float32(grid.origin), np.float32(grid.direction))
        assert grid.is_close(rounded)

    def test_a_shift_by_a_tenth_of_a_voxel_makes_another_grid(self, grid):
        origin = grid.to_world([0.1, 0.0, 0.0])
        assert not grid.is_close(Geometry(grid.size, grid.spacing, origin, grid.direction))

    def test_the_dictionary_is_plain_json(self, grid):
        assert json.loads(json.dumps(grid.to_dict()))["size"] == list(grid.size)

    def test_from_dict_restores_the_grid_exactly(self, grid):
        again = Geometry.from_dict(json.loads(json.dumps(grid.to_dict())))
        np.testing.assert_array_equal(again.index_to_world, grid.index_to_world)
        assert again.size == grid.size

    @pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan), (1, np.inf, 1)])
    def test_a_spacing_that_is_not_positive_is_refused(self, spacing):
        with pytest.raises(InputError, match=r"spacing .* must be three positive numbers"):
            Geometry((4, 4, 4), spacing)

    @pytest.mark.parametrize(
        "direction",
        [
            np.zeros((3, 3)),
            np.diag([1.0, 1.0, 0.0]),
            np.diag([2.0, 1.0, 1.0]),
            [[1, 0.5, 0], [0, 0.866, 0], [0, 0, 1]],
        ],
        ids=["zero", "singular", "scaled", "sheared"],
    )
    def test_axes_that_are_not_perpendicular_unit_vectors_are_refused(self, direction):
        with pytest.raises(InputError, match="not perpendicular unit vectors"):
            Geometry((4, 4, 4), direction=direction)

    def test_an_origin_that_is_not_finite_is_refused(self):
        with pytest.raises(InputError, match="origin"):
            Geometry((4, 4, 4), origin=(0, np.nan, 0))


class TestVolume:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
    def test_values_of_every_type_survive_conversion_to_simpleitk_and_back(self, oblique_grid, make_volume, dtype):
        volume = make_volume(oblique_grid, dtype)
        back = Volume.from_sitk(volume.to_sitk())
        assert back.array.dtype == volume.array.dtype
        np.testing.assert_array_equal(back.array, volume.array)

    def test_arrays_are_indexed_k_j_i(self):
        image = sitk.Image((5, 6, 7), sitk.sitkFloat32)
        image[1, 2, 3] = 9.0
        assert Volume.from_sitk(image).array[3, 2, 1] == 9.0

    def test_a_boolean_array_becomes_zeros_and_ones_of_one_byte(self):
        assert Volume.from_array(np.ones((2, 2, 2), bool), spacing=(1, 1, 1)).array.dtype == np.uint8

    def test_a_big_endian_array_keeps_its_values_in_simpleitk(self):
        array = np.arange(8, dtype=">i2").reshape(2, 2, 2)
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(Volume.from_array(array, spacing=(1, 1, 1)).to_sitk()), array
        )

    @pytest.mark.parametrize("shape", [(5, 5), (2, 5, 5, 5)])
    def test_an_array_that_is_not_3d_is_refused(self, shape):
        with pytest.raises(InputError, match="3D scalar"):
            Volume.from_array(np.zeros(shape), spacing=(1, 1, 1))

    def test_complex_numbers_are_refused(self):
        with pytest.raises(InputError, match="real numbers"):
            Volume.from_array(np.zeros((4, 4, 4), complex), spacing=(1, 1, 1))

    @pytest.mark.parametrize("shape", [(1, 5, 5), (5, 1, 5), (5, 5, 1)])
    def test_a_single_slice_is_refused(self, shape):
        with pytest.raises(InputError, match="single slice"):
            Volume.from_array(np.zeros(shape), spacing=(1, 1, 1))

    def test_an_array_that_does_not_fit_its_geometry_is_refused(self):
        with pytest.raises(InputError, match="shape"):
            Volume(np.zeros((4, 5, 6)), Geometry((4, 5, 6)))

    def test_a_2d_image_is_refused(self):
        with pytest.raises(InputError, match="2D"):
            Volume.from_sitk(sitk.Image((5, 5), sitk.sitkFloat32))

    def test_a_4d_image_is_refused(self):
        with pytest.raises(InputError, match="4D"):
            Volume.from_sitk(sitk.Image((5, 5, 5, 2), sitk.sitkFloat32))

    def test_a_4d_image_of_one_volume_is_taken_as_3d(self):
        assert Volume.from_sitk(sitk.Image((5, 6, 7, 1), sitk.sitkFloat32)).array.shape == (7, 6, 5)

    def test_a_color_image_is_refused(self):
        with pytest.raises(InputError, match="color or vector"):
            Volume.from_sitk(sitk.Image((5, 5, 5), sitk.sitkVectorUInt8, 3))


class TestCheckRegistrable:
    def test_a_good_volume_is_returned_itself(self, oblique_grid, make_volume):
        volume = make_volume(oblique_grid)
        assert check_registrable(volume, "fixed") is volume

    @pytest.mark.parametrize("dtype", [np.int16, np.float32])
    def test_a_constant_image_is_refused_with_one_sentence(self, dtype):
        volume = Volume.from_array(np.full((4, 4, 4), 7, dtype), spacing=(1, 1, 1))
        with pytest.raises(InputError, match=r"^The moving image is constant \(every voxel is 7\)"):
            check_registrable(volume, "moving")

    def test_a_few_non_finite_voxels_are_repaired_with_a_warning(self, oblique_grid, make_volume):
        array = make_volume(oblique_grid).array.copy()
        low, high = array.min(), array.max()
        array[0, 0, :3] = np.nan, np.inf, -np.inf
        repaired = check_registrable(Volume(array, oblique_grid, padding=-7.0), "fixed")
        np.testing.assert_array_equal(repaired.array[0, 0, :3], (low, high, low))
        assert len(repaired.warnings) == 1
        assert "3 voxels" in repaired.warnings[0]
        assert repaired.padding == -7.0
        assert np.isnan(array[0, 0, 0]), "the caller's array must not change"

    def test_one_percent_of_non_finite_voxels_is_refused(self, make_volume):
        array = make_volume(Geometry((10, 10, 10))).array
        array.flat[:10] = np.nan
        with pytest.raises(InputError, match="1 % of the fixed image's voxels are NaN or infinite"):
            check_registrable(Volume(array, Geometry((10, 10, 10))), "fixed")

    def test_an_image_of_nothing_but_nan_is_refused(self):
        with pytest.raises(InputError, match="100 %"):
            check_registrable(Volume.from_array(np.full((4, 4, 4), np.nan), spacing=(1, 1, 1)), "fixed")


class TestLabels:
    @pytest.mark.parametrize("scale", [1.0, 0.9999999975, 1.00001])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_values_off_whole_numbers_by_rounding_are_these(self, scale, dtype):
        labels = np.array([[[0, 1, 2, 1000]]])
        np.testing.assert_array_equal(as_labels((labels * scale).astype(dtype)), labels)

    @pytest.mark.parametrize("value", [0.5, 1.01, np.nan, np.inf, 1e300])
    def test_fractions_and_what_is_no_number_are_refused(self, value):
        with pytest.raises(InputError, match="The map must hold whole numbers"):
            as_labels(np.array([[[0.0, value]]]), "The map")

    def test_whole_numbers_are_returned_as_they_are(self):
        labels = np.zeros((2, 2, 2), np.int16)
        assert as_labels(labels) is labels
