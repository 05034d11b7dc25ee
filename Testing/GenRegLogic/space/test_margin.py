"""Fields in the form of Slicer's grid transforms: RAS, with a margin in which they fall to zero."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.margin import MAX_NODE_VOXELS, nodeGeometry, withMargin

from ..conftest import OBLIQUE, rotation

FLIP = np.float32([-1, -1, 1])
"""LPS components to RAS components and back."""


def determinants(array_ras: np.ndarray, geometry: Geometry) -> np.ndarray:
    """(k, j, i) Jacobian determinants by ITK."""
    along = (array_ras.astype(np.float64) * FLIP) @ geometry.direction  # the filter ignores directions
    image = sitk.GetImageFromArray(along, isVector=True)
    image.SetSpacing(geometry.spacing)
    return sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))


class TestWithMargin:
    def test_the_outermost_voxels_have_no_displacement(self, grid, make_field):
        array, _ = withMargin(make_field(grid).array, grid)
        for axis in range(3):
            assert not np.take(array, [0, -1], axis=axis).any()

    def test_the_given_voxels_keep_position_and_value_with_x_and_y_negated(self, grid, make_field):
        original = make_field(grid).array
        array, wider = withMargin(original, grid)
        low = np.round(wider.to_index(grid.origin)).astype(int)
        inside = array[tuple(slice(a, a + n) for a, n in zip(low[::-1], grid.shape))]
        np.testing.assert_array_equal(inside, original * FLIP)
        np.testing.assert_allclose(wider.to_world(low), grid.origin, atol=1e-9)

    def test_a_smooth_field_does_not_fold_in_the_margin(self, grid, make_field):
        array, wider = withMargin(make_field(grid).array, grid)
        assert min(np.subtract(wider.size, grid.size)) >= 2
        assert determinants(array, wider).min() > 0

    def test_a_constant_displacement_does_not_fold_in_the_margin(self, grid):
        shift = 0.1 * grid.extent_mm.min() * np.float32([1, -0.9, 0.8])
        array, wider = withMargin(np.broadcast_to(shift, (*grid.shape, 3)), grid)
        assert min(np.subtract(wider.size, grid.size)) >= 2
        assert determinants(array, wider).min() > 0

    def test_a_field_of_zeros_gets_a_margin_of_one_voxel(self):
        _, wider = withMargin(np.zeros((4, 5, 6, 3), np.float32), Geometry((6, 5, 4)))
        assert wider.size == (8, 7, 6)


class TestGrowth:
    def test_scans_that_lie_far_apart_get_no_margin_rather_than_a_folded_one(self):
        geometry = Geometry((30, 30, 30), (2, 2, 2))
        array, same = withMargin(np.full((30, 30, 30, 3), 500.0, np.float32), geometry)
        assert same is geometry
        np.testing.assert_array_equal(array, np.full((30, 30, 30, 3), 500.0) * FLIP)

    @pytest.mark.parametrize("amount", [0.02, 0.05, 0.1])
    @pytest.mark.parametrize("kind", ["shift", "rotation", "growth", "shrinkage"])
    def test_an_ordinary_misalignment_gets_a_margin_without_folds(self, kind, amount):
        geometry = Geometry((40, 40, 40), (5, 5, 5))
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        centered = geometry.to_world(np.stack([i, j, k], axis=-1)) - geometry.center
        displacement = {
            "shift": np.full_like(centered, 200 * amount),
            "rotation": centered @ (rotation(0, 0, np.pi * amount).T - np.eye(3)),
            "growth": centered * amount,
            "shrinkage": -centered * amount,
        }[kind]
        array, wider = withMargin(DisplacementField(displacement, geometry).rounded().array, geometry)
        assert min(np.subtract(wider.size, geometry.size)) >= 2
        assert determinants(array, wider).min() > 0


class TestNodeGeometry:
    def test_a_grid_of_usual_size_is_returned_itself(self):
        geometry = Geometry((200, 200, 200))
        assert nodeGeometry(geometry) is geometry

    def test_a_huge_grid_becomes_a_coarser_one_with_the_same_corners(self):
        geometry = Geometry((512, 512, 400), (0.5, 0.5, 0.8), (1, 2, 3), OBLIQUE)
        coarse = nodeGeometry(geometry)
        assert np.prod(coarse.size) <= MAX_NODE_VOXELS
        np.testing.assert_allclose(coarse.corners(), geometry.corners(), atol=1e-6)


def test_the_deformation_of_the_adapters_tests_does_not_fold():
    from ..mrml.conftest import GEOMETRIES, field  # here: it skips whatever imports it where Slicer's MRML is missing

    geometry = GEOMETRIES["oblique"]
    assert determinants(field(geometry) * FLIP, geometry).min() > 0.1
