"""The error of a displacement field on a coarser grid."""

import numpy as np
import pytest
import torch

from GenRegLogic.quality.spacing import sampling_error, transform_figures
from GenRegLogic.space.fieldgrid import field_grid
from GenRegLogic.space.split import with_linear
from GenRegLogic.stages.prepare import mask_on, prepare

from ..conftest import LINEAR, working_field

CPU = torch.device("cpu")
ERRORS = ("error_mean_mm", "error_p95_mm", "error_max_mm")


@pytest.fixture
def sampled(stored, make_field, make_volume):
    """A prepared scan, a field before its linear part, and the transform on a grid of twice the scan's spacing."""
    field = working_field(stored, make_field)
    grid = field_grid(stored, 2 * max(stored.spacing))
    return stored, prepare(make_volume(stored), mask=None, device=CPU), field, with_linear(field, LINEAR, grid)


def test_the_error_is_the_distance_from_the_full_field_in_the_body(sampled, monkeypatch):
    _, fixed, field, forward = sampled
    monkeypatch.setattr("GenRegLogic.quality.spacing.SLAB_VOXELS", 2000)
    full = with_linear(field, LINEAR, fixed.image.geometry)
    inside = mask_on(fixed, full.geometry).numpy() > 0
    distance = np.linalg.norm(forward.resampled(full.geometry).array - full.array, axis=-1)[inside]
    figures = sampling_error(fixed, forward, field, LINEAR)
    assert figures["error_mean_mm"] == pytest.approx(distance.mean(), rel=1e-3)
    assert figures["error_p95_mm"] == pytest.approx(np.percentile(distance, 95), rel=0.03)
    assert figures["error_max_mm"] == pytest.approx(distance.max(), rel=1e-3)


def test_the_figures_name_the_grid_of_the_transform(sampled):
    scan, fixed, field, forward = sampled
    figures = transform_figures(scan, fixed, forward, field, LINEAR)
    assert figures["size"] == list(forward.geometry.size)
    assert figures["spacing_mm"] == list(forward.geometry.spacing)
    assert 0 < figures["error_mean_mm"] <= figures["error_p95_mm"] <= figures["error_max_mm"]


def test_on_the_scans_own_grid_there_is_no_error_to_measure(sampled):
    scan, fixed, field, _ = sampled
    figures = transform_figures(scan, fixed, with_linear(field, LINEAR, scan), field, LINEAR)
    assert [figures[name] for name in ERRORS] == [None, None, None]


def test_without_the_field_behind_it_a_coarser_transform_has_no_error(sampled):
    scan, fixed, _, forward = sampled
    figures = transform_figures(scan, fixed, forward)
    assert [figures[name] for name in ERRORS] == [None, None, None]
