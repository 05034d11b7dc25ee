"""The margin around a field."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.margin import nodeGeometry, withMargin

from ..mrml.conftest import GEOMETRIES, field, rigid, waves


def determinants(array_ras: np.ndarray, geometry: Geometry) -> np.ndarray:
    along = (array_ras.astype(np.float64) * [-1, -1, 1]) @ geometry.direction  # the filter knows no direction
    image = sitk.GetImageFromArray(along, isVector=True)
    image.SetSpacing(geometry.spacing)
    return sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
class TestWithMargin:
    def test_the_outermost_voxels_move_nothing(self, geometry):
        array, _ = withMargin(field(geometry), geometry)
        for axis in range(3):
            assert not np.take(array, [0, -1], axis=axis).any()

    def test_the_given_voxels_keep_place_and_value_but_for_the_signs_of_ras(self, geometry):
        original = field(geometry)
        array, wider = withMargin(original, geometry)
        low = np.round(wider.to_index(geometry.to_world([0, 0, 0]))).astype(int)
        i, j, k = low
        inside = array[k : k + geometry.size[2], j : j + geometry.size[1], i : i + geometry.size[0]]
        assert np.array_equal(inside, original * np.float32([-1, -1, 1]))
        assert np.abs(wider.to_world(low) - geometry.to_world([0, 0, 0])).max() < 1e-9

    def test_nothing_folds(self, geometry):
        assert determinants(*withMargin(field(geometry), geometry)).min() > 0

    def test_a_shift_of_many_voxels_does_not_fold_in_the_margin(self, geometry):
        array = np.broadcast_to(np.float32([6.0, -5.0, 4.0]), (*geometry.shape, 3))
        assert determinants(*withMargin(array, geometry)).min() > 0


class TestGrowth:
    def test_scans_that_lie_far_apart_get_no_margin_rather_than_a_folded_one(self):
        geometry = Geometry((30, 30, 30), (2, 2, 2))
        array, same = withMargin(np.full((30, 30, 30, 3), 500.0, np.float32), geometry)
        assert same is geometry
        assert np.array_equal(array[0, 0, 0], [-500.0, -500.0, 500.0])

    @pytest.mark.parametrize("kind", ["shift", "turn", "growth", "shrinkage"])
    @pytest.mark.parametrize("amount", [0.02, 0.05, 0.1, 0.2])
    def test_an_ordinary_misalignment_does_not_fold(self, kind, amount):
        geometry = Geometry((40, 40, 40), (5, 5, 5))

        def motion(points):
            centered = points - geometry.center
            if kind == "shift":
                return np.full_like(points, 200 * amount)
            if kind == "turn":
                return centered @ (rigid((0, 0, 180 * amount), (0, 0, 0))[:3, :3].T - np.eye(3))
            return centered * (amount if kind == "growth" else -amount)

        assert determinants(*withMargin(field(geometry, motion), geometry)).min() > 0

    def test_a_field_of_zeros_gets_a_single_layer(self):
        _, wider = withMargin(np.zeros((4, 5, 6, 3), np.float32), Geometry((6, 5, 4)))
        assert wider.size == (8, 7, 6)


class TestNodeGeometry:
    def test_a_grid_of_usual_size_is_taken_as_it_is(self):
        geometry = Geometry((200, 200, 200))
        assert nodeGeometry(geometry) is geometry

    def test_a_huge_grid_becomes_a_coarser_one_over_the_same_region(self):
        geometry = Geometry((512, 512, 400), (0.5, 0.5, 0.8), (1, 2, 3), rigid()[:3, :3])
        coarse = nodeGeometry(geometry)
        assert np.prod(coarse.size) <= 16_000_000
        assert np.abs(coarse.corners() - geometry.corners()).max() < 1e-6


def test_waves_are_a_deformation_that_does_not_fold():
    geometry = GEOMETRIES["oblique"]
    assert determinants(field(geometry) * np.float32([-1, -1, 1]), geometry).min() > 0.1
    assert np.abs(waves(np.zeros((1, 3)))).max() <= 3
