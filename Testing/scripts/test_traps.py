"""The phantom with traps in it."""

import numpy as np
import pytest

from GenRegLogic.phantom.scans import sampled_flow
from GenRegLogic.space.volume import Volume
from GenRegLogic.space.warp import warp_image

from .conftest import load_script


@pytest.fixture(scope="module")
def traps():
    module = load_script("traps")
    module.COARSENESS = 3.0
    return module


@pytest.fixture(scope="module")
def pair(traps):
    return traps.Pair()


def test_the_moving_torso_is_the_fixed_one_after_the_motion(pair):
    def difference(motion):
        back = warp_image(Volume(pair.moving, pair.geometry), sampled_flow(motion, pair.geometry), pair.geometry)
        return np.abs(back.array - pair.fixed).mean()

    unmoved = np.abs(pair.moving - pair.fixed).mean()
    assert difference(pair.motion) < 0.7 * unmoved < unmoved < difference(pair.motion.inverse())


def test_every_trap_changes_the_pair_and_is_in_the_table(traps, pair):
    cases = dict(traps.traps(pair))
    assert next(iter(cases)) == "none"
    assert len(cases) == 10
    errors, status = cases["equal scans"](1)
    assert errors.max() < 0.01
    assert status in ("trustworthy", "check", "failed")
    row = {"noise_factor": 3.0, "trap": "metal", "mean_mm": 1.5, "max_mm": 6.0, "ratio": 1.05, "verdict": status}
    page = traps.to_markdown([row], {"created": "2026-11-26", "command": "scripts/traps", "commit": "abc"})
    assert "| 3 | metal | 1.50 | 6.0 | 1.05 |" in page
