"""Pixels of the pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from GenRegLogic.htmlreport import render
from GenRegLogic.htmlreport.cuts import ORIENTATIONS, whole
from GenRegLogic.htmlreport.png import data_uri, encode
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import decoded

RAMP = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (24, 1))


class TestPng:
    @pytest.mark.parametrize("shape", [(5, 7), (40, 3), (6, 5, 3), (1, 1), (33, 20, 3)])
    @pytest.mark.parametrize("kind", ["noise", "ramp"])
    def test_an_encoded_picture_is_decoded_to_the_same_pixels(self, shape, kind):
        count = int(np.prod(shape))
        pixels = np.random.default_rng(0).integers(0, 256, count) if kind == "noise" else np.arange(count) * 3
        pixels = pixels.astype(np.uint8).reshape(shape)
        with Image.open(io.BytesIO(encode(pixels))) as picture:
            picture.verify()
        np.testing.assert_array_equal(decoded(data_uri(pixels)), pixels)


class TestTone:
    def test_shades_increase_with_the_values(self):
        values = np.random.default_rng(0).gamma(2.0, 100.0, (20, 20, 20)).astype(np.float32)
        places, shades = render.tone(Volume.from_array(values, spacing=(1, 1, 1)))
        assert (np.diff(places) > 0).all()
        assert (np.diff(shades) >= 0).all()
        assert (shades[0], shades[-1]) == pytest.approx((0.0, 1.0), abs=0.05)

    def test_soft_tissue_of_a_ct_has_contrast_although_air_and_bone_are_shown(self):
        random = np.random.default_rng(0)
        values = np.full((40, 40, 40), -1000.0)
        values[10:30, 10:30, 5:35] = random.normal(40, 30, (20, 20, 30))
        values[18:22, 18:22, 5:35] = 1000.0
        places, shades = render.tone(Volume.from_array(values.astype(np.int16), spacing=(1, 1, 1)))
        fat, muscle, air, bone = np.interp([0.0, 80.0, -1000.0, 1000.0], places, shades)
        assert muscle - fat > 0.3
        assert air < 0.05
        assert bone > 0.95

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
    def test_a_scan_with_two_values_has_contrast(self, dtype):
        array = np.zeros((4, 4, 4), dtype)
        array[0, 0, 0] = 1
        places, shades = render.tone(Volume.from_array(array, spacing=(1, 1, 1)))
        assert np.interp(1.0, places, shades) - np.interp(0.0, places, shades) > 0.4


class TestBoth:
    def test_equal_scans_are_fused_to_gray(self):
        fused = render.fusion(RAMP, RAMP)
        assert (fused[..., 0] == fused[..., 1]).all()
        assert (fused[..., 1] == fused[..., 2]).all()

    def test_fixed_alone_is_green_and_moving_alone_magenta(self):
        nothing, all_ = np.zeros((1, 1)), np.ones((1, 1))
        assert render.fusion(all_, nothing)[0, 0].tolist() == [0, 255, 0]
        assert render.fusion(nothing, all_)[0, 0].tolist() == [255, 0, 255]

    def test_a_checkerboard_alternates_between_both(self):
        board = render.checkerboard(np.zeros((20, 30)), np.ones((20, 30)), 10.0)
        assert board[::10, ::10].tolist() == [[0, 1, 0], [1, 0, 1]]
        assert board[5, 9] == 0
        assert board[5, 10] == 1


class TestGrid:
    GRID = Geometry((41, 41, 41), (1.0, 1.0, 1.0), (-20.0, -20.0, -20.0))

    def lines(self, matrix):
        cut = whole(self.GRID, ORIENTATIONS[0], (0.0, 0.0, 0.0), 200**2)
        pixels = render.grid_lines(np.zeros((cut.rows, cut.columns)), cut, AffineTransform(matrix), 10.0)
        return pixels.max(axis=-1) > 100, cut

    def test_without_a_deformation_the_lines_are_straight_and_regular(self):
        lines, cut = self.lines(np.eye(4))
        upright = np.flatnonzero(lines.mean(axis=0) > 0.9)
        places = cut.corner[0] + upright * cut.pixel_mm
        assert sorted(set(np.rint(places).astype(int))) == [-20, -10, 0, 10, 20]

    def test_a_transform_that_enlarges_brings_the_lines_closer_together(self):
        lines, cut = self.lines(np.diag([2.0, 2.0, 1.0, 1.0]))
        places = cut.corner[0] + np.flatnonzero(lines.mean(axis=0) > 0.9) * cut.pixel_mm
        assert np.abs(places / 5 - np.rint(places / 5)).max() < 0.06
        assert len(set(np.rint(places / 5))) == 9

    def test_a_translation_shifts_the_lines_in_the_opposite_direction(self):
        matrix = np.eye(4)
        matrix[0, 3] = 3.0
        lines, cut = self.lines(matrix)
        places = cut.corner[0] + np.flatnonzero(lines.mean(axis=0) > 0.9) * cut.pixel_mm
        assert sorted(set(np.rint(places).astype(int))) == [-13, -3, 7, 17]


class TestError:
    def test_no_error_leaves_the_picture_and_a_large_error_colors_it(self):
        error = np.linspace(0, 10, 32) * np.ones((24, 1))
        over = render.error_overlay(RAMP * 0 + 0.5, error, np.ones_like(error), 10.0).astype(int)
        assert np.ptp(over[0, 0]) == 0
        assert np.ptp(over[0, -1]) > 50
        assert over[0, -1, 0] > over[0, -1, 2]

    def test_an_unknown_error_leaves_the_picture(self):
        over = render.error_overlay(RAMP, np.full(RAMP.shape, 9.0), np.zeros(RAMP.shape), 10.0)
        assert (over[..., 0] == over[..., 2]).all()


def test_a_mark_does_not_cover_the_center():
    marked = render.marked(np.zeros((41, 41), np.uint8))
    assert marked.any()
    assert not marked[17:24, 17:24].any()


@pytest.mark.parametrize(
    ("value", "expected"), [(13.0, 10), (16.0, 20), (0.034, 0.05), (7.5, 10), (1.0, 1), (340.0, 500)]
)
def test_the_closest_round_number_is_found(value, expected):
    assert render.nice(value) == pytest.approx(expected)
