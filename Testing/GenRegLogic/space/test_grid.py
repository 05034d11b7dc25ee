"""Canonical axes and sampling, against world positions and SimpleITK."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from GenRegLogic.space import grid as grid_module
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import (
    Image,
    Sampler,
    canonical_array,
    canonical_axes,
    canonical_geometry,
    canonical_image,
    for_sampling,
    resample,
    sample,
    sample_quickly,
    stored_array,
    subgrid,
)
from GenRegLogic.space.volume import Volume

from ..conftest import rotation

CPU = torch.device("cpu")
TILT = rotation(0.2, -0.15, 0.1)
ORIENTATIONS = [
    TILT @ np.eye(3)[:, order] @ np.diag(signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


@pytest.fixture(params=range(48))
def turned(request):
    """A small grid in each of the 48 axis orders and flips, tilted, half of them left-handed."""
    return Geometry((5, 6, 7), (1.0, 2.0, 0.5), (10.0, -20.0, 30.0), ORIENTATIONS[request.param])


def world_centers(geometry):
    """(k, j, i, 3) LPS mm."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1))


def itk_resample(volume, reference, transform=None, interpolator=sitk.sitkLinear):
    image = sitk.Image(reference.size, sitk.sitkUInt8)
    reference.copy_to(image)
    transform = transform or sitk.Transform(3, sitk.sitkIdentity)
    return sitk.GetArrayFromImage(sitk.Resample(volume.to_sitk(), image, transform, interpolator, 0.0))


class TestCanonicalAxes:
    def test_a_voxel_keeps_its_world_position(self, turned):
        expected = canonical_array(world_centers(turned), turned)
        np.testing.assert_allclose(world_centers(canonical_geometry(turned)), expected, atol=1e-9)

    def test_canonical_axes_point_left_posterior_and_superior(self, turned):
        direction = canonical_geometry(turned).direction
        np.testing.assert_allclose(direction, TILT, atol=1e-12)

    def test_stored_array_inverts_canonical_array(self, turned):
        array = np.random.default_rng(0).normal(size=(*turned.shape, 3))
        np.testing.assert_array_equal(stored_array(canonical_array(array, turned), turned), array)

    def test_canonical_array_inverts_stored_array(self, turned):
        array = np.random.default_rng(0).normal(size=canonical_geometry(turned).shape)
        np.testing.assert_array_equal(canonical_array(stored_array(array, turned), turned), array)

    def test_a_canonical_grid_is_not_changed_again(self, turned):
        once = canonical_geometry(turned)
        assert canonical_axes(once.direction) == ((0, 1, 2), (1, 1, 1))
        assert canonical_geometry(once).is_close(once, 1e-9)

    def test_a_canonical_image_has_the_volumes_values_at_the_same_positions(self, grid, make_volume, make_points):
        volume = make_volume(grid)
        image = canonical_image(volume, CPU)
        points = make_points(grid, margin=1)
        stored = np.rint(grid.to_index(points)).astype(int)
        canonical = np.rint(image.geometry.to_index(grid.to_world(stored))).astype(int)
        values = image.tensor.numpy()[tuple(canonical[:, ::-1].T)]
        np.testing.assert_array_equal(values, volume.array[tuple(stored[:, ::-1].T)])


class TestSubgrid:
    def test_it_covers_the_box(self, grid):
        low, high = np.array([2.0, 3.0, 4.0]), np.array([12.0, 13.0, 11.0])
        spacing = (0.37 * grid.spacing[0],) * 3
        part = subgrid(grid, low, high, spacing)
        assert part.contains(grid.to_world(np.array(list(itertools.product(*zip(low, high)))))).all()

    def test_its_center_is_the_center_of_the_box(self, grid):
        low, high = np.array([2.0, 3.0, 4.0]), np.array([12.0, 13.0, 11.0])
        part = subgrid(grid, low, high, (2.3,) * 3)
        np.testing.assert_allclose(part.center, grid.to_world((low + high) / 2), atol=1e-9)

    def test_it_has_at_least_two_voxels_along_each_axis(self, grid):
        assert min(subgrid(grid, np.zeros(3), np.ones(3), (1e4,) * 3).size) == 2


class TestResample:
    def test_without_smoothing_it_is_linear_interpolation_as_in_itk(self, grid, make_volume):
        image = canonical_image(make_volume(grid), CPU)
        size = np.array(image.geometry.size) - 1
        target = subgrid(image.geometry, 0.1 * size, 0.9 * size, tuple(0.7 * s for s in image.geometry.spacing))
        got = resample(image, target, smooth=False).tensor.numpy()
        expected = itk_resample(Volume(image.tensor.numpy(), image.geometry), target)
        np.testing.assert_allclose(got, expected, atol=2e-3)

    def test_the_same_grid_gives_the_same_image(self, grid, make_volume):
        image = canonical_image(make_volume(grid), CPU)
        assert torch.equal(resample(image, image.geometry).tensor, image.tensor)

    def test_channels_are_resampled_one_by_one(self, oblique_grid, make_volume):
        image = canonical_image(make_volume(oblique_grid), CPU)
        size = np.array(image.geometry.size) - 1
        target = subgrid(image.geometry, np.zeros(3), size, (2.5,) * 3)
        both = resample(Image(torch.stack([image.tensor, -2 * image.tensor]), image.geometry), target).tensor
        one = resample(image, target).tensor
        torch.testing.assert_close(both, torch.stack([one, -2 * one]))

    def test_a_coarser_grid_smooths_noise_away(self):
        noise = torch.randn(48, 48, 48, generator=torch.Generator().manual_seed(0))
        geometry = Geometry((48, 48, 48))
        coarse = resample(Image(noise, geometry), subgrid(geometry, np.zeros(3), np.full(3, 47.0), (4.0,) * 3)).tensor
        # A mean over 4 x 4 x 4 voxels leaves a standard deviation of 1/8.
        assert coarse.std() < 0.2

    def test_a_wave_too_short_for_the_coarser_grid_is_suppressed(self):
        x = torch.arange(96.0)
        wave = torch.sin(2 * torch.pi * x / 4.3).expand(8, 8, 96)
        geometry = Geometry((96, 8, 8))
        target = Geometry((21, 8, 8), (4.0, 1.0, 1.0), (8.0, 0.0, 0.0))
        assert resample(Image(wave, geometry), target).tensor.abs().max() < 0.06  # of 1

    def test_a_wave_that_the_coarser_grid_resolves_is_kept(self):
        x = np.arange(96.0)
        wave = torch.from_numpy(np.sin(2 * np.pi * x / 40)).float().expand(8, 8, 96)
        target = Geometry((21, 8, 8), (4.0, 1.0, 1.0), (8.0, 0.0, 0.0))
        got = resample(Image(wave, Geometry((96, 8, 8))), target).tensor.numpy()
        np.testing.assert_allclose(got[4, 4], np.sin(2 * np.pi * (8 + 4 * np.arange(21)) / 40), atol=0.06)

    def test_a_target_with_other_axes_is_refused(self):
        image = Image(torch.zeros(4, 4, 4), Geometry((4, 4, 4)))
        with pytest.raises(ValueError, match="own axes"):
            resample(image, Geometry((4, 4, 4), direction=TILT))

    def test_a_constant_stays_constant_up_to_the_edge(self, grid):
        image = Image(torch.full(canonical_geometry(grid).shape, 7.0), canonical_geometry(grid))
        size = np.array(image.geometry.size) - 1
        target = subgrid(image.geometry, -0.2 * size, 1.2 * size, tuple(2.2 * s for s in image.geometry.spacing))
        torch.testing.assert_close(resample(image, target).tensor, torch.full(target.shape, 7.0))


MAPPING = np.eye(4)
MAPPING[:3, :3] = rotation(0.1, -0.2, 0.15) @ np.diag([1.1, 0.9, 1.05])


class TestSampler:
    @pytest.fixture
    def case(self, grid, oblique_grid, make_field, make_volume):
        """A fixed grid, a left-handed oblique moving scan, a linear mapping into it and a displacement before it."""
        fixed, moving = canonical_geometry(grid), make_volume(oblique_grid)
        linear = MAPPING.copy()
        linear[:3, :3] *= 0.6 * oblique_grid.extent_mm.min() / grid.extent_mm.max()
        linear[:3, 3] = oblique_grid.center - linear[:3, :3] @ fixed.center
        u = make_field(fixed, 0.5).array  # along the fixed grid's axes
        return fixed, moving, linear, u

    def test_images_are_sampled_as_itk_samples_them(self, case):
        fixed, moving, linear, u = case
        image = canonical_image(moving, CPU)
        sampler = Sampler(fixed, image.geometry, linear, CPU)
        along_axes = torch.from_numpy(np.ascontiguousarray(u.transpose(3, 0, 1, 2)))
        got = sample(image.tensor[None], sampler.coordinates(along_axes))[0].numpy()
        itk = sitk.CompositeTransform(3)
        itk.AddTransform(AffineTransform(linear).to_sitk())  # ITK applies the last one first
        itk.AddTransform(DisplacementField(u @ fixed.direction.T.astype(np.float32), fixed).to_sitk())
        expected = itk_resample(moving, fixed, itk)
        inner = (slice(1, -1),) * 3
        np.testing.assert_allclose(got[inner], expected[inner], atol=0.05)  # of 400 units of intensity
        assert np.ptp(expected[inner]) > 100

    def test_no_displacement_gives_the_coordinates_of_a_zero_displacement(self, case):
        fixed, moving, linear, _ = case
        sampler = Sampler(fixed, canonical_geometry(moving.geometry), linear, CPU)
        torch.testing.assert_close(sampler.coordinates(None), sampler.coordinates(torch.zeros(3, *fixed.shape)))

    @pytest.mark.parametrize("larger", [False, True], ids=["its own grid", "a larger grid"])
    def test_inside_are_the_voxels_mapped_into_the_moving_scan(self, grid, oblique_grid, larger):
        """With the scan's extent given, the moving image may be on a larger grid with other axes."""
        fixed, scan = canonical_geometry(grid), canonical_geometry(oblique_grid)
        linear = MAPPING.copy()
        linear[:3, :3] *= 1.3 * oblique_grid.extent_mm.min() / grid.extent_mm.max()
        linear[:3, 3] = oblique_grid.center - linear[:3, :3] @ fixed.center
        moving = Geometry((60, 60, 60), origin=tuple(scan.center - 29.5)) if larger else scan
        sampler = Sampler(fixed, moving, linear, CPU, scan)
        got = sampler.inside(sampler.coordinates(None)).numpy()
        mapped = AffineTransform(linear)(world_centers(fixed).reshape(-1, 3))
        np.testing.assert_array_equal(got.reshape(-1), scan.contains(mapped))
        assert 0.1 < got.mean() < 0.95


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def displaced(count, reach=1.3):
    """(3, count) coordinates, some of them outside of the image."""
    return (noise(3, count, seed=1) * 2 - 1) * reach


class TestSampleQuickly:
    @pytest.mark.parametrize("layout", [lambda image: image, for_sampling], ids=["channel by channel", "laid out"])
    @pytest.mark.parametrize("channels", [1, 3, 6, 12])
    def test_it_samples_as_sample_does(self, channels, layout):
        image, points = noise(channels, 14, 12, 17), displaced(5000)
        torch.testing.assert_close(sample_quickly(layout(image), points), sample(image, points), atol=1e-3, rtol=0)

    def test_at_the_voxels_it_gives_their_values(self):
        image = noise(1, 20, 21, 22)
        grid = Geometry((22, 21, 20))
        points = Sampler(grid, grid, np.eye(4), CPU).coordinates(None)
        torch.testing.assert_close(sample_quickly(image, points), image, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("channels", [2, 8])
    def test_more_points_than_it_works_on_at_once_keep_their_shape_and_order(self, channels, monkeypatch):
        monkeypatch.setattr(grid_module, "PART", 1000)
        image, points = noise(channels, 9, 8, 7), displaced(3 * 29 * 31).reshape(3, 3, 29, 31)
        got = sample_quickly(image, points)
        assert got.shape == (channels, 3, 29, 31)
        torch.testing.assert_close(got, sample(image, points), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("channels", [1, 8])
    def test_two_threads_sample_the_same(self, channels, monkeypatch):
        monkeypatch.setattr(grid_module, "PART", 300)
        image, points, threads = noise(channels, 9, 8, 7), displaced(1001), torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            one = sample_quickly(image, points)
            torch.set_num_threads(2)
            two = sample_quickly(image, points)
        finally:
            torch.set_num_threads(threads)
        torch.testing.assert_close(one, two, atol=0, rtol=0)

    def test_among_very_many_rows_it_is_as_accurate(self):
        image, points = noise(1, 400, 100, 3), displaced(5000, reach=1.0)
        torch.testing.assert_close(sample_quickly(image, points), sample(image, points), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("shape", [(1, 8, 9), (8, 1, 9), (8, 9, 1), (2, 2, 2)])
    def test_flat_images_are_sampled(self, shape):
        image, points = noise(1, *shape), displaced(200)
        torch.testing.assert_close(sample_quickly(image, points), sample(image, points), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("channels", [1, 8])
    def test_no_points_give_no_samples(self, channels):
        assert sample_quickly(noise(channels, 5, 6, 7), torch.zeros(3, 0)).shape == (channels, 0)

    @pytest.mark.parametrize("channels", [1, 8])
    def test_coordinates_that_are_no_numbers_leave_the_other_samples_as_they_are(self, channels):
        image, points = noise(channels, 13, 11, 9), displaced(100)
        expected = sample_quickly(image, points)
        points[:, 50] = float("nan")
        got = sample_quickly(image, points)
        others = torch.arange(100) != 50
        torch.testing.assert_close(got[:, others], expected[:, others], atol=1e-3, rtol=0)

    def test_a_part_of_a_larger_image_is_sampled(self):
        image, points = noise(4, 9, 8, 7), displaced(100)
        part = image[1:3, 2:8]
        torch.testing.assert_close(sample_quickly(part, points), sample(part, points), atol=1e-3, rtol=0)

    def test_double_precision_is_kept(self):
        image, points = noise(1, 9, 8, 7).double(), displaced(100).double()
        torch.testing.assert_close(sample_quickly(image, points), sample(image, points), atol=0, rtol=0)
