"""Smoothing: by a Gaussian, and up to the jumps of a field, across which nothing is smoothed."""

import numpy as np
import pytest
import torch

from GenRegLogic.space import smoothing
from GenRegLogic.space.smoothing import conductances, smooth, smooth_within, strain

SPACING = 2.0
SHAPE = (16, 18, 20)


def positions():
    """Of the voxels, mm: x, y, z, ``(D, H, W)`` each."""
    lines = [torch.arange(n) * SPACING for n in SHAPE]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    return x, y, z


def shear(amount):
    """Slabs that slide along y by `amount` mm on either side of the middle plane along x."""
    u = torch.zeros(3, *SHAPE)
    u[1, :, :, SHAPE[2] // 2 :] = amount
    return u


class TestGaussian:
    @pytest.mark.parametrize("sigma", [0.3, 0.71, 1.0, 1.5, 1.73, 2.5])
    def test_a_point_spreads_with_the_requested_variance(self, sigma):
        x = torch.zeros(41, 41, 41, dtype=torch.float64)
        x[20, 20, 20] = 1
        places = torch.arange(41, dtype=torch.float64) - 20
        for axis in range(3):
            profile = smooth(x, sigma).sum(dim=[d for d in range(3) if d != axis])
            assert float((profile * places**2).sum()) == pytest.approx(sigma**2, rel=0.02)

    def test_the_sum_of_all_values_is_preserved(self):
        x = torch.rand(10, 11, 12, dtype=torch.float64)
        assert float(smooth(x, 1.3).sum()) == pytest.approx(float(x.sum()))

    def test_a_constant_image_is_not_changed(self):
        x = torch.full((8, 9, 10), 3.0)
        torch.testing.assert_close(smooth(x, 2.0), x)

    def test_a_sigma_of_zero_changes_nothing(self):
        x = torch.rand(8, 9, 10)
        torch.testing.assert_close(smooth(x, 0.0), x)

    def test_components_are_smoothed_separately(self):
        x = torch.rand(3, 8, 9, 10)
        torch.testing.assert_close(smooth(x, 1.2), torch.stack([smooth(c, 1.2) for c in x]))

    def test_the_input_is_not_modified(self):
        x = torch.rand(3, 8, 9, 10)
        before = x.clone()
        smooth(x, 1.2)
        assert torch.equal(x, before)


class TestStrain:
    def test_a_shear_by_a_mm_in_a_mm_is_1(self):
        x, _, _ = positions()
        u = torch.stack([torch.zeros_like(x), x, torch.zeros_like(x)])
        inner = strain(u, SPACING)[1:-1, 1:-1, 1:-1]
        assert torch.allclose(inner, torch.ones_like(inner), atol=1e-5)

    def test_a_small_rotation_is_none(self):
        x, y, _ = positions()
        u = 0.1 * torch.stack([-y, x, torch.zeros_like(x)])
        assert float(strain(u, SPACING)[1:-1, 1:-1, 1:-1].max()) < 1e-5

    def test_it_does_not_depend_on_the_unit_of_length(self):
        u = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(strain(u, SPACING), strain(1000 * u, 1000 * SPACING), rtol=1e-4)


class TestConductances:
    def test_all_smoothing_is_allowed_in_a_field_without_strain(self):
        assert all(bool((face == 1).all()) for face in conductances(torch.full((3, *SHAPE), 5.0), SPACING))

    def test_hardly_any_is_allowed_across_a_surface_of_sliding(self):
        across, _, _ = conductances(shear(8.0), SPACING)
        middle = SHAPE[2] // 2 - 1
        assert float(across[2:-2, 2:-2, middle].max()) < 0.01

    def test_all_is_allowed_along_it(self):
        _, along_y, along_z = conductances(shear(8.0), SPACING)
        assert min(float(along_y[2:-2, 2:-2].min()), float(along_z[2:-2].min())) > 0.99

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_each_face_stands_between_two_neighbors(self, axis):
        face = conductances(shear(8.0), SPACING)[axis]
        expected = list(SHAPE)
        expected[2 - axis] -= 1
        assert list(face.shape) == expected

    def test_they_are_the_same_in_slabs(self, monkeypatch):
        u = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2))
        whole = conductances(u, SPACING)
        monkeypatch.setattr(smoothing, "SLAB_VOXELS", 3 * SHAPE[1] * SHAPE[2])
        assert all(torch.equal(a, b) for a, b in zip(whole, conductances(u, SPACING)))


class TestSmoothingUpToJumps:
    U = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))

    @pytest.mark.parametrize("sigma", [0.4, 1.73, 4.0])
    def test_where_all_is_allowed_it_is_a_gaussians(self, sigma):
        free = conductances(torch.zeros(3, *SHAPE), SPACING)
        assert torch.allclose(smooth_within(self.U, sigma, free), smooth(self.U, sigma), atol=1e-5)

    def test_the_sum_of_all_values_stays(self):
        smoothed = smooth_within(self.U, 3.0, conductances(shear(2.0), SPACING))
        assert np.allclose(smoothed.sum(dim=(1, 2, 3)), self.U.sum(dim=(1, 2, 3)), atol=1e-2)

    def test_a_surface_of_sliding_stays_where_a_gaussian_blurs_it(self):
        u = shear(8.0)
        kept, blurred = smooth_within(u, 3.0, conductances(u, SPACING)), smooth(u, 3.0)
        assert float((kept - u).abs().max()) < 0.2
        assert float((blurred - u).abs().max()) > 3

    def test_the_field_that_is_smoothed_is_not_changed(self):
        before = self.U.clone()
        smooth_within(self.U, 2.0, conductances(self.U, SPACING))
        assert torch.equal(before, self.U)
