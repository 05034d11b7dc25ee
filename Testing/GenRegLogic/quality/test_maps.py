"""Maps, compared with closed forms and with SimpleITK's filters."""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.quality.maps import (
    confidence_on,
    displacement_magnitude,
    local_similarity,
    log_jacobian,
    map_grid,
    worst_places,
)
from GenRegLogic.space.field import AffineTransform, DisplacementField, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from ..conftest import GRIDS


def at_voxels(function, geometry):
    """A displacement field whose values are those of a function of (n, 3) LPS points."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    points = geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    return DisplacementField(function(points).reshape(*geometry.shape, 3), geometry), points


class TestLogJacobian:
    def test_the_log_jacobian_of_a_linear_mapping_is_that_of_its_determinant(self, grid, affine):
        found = log_jacobian(sample_transform(affine, grid)).array
        np.testing.assert_allclose(np.exp(found), np.linalg.det(affine.matrix[:3, :3]), rtol=1e-3)

    @pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
    def test_the_log_jacobian_of_a_uniform_scaling_is_that_of_its_cube(self, grid, factor):
        field = sample_transform(AffineTransform(np.diag([factor, factor, factor, 1.0])), grid)
        np.testing.assert_allclose(np.exp(log_jacobian(field).array), factor**3, rtol=1e-3)

    def test_the_log_jacobian_of_a_quadratic_field_agrees_with_its_closed_form(self):
        """Central differences are exact for x + a x^2, whose Jacobian is the product of 1 + 2 a x."""
        geometry = Geometry((21, 19, 17), (1.0, 1.5, 2.0), (-10.0, -13.0, -16.0), np.eye(3)[:, [1, 2, 0]])
        bend = np.array([0.01, -0.008, 0.012])
        field, points = at_voxels(lambda p: bend * p**2, geometry)
        expected = np.prod(1 + 2 * bend * points, axis=1).reshape(geometry.shape)
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(np.exp(log_jacobian(field).array)[inner], expected[inner], rtol=1e-3)

    def test_the_log_jacobian_agrees_with_simpleitk(self, make_field):
        geometry = Geometry((30, 26, 22), (1.0, 1.4, 2.0), (5.0, -3.0, 8.0))
        field = make_field(geometry, amplitude=2.0)
        theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field.to_image()))
        inner = (slice(1, -1),) * 3
        ours = np.exp(log_jacobian(field).array)
        assert ours.std() > 0.05
        np.testing.assert_allclose(ours[inner], theirs[inner], rtol=1e-3)

    def test_a_fold_has_the_lowest_value_instead_of_nan(self):
        geometry = Geometry((12, 12, 12))
        field, _ = at_voxels(lambda p: -2.0 * p * [1, 0, 0], geometry)
        found = log_jacobian(field).array
        np.testing.assert_allclose(found, np.log(1e-3), rtol=1e-4)


class TestMagnitude:
    def test_the_magnitude_is_the_length_of_the_displacement(self, grid, make_field):
        field = make_field(grid)
        np.testing.assert_allclose(displacement_magnitude(field).array, np.linalg.norm(field.array, axis=-1), rtol=1e-5)

    def test_the_magnitude_agrees_with_simpleitk(self, oblique_grid, make_field):
        field = make_field(oblique_grid)
        theirs = sitk.GetArrayFromImage(sitk.VectorMagnitude(field.to_image()))
        np.testing.assert_allclose(displacement_magnitude(field).array, theirs, rtol=1e-5)


class TestLocalSimilarity:
    def test_the_similarity_of_a_scan_with_itself_is_one(self, pair):
        found = local_similarity(pair.fixed, pair.fixed, AffineTransform.identity())
        assert found.geometry is pair.fixed.geometry
        assert found.array.min() > 0.99

    @pytest.mark.parametrize("which", ["pair", "two_contrasts", "oblique_pair"])
    def test_the_true_transform_has_a_higher_similarity_than_the_identity(self, request, which):
        pair = request.getfixturevalue(which)
        truth = sample_transform(pair.truth, pair.fixed.geometry)
        inside = pair.scene.inside(all_points(pair.fixed.geometry)).reshape(pair.fixed.array.shape)
        before, after = (
            local_similarity(pair.fixed, pair.moving, t).array[inside].mean()
            for t in (AffineTransform.identity(), truth)
        )
        assert after > before + 0.15

    def test_the_similarity_is_zero_outside_the_moving_scan(self, pair):
        away = np.eye(4)
        away[0, 3] = 60.0
        found = local_similarity(pair.fixed, pair.moving, AffineTransform(away))
        there = all_points(pair.fixed.geometry) + [60.0, 0, 0]
        outside = ~pair.moving.geometry.contains(there).reshape(found.array.shape)
        assert outside.any()
        assert found.array[outside].max() < 0.5  # half a voxel of the coarser grid may reach inside
        assert np.median(found.array[outside]) == 0

    def test_the_similarity_does_not_depend_on_the_axis_order_of_the_fixed_scan(self, pair):
        from ..conftest import stored_otherwise

        other = stored_otherwise(pair.fixed)
        found = local_similarity(other, pair.moving, AffineTransform.identity())
        straight = local_similarity(pair.fixed, pair.moving, AffineTransform.identity())
        points = pair.points[:50]
        np.testing.assert_allclose(sampled(found, points), sampled(straight, points), atol=1e-3)


def all_points(geometry):
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))


def sampled(volume, points):
    index = np.rint(volume.geometry.to_index(points)).astype(int)
    return volume.array[tuple(index.T[::-1])]


class TestConfidenceOn:
    def test_a_linear_map_is_interpolated_exactly(self, grid):
        coarse = Geometry((9, 8, 7), tuple(3.0 * s for s in grid.spacing), grid.origin, grid.direction)
        slope = np.array([0.3, -0.2, 0.1])
        values = (all_points(coarse) @ slope + 50).reshape(coarse.shape)
        found = confidence_on(Volume(values.astype(np.float32), coarse), grid)
        inside = coarse.to_index(all_points(grid))
        inside = ((inside >= 0) & (inside <= np.array(coarse.size) - 1)).all(axis=1)
        expected = all_points(grid) @ slope + 50
        assert inside.sum() > 100
        np.testing.assert_allclose(found.array.reshape(-1)[inside], expected[inside], rtol=1e-3)

    def test_outside_the_map_the_edge_value_is_used(self):
        map_ = Volume(np.full((4, 4, 4), 2.5, np.float32), Geometry((4, 4, 4)))
        assert (confidence_on(map_, Geometry((8, 8, 8), origin=(-10, -10, -10))).array == 2.5).all()

    def test_where_nothing_was_judged_there_is_no_error_if_that_is_asked_for(self):
        values = np.zeros((6, 6, 6), np.float32)
        values[:3] = 2.5
        map_ = Volume(values, Geometry((6, 6, 6)))
        found = confidence_on(map_, Geometry((12, 12, 24), (1.0, 1.0, 0.25), (-3, -3, 0.0)), inside_only=True).array
        assert set(np.unique(found.round(5))) == {0.0, 2.5}  # not mixed with the zeros beside it
        np.testing.assert_allclose(found[:10, 3:9, 3:9], 2.5, rtol=1e-6)
        assert not found[11:].any()
        assert not found[:, :2].any()


class TestWorstPlaces:
    GRID = Geometry((60, 50, 40), (1.0, 2.0, 2.5), (-20.0, 10.0, 5.0), GRIDS["left-handed"].direction)

    def bumps(self, *heights):
        """A map with bumps far from each other, and their (n, 3) positions, LPS mm."""
        array = np.zeros(self.GRID.shape, np.float32)
        at = [(5, 8, 10), (30, 40, 50), (20, 10, 30), (8, 40, 15)][: len(heights)]
        for (k, j, i), height in zip(at, heights):
            array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = height * 0.5
            array[k, j, i] = height
        return Volume(array, self.GRID), self.GRID.to_world(np.array(at)[:, ::-1])

    def test_places_are_sorted_by_expected_error_with_their_positions(self):
        map_, points = self.bumps(3.0, 9.0, 5.0)
        found = worst_places(map_)
        assert [round(p.expected_error_mm, 3) for p in found] == [9.0, 5.0, 3.0]
        np.testing.assert_allclose([p.point for p in found], points[[1, 2, 0]])

    def test_places_keep_the_least_distance(self, make_volume):
        map_ = make_volume(self.GRID)
        found = worst_places(map_, count=6, apart_mm=15.0)
        assert len(found) == 6
        for a in range(6):
            for b in range(a):
                assert np.linalg.norm(found[a].point - found[b].point) > 15.0

    def test_a_small_body_has_as_many_places_as_a_large_one(self, make_volume):
        assert len(worst_places(make_volume(GRIDS["of a mouse"]))) == 10

    def test_a_map_of_zeros_has_no_worst_places(self):
        assert worst_places(Volume(np.zeros(self.GRID.shape, np.float32), self.GRID)) == []

    def test_searching_the_worst_places_does_not_change_the_map(self):
        map_, _ = self.bumps(3.0)
        before = map_.array.copy()
        worst_places(map_)
        np.testing.assert_array_equal(map_.array, before)

    def test_the_reason_has_the_error_and_whether_the_scans_are_unlike(self):
        map_, _ = self.bumps(3.0, 9.0)
        similarity = np.ones(self.GRID.shape, np.float32)
        similarity[30, 40, 50] = 0.0
        found = worst_places(map_, similarity=Volume(similarity, self.GRID))
        assert "unlike" in found[0].reason
        assert "9.0 mm" in found[0].reason
        assert "unlike" not in found[1].reason


def test_the_map_of_a_large_scan_has_a_coarser_grid_with_the_same_corners():
    fine = Geometry((600, 500, 400), (0.5, 0.6, 0.7), (1.0, 2.0, 3.0), GRIDS["left-handed"].direction)
    coarse = map_grid(fine, 1_000_000)
    assert np.prod(coarse.size) <= 1_000_000
    np.testing.assert_allclose(coarse.corners(), fine.corners(), atol=1e-9)
    assert map_grid(coarse, 1_000_000) is coarse
