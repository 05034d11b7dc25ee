"""The grid on which a displacement field is stored."""

import numpy as np
import pytest

from GenRegLogic.space.fieldgrid import (
    BYTES_PER_VECTOR,
    FULL,
    MAX_FIELD_BYTES,
    MAX_FIELD_VOXELS,
    field_grid,
    nearest_voxels,
)
from GenRegLogic.space.geometry import Geometry

from ..conftest import OBLIQUE

HUGE = [
    Geometry((512, 512, 600), (0.7, 0.7, 0.7)),
    Geometry((512, 512, 400), (0.5, 0.5, 0.8), (1, 2, 3), OBLIQUE),
    Geometry((1024, 1024, 40), (0.3, 0.3, 5.0)),
    Geometry((2, 3000, 3000), (50.0, 0.05, 0.1)),
]


class TestAutomatic:
    @pytest.mark.parametrize("size", [(2, 2, 2), (200, 300, 250), (256, 256, 256)])
    def test_a_scan_of_usual_size_keeps_its_own_grid(self, size):
        scan = Geometry(size)
        assert field_grid(scan) is scan

    @pytest.mark.parametrize("scan", HUGE, ids=lambda scan: repr(scan.size))
    def test_the_field_of_a_large_scan_nearly_fills_the_limit(self, scan):
        voxels = np.prod(field_grid(scan).size)
        assert 0.95 * MAX_FIELD_VOXELS < voxels <= MAX_FIELD_VOXELS
        assert voxels * BYTES_PER_VECTOR <= MAX_FIELD_BYTES

    @pytest.mark.parametrize("scan", HUGE, ids=lambda scan: repr(scan.size))
    def test_the_corners_stay_and_no_axis_becomes_finer(self, scan):
        grid = field_grid(scan)
        np.testing.assert_allclose(grid.corners(), scan.corners(), atol=1e-6)
        assert all(new <= old for new, old in zip(grid.size, scan.size))

    def test_the_finest_axis_is_coarsened_first(self):
        grid = field_grid(Geometry((1024, 1024, 40), (0.3, 0.3, 5.0)))
        assert grid.size[2] == 40
        assert grid.spacing[0] == pytest.approx(grid.spacing[1], rel=0.01)

    def test_without_a_limit_a_large_scan_keeps_its_own_grid(self):
        assert field_grid(HUGE[0], limited=False) is HUGE[0]


class TestGivenSpacing:
    def test_full_is_the_scans_own_grid(self):
        assert field_grid(HUGE[0], FULL) is HUGE[0]

    def test_no_axis_is_coarser_than_the_spacing_unless_the_scan_is(self):
        scan = Geometry((80, 60, 20), (0.9, 1.1, 4.0), (5, 6, 7), OBLIQUE)
        grid = field_grid(scan, 3.0)
        assert max(grid.spacing[:2]) <= 3.0
        assert min(grid.spacing[:2]) > 2.7
        assert (grid.size[2], grid.spacing[2]) == (20, 4.0)
        np.testing.assert_allclose(grid.corners(), scan.corners(), atol=1e-6)

    @pytest.mark.parametrize("spacing", [1.0, 0.3, 1e-300])
    def test_no_field_is_finer_than_the_scan(self, spacing):
        scan = Geometry((30, 20, 10))
        assert field_grid(scan, spacing) is scan

    def test_a_spacing_beyond_the_scan_leaves_a_few_voxels(self):
        assert 3 <= max(field_grid(Geometry((30, 20, 10)), 1e300).size) < 12


class TestNearestVoxels:
    def test_each_voxel_of_the_coarse_grid_gets_the_value_at_its_place(self):
        scan = Geometry((21, 11, 9))
        _, _, i = np.meshgrid(*(np.arange(n) for n in scan.shape), indexing="ij")
        grid = field_grid(scan, 2.0)
        x = grid.to_world(np.array([[n, 0, 0] for n in range(grid.size[0])]))[:, 0]
        assert grid.size == (11, 6, 5)
        np.testing.assert_array_equal(nearest_voxels(i, grid)[2, 3], x)

    def test_on_the_scans_own_grid_nothing_is_copied(self):
        array = np.zeros((3, 4, 5))
        assert nearest_voxels(array, Geometry((5, 4, 3))) is array
