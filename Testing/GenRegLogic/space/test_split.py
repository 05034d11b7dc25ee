"""Mappings composed of a displacement and a linear part, and split into them."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GenRegLogic.space.field import AffineTransform, CompositeTransform, DisplacementField
from GenRegLogic.space.grid import Image, canonical_geometry
from GenRegLogic.space.smoothing import smooth
from GenRegLogic.space.split import disagreement, inverse_of, with_linear, without_linear
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.prepare import prepare

from ..conftest import FIXED_GRID, LINEAR, MOVING_GRID, Scene, rotation, working_field

CPU = torch.device("cpu")
TURNED = np.eye(4)
TURNED[:3, :3] = rotation(0.1, -0.2, 0.3) @ np.diag([1.1, 0.9, 1.0])
TURNED[:3, 3] = (30.0, -20.0, 50.0)


class TestWithLinear:
    def test_a_zero_displacement_gives_the_linear_part_alone(self, stored, make_points):
        grid = canonical_geometry(stored)
        field = with_linear(Image(torch.zeros(3, *grid.shape), grid), LINEAR, stored)
        assert field.geometry is stored
        points = make_points(stored)
        np.testing.assert_allclose(field(points), AffineTransform(LINEAR)(points), atol=1e-3)

    def test_the_mapping_is_that_of_the_composed_itk_transforms(self, stored, make_field, make_points):
        working = working_field(stored, make_field)
        field = with_linear(working, LINEAR, stored)
        along_world = working.tensor.numpy().transpose(1, 2, 3, 0) @ working.geometry.direction.T
        itk = sitk.CompositeTransform(3)
        itk.AddTransform(AffineTransform(LINEAR).to_sitk())  # ITK applies the last one first
        itk.AddTransform(DisplacementField(along_world.astype(np.float32), working.geometry).to_sitk())
        index = np.rint(stored.to_index(make_points(stored, margin=2))).astype(int)
        points = stored.to_world(index)  # at voxels, where nothing is interpolated
        expected = np.array([itk.TransformPoint(p) for p in points.tolist()])
        np.testing.assert_allclose(field(points), expected, atol=1e-3 * max(1, stored.spacing[0]))

    def test_without_a_geometry_it_lies_on_the_working_grid(self, stored, make_field):
        working = working_field(stored, make_field)
        assert with_linear(working, LINEAR).geometry is working.geometry

    def test_the_mapping_is_the_same_on_both_grids(self, stored, make_field):
        working = working_field(stored, make_field)
        own, full = with_linear(working, LINEAR), with_linear(working, LINEAR, stored)
        points = working.geometry.to_world(np.array([[2, 3, 4], [4, 3, 2], [5, 5, 5]]))
        np.testing.assert_allclose(full(points), own(points), atol=1e-2 * min(stored.spacing))


class TestWithoutLinear:
    def test_it_inverts_with_linear(self, stored, make_field):
        working = working_field(stored, make_field)
        u = without_linear(with_linear(working, LINEAR), LINEAR, working.geometry)
        np.testing.assert_allclose(u.tensor, working.tensor, atol=1e-3)

    def test_any_transform_is_sampled_on_the_grid(self, stored, make_field):
        working = working_field(stored, make_field)
        along_world = working.tensor.numpy().transpose(1, 2, 3, 0) @ working.geometry.direction.T
        first = DisplacementField(along_world.astype(np.float32), working.geometry)
        u = without_linear(CompositeTransform((first, AffineTransform(LINEAR))), LINEAR, working.geometry)
        np.testing.assert_allclose(u.tensor, working.tensor, atol=2e-3)


def inverse_error(linear, forward, backward):
    """The inverse consistency error, mm, as a volume."""
    return Volume(disagreement(linear, forward, backward).norm(dim=0).numpy(), forward.geometry)


class TestDisagreement:
    @pytest.fixture(scope="class")
    @staticmethod
    def scans():
        scene = Scene()
        return tuple(prepare(scene.scan(grid), mask=None, device=CPU) for grid in (FIXED_GRID, MOVING_GRID))

    @staticmethod
    def inverse_fields(scans, shift, linear):
        """A displacement by a constant shift (LPS mm, before the linear part) and its exact inverse."""
        fixed, moving = (scan.mask.geometry for scan in scans)
        home = np.linalg.inv(linear)[:3, :3]  # w so that A^-1 (y + R' w) undoes the shift
        w = moving.direction.T @ (-np.linalg.inv(home) @ shift)
        u = fixed.direction.T @ shift
        return [
            Image(torch.from_numpy(v).float().view(3, 1, 1, 1).repeat(1, *g.shape), g)
            for v, g in ((u, fixed), (w, moving))
        ]

    @pytest.mark.parametrize("linear", [np.eye(4), TURNED], ids=["alone", "under a linear part"])
    def test_the_error_of_an_exact_inverse_is_zero(self, scans, linear):
        forward, backward = self.inverse_fields(scans, np.array([4.0, -3.0, 2.0]), linear)
        error = inverse_error(linear, forward, backward)
        assert error.array.max() < 1e-3

    def test_without_a_backward_field_the_error_is_the_length_of_the_displacement(self, scans):
        forward, backward = self.inverse_fields(scans, np.array([4.0, -3.0, 2.0]), np.eye(4))
        error = inverse_error(np.eye(4), forward, Image(0 * backward.tensor, backward.geometry))
        np.testing.assert_allclose(error.array, np.sqrt(16 + 9 + 4), rtol=1e-3)

    def test_a_local_error_of_the_backward_field_has_a_local_effect(self, scans):
        forward, backward = self.inverse_fields(scans, np.array([4.0, -3.0, 2.0]), np.eye(4))
        place = backward.geometry.to_world(np.array(backward.geometry.size) / 2)
        k, j, i = (n // 2 for n in backward.geometry.shape)
        backward.tensor[0, k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3] += 12.0
        error = inverse_error(np.eye(4), forward, backward)
        points = error.geometry.to_world(np.argwhere(np.ones(error.array.shape))[:, ::-1])
        away = np.linalg.norm(points + (4.0, -3.0, 2.0) - place, axis=1).reshape(error.array.shape)
        assert error.array[away < 4].mean() > 6
        assert error.array[away > 40].max() < 0.1


class TestInverse:
    @pytest.mark.parametrize("linear", [np.eye(4), TURNED], ids=["alone", "under a linear part"])
    def test_a_mapping_and_its_inverse_lead_back(self, linear):
        fixed, moving = canonical_geometry(FIXED_GRID), canonical_geometry(MOVING_GRID)
        random = torch.Generator().manual_seed(4)
        rough = torch.randn(3, *moving.shape, generator=random)
        backward = Image(40 * smooth(rough, 4.0), moving)
        forward = inverse_of(linear, backward, Image(torch.zeros(3, *fixed.shape), fixed))
        assert float(forward.tensor.norm(dim=0).max()) > 2
        assert float(disagreement(linear, forward, backward).norm(dim=0).max()) < 0.05
