"""The search over all translations, against known shifts."""

import numpy as np
import pytest
import torch

from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.translation_search import PEAK_RADIUS, translation_peaks

from ..conftest import Scene, centered

SHIFT = np.array([40.0, -30.0, 25.0])


@pytest.fixture(scope="module")
def level():
    """Two scans of one scene; the header of the moving one is off by `SHIFT`."""
    scene = Scene()
    fixed = scene.scan(centered((34, 30, 36), (3.6, 3.6, 3.6)))
    moving = scene.scan(
        centered((32, 28, 30), (3.8, 3.9, 4.3), center=(30.0, -20.0, 20.0)), lambda p: p - SHIFT, seed=1
    )
    return LinearLevel(*(prepare(v, mask=None, device=torch.device("cpu")) for v in (fixed, moving)), 20_000)


def test_the_right_translation_is_found_first(level):
    peak = translation_peaks(level, np.eye(4), 1)[0]
    np.testing.assert_array_equal(peak[:3, :3], np.eye(3))
    assert np.linalg.norm(peak[:3, 3] - SHIFT) < 1.5 * level.spacing


def test_the_translations_are_applied_before_the_given_mapping(level):
    given = np.diag([-1.0, -1.0, 1.0, 1.0])  # half a turn about z
    peaks = translation_peaks(level, given, 3)
    np.testing.assert_allclose([peak[:3, :3] for peak in peaks], [given[:3, :3]] * 3)


def test_no_two_translations_are_within_the_suppressed_distance(level):
    shifts = [peak[:3, 3] for peak in translation_peaks(level, np.eye(4), 4)]
    assert len(shifts) == 4
    for n, a in enumerate(shifts):
        for b in shifts[n + 1 :]:
            assert np.abs(a - b).max() > PEAK_RADIUS * level.spacing
