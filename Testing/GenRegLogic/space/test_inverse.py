"""Inverse fields and the error they report."""

import numpy as np
import pytest

from GenRegLogic.space.field import AffineTransform, DisplacementField, compose, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.inverse import accurate_inverse, fit_affine, invert

TOLERANCE_VOXELS = 0.01


def moved(grid, affine):
    """The grid in the moving frame: carried along by the rotation-free part of the mapping."""
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
    assert errors(field, inverse, voxels).max() <= 1.5 * tolerance  # the inverse is read back in single precision


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


def test_no_displacement_has_no_inverse_displacement(grid):
    inverse, error = invert(DisplacementField(np.zeros((*grid.shape, 3)), grid))
    np.testing.assert_allclose(inverse.array, 0.0, atol=1e-5)
    assert error.mean_mm < 1e-5


def test_a_strong_deformation_needs_damping_and_gets_it():
    # Squeezed to a tenth along one axis: the plain fixed point runs away where it is stretched back.
    grid = Geometry((40, 20, 20))
    x = np.linspace(0.0, 1.0, 40)
    array = np.zeros((*grid.shape, 3))
    array[..., 0] = 39.0 * (x**3 * 0.9 + x * 0.1 - x)
    field = DisplacementField(array, grid)
    assert invert(field)[1].max_mm <= TOLERANCE_VOXELS


def test_folds_are_reported_as_error_and_nothing_runs_away():
    grid = Geometry((30, 30, 30))
    random = np.random.default_rng(0)
    field = DisplacementField(random.normal(scale=2.0, size=(*grid.shape, 3)), grid)
    inverse, error = invert(field)
    assert error.max_mm > TOLERANCE_VOXELS
    assert np.abs(inverse.array).max() < 60.0


def test_a_grid_out_of_reach_has_no_error_to_report(grid, make_field):
    far = Geometry(grid.size, grid.spacing, np.array(grid.origin) + 1e4, grid.direction)
    assert np.isnan(invert(make_field(grid), geometry=far)[1].mean_mm)


def test_a_tighter_tolerance_is_kept(grid, make_field):
    tolerance = 1e-3 * min(grid.spacing)
    assert invert(make_field(grid), tolerance_mm=tolerance)[1].max_mm <= tolerance


def test_the_affine_fit_of_an_affine_field_is_exact(grid, affine):
    np.testing.assert_allclose(fit_affine(sample_transform(affine, grid)).matrix, affine.matrix, atol=2e-3)


def test_a_field_that_collapses_everything_is_fitted_by_a_translation(grid):
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

    def test_where_voxels_are_too_large_the_grid_is_twice_as_fine(self):
        field = self.wave(self.COARSE, 4.0)
        inverse, error = accurate_inverse(field, self.COARSE, self.SOME)
        np.testing.assert_allclose(inverse.geometry.spacing, 4.0)
        there = field(self.SOME)
        plain = invert(field, geometry=self.COARSE)[0]
        assert error.mean_mm < np.linalg.norm(plain(there) - self.SOME, axis=1).mean() / 2
        assert error.mean_mm == pytest.approx(np.linalg.norm(inverse(there) - self.SOME, axis=1).mean(), rel=1e-6)

    def test_a_gentle_field_keeps_the_scans_grid(self):
        inverse, error = accurate_inverse(self.wave(self.COARSE, 0.01), self.COARSE, self.SOME)
        assert inverse.geometry is self.COARSE
        assert error.mean_mm < 0.05

    def test_points_that_leave_the_moving_scan_have_no_error(self):
        away = Geometry(self.COARSE.size, self.COARSE.spacing, (1e4, 0, 0))
        assert np.isnan(accurate_inverse(self.wave(self.COARSE, 1.0), away, self.SOME)[1].mean_mm)
