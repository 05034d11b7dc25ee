"""Fields thinned out to be looked at."""

import numpy as np
import pytest

from GenRegLogic.worker.control import PREVIEW_VOXELS, thinned


class TestThinning:
    @pytest.mark.parametrize("voxels", [8, 100, 2000])
    def test_no_more_voxels_stay_than_wanted(self, grid, make_field, voxels):
        array, geometry = thinned(make_field(grid).array, grid, voxels)
        assert array.shape == (*geometry.shape, 3)
        assert voxels / 12 < np.prod(geometry.size) <= voxels

    def test_voxels_that_stay_keep_their_places_and_values(self, grid, make_field):
        field = make_field(grid)
        array, geometry = thinned(field.array, grid, 500)
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        index = np.rint(grid.to_index(geometry.to_world(np.stack([i, j, k], axis=-1)))).astype(int)
        np.testing.assert_allclose(grid.to_world(index), geometry.to_world(np.stack([i, j, k], axis=-1)), atol=1e-9)
        np.testing.assert_array_equal(array, field.array[index[..., 2], index[..., 1], index[..., 0]])

    def test_a_small_field_stays_as_it_is(self, grid, make_field):
        field = make_field(grid)
        assert np.prod(grid.size) < PREVIEW_VOXELS
        array, geometry = thinned(field.array, grid)
        np.testing.assert_array_equal(array, field.array)
        assert geometry.is_close(grid, 1e-9)

    def test_the_closest_voxels_go_first(self, make_field):
        from GenRegLogic.space.geometry import Geometry

        grid = Geometry((40, 40, 10), (1.0, 1.0, 4.0))
        _, geometry = thinned(make_field(grid).array, grid, 4000)
        assert geometry.size == (20, 20, 10)
