"""The scripts that measure trust: known motion, broken scans, what is recorded of a run, the fit and the judgment."""

import json

import numpy as np
import pytest

from GenRegLogic.quality.calibration import FLOOR, calibration
from GenRegLogic.quality.maps import confidence_on
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry

from ..GenRegLogic.conftest import FIXED_GRID, STRAIGHT_GRID, Scene, make_scene_pair
from .conftest import load_script


@pytest.fixture(scope="module")
def scans():
    return load_script("trust_scans.py")


@pytest.fixture(scope="module")
def runs():
    return load_script("trust_runs.py")


@pytest.fixture(scope="module")
def fitting():
    return load_script("trust_fit.py")


@pytest.fixture(scope="module")
def judge():
    return load_script("trust_judge.py")


@pytest.fixture(scope="module")
def scan():
    return Scene().scan(FIXED_GRID)


def sampled(volume, points):
    """Linearly interpolated, by the engine."""
    return np.array([confidence_on(volume, Geometry((2, 2, 2), (1e-3,) * 3, tuple(p))).array[0, 0, 0] for p in points])


class TestScans:
    def test_the_moving_scan_is_the_scan_after_the_known_motion(self, scans, scan):
        plain = scans.Difficulty(0.06, 0.3, 0.1, "same", 0.0, 0, 0.0, 40)
        fixed, moving, truth = scans.synthetic_pair(scan, plain, np.random.default_rng(0))
        points = Scene().points(300, depth=0.4)
        a, b = (sampled(volume, where) for volume, where in ((fixed, points), (moving, truth(points))))
        still = sampled(moving, points)
        assert np.corrcoef(a, b)[0, 1] > 0.97
        assert np.corrcoef(a, still)[0, 1] < 0.8

    @pytest.mark.parametrize("look", ["bent", "inverted", "mixed"])
    def test_every_look_is_finite_and_a_cut_shortens_the_scan(self, scans, scan, look):
        hard = scans.Difficulty(0.1, 0.6, 0.1, look, 0.05, 3, 0.2, 40)
        fixed, moving, _ = scans.synthetic_pair(scan, hard, np.random.default_rng(0))
        assert np.isfinite(moving.array).all()
        assert moving.array.shape[0] < fixed.array.shape[0]

    def test_equal_seeds_draw_equal_difficulties(self, scans):
        assert scans.draw_difficulty(np.random.default_rng(4)) == scans.draw_difficulty(np.random.default_rng(4))

    def test_a_mirrored_scan_keeps_its_header(self, scans, scan):
        other = scans.mirrored(scan, "x")
        assert other.geometry is scan.geometry
        np.testing.assert_array_equal(other.array[:, :, ::-1], scan.array)

    def test_a_scan_is_rotated_about_its_center(self, scans, scan):
        other = scans.placed(scan, np.array([0.0, 0, 1]), 90)
        np.testing.assert_allclose(other.geometry.center, scan.geometry.center, atol=1e-9)
        np.testing.assert_allclose(other.geometry.direction[:, 0], [0, 1, 0] @ np.eye(3), atol=1e-9)

    def test_shuffled_blocks_are_the_same_values(self, scans, scan):
        other = scans.shuffled(scan, 4)
        n = [4 * (size // 4) for size in scan.array.shape]
        kept = scan.array[: n[0], : n[1], : n[2]]
        np.testing.assert_array_equal(np.sort(other.array.ravel()), np.sort(kept.ravel()))
        assert not np.array_equal(other.array, kept)

    def test_the_ends_of_a_scan_keep_their_places(self, scans, scan):
        axis = int(np.argmax(scan.geometry.extent_mm))
        for first in (True, False):
            part = scans.end_of(scan, 0.4, first=first)
            corner = scan.geometry.to_index(np.array([part.geometry.origin]))[0]
            expected = np.zeros(3)
            expected[axis] = 0 if first else scan.geometry.size[axis] - part.geometry.size[axis]
            np.testing.assert_allclose(corner, expected, atol=1e-6)
            assert part.geometry.size[axis] == int(0.4 * scan.geometry.size[axis])

    def test_a_much_smaller_scan_is_enlarged_to_the_size_of_the_other(self, scans, scan):
        grid = scan.geometry
        spacing = tuple(s / 10 for s in grid.spacing)
        small = type(scan)(scan.array, Geometry(grid.size, spacing, grid.origin, grid.direction))
        enlarged = scans.scaled_like(small, scan)
        np.testing.assert_allclose(enlarged.geometry.extent_mm, grid.extent_mm)
        assert scans.scaled_like(scan, scan) is scan


class TestRuns:
    @pytest.fixture(scope="class")
    @classmethod
    def observed(cls, runs):
        pair = make_scene_pair(FIXED_GRID, STRAIGHT_GRID)
        settings = Settings(iterations=3, init="header", threads=1)
        return pair, *runs.observe(pair.fixed, pair.moving, settings)

    def test_a_stored_run_is_read_back_unchanged(self, runs, tmp_path):
        kept = runs.Observations(tmp_path)
        kept.put("a-1", {"x": np.arange(3)}, report={"seconds": 1.5}, scan="a")
        arrays, about = kept.get("a-1")
        np.testing.assert_array_equal(arrays["x"], [0, 1, 2])
        assert about == {"name": "a-1", "report": {"seconds": 1.5}, "scan": "a"}
        assert kept.names() == ["a-1"]

    def test_the_recorded_signs_of_a_run_give_its_expected_error(self, runs, fitting, observed, tmp_path):
        pair, arrays, report, result, _ = observed
        kept = runs.Observations(tmp_path / "runs")
        kept.put("a", runs.with_truth(arrays, result.forward, pair.truth, None), report=report, scan="a", group="known")
        (drawn,) = runs.read_samples(tmp_path)
        found, error = fitting.known_errors(drawn)
        assert len(error) == drawn.inside.sum()
        mean = fitting.predicted(drawn, found).mean()
        assert mean == pytest.approx(report["confidence"]["mean_mm"], rel=0.15)

    def test_a_recorded_registration_leads_where_it_led(self, runs, observed):
        _, arrays, _, result, _ = observed
        grid = runs.grid_of(arrays)
        points = grid.to_world(np.array([[8, 9, 7], [10, 6, 9], [7, 7, 8]], float))
        np.testing.assert_allclose(runs.mapped(arrays, points), result.forward(points), atol=0.5)

    def test_a_damaged_field_is_off_by_what_is_recorded(self, runs, observed):
        _, arrays, report, _, kept = observed
        for _kind, spoiled, judged in runs.damaged(kept, report, seed=1):
            moved = np.linalg.norm(runs.mapped(spoiled) - runs.mapped(arrays), axis=1)
            body = arrays["weight"].ravel() > 0
            np.testing.assert_allclose(moved[body], spoiled["error"].ravel()[body], rtol=0.02, atol=0.05)
            assert moved[body].mean() > 2 * 2.0  # more than two of its tolerances of 2 mm or more
            assert judged["similarity"]["after"]["lncc"] < report["similarity"]["after"]["lncc"]


def drawn_sample(runs, scan, powers, *, count=600, spread=0.3, seed=0, group="known", **facts):
    """A run whose error is a product of powers of its signs, and a random factor."""
    random = np.random.default_rng(seed)
    names = ("back_near", "back_wide", "followed_near", "followed_wide", "pull", "motion", "strain")
    found = {name: random.lognormal(-1, 0.8, count) for name in names}
    product = np.prod([(found[name] + FLOOR) ** power for name, power in powers.items()], axis=0)
    error = (0.8 * product * random.lognormal(0, spread, count) - FLOOR).clip(0)
    medians = {f"median_{name}": np.median(value) for name, value in found.items()}
    about = {"scan": scan, "group": group, "report": {}, **facts}
    grid = Geometry((10, 10, 10), (3.0,) * 3)
    return runs.Sample(f"{scan}-{seed}", about, grid, 1.0, found | medians, np.ones(count, bool), error, None)


POWERS = {"back_near": 0.5, "pull": 0.2, "followed_wide": 0.2}


class TestFit:
    SIGNS = (("back_near", "back_wide", "followed_wide", "pull", "motion"),) * 2

    def test_known_powers_and_their_spread_are_found(self, fitting, runs):
        samples = [drawn_sample(runs, f"s{n}", POWERS, seed=n) for n in range(4)]
        fitted = fitting.fit(samples, self.SIGNS)
        for name, power in POWERS.items():
            assert fitted.powers[0][name] == pytest.approx(power, abs=0.06)
        assert fitted.spread == pytest.approx(0.3, abs=0.05)

    def test_signs_with_a_negative_power_are_left_out(self, fitting, runs):
        fitted = fitting.fit([drawn_sample(runs, "s", {"back_near": 0.5, "pull": -0.4})], self.SIGNS)
        assert "pull" not in fitted.powers[0]

    def test_the_fit_for_a_scan_has_not_seen_it(self, fitting, runs):
        others = [drawn_sample(runs, f"s{n}", POWERS, seed=n) for n in range(3)]
        odd = drawn_sample(runs, "odd", {"motion": 2.0}, seed=9)
        fits = fitting.held_out([*others, odd], self.SIGNS)
        assert fits[odd.families].powers == fitting.fit(others, self.SIGNS).powers
        assert fits[others[0].families].powers != fitting.fit([others[1], others[2]], self.SIGNS).powers

    def test_the_fit_for_a_pair_has_seen_no_other_pair_of_the_same_subjects(self, fitting, runs):
        others = [drawn_sample(runs, f"s{n}", POWERS, seed=n) for n in range(3)]
        names = ("brain_t1_t2_warp", "brain_t1_us_warp")
        head = [drawn_sample(runs, name, {"motion": 2.0}, seed=9 + n) for n, name in enumerate(names)]
        fits = fitting.held_out([*others, *head], self.SIGNS)
        assert fits[head[0].families].powers == fitting.fit(others, self.SIGNS).powers

    def test_the_fit_for_unlike_scans_has_seen_neither(self, fitting, runs):
        samples = [drawn_sample(runs, f"s{n}", POWERS, seed=n) for n in range(4)]
        unlike = drawn_sample(runs, "s0", POWERS, seed=7, group="unlike", other="s1")
        fits = fitting.held_out([*samples, unlike], self.SIGNS)
        assert fits[unlike.families].powers == fitting.fit(samples[2:], self.SIGNS).powers

    def test_anatomical_differences_are_no_errors(self, fitting, runs):
        sample = drawn_sample(runs, "brain_mni_colin_afids", POWERS, count=32)
        marks = {name: value for name, value in sample.evidence.items() if not name.startswith("median_")}
        sample = runs.Sample(**{**vars(sample), "error": None, "landmarks": (marks, np.arange(32.0))})
        assert set(range(32)) - set(fitting.known_errors(sample)[1]) == {28, 29}


class TestJudgment:
    def test_a_hopeless_run_is_broken_and_a_good_one_is_not(self, judge, runs, fitting):
        good = drawn_sample(runs, "s", {"back_near": 1.0})
        grid = Geometry((100, 100, 100), (1.0,) * 3).to_dict()
        report = {"inputs": {"fixed": grid, "moving": grid}, "similarity": None}
        rows = [
            judge.judgment(
                runs.Sample(**{**vars(good), "about": {"scan": "s", "group": group, "report": report}}),
                calibration(),
                None,
            )
            for group in ("known", "unlike")
        ]
        assert [row["broken"] for row in rows] == [False, True]
        assert all(row["status"] == "check" for row in rows)  # nothing but the expected error was measured

    def test_the_page_names_every_broken_run_that_was_trusted(self, judge):
        content = json.loads(json.dumps(CONTENT))
        assert "**1 of 2** broken results are called trustworthy (bad-1)" in judge.to_markdown(content)


CONTENT = {
    "runs": 3,
    "created": "2026-01-01",
    "command": "scripts/trust",
    "commit": "abc",
    "spread": 0.5,
    "coverage": {"known": 0.95},
    "coverage_all": 0.95,
    "rank_known": 0.6,
    "landmarks": [],
    "good": 1,
    "trusted_good": 1,
    "broken": 2,
    "trusted_broken": ["bad-1"],
    "groups": [],
    "rows": [],
}
