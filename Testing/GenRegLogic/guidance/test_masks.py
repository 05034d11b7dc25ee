"""Masks are resampled to the grid of their image, or refused."""

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.guidance.masks import check_mask, on_grid_of
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume


@pytest.fixture
def image(oblique_grid, make_volume):
    return make_volume(oblique_grid)


def box(geometry, dtype=np.uint8, value=1):
    array = np.zeros(geometry.shape, dtype)
    array[4:12, 5:15, 6:16] = value
    return array


@pytest.mark.parametrize(("dtype", "value"), [("u1", 1), ("i2", -3), ("f4", 0.2)])
def test_every_nonzero_voxel_is_inside(image, dtype, value):
    mask = check_mask(Volume(box(image.geometry, dtype, value), image.geometry), image, "fixed")
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.array, box(image.geometry))
    assert mask.geometry is image.geometry
    assert mask.warnings == ()


def test_a_mask_of_another_geometry_is_resampled_and_mentioned(image):
    grid = image.geometry
    finer = Geometry(
        np.array(grid.size) * 2, np.array(grid.spacing) / 2, grid.to_world((-0.25, -0.25, -0.25)), grid.direction
    )
    array = np.kron(box(grid), np.ones((2, 2, 2), np.uint8))
    mask = check_mask(Volume(array, finer), image, "moving")
    np.testing.assert_array_equal(mask.array, box(grid))
    assert "moving mask has another geometry" in mask.warnings[0]


def test_an_empty_mask_is_refused(image):
    with pytest.raises(InputError, match="The fixed mask is empty"):
        check_mask(Volume(np.zeros(image.array.shape), image.geometry), image, "fixed")


def test_a_mask_with_nan_is_refused(image):
    array = box(image.geometry, np.float32)
    array[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="mask holds NaN"):
        check_mask(Volume(array, image.geometry), image, "fixed")


def test_a_mask_outside_the_image_is_refused(image):
    grid = image.geometry
    far = Geometry(grid.size, grid.spacing, np.array(grid.origin) + 500.0, grid.direction)
    with pytest.raises(InputError, match="moving mask does not lie over the moving image"):
        check_mask(Volume(box(far), far), image, "moving")


def test_a_mask_that_covers_only_background_is_refused(image):
    array = image.array.copy()
    array[box(image.geometry) != 0] = -1000.0
    with pytest.raises(InputError, match="covers only background"):
        check_mask(Volume(box(image.geometry), image.geometry), Volume(array, image.geometry), "fixed")


class TestLabelMaps:
    """On the grid of the scan to which they belong."""

    def test_whole_numbers_of_any_type_become_int32(self, image):
        labels = on_grid_of(image, Volume(box(image.geometry, np.float64, 7), image.geometry), "The map")
        assert labels.array.dtype == np.int32
        assert sorted(np.unique(labels.array)) == [0, 7]

    def test_another_geometry_is_resampled_and_mentioned(self, image):
        grid = image.geometry
        shifted = Geometry(grid.size, grid.spacing, grid.to_world((1, 0, 0)), grid.direction)
        labels = on_grid_of(image, Volume(box(shifted, value=2), shifted), "The map")
        np.testing.assert_array_equal(labels.array[:, :, 1:], box(grid, value=2)[:, :, :-1])
        assert labels.warnings == ("The map has another geometry than the fixed image and was resampled to it.",)

    @pytest.mark.parametrize(
        ("value", "sentence"),
        [(0, "The map is empty"), (0.5, "whole numbers"), (2**40, "too large")],
    )
    def test_what_holds_no_labels_is_refused(self, image, value, sentence):
        with pytest.raises(InputError, match=sentence):
            on_grid_of(image, Volume(box(image.geometry, np.float64, value), image.geometry), "The map")
