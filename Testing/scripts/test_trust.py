"""The scripts that calibrate the expected error and break registrations on purpose."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from GenRegLogic.quality import confidence
from GenRegLogic.quality.maps import confidence_on
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from ..GenRegLogic.conftest import FIXED_GRID, STRAIGHT_GRID, Scene, make_scene_pair
from .conftest import load_script


@pytest.fixture(scope="module")
def trusting():
    return load_script("trusting.py")


@pytest.fixture(scope="module")
def calibrate():
    return load_script("calibrate_confidence")


@pytest.fixture(scope="module")
def broken():
    return load_script("broken_runs")


@pytest.fixture(scope="module")
def scan():
    return Scene().scan(FIXED_GRID)


@dataclasses.dataclass
class Drawn:
    evidence: dict
    error: np.ndarray


def draw(powers, count=4000, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    found = {name: random.lognormal(-1, 0.8, count) for name in ("near", "wide", "pull", "motion")}
    product = np.prod([(found[name] + 0.05) ** power for name, power in powers.items()], axis=0)
    return Drawn(found, 0.8 * product * random.lognormal(0, noise, count))


class TestFit:
    def test_known_powers_are_found(self, calibrate):
        truth = {"near": 0.5, "wide": 0.3, "pull": 0.1, "motion": 0.2}
        _, powers = calibrate.fit([draw(truth), draw(truth, seed=1)])
        assert powers == pytest.approx(truth, abs=0.1)  # the floor on errors bends it a little

    def test_evidence_with_a_negative_power_is_left_out(self, calibrate):
        _, powers = calibrate.fit([draw({"near": 0.5, "pull": -0.4})])
        assert "pull" not in powers
        assert min(powers.values()) >= 0

    def test_the_mean_expected_error_equals_the_mean_error(self, calibrate):
        drawn = draw({"near": 0.6, "wide": 0.4})
        guess = calibrate.predict(drawn.evidence, *calibrate.fit([drawn]), floor=False)
        assert guess.mean() == pytest.approx(drawn.error.mean(), rel=0.1)

    def test_the_engine_predicts_the_same_error(self, calibrate, trusting):
        found = draw({"near": 1.0}).evidence
        ours = calibrate.predict(found, confidence.SCALE, confidence.POWERS)
        np.testing.assert_allclose(trusting.predicted(found), ours, rtol=1e-5)


class TestSyntheticPairs:
    def test_the_moving_scan_is_the_scan_after_the_known_motion(self, trusting, scan):
        plain = trusting.Difficulty(0.06, 0.3, 0.1, "same", 0.0, 0, 0.0, 40)
        fixed, moving, truth = trusting.synthetic_pair(scan, plain, np.random.default_rng(0))
        points = Scene().points(300, depth=0.4)
        a, b = (sampled(volume, where) for volume, where in ((fixed, points), (moving, truth(points))))
        still = sampled(moving, points)
        assert np.corrcoef(a, b)[0, 1] > 0.97
        assert np.corrcoef(a, still)[0, 1] < 0.8

    @pytest.mark.parametrize("look", ["bent", "inverted", "mixed"])
    def test_every_look_is_finite_and_a_cut_shortens_the_scan(self, trusting, scan, look):
        hard = trusting.Difficulty(0.1, 0.6, 0.1, look, 0.05, 3, 0.2, 40)
        fixed, moving, _ = trusting.synthetic_pair(scan, hard, np.random.default_rng(0))
        assert np.isfinite(moving.array).all()
        assert moving.array.shape[0] < fixed.array.shape[0]

    def test_equal_seeds_draw_equal_difficulties(self, trusting):
        assert trusting.draw_difficulty(np.random.default_rng(4)) == trusting.draw_difficulty(np.random.default_rng(4))


def sampled(volume, points):
    """Linearly interpolated, by the engine."""
    return np.array([confidence_on(volume, Geometry((2, 2, 2), (1e-3,) * 3, tuple(p))).array[0, 0, 0] for p in points])


class TestObservations:
    def test_a_stored_run_is_read_back_unchanged(self, trusting, tmp_path):
        kept = trusting.Observations(tmp_path)
        kept.put("a-1", {"x": np.arange(3)}, {"seconds": 1.5}, scan="a")
        arrays, about = kept.get("a-1")
        np.testing.assert_array_equal(arrays["x"], [0, 1, 2])
        assert about == {"name": "a-1", "report": {"seconds": 1.5}, "scan": "a"}
        assert kept.names() == ["a-1"]

    def test_the_recorded_evidence_of_a_run_gives_its_expected_error(self, trusting, tmp_path):
        pair = make_scene_pair(FIXED_GRID, STRAIGHT_GRID)
        settings = Settings(iterations=3, init="header", threads=1)
        arrays, report = trusting.observe(pair.fixed, pair.moving, settings, truth=pair.truth)
        kept = trusting.Observations(tmp_path / "runs")
        kept.put("a", arrays, report, scan="a")
        drawn = trusting.sample(kept, "a", tmp_path / "samples")
        median = float(np.median(trusting.predicted(drawn.evidence))) * drawn.spacing
        assert median == pytest.approx(report["confidence"]["median_mm"], rel=0.15)
        assert len(drawn.error) == len(drawn.evidence["near"])


class TestBreaking:
    def test_a_mirrored_scan_keeps_its_header(self, broken, scan):
        other = broken.mirrored(scan, "x")
        assert other.geometry is scan.geometry
        np.testing.assert_array_equal(other.array[:, :, ::-1], scan.array)

    def test_a_scan_is_rotated_about_its_center(self, broken, scan):
        other = broken.placed(scan, (0, 0, 90), (0.5, 0, 0))
        shift = other.geometry.center - scan.geometry.center
        np.testing.assert_allclose(shift, [0.5 * scan.geometry.extent_mm[0], 0, 0], atol=1e-6)

    def test_shuffling_blocks_preserves_the_values(self, broken):
        values = np.random.default_rng(0).normal(size=(12, 8, 16)).astype(np.float32)
        other = broken.shuffled(Volume.from_array(values, spacing=(1, 1, 1)), 4)
        assert not np.array_equal(other.array, values)
        np.testing.assert_array_equal(np.sort(other.array, axis=None), np.sort(values, axis=None))

    def test_an_injected_fold_is_counted_as_folding(self, broken):
        still = DisplacementField(np.zeros((*FIXED_GRID.shape, 3), np.float32), FIXED_GRID)
        assert broken.injected_fold(SimpleNamespace(forward=still))["jacobian"]["folds_pct"] > 0

    def test_there_are_at_least_forty_broken_cases_with_unique_names(self, broken):
        cases = broken.broken_cases(None, None)
        assert len({case.name for case in cases}) == len(cases)
        assert sum(case.kind != broken.SYMMETRIC for case in cases) >= 40
