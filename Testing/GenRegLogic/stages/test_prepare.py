"""Intensities, masks and working grids."""

import numpy as np
import pytest
import torch

from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.prepare import mask_on, moving_level, part_of, prepare, turned_axes, working_grid

from ..conftest import FIXED_GRID, MOVING_GRID, Scene, centered, rotation

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[FIXED_GRID, MOVING_GRID], ids=["straight", "oblique"])
def scan(request):
    return Scene().scan(request.param)


@pytest.fixture(scope="module")
def prepared(scan):
    return prepare(scan, mask=None, device=CPU)


def centers(geometry):
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))


class TestIntensities:
    def test_they_run_from_0_to_1(self, prepared):
        assert float(prepared.image.tensor.min()) == 0
        assert float(prepared.image.tensor.max()) == pytest.approx(1)

    def test_one_hot_voxel_does_not_flatten_the_rest(self, scan, prepared):
        array = scan.array.copy()
        array[20, 20, 20] = 1e6
        hot = prepare(Volume(array, scan.geometry), mask=None, device=CPU)
        difference = (hot.image.tensor - prepared.image.tensor).abs()
        assert float(torch.quantile(difference.reshape(-1)[::7], 0.99)) < 0.05

    @pytest.mark.parametrize("value", [3e4, -3e4])
    def test_metal_in_a_thousandth_of_the_voxels_does_not_flatten_the_rest(self, scan, value):
        array = scan.array.copy()
        array.reshape(-1)[array.size // 2 :][: array.size // 1000] = value
        with_metal = prepare(Volume(array, scan.geometry), mask=None, device=CPU).image.tensor
        low, high = np.percentile(with_metal.numpy(), (1, 99))
        assert high - low > 0.3

    def test_the_scan_is_not_modified(self):
        scan = Volume(Scene().scan(FIXED_GRID).float32(), FIXED_GRID)
        before = scan.array.copy()
        prepare(scan, mask=None, device=CPU)
        np.testing.assert_array_equal(scan.array, before)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64])
    def test_scans_of_every_dtype_give_the_same_intensities(self, scan, prepared, dtype):
        typed = Volume(np.clip(scan.array, 0, 250).astype(dtype), scan.geometry)
        got = prepare(typed, mask=None, device=CPU).image.tensor
        assert got.dtype == torch.float32
        assert float((got - prepared.image.tensor).abs().mean()) < 0.02


class TestBodyMask:
    def test_the_found_mask_is_the_body_with_a_margin(self, prepared):
        grid = prepared.mask.geometry
        truth = Scene().inside(centers(grid), depth=0.0)
        found = prepared.mask.tensor.numpy().reshape(-1)
        assert found[truth].mean() > 0.999
        assert not found[~Scene().inside(centers(grid), depth=-0.2)].any()  # a margin that includes the body's edge
        assert prepared.automatic

    def test_the_volume_of_the_body_is_in_cubic_mm(self, prepared):
        truth = 4 / 3 * np.pi * np.prod(Scene().radii)
        assert truth < prepared.body_volume < truth * 1.2**3

    def test_dark_holes_inside_the_body_belong_to_it(self, scan):
        array = scan.array.copy()
        middle = tuple(n // 2 for n in array.shape)
        array[tuple(slice(m - 4, m + 4) for m in middle)] = 0
        found = prepare(Volume(array, scan.geometry), mask=None, device=CPU)
        center = np.rint(found.mask.geometry.to_index(scan.geometry.center)).astype(int)
        assert bool(found.mask.tensor[tuple(center[::-1])])

    def test_the_bounding_box_contains_the_body(self, prepared):
        points = Scene().points(depth=0.02)
        index = prepared.image.geometry.to_index(points)
        assert (index >= prepared.box[0] - 0.5).all()
        assert (index <= prepared.box[1] + 0.5).all()

    def test_a_scan_without_background_is_masked_entirely(self):
        noise = np.random.default_rng(0).uniform(100, 200, (30, 30, 30))
        found = prepare(Volume(noise, Geometry((30, 30, 30))), mask=None, device=CPU)
        assert bool(found.mask.tensor.all())

    def test_a_given_mask_is_used(self, scan):
        mask = np.zeros(scan.array.shape, np.uint8)
        mask[15:25, 12:20, 10:30] = 1
        given = prepare(scan, mask=Volume(mask, scan.geometry), device=CPU)
        k, j, i = np.nonzero(mask)
        points = scan.geometry.to_world(np.stack([i, j, k], axis=1))
        assert not given.automatic
        assert given.body_volume == pytest.approx(len(points) * scan.geometry.voxel_volume, rel=0.3)
        found = centers(given.mask.geometry)[given.mask.tensor.numpy().reshape(-1)]
        np.testing.assert_allclose(found.mean(axis=0), points.mean(axis=0), atol=1.0)


class TestGrids:
    @pytest.mark.parametrize("spacing", [2.8, 5.0, 11.0])
    def test_the_working_grid_has_cubic_voxels_of_the_size_asked_for(self, prepared, spacing):
        assert working_grid(prepared, spacing).spacing == (spacing,) * 3

    @pytest.mark.parametrize("spacing", [2.8, 5.0, 11.0])
    def test_the_working_grid_contains_the_body(self, prepared, spacing):
        assert working_grid(prepared, spacing).contains(Scene().points(depth=0.05)).all()

    def test_the_working_grid_does_not_reach_beyond_the_scan(self, prepared):
        grid, scan = working_grid(prepared, 2.8, margin_voxels=1000), prepared.image.geometry
        assert (
            np.abs(scan.to_index(grid.corners()) - scan.to_index(scan.center))
            <= (np.array(scan.size) - 1) / 2 + 2.8 / np.array(scan.spacing)
        ).all()

    def test_the_mask_on_a_grid_is_where_the_body_is(self, prepared):
        grid = working_grid(prepared, 4.0)
        mask = mask_on(prepared, grid)
        index = np.rint(grid.to_index(Scene().points(depth=0.15))).astype(int)
        assert set(np.unique(mask.numpy())) == {0.0, 1.0}
        assert mask.numpy()[tuple(index[:, ::-1].T)].mean() > 0.99


@pytest.mark.parametrize("factor", [1e300, 1e30, 1e-40, 1e-300])
def test_intensities_beyond_single_precision_are_prepared_like_others(scan, factor):
    plain = Volume(scan.array.astype(np.float64), scan.geometry)
    scaled = Volume(plain.array * factor, scan.geometry)
    images = [prepare(volume, mask=None, device=CPU).image.tensor for volume in (plain, scaled)]
    np.testing.assert_allclose(images[1], images[0], atol=1e-5)


class TestPart:
    """An inner organ that is cut out of the body, beside the whole body."""

    SIZE = (40, 40, 40)

    def ball(self, radius, background_noise=0.0, mask=None):
        k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in self.SIZE], indexing="ij")
        distance = np.sqrt(i**2 + j**2 + k**2)
        random = np.random.default_rng(0)
        array = np.where(distance < radius, 100 + 20 * random.normal(size=self.SIZE), 0)
        array += background_noise * random.normal(size=self.SIZE)
        volume = Volume(array.astype(np.float32), Geometry(self.SIZE))
        return prepare(volume, mask=volume if mask else None, device=CPU)

    def test_it_gets_a_mask_within_the_cut(self):
        part = part_of(self.ball(0.5), self.ball(0.9, 1.0))
        assert not part.automatic
        inside = mask_on(part, part.image.geometry) > 0
        assert float(part.image.tensor[inside].min()) > 0
        assert int(inside.sum()) > 0.3 * float((part.image.tensor > 0).sum())

    @pytest.mark.parametrize(
        ("radius", "noise", "other_radius", "other_noise"),
        [(0.5, 1.0, 0.9, 1.0), (0.85, 0.0, 0.9, 1.0), (0.5, 0.0, 0.9, 0.0)],
        ids=["surroundings that are shown", "a body of the same size", "both cut out"],
    )
    def test_others_are_left_as_they_are(self, radius, noise, other_radius, other_noise):
        assert part_of(self.ball(radius, noise), self.ball(other_radius, other_noise)) is None

    def test_a_mask_that_was_given_is_left_as_it_is(self):
        assert part_of(self.ball(0.5, mask=True), self.ball(0.9, 1.0)) is None

    def test_a_scan_that_its_body_fills_is_none(self):
        assert part_of(self.ball(2.0), self.ball(0.9, 1.0)) is None


class TestMovingLevel:
    def test_it_is_not_finer_than_the_scan(self, prepared):
        grid = moving_level(prepared, 0.5).image.geometry
        np.testing.assert_allclose(grid.spacing, prepared.image.geometry.spacing)

    def test_it_has_the_axes_asked_for(self, prepared):
        axes = rotation(0.2, -0.3, 0.4)
        np.testing.assert_allclose(moving_level(prepared, 4.0, axes=axes).image.geometry.direction, axes)

    @pytest.mark.parametrize("signs", [(-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
    def test_reversed_axes_have_the_same_voxels_at_the_same_places(self, prepared, signs):
        direction = prepared.image.geometry.direction
        straight = moving_level(prepared, 5.0, axes=direction)
        level = moving_level(prepared, 5.0, axes=direction * np.array(signs))
        np.testing.assert_array_equal(level.image.geometry.direction, direction * np.array(signs))
        index = np.array([[0, 0, 0], [3, 2, 5], [6, 4, 1]])
        there = np.rint(straight.image.geometry.to_index(level.image.geometry.to_world(index))).astype(int)
        for (i, j, k), (x, y, z) in zip(index, there):
            assert level.image.tensor[k, j, i] == straight.image.tensor[z, y, x]
            assert level.weight[k, j, i] == straight.weight[z, y, x]

    def test_the_anchor_is_a_voxel_center_along_axes_coarser_than_the_scans(self, prepared):
        anchor = prepared.image.geometry.center + (0.3, -0.7, 1.1)
        spacing = 1.7 * max(prepared.image.geometry.spacing)
        level = moving_level(prepared, spacing, anchor=anchor)
        index = level.image.geometry.to_index(anchor)
        np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
        whole = moving_level(prepared, spacing)
        assert level.extent.to_dict() == whole.extent.to_dict() == whole.image.geometry.to_dict()
        assert level.image.geometry.contains(whole.extent.corners()).all()

    def test_thick_slices_are_interpolated_where_axes_are_given(self, scan):
        thick = Volume(scan.array[::4], Geometry((*scan.geometry.size[:2], len(scan.array[::4])), (2.0, 2.0, 12.0)))
        level = moving_level(prepare(thick, mask=None, device=CPU), 4.0, axes=np.eye(3))
        assert level.image.geometry.spacing == (4.0, 4.0, 4.0)

    def test_an_anchor_does_not_move_a_grid_of_the_scans_own_voxels(self, prepared):
        anchor = prepared.image.geometry.center + (0.3, -0.7, 1.1)
        anchored, own = (moving_level(prepared, 0.5, anchor=point).image.geometry for point in (anchor, None))
        assert anchored.to_dict() == own.to_dict()

    @pytest.mark.parametrize("axes", [None, np.eye(3), rotation(0.2, -0.3, 0.4)], ids=["own", "straight", "turned"])
    def test_the_intensities_stay_at_their_positions(self, prepared, axes):
        level = moving_level(prepared, 4.0, axes=axes)
        points = Scene().points(depth=0.3)

        index = np.rint(level.image.geometry.to_index(points)).astype(int)
        seen = level.image.tensor.numpy()[tuple(index[:, ::-1].T)]
        expected = Scene()(level.image.geometry.to_world(index))
        assert np.corrcoef(seen, expected)[0, 1] > 0.9

    @pytest.mark.parametrize("axes", [None, rotation(0.2, -0.3, 0.4)], ids=["own", "turned"])
    def test_the_weight_is_that_of_the_body(self, prepared, axes):
        level = moving_level(prepared, 4.0, axes=axes)
        inside = Scene().inside(centers(level.image.geometry), depth=0.1)
        outside = ~Scene().inside(centers(level.image.geometry), depth=-0.3)
        weight = level.weight.numpy().reshape(-1)
        assert weight[inside].mean() > 0.99
        assert weight[outside].mean() < 0.01

    def test_a_linear_mapping_turns_the_axes_by_its_rotation(self):
        linear = np.eye(4)
        linear[:3, :3] = rotation(0.2, -0.3, 0.4) @ np.diag([1.2, 1.2, 1.2])
        axes = rotation(0.1, 0.0, 0.2)
        turned = turned_axes(linear, centered((8, 8, 8), (1.0, 1.0, 1.0), axes))
        np.testing.assert_allclose(turned, rotation(0.2, -0.3, 0.4) @ axes, atol=1e-6)
