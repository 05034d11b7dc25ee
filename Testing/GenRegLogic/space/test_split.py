"""Mappings composed of a displacement and a linear part, and split into them."""

import numpy as np
import SimpleITK as sitk
import torch

from GenRegLogic.space.field import AffineTransform, CompositeTransform, DisplacementField
from GenRegLogic.space.grid import Image, canonical_geometry
from GenRegLogic.space.split import with_linear, without_linear

from ..conftest import LINEAR, working_field

CPU = torch.device("cpu")


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
