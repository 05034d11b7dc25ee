"""Percent of folds and extremes of the Jacobian determinant, against plain formulas in double precision."""

import itertools

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.quality.measure import foreground
from GenRegLogic.space.field import AffineTransform, DisplacementField, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.jacobian import jacobian_figures


def plain_jacobian_figures(field, mask):
    """The definitions, without slabs, in double precision."""
    u = field.array.astype(np.float64) @ field.geometry.direction  # components along the grid's axes
    sides = []
    for axis, spacing in enumerate(field.geometry.spacing):
        slope = np.diff(u, axis=2 - axis) / spacing
        first, last = slope.take([0], axis=2 - axis), slope.take([-1], axis=2 - axis)
        unit = np.eye(3)[axis]
        sides.append([np.concatenate(pair, axis=2 - axis) + unit for pair in ((first, slope), (slope, last))])

    def determinant(columns):
        return np.linalg.det(np.stack(columns, axis=-1))

    central = determinant([(backward + forward) / 2 for backward, forward in sides])
    one_sided = [determinant(columns) for columns in itertools.product(*sides)]
    return {
        "folds_pct": 100.0 * (central <= 0).mean(),
        "ndv_pct": 100.0 * (np.min(one_sided, axis=0) <= 0).mean(),
        "sdlogj": np.log(central[mask].clip(1e-3)).std(),
        "min_det": central.min(),
        "max_det": central.max(),
    }


class TestJacobianFigures:
    @pytest.mark.parametrize("amplitude", [1.0, 6.0], ids=["without folds", "with folds"])
    def test_the_figures_follow_their_definitions(self, grid, make_field, make_volume, amplitude):
        field = make_field(grid, amplitude)
        mask = foreground(make_volume(grid))
        figures, expected = jacobian_figures(field, mask=mask), plain_jacobian_figures(field, mask)
        assert (expected["folds_pct"] > 0) == (amplitude > 1)
        assert figures == pytest.approx(expected, rel=1e-4, abs=1e-4)

    def test_the_size_of_the_slabs_does_not_change_the_figures(self, monkeypatch, oblique_grid, make_field):
        whole = jacobian_figures(make_field(oblique_grid, 6.0))
        for voxels in (1, 3 * 21 * 24, 10**9):
            monkeypatch.setattr("GenRegLogic.space.jacobian.SLAB_VOXELS", voxels)
            assert jacobian_figures(make_field(oblique_grid, 6.0)) == pytest.approx(whole, rel=1e-6)

    def test_an_affine_field_has_the_determinant_of_its_matrix(self, grid, affine):
        figures = jacobian_figures(sample_transform(affine, grid))
        determinant = np.linalg.det(affine.matrix[:3, :3])
        assert figures["min_det"] == pytest.approx(determinant, abs=2e-3)
        assert figures["max_det"] == pytest.approx(determinant, abs=2e-3)
        assert figures["folds_pct"] == figures["ndv_pct"] == 0.0

    def test_every_voxel_of_a_reflection_folds(self, grid):
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        assert jacobian_figures(sample_transform(AffineTransform(mirror), grid))["folds_pct"] == 100.0

    def test_one_sided_differences_find_a_fold_that_central_ones_miss(self):
        grid = Geometry((9, 9, 9))
        array = np.zeros((*grid.shape, 3))
        array[4, 4, 4, 0] = 1.5  # one voxel beyond its neighbor; central differences leave out the voxel itself
        figures = jacobian_figures(DisplacementField(array, grid))
        assert figures["folds_pct"] == 0.0
        assert figures["ndv_pct"] > 0.0

    def test_the_identity_on_the_smallest_grid_has_a_determinant_of_one(self):
        grid = Geometry((2, 2, 2))
        assert jacobian_figures(DisplacementField(np.zeros((2, 2, 2, 3)), grid))["min_det"] == 1.0

    def test_an_empty_mask_gives_an_sdlogj_of_zero(self, oblique_grid, make_field):
        assert jacobian_figures(make_field(oblique_grid), mask=np.zeros(oblique_grid.shape))["sdlogj"] == 0.0

    def test_a_mask_of_another_size_is_refused(self, oblique_grid, make_field):
        with pytest.raises(InputError, match="mask has shape"):
            jacobian_figures(make_field(oblique_grid), mask=np.ones((2, 2, 2)))
