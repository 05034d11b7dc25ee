"""Regions that the user says slide along one another: they may slide, but neither gap nor overlap arises."""

import numpy as np
import pytest
import torch

from GenRegLogic import Settings, register
from GenRegLogic.errors import InputError
from GenRegLogic.guidance.sliding import MAX_REGIONS, SlidingRegions, check_regions
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.smoothing import smooth, smooth_within
from GenRegLogic.space.volume import Volume

CPU = torch.device("cpu")
GRID = Geometry((40, 36, 32), (2.0, 2.0, 2.0))


def oblique(tilt=0.0):
    """Labels of the grid: 1 on one side of a plane through its middle, 0 on the other."""
    _, j, i = np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij")
    return ((i - 19.5) + tilt * (j - 17.5) > 0).astype(np.int32)


def borders(labels, grid=GRID):
    return SlidingRegions(Volume(labels, GRID), CPU).borders(grid)


class TestChecks:
    IMAGE = Volume(np.random.default_rng(0).random(GRID.shape, np.float32), GRID)

    def test_each_value_is_a_region(self):
        assert sorted(np.unique(check_regions(Volume(oblique(), GRID), self.IMAGE).array)) == [0, 1]

    def test_a_single_region_is_refused(self):
        with pytest.raises(InputError, match="holds a single region"):
            check_regions(Volume(np.ones(GRID.shape, np.uint8), GRID), self.IMAGE)

    def test_an_image_instead_of_labels_is_refused(self):
        many = np.arange(GRID.shape[0] * GRID.shape[1] * GRID.shape[2]).reshape(GRID.shape) % (MAX_REGIONS + 1)
        with pytest.raises(InputError, match=f"holds {MAX_REGIONS + 1} different values"):
            check_regions(Volume(many, GRID), self.IMAGE)


class TestBorders:
    def test_normals_point_across_an_oblique_border(self):
        found = borders(oblique(tilt=0.5))
        expected = np.array([1, 0.5, 0]) / np.hypot(1, 0.5)
        for place, normal in zip(found.places[:2], found.normals[:2]):
            assert len(place)
            assert np.median(np.abs(expected @ normal.numpy())) > 0.97

    def test_there_are_faces_along_the_axes_that_cross_it_alone(self):
        assert [len(place) > 0 for place in borders(oblique()).places] == [True, False, False]

    def test_a_coarser_grid_has_the_border_in_the_same_place(self):
        coarse = Geometry((20, 18, 16), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0))
        place = borders(oblique(), coarse).places[0].numpy()
        assert np.unique(place % (coarse.size[0] - 1)).tolist() == [9]

    def test_a_field_that_slides_stays_as_it_is(self):
        u = torch.zeros(3, *GRID.shape)
        u[1] = 8.0 * torch.from_numpy(oblique())
        assert torch.allclose(smooth_within(u, 3.0, borders=borders(oblique())), u, atol=1e-4)

    def test_a_gap_is_closed_as_without_borders(self):
        u = torch.zeros(3, *GRID.shape)
        u[0] = 8.0 * torch.from_numpy(oblique())
        assert torch.allclose(smooth_within(u, 3.0, borders=borders(oblique())), smooth(u, 3.0), atol=1e-3)

    def test_the_sum_of_all_values_stays(self):
        u = torch.randn(3, *GRID.shape, generator=torch.Generator().manual_seed(0))
        smoothed = smooth_within(u, 2.0, borders=borders(oblique(tilt=0.7)))
        assert np.allclose(smoothed.sum(dim=(1, 2, 3)), u.sum(dim=(1, 2, 3)), atol=2e-2)


class TestRegistration:
    """Two blocks of texture, of which one slides along the other by 10 mm."""

    SLID_MM = 10.0

    @pytest.fixture
    def pair(self):
        random = torch.Generator().manual_seed(1)
        shape = (GRID.shape[0], GRID.shape[1] + 10, GRID.shape[2])
        texture = sum(smooth(torch.randn(shape, generator=random), s) * s**1.5 for s in (1.2, 2.5)).numpy() * 100
        still, moved = texture[:, 5:-5], texture[:, : -10 or None]
        labels = oblique()
        return (
            Volume(still.astype(np.float32), GRID),
            Volume(np.where(labels == 1, moved, still).astype(np.float32), GRID),
            Volume(labels, GRID),
        )

    def errors(self, pair, **options):
        settings = Settings(init="none", threads=1)
        result = register(pair[0], pair[1], settings, **options)
        k, j, i = np.meshgrid(*(np.arange(8, n - 8) for n in GRID.shape), indexing="ij")
        index = np.stack([i, j, k], -1).reshape(-1, 3)
        slides = oblique()[tuple(index.T[::-1])]
        truth = GRID.to_world(index.astype(float)) + slides[:, None] * np.array([0, self.SLID_MM, 0])
        return np.linalg.norm(result.forward(GRID.to_world(index.astype(float))) - truth, axis=1), result

    def test_they_lower_the_error_at_the_border_without_folds(self, pair):
        with_regions, result = self.errors(pair, regions=pair[2])
        plain, _ = self.errors(pair)
        assert with_regions.mean() < 0.85 * plain.mean()
        assert jacobian_figures(result.forward)["folds_pct"] == 0
