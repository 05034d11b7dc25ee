"""Inverse fields and the error they report."""

import numpy as np
import pytest

from GenRegLogic.space.field import AffineTransform, DisplacementField, compose, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.inverse import accurate_inverse, accurate_inverse_error, fit_affine, invert

TOLERANCE_VOXELS = 0.01


def moved(grid, affine):
    """The grid in the moving frame: shifted by the displacement of its center, not rotated."""
    shift = affine(grid.center[None])[0] - grid.center
    return Geometry(grid.size, grid.spacing, np.array(grid.origin) + shift, grid.direction)


def errors(field, inverse, points):
    """|forward(inverse(y)) - y| in mm, where inverse(y) is well inside the forward grid."""
    back = inverse(points)
    index = field.geometry.to_index(back)
    inside = ((index > 1) & (index < np.array(field.geometry.size) - 2)).all(axis=1)
    assert inside.sum() > 20
    return np.linalg.norm(field(back) - points, axis=1)[inside]


def test_a_smooth_field_is_inverted_within_the_tolerance(grid, make_field):
    field = make_field(grid, amplitude=1.5)
    inverse, error = invert(field)
    voxels = inverse.geometry.to_world(np.argwhere(np.ones(grid.shape))[:, ::-1])
    tolerance = TOLERANCE_VOXELS * min(1.0, *grid.spacing)
    assert error.max_mm <= tolerance
    assert errors(field, inverse, voxels).max() <= 1.5 * tolerance  # the inverse's displacements are single precision


def test_a_translation_of_80_mm_and_a_rotation_are_inverted(grid, make_field, affine):
    field = compose(make_field(grid), affine, geometry=grid)
    geometry = moved(grid, affine)
    inverse, error = invert(field, geometry=geometry)
    voxels = geometry.to_world(np.argwhere(np.ones(grid.shape))[:, ::-1])
    assert error.max_mm <= TOLERANCE_VOXELS
    assert errors(field, inverse, voxels).max() <= 2 * TOLERANCE_VOXELS


def test_a_linear_field_has_a_linear_inverse_beyond_its_grid(grid, affine):
    geometry = moved(grid, affine)
    inverse, _ = invert(sample_transform(affine, grid), geometry=geometry)
    expected = sample_transform(affine.inverse(), geometry)
    np.testing.assert_allclose(inverse.array, expected.array, atol=0.02)


def test_the_inverse_of_a_zero_field_is_zero(grid):
    inverse, error = invert(DisplacementField(np.zeros((*grid.shape, 3)), grid))
    np.testing.assert_allclose(inverse.array, 0.0, atol=1e-5)
    assert error.mean_mm < 1e-5


def test_a_compression_to_a_tenth_is_inverted_within_the_tolerance():
    # Where the inverse stretches by ten along one axis, the undamped fixed-point iteration diverges.
    grid = Geometry((40, 20, 20))
    x = np.linspace(0.0, 1.0, 40)
    array = np.zeros((*grid.shape, 3))
    array[..., 0] = 39.0 * (x**3 * 0.9 + x * 0.1 - x)
    field = DisplacementField(array, grid)
    assert invert(field)[1].max_mm <= TOLERANCE_VOXELS


def test_a_folded_field_gives_a_large_error_and_a_bounded_inverse():
    grid = Geometry((30, 30, 30))
    random = np.random.default_rng(0)
    field = DisplacementField(random.normal(scale=2.0, size=(*grid.shape, 3)), grid)
    inverse, error = invert(field)
    assert error.max_mm > TOLERANCE_VOXELS
    assert np.abs(inverse.array).max() < 60.0


def test_an_inverse_far_from_the_fields_grid_has_an_error_of_nan(grid, make_field):
    far = Geometry(grid.size, grid.spacing, np.array(grid.origin) + 1e4, grid.direction)
    error = invert(make_field(grid), geometry=far)[1]
    assert np.isnan(error.mean_mm)
    assert np.isnan(error.max_mm)


def test_a_tighter_tolerance_is_reached(grid, make_field):
    tolerance = 1e-3 * min(grid.spacing)
    assert invert(make_field(grid), tolerance_mm=tolerance)[1].max_mm <= tolerance


def test_the_affine_fit_of_an_affine_field_is_exact(grid, affine):
    np.testing.assert_allclose(fit_affine(sample_transform(affine, grid)).matrix, affine.matrix, atol=2e-3)


def test_a_nearly_singular_field_is_fitted_by_a_translation(grid):
    collapse = AffineTransform(np.diag([0.01, 0.01, 0.01, 1.0]))
    matrix = fit_affine(sample_transform(collapse, grid)).matrix
    np.testing.assert_array_equal(matrix[:3, :3], np.eye(3))


@pytest.mark.parametrize("size", [(2, 2, 2), (3, 40, 17), (64, 5, 2)])
def test_grids_of_any_size_are_inverted(size):
    grid = Geometry(size)
    shift = DisplacementField(np.full((*grid.shape, 3), 0.25), grid)
    np.testing.assert_allclose(invert(shift)[0].array, -0.25, atol=1e-5)


class TestAccurateInverse:
    COARSE = Geometry((24, 24, 24), (8.0, 8.0, 8.0))
    SOME = np.random.default_rng(0).uniform(40, 140, (200, 3))

    @staticmethod
    def wave(geometry, amplitude_mm):
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        points = geometry.to_world(np.stack([i, j, k], axis=-1))
        return DisplacementField(amplitude_mm * np.sin(points / 12.0), geometry)

    def test_a_grid_that_is_too_coarse_is_replaced_by_one_twice_as_fine(self):
        field = self.wave(self.COARSE, 4.0)
        inverse, error = accurate_inverse(field, self.COARSE, self.SOME)
        np.testing.assert_allclose(inverse.geometry.spacing, 4.0)
        mapped = field(self.SOME)
        plain = invert(field, geometry=self.COARSE)[0]
        assert error.mean_mm < np.linalg.norm(plain(mapped) - self.SOME, axis=1).mean() / 2
        assert error.mean_mm == pytest.approx(np.linalg.norm(inverse(mapped) - self.SOME, axis=1).mean(), rel=1e-6)

    def test_a_small_field_is_inverted_on_the_scans_own_grid(self):
        inverse, error = accurate_inverse(self.wave(self.COARSE, 0.01), self.COARSE, self.SOME)
        assert inverse.geometry is self.COARSE
        assert error.mean_mm < 0.05

    def test_points_mapped_outside_the_moving_scan_give_an_error_of_nan(self):
        away = Geometry(self.COARSE.size, self.COARSE.spacing, (1e4, 0, 0))
        assert np.isnan(accurate_inverse(self.wave(self.COARSE, 1.0), away, self.SOME)[1].mean_mm)

    @pytest.mark.parametrize("amplitude", [0.01, 4.0])
    def test_its_error_is_found_without_the_inverse(self, amplitude):
        field, moving = self.wave(self.COARSE, amplitude), Geometry((22, 25, 21), (8.0, 8.0, 9.0), (3.0, -5.0, 4.0))
        error = accurate_inverse(field, moving, self.SOME)[1]
        assert accurate_inverse_error(field, moving, self.SOME) == pytest.approx(error, abs=0.005)

    def test_its_error_is_nan_where_no_point_is_mapped_into_the_moving_scan(self):
        away = Geometry(self.COARSE.size, self.COARSE.spacing, (1e4, 0, 0))
        assert np.isnan(accurate_inverse_error(self.wave(self.COARSE, 1.0), away, self.SOME).mean_mm)
