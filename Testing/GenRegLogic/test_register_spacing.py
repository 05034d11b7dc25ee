"""Transforms on a coarser grid than the fixed scan's."""

import dataclasses
import json

import numpy as np
import pytest

from GenRegLogic import evaluate, repair
from GenRegLogic.files import read_transform
from GenRegLogic.htmlreport import build_html
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.fieldgrid import field_grid
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume
from GenRegLogic.space.warp import warp_image

from .conftest import FIXED_GRID

QUICK = Settings(iterations=6, init="header", threads=1)
SPACING_MM = 6.0
COARSE_GRID = field_grid(FIXED_GRID, SPACING_MM)


@pytest.fixture(scope="module")
def full(pair):
    return register(pair.fixed, pair.moving, QUICK)


@pytest.fixture(scope="module")
def coarse(pair):
    return register(pair.fixed, pair.moving, dataclasses.replace(QUICK, transform_spacing_mm=SPACING_MM))


def test_the_transform_lies_on_the_coarser_grid(coarse):
    assert coarse.forward.geometry.is_close(COARSE_GRID)
    assert coarse.report["transform"]["size"] == list(COARSE_GRID.size)
    assert coarse.inverse().geometry.is_close(field_grid(coarse._moving.geometry, SPACING_MM))


def test_its_reported_error_is_its_distance_from_the_full_transform(coarse, full, pair):
    distance = np.linalg.norm(coarse.forward(pair.points) - full.forward(pair.points), axis=1)
    figures = coarse.report["transform"]
    assert figures["error_mean_mm"] == pytest.approx(distance.mean(), rel=0.3)
    assert distance.max() <= 1.05 * figures["error_max_mm"]
    assert any("differs from the full one" in note for note in coarse.report["notes"])


def test_without_a_coarser_grid_the_report_has_no_error(full):
    assert full.report["transform"]["size"] == list(FIXED_GRID.size)
    assert full.report["transform"]["error_max_mm"] is None
    assert not any("differs from the full one" in note for note in full.report["notes"])


def test_full_is_what_a_scan_of_usual_size_gets_anyway(full, pair):
    again = register(pair.fixed, pair.moving, dataclasses.replace(QUICK, transform_spacing_mm=0.0))
    np.testing.assert_array_equal(again.forward.array, full.forward.array)


def test_it_does_not_fold_on_its_own_grid_and_the_figures_are_of_that_grid(coarse):
    figures = jacobian_figures(coarse.forward)
    assert figures["ndv_pct"] == coarse.report["jacobian"]["ndv_pct"] == 0
    assert figures["min_det"] == coarse.report["jacobian"]["min_det"]


def test_the_warped_scan_lies_on_the_fixed_grid(coarse, pair):
    warped = coarse.warped()
    assert warped.geometry.is_close(pair.fixed.geometry)
    expected = warp_image(pair.moving, coarse.forward.resampled(pair.fixed.geometry), pair.fixed.geometry)
    assert np.abs(warped.array - expected.array).mean() < 0.01


def test_a_large_scan_gets_the_finest_transform_within_the_limit(pair, monkeypatch):
    monkeypatch.setattr("GenRegLogic.space.fieldgrid.MAX_FIELD_VOXELS", 20_000)
    result = register(pair.fixed, pair.moving, dataclasses.replace(QUICK, linear_only=True))
    assert 15_000 < np.prod(result.forward.geometry.size) <= 20_000
    assert np.prod(result.inverse().geometry.size) <= 20_000
    assert result.report["transform"]["error_max_mm"] < 0.01  # a linear mapping needs no fine grid


def test_rigid_bodies_keep_a_vector_for_every_voxel_unless_a_spacing_is_given(pair, monkeypatch):
    monkeypatch.setattr("GenRegLogic.space.fieldgrid.MAX_FIELD_VOXELS", 20_000)
    array = np.zeros(FIXED_GRID.shape, np.uint8)
    array[15:30, 12:26, 15:30] = 1
    labels = Volume(array, FIXED_GRID)
    for spacing, grid, strain_pct in ((None, FIXED_GRID, 0.5), (SPACING_MM, COARSE_GRID, 5.0)):
        settings = dataclasses.replace(QUICK, transform_spacing_mm=spacing)
        result = register(pair.fixed, pair.moving, settings, keep_rigid=labels)
        assert result.forward.geometry.is_close(grid)
        assert [body["label"] for body in result.report["rigid"]] == [1]
        assert result.report["rigid"][0]["residual_strain_pct"] < strain_pct


def test_it_is_saved_read_evaluated_and_shown(coarse, full, pair, tmp_path):
    paths = coarse.save(tmp_path)
    field = read_transform(paths["transform"])
    assert field.geometry.is_close(COARSE_GRID)
    assert json.loads(paths["report"].read_text())["transform"]["size"] == list(COARSE_GRID.size)
    figures = evaluate(pair.fixed, pair.moving, field)
    assert figures["lncc_after"] == pytest.approx(
        evaluate(pair.fixed, pair.moving, full.forward)["lncc_after"], abs=0.02
    )
    assert "<html" in build_html(pair.fixed, pair.moving, field, coarse.report)


def test_a_coarse_transform_is_repaired_on_its_own_grid(pair, coarse):
    center = np.array([12.0, -6.0, 8.0])

    def distance(grid):
        points = grid.to_world(np.argwhere(np.ones(grid.shape))[:, ::-1])
        return np.linalg.norm(points - center, axis=1).reshape(grid.shape)

    region = Volume((distance(FIXED_GRID) < 26).astype(np.uint8), FIXED_GRID)
    bump = 8 * np.exp(-(distance(COARSE_GRID) ** 2) / 162) * (distance(COARSE_GRID) < 24)
    wrong = DisplacementField(coarse.forward.array + bump[..., None] * (0.6, 0.0, 0.8), COARSE_GRID)
    settings = Settings(threads=1, transform_spacing_mm=SPACING_MM)
    result = repair(pair.fixed, pair.moving, wrong, region=region, settings=settings)
    inner = center + np.random.default_rng(0).normal(size=(200, 3)) * 4
    before, after = (np.linalg.norm(f(inner) - pair.truth(inner), axis=1).mean() for f in (wrong, result.forward))
    assert before > 5
    assert after < 2
    assert result.forward.geometry.is_close(COARSE_GRID)
    assert result.warped().geometry.is_close(FIXED_GRID)
    assert result.report["transform"]["size"] == list(COARSE_GRID.size)
    assert result.report["repair"]["outside_max_mm"] < 1e-3
