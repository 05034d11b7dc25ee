"""Lines at the edges of one scan, drawn over another."""

import numpy as np
import pytest

from GenRegLogic.htmlreport.contours import LINE_COLOR, edges, lines_over, structure, widths
from GenRegLogic.htmlreport.cuts import ORIENTATIONS, whole
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.geometry import Geometry

WIDTH = (2.4, 2.4)
ALL = np.ones((100, 120), bool)
RADIUS = 30.0


@pytest.fixture
def distance():
    """(100, 120) pixels to the middle of a picture."""
    row, column = np.indices(ALL.shape)
    return np.hypot(row - 50, column - 60)


@pytest.fixture
def disc(distance):
    """A picture of a bright disc."""
    return 0.1 + 0.6 * np.clip(RADIUS + 0.5 - distance, 0, 1)


class TestEdges:
    def test_the_edge_of_a_disc_is_a_thin_line_along_its_border(self, disc, distance):
        lines = edges(disc, ALL, WIDTH)
        assert np.abs(distance[lines] - RADIUS).max() < 1.5
        assert 0.8 * 2 * np.pi * RADIUS < lines.sum() < 2.2 * 2 * np.pi * RADIUS

    def test_inverted_contrast_gives_the_same_lines(self, disc):
        np.testing.assert_array_equal(edges(0.9 - disc, ALL, WIDTH), edges(disc, ALL, WIDTH))

    def test_noise_has_no_lines_beside_an_edge(self, disc, distance):
        lines = edges(disc + np.random.default_rng(0).normal(0, 0.07, disc.shape), ALL, WIDTH)
        near = np.abs(distance - RADIUS) < 3
        assert (lines & near).sum() > 0.8 * 2 * np.pi * RADIUS
        assert not (lines & ~near).any()

    def test_a_picture_of_one_shade_has_no_lines(self):
        assert not edges(np.full(ALL.shape, 0.5), ALL, WIDTH).any()

    def test_a_black_picture_has_no_lines(self):
        assert not edges(np.zeros(ALL.shape), ALL, WIDTH).any()

    def test_where_the_voxels_end_there_is_no_edge(self, disc):
        inside = ALL.copy()
        inside[:, 60:] = False
        lines = edges(np.where(inside, disc, 0.0), inside, WIDTH)
        assert lines[:, :54].any()
        assert not lines[:, 56:].any()


class TestStructure:
    def test_a_sharp_picture_shows_more_than_a_blurred_one(self, disc, distance):
        blurred = 0.1 + 0.6 / (1 + np.exp((distance - RADIUS) / 12))
        assert structure(disc, ALL, WIDTH) > 1.2 * structure(blurred, ALL, WIDTH)

    def test_what_is_outside_the_scan_shows_nothing(self, disc):
        assert structure(disc, ~ALL, WIDTH) == 0


class TestWidths:
    GRID = Geometry((200, 200, 10), (1.0, 1.0, 10.0))

    def test_thick_slices_are_smoothed_along_their_thickness_only(self):
        cut = whole(self.GRID, ORIENTATIONS[1], self.GRID.center, 20_000)
        across, down = widths(cut, self.GRID)
        assert down == pytest.approx(0.8 * 10.0 / cut.pixel_mm, rel=0.05)
        assert across == 2.4

    def test_fine_voxels_are_smoothed_by_pixels(self):
        cut = whole(self.GRID, ORIENTATIONS[0], self.GRID.center, 2_000)
        assert widths(cut, self.GRID) == WIDTH

    def test_a_scan_that_the_transform_enlarges_is_smoothed_more(self):
        cut = whole(self.GRID, ORIENTATIONS[0], self.GRID.center, 40_000)
        fourth = AffineTransform(np.diag([0.25, 0.25, 1.0, 1.0]))
        across, _ = widths(cut, self.GRID, fourth)
        assert across == pytest.approx(0.8 * 4 / cut.pixel_mm, rel=0.05)


class TestDrawing:
    def test_lines_are_colored_and_the_rest_is_gray(self, disc):
        lines = np.zeros(ALL.shape, bool)
        lines[20] = True
        picture = lines_over(disc, lines).astype(int)
        assert np.abs(picture[20] - np.rint(255 * LINE_COLOR)).max() < 5
        rest = np.delete(picture, (19, 20, 21), axis=0)
        assert (rest[..., 0] == rest[..., 2]).all()
        assert rest.max() > 100
