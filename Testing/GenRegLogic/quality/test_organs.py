"""Figures of regions, compared with known shapes and a field with a known Jacobian determinant."""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.quality.organs import determinants_in, overlap, volume_change
from GenRegLogic.space.geometry import Geometry

TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRID = Geometry((40, 44, 36), (1.5, 1.0, 2.0), (3.0, -4.0, 5.0), TURNED)
LINEAR = np.array([[1.1, 0.05, 0.0], [0.0, 0.9, 0.02], [0.03, 0.0, 1.2]])


def points(geometry):
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], -1).reshape(-1, 3)).reshape(*geometry.shape, 3)


def ball(center=(0.0, 0.0, 0.0), radius=14.0):
    return np.linalg.norm(points(GRID) - GRID.center - center, axis=-1) < radius


def test_a_region_overlaps_itself_completely():
    same = overlap(ball(), ball(), GRID.spacing)
    assert (same.dice, same.mean_mm, same.hd95_mm) == (1.0, 0.0, 0.0)


def test_the_surfaces_of_concentric_balls_have_the_distance_of_their_radii():
    both = overlap(ball(radius=10.0), ball(radius=15.0), GRID.spacing)
    assert both.mean_mm == pytest.approx(5.0, abs=0.8)
    assert both.hd95_mm == pytest.approx(5.0, abs=1.5)


def test_dice_agrees_with_simpleitk():
    a, b = ball(), ball((3.0, 0.0, 0.0))
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*images)
    assert overlap(a, b, GRID.spacing).dice == pytest.approx(measure.GetDiceCoefficient())


def test_distances_to_an_empty_region_are_nan_and_dice_is_zero():
    empty = overlap(ball(), np.zeros_like(ball()), GRID.spacing)
    assert np.isnan([empty.mean_mm, empty.hd95_mm]).all()
    assert empty.dice == 0.0


def test_the_volume_change_of_a_linear_mapping_is_its_determinant_on_rotated_axes():
    field = ((points(GRID) - GRID.center) @ (LINEAR - np.eye(3)).T).astype(np.float32)
    change = volume_change(ball(), GRID, field, GRID)
    assert change.moving_ml / change.fixed_ml == pytest.approx(np.linalg.det(LINEAR), rel=1e-4)
    assert change.least == pytest.approx(change.most, rel=1e-3)
    assert change.change_pct == pytest.approx(100 * (1 / np.linalg.det(LINEAR) - 1), rel=1e-3)
    assert change.folded_pct == 0


def test_determinants_agree_with_simpleitk():
    grid = Geometry(GRID.size, GRID.spacing, GRID.origin)
    p = points(grid) / 15.0
    field = (2.0 * np.stack([np.sin(p[..., 1]), np.cos(p[..., 2]), np.sin(p[..., 0])], -1)).astype(np.float32)
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing(grid.spacing)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image, True))
    box = (slice(5, 30), slice(5, 40), slice(5, 35))
    np.testing.assert_allclose(determinants_in(box, grid, field, grid), expected[box], rtol=1e-3)
