"""How far a transform moves a scan: the largest of all vectors, and a mean that is right."""

import numpy as np
import pytest

from GenRegLogic.quality import measure
from GenRegLogic.quality.measure import motion_over
from GenRegLogic.space.field import AffineTransform, DisplacementField, sample_transform
from GenRegLogic.space.geometry import Geometry

from ..conftest import LINEAR


def lengths(grid, field, linear):
    """By NumPy, at every voxel of a grid."""
    k, j, i = np.indices(grid.shape)
    points = grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    return np.linalg.norm(field(points) - points @ linear[:3, :3].T - linear[:3, 3], axis=1)


@pytest.mark.parametrize("linear", [None, LINEAR], ids=["as a whole", "beyond the linear part"])
def test_mean_and_maximum_are_those_of_all_voxels(grid, make_field, linear):
    field = make_field(grid)
    expected = lengths(grid, field, np.eye(4) if linear is None else linear)
    found = motion_over(grid, field, linear)
    assert found.mean_mm == pytest.approx(expected.mean(), rel=1e-5)
    assert found.max_mm == pytest.approx(expected.max(), rel=1e-5)


def test_a_single_vector_is_not_overlooked():
    grid = Geometry((90, 90, 90))
    array = np.zeros((*grid.shape, 3), np.float32)
    array[44, 51, 37] = (0.0, 3.0, 4.0)
    assert motion_over(grid, DisplacementField(array, grid)).max_mm == 5.0


def test_a_linear_mapping_moves_nothing_beyond_its_linear_part(grid):
    found = motion_over(grid, sample_transform(AffineTransform(LINEAR), grid), LINEAR)
    assert found.max_mm < 1e-4


def test_of_a_coarser_field_the_vectors_and_the_mean_over_the_scan_count(make_field):
    scan = Geometry((60, 50, 40), (1.0, 1.2, 1.5))
    field = make_field(scan.between_corners((13, 11, 9)))
    found, expected = motion_over(scan, field), lengths(scan, field, np.eye(4))
    assert found.mean_mm == pytest.approx(expected.mean(), rel=1e-4)
    assert found.max_mm == pytest.approx(np.linalg.norm(field.array, axis=-1).max(), rel=1e-5)


def test_vectors_outside_the_scan_do_not_count():
    scan, around = Geometry((10, 10, 10)), Geometry((30, 10, 10), origin=(-10.0, 0.0, 0.0))
    array = np.ones((*around.shape, 3), np.float32)
    array[..., :5, :] = 50.0
    assert motion_over(scan, DisplacementField(array, around)).max_mm == pytest.approx(3**0.5)


def test_where_the_field_ends_nothing_is_moved():
    scan = Geometry((20, 10, 10))
    half = DisplacementField(np.full((10, 10, 10, 3), (2.0, 0.0, 0.0)), Geometry((10, 10, 10)))
    found = motion_over(scan, half)
    assert found.mean_mm == pytest.approx(1.0)
    assert found.max_mm == 2.0


def test_the_mean_over_a_large_scan_is_right_although_not_all_voxels_are_measured(make_field, monkeypatch):
    monkeypatch.setattr(measure, "MEAN_VOXELS", 60_000)
    scan = Geometry((61, 55, 47), (1.0, 1.2, 1.5))
    field = make_field(scan.between_corners((60, 54, 46)))
    assert motion_over(scan, field).mean_mm == pytest.approx(lengths(scan, field, np.eye(4)).mean(), rel=2e-3)
