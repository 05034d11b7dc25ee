"""Transforms, against SimpleITK."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.space.field import (
    AffineTransform,
    CompositeTransform,
    DisplacementField,
    ItkTransform,
    compose,
    from_sitk,
    outside,
    rounding_step,
    sample_transform,
)
from GenRegLogic.space.geometry import Geometry

FLOAT32_MM = 2e-4
"""Ten times the rounding of single precision at 100 mm from the origin."""


def by_itk(transform, points):
    itk = transform.to_sitk()
    return np.array([itk.TransformPoint(p) for p in np.asarray(points).tolist()])


def sampled_by_itk(transform, geometry):
    field = sitk.TransformToDisplacementField(
        transform.to_sitk(),
        sitk.sitkVectorFloat64,
        geometry.size,
        geometry.origin,
        geometry.spacing,
        geometry.direction.ravel().tolist(),
    )
    return sitk.GetArrayFromImage(field)


def bspline():
    itk = sitk.BSplineTransform(3, 3)
    itk.SetTransformDomainOrigin((-60.0, -60.0, -60.0))
    itk.SetTransformDomainPhysicalDimensions((150.0, 150.0, 150.0))
    itk.SetTransformDomainMeshSize((3, 3, 3))
    itk.SetParameters(np.random.default_rng(0).normal(size=len(itk.GetParameters())).tolist())
    return itk


class TestAffineTransform:
    def test_points_go_where_simpleitk_sends_them(self, affine, grid, make_points):
        points = make_points(grid)
        np.testing.assert_allclose(affine(points), by_itk(affine, points), atol=1e-9)

    def test_the_inverse_maps_moving_points_to_fixed_points(self, affine, grid, make_points):
        points = make_points(grid)
        np.testing.assert_allclose(affine.inverse()(affine(points)), points, atol=1e-9)

    def test_the_identity_leaves_points_where_they_are(self):
        np.testing.assert_array_equal(AffineTransform.identity()([[1.0, 2.0, 3.0]]), [[1.0, 2.0, 3.0]])

    @pytest.mark.parametrize(
        "itk",
        [
            sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
            sitk.Euler3DTransform((10.0, 20.0, 30.0), 0.1, 0.2, 0.3, (1.0, 2.0, 3.0)),
            sitk.Similarity3DTransform(1.2, (0, 0, 1), 0.3, (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),
        ],
        ids=lambda itk: itk.GetName(),
    )
    def test_every_linear_itk_transform_is_converted_exactly(self, itk, make_points, oblique_grid):
        points = make_points(oblique_grid)
        expected = [itk.TransformPoint(p) for p in points.tolist()]
        np.testing.assert_allclose(AffineTransform.from_sitk(itk)(points), expected, atol=1e-9)

    def test_a_nonlinear_itk_transform_is_refused(self):
        with pytest.raises(InputError, match="not a linear transform"):
            AffineTransform.from_sitk(bspline())

    @pytest.mark.parametrize("matrix", [np.eye(3), np.diag([1.0, 1.0, 0.0, 1.0]), np.full((4, 4), np.nan)])
    def test_a_matrix_that_cannot_be_inverted_is_refused(self, matrix):
        with pytest.raises(InputError, match="invertible 4x4"):
            AffineTransform(matrix)


class TestDisplacementField:
    def test_points_go_where_simpleitk_sends_them(self, grid, make_field, make_points):
        field = make_field(grid)
        points = make_points(grid, margin=-3.0)  # some of them outside, where the displacement is zero
        np.testing.assert_allclose(field(points), by_itk(field, points), atol=FLOAT32_MM)

    def test_the_displacement_outside_the_grid_is_zero(self, grid):
        field = DisplacementField(np.ones((*grid.shape, 3)), grid)
        inside, outside = grid.to_world([[-0.4, 0, 0], [-0.6, 0, 0]])
        np.testing.assert_allclose(field(inside[None]) - inside, [[1, 1, 1]], atol=1e-6)
        np.testing.assert_array_equal(field(outside[None]), outside[None])

    def test_a_field_survives_conversion_to_an_image_and_back(self, grid, make_field):
        field = make_field(grid)
        back = DisplacementField.from_image(field.to_image())
        np.testing.assert_array_equal(back.array, field.array)
        assert back.geometry.is_close(grid, 1e-9)

    def test_resampling_on_another_grid_agrees_with_simpleitk(self, grid, oblique_grid, make_field):
        field = make_field(grid)
        np.testing.assert_allclose(
            field.resampled(oblique_grid).array, sampled_by_itk(field, oblique_grid), atol=FLOAT32_MM
        )

    def test_resampling_on_its_own_grid_changes_nothing(self, grid, make_field):
        field = make_field(grid)
        np.testing.assert_allclose(sample_transform(field, grid).array, field.array, atol=FLOAT32_MM)
        assert field.resampled(grid) is field

    def test_rounding_is_finer_than_a_thousandth_of_a_voxel(self, grid, make_field):
        field = make_field(grid)
        rounded = field.rounded()
        assert rounding_step(grid) <= min(1.0, *grid.spacing) / 1000
        assert np.abs(rounded.array - field.array).max() <= rounding_step(grid) / 2

    def test_rounding_twice_changes_nothing_more(self, grid, make_field):
        rounded = make_field(grid).rounded()
        np.testing.assert_array_equal(rounded.rounded().array, rounded.array)

    def test_an_array_of_another_shape_is_refused(self, grid):
        with pytest.raises(InputError, match="shape"):
            DisplacementField(np.zeros((4, 4, 4, 3)), grid)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_field_that_is_not_finite_is_refused(self, grid, value):
        array = np.zeros((*grid.shape, 3))
        array[1, 2, 3, 0] = value
        with pytest.raises(InputError, match="NaN or infinite"):
            DisplacementField(array, grid)

    @pytest.mark.parametrize("image", [sitk.Image((4, 4, 4), sitk.sitkFloat32), sitk.Image((4, 4), 12, 3)])
    def test_an_image_that_is_not_a_field_is_refused(self, image):
        with pytest.raises(InputError, match="not a displacement field"):
            DisplacementField.from_image(image)


class TestCompositeTransform:
    def test_parts_are_applied_first_to_last(self):
        shift, double = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
        shift[0, 3] = 1.0
        both = CompositeTransform((AffineTransform(shift), AffineTransform(double)))
        np.testing.assert_array_equal(both([[1.0, 0.0, 0.0]]), [[4.0, 0.0, 0.0]])

    def test_the_simpleitk_composite_has_the_same_order(self, affine, grid, make_field, make_points):
        both = CompositeTransform((make_field(grid), affine))
        points = make_points(grid)
        np.testing.assert_allclose(both(points), by_itk(both, points), atol=FLOAT32_MM)

    def test_composition_on_a_grid_agrees_with_simpleitk(self, affine, grid, oblique_grid, make_field):
        field = make_field(grid)
        composed = compose(field, affine, geometry=oblique_grid)
        expected = sampled_by_itk(CompositeTransform((field, affine)), oblique_grid)
        np.testing.assert_allclose(composed.array, expected, atol=FLOAT32_MM)

    def test_composition_of_two_fields_agrees_with_simpleitk(self, grid, make_field):
        first, second = make_field(grid, seed=1), make_field(grid, seed=2)
        expected = sampled_by_itk(CompositeTransform((first, second)), grid)
        difference = np.abs(compose(first, second, geometry=grid).array - expected)
        # At the edge, rounding may decide whether the first field leads outside the second; in the interior it cannot.
        assert difference[2:-2, 2:-2, 2:-2].max() < FLOAT32_MM


class TestFromSitk:
    def test_a_composite_keeps_its_parts_and_their_order(self, affine, grid, make_field, make_points):
        both = CompositeTransform((make_field(grid), affine))
        back = from_sitk(both.to_sitk())
        assert [type(part) for part in back.parts] == [DisplacementField, AffineTransform]
        np.testing.assert_allclose(back(make_points(grid)), both(make_points(grid)), atol=1e-9)

    def test_a_composite_of_one_transform_becomes_that_transform(self, affine):
        assert isinstance(from_sitk(CompositeTransform((affine,)).to_sitk()), AffineTransform)

    def test_a_b_spline_is_evaluated_as_simpleitk_does(self, oblique_grid, make_points):
        transform = from_sitk(bspline())
        assert isinstance(transform, ItkTransform)
        points = make_points(oblique_grid)
        np.testing.assert_allclose(transform(points), by_itk(transform, points), atol=1e-12)
        np.testing.assert_allclose(
            sample_transform(transform, oblique_grid).array, sampled_by_itk(transform, oblique_grid), atol=FLOAT32_MM
        )

    def test_a_2d_transform_is_refused(self):
        with pytest.raises(InputError, match="2D"):
            from_sitk(sitk.Euler2DTransform())


def test_points_of_a_wrong_shape_are_refused(affine):
    with pytest.raises(InputError, match=r"\(n, 3\)"):
        affine(np.zeros((4, 2)))


def test_a_grid_larger_than_one_slab_is_sampled_in_order(monkeypatch, affine):
    geometry = Geometry((5, 4, 9), (1.0, 2.0, 3.0))
    whole = sample_transform(affine, geometry)
    monkeypatch.setattr("GenRegLogic.space.field.CHUNK_VOXELS", 40)
    np.testing.assert_array_equal(sample_transform(affine, geometry).array, whole.array)


class TestBeyondTheGrid:
    LINEAR = np.array([[1.1, 0.05, 0, 40.0], [0, 0.95, 0, -30.0], [0.02, 0, 1, 20.0], [0, 0, 0, 1]])

    @pytest.fixture
    def continued(self, oblique_grid, make_field):
        """A deformation below a linear part, and the same field with that part to continue with."""
        linear = AffineTransform(self.LINEAR)
        whole = compose(make_field(oblique_grid), linear, geometry=oblique_grid)
        return dataclasses.replace(whole, beyond=linear)

    def test_far_away_the_linear_part_remains(self, continued):
        far = continued.geometry.center + np.array([[3000.0, 0, 0], [0, -2000.0, 500.0]])
        np.testing.assert_allclose(continued(far), AffineTransform(self.LINEAR)(far), rtol=1e-6)

    def test_inside_nothing_changes(self, continued, make_points):
        points = make_points(continued.geometry)
        inside = (
            np.abs(continued.geometry.to_index(points) / (np.array(continued.geometry.size) - 1) - 0.5) < 0.5
        ).all(1)
        assert inside.sum() > 10
        plain = dataclasses.replace(continued, beyond=None)
        np.testing.assert_array_equal(continued(points[inside]), plain(points[inside]))

    def test_it_is_continuous_across_the_border(self, continued):
        size = np.array(continued.geometry.size)
        steps = np.linspace(-0.01, 0.01, 21)[:, None]
        for axis in range(3):
            middle = (size - 1) / 2.0
            middle[axis] = size[axis] - 1
            moved = continued(continued.geometry.to_world(middle + steps * np.eye(3)[axis]))
            assert np.linalg.norm(np.diff(moved, axis=0), axis=1).max() < 0.01 * max(continued.geometry.spacing)

    def test_itk_applies_the_linear_part_outside_and_the_field_inside(self, continued, make_points):
        itk = continued.to_sitk_continued()
        points = make_points(continued.geometry)
        size = np.array(continued.geometry.size)
        index = continued.geometry.to_index(points)
        inside = ((index > 0) & (index < size - 1)).all(axis=1)
        moved = np.array([itk.TransformPoint(p) for p in points.tolist()])
        np.testing.assert_allclose(moved[inside], continued(points[inside]), atol=1e-3)
        far = continued.geometry.center + np.array([3000.0, 0, 0])
        np.testing.assert_allclose(itk.TransformPoint(far.tolist()), AffineTransform(self.LINEAR)(far)[0], rtol=1e-9)

    def test_resampling_to_a_larger_grid_keeps_the_linear_part(self, continued):
        grid = continued.geometry
        larger = Geometry(
            tuple(3 * n for n in grid.size), grid.spacing, grid.to_world(-np.array(grid.size)), grid.direction
        )
        resampled = continued.resampled(larger)
        corner = larger.to_world((0, 0, 0))
        np.testing.assert_allclose(resampled(corner), AffineTransform(self.LINEAR)(corner), atol=0.5)
        assert resampled.beyond is continued.beyond

    def test_points_that_leave_a_grid_on_their_way_are_outside(self, continued):
        shift = np.eye(4)
        shift[0, 3] = 3000
        center = continued.geometry.center[None]
        assert not outside(continued, center)[0]
        assert outside(CompositeTransform((AffineTransform(shift), continued)), center)[0]
        assert not outside(CompositeTransform((continued, AffineTransform(shift))), center)[0]
