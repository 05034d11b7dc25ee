"""Local repair: an error in a region is corrected, and nothing else changes."""

import dataclasses

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.register import register
from GenRegLogic.repair import repair
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume

from .conftest import FIXED_GRID, stored_otherwise

SETTINGS = Settings(threads=1)
CENTER, WIDTH, DEPTH, INJECTED_MM = np.array([12.0, -6.0, 8.0]), 9.0, 26.0, 8.0


def centers(geometry):
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1))


def ball(geometry=FIXED_GRID, radius=DEPTH, center=CENTER):
    return Volume((np.linalg.norm(centers(geometry) - center, axis=-1) < radius).astype(np.uint8), geometry)


def broken(field, direction=(0.6, 0.0, 0.8), injected_mm=INJECTED_MM):
    """The field with a smooth local error in the ball."""
    distance = np.linalg.norm(centers(field.geometry) - CENTER, axis=-1)
    bump = injected_mm * np.exp(-(distance**2) / (2 * WIDTH**2)) * (distance < DEPTH)
    return DisplacementField(field.array + bump[..., None] * np.array(direction), field.geometry)


def inner(count=200):
    return CENTER + np.random.default_rng(0).normal(size=(count, 3)) * 4.0


def error(pair, field):
    return float(np.linalg.norm(field(inner()) - pair.truth(inner()), axis=1).mean())


@pytest.fixture(scope="module")
def wrong(registered):
    return broken(registered.forward)


@pytest.fixture(scope="module")
def repaired(pair, wrong):
    return repair(pair.fixed, pair.moving, wrong, region=ball(), settings=SETTINGS)


class TestRegion:
    def test_an_injected_error_is_corrected(self, pair, wrong, repaired):
        assert error(pair, wrong) > 5
        assert error(pair, repaired.forward) < 1.5

    def test_the_field_outside_the_region_is_bit_identical(self, wrong, repaired):
        outside = ball().array == 0
        np.testing.assert_array_equal(repaired.forward.array[outside], wrong.rounded().array[outside])
        assert repaired.report["repair"]["outside_max_mm"] < 0.1

    def test_a_repaired_field_does_not_fold(self, repaired):
        assert jacobian_figures(repaired.forward)["ndv_pct"] == 0
        assert repaired.report["jacobian"]["ndv_pct"] == 0

    def test_repairing_a_good_transform_keeps_its_accuracy(self, pair, registered):
        again = repair(pair.fixed, pair.moving, registered.forward, region=ball(), settings=SETTINGS)
        assert error(pair, again.forward) < error(pair, registered.forward) + 0.3

    def test_the_repair_does_not_depend_on_the_axis_order_of_the_scan(self, pair, wrong, repaired):
        fixed = stored_otherwise(pair.fixed)
        again = repair(fixed, pair.moving, wrong, region=ball(), settings=SETTINGS)
        np.testing.assert_allclose(again.forward(inner()), repaired.forward(inner()), atol=0.02)

    def test_without_iterations_the_field_is_only_rounded(self, pair, wrong):
        settings = dataclasses.replace(SETTINGS, iterations=0)
        result = repair(pair.fixed, pair.moving, wrong, region=ball(), settings=settings)
        np.testing.assert_array_equal(result.forward.array, wrong.rounded().array)

    def test_a_field_that_folds_in_the_region_is_unfolded(self, pair, registered):
        folded = broken(registered.forward, injected_mm=30.0)
        assert jacobian_figures(folded)["folds_pct"] > 0
        result = repair(pair.fixed, pair.moving, folded, region=ball(), settings=SETTINGS)
        assert jacobian_figures(result.forward)["ndv_pct"] == 0

    def test_folds_outside_the_region_are_kept_and_mentioned(self, pair, registered):
        array = registered.forward.array.copy()
        place = (12, 18, 20)
        array[place] += 40.0
        center = FIXED_GRID.to_world(np.array(place[::-1]) + (8, 0, 0))
        region = ball(radius=15.0, center=center)
        assert region.array[place] == 0
        result = repair(pair.fixed, pair.moving, DisplacementField(array, FIXED_GRID), region=region, settings=SETTINGS)
        np.testing.assert_allclose(result.forward.array[place], array[place], atol=0.01)
        assert result.report["jacobian"]["ndv_pct"] > 0
        assert result.report["verdict"]["status"] == "failed"
        assert any("could not mend" in sentence for sentence in result.report["warnings"])


class TestLandmarks:
    def test_one_pair_of_landmarks_corrects_its_surroundings(self, pair, wrong):
        result = repair(
            pair.fixed,
            pair.moving,
            wrong,
            fixed_landmarks=CENTER,
            moving_landmarks=pair.truth(CENTER[None]),
            settings=SETTINGS,
        )
        assert result.report["landmarks"]["tre_before_mm"] > 6
        assert result.report["landmarks"]["tre_after_mm"] < 1.0
        assert error(pair, result.forward) < 1.5
        assert result.report["jacobian"]["ndv_pct"] == 0

    def test_the_field_far_from_the_landmarks_is_unchanged(self, pair, wrong):
        points = inner(3)
        result = repair(
            pair.fixed,
            pair.moving,
            wrong,
            fixed_landmarks=points,
            moving_landmarks=pair.truth(points),
            settings=SETTINGS,
        )
        far = np.linalg.norm(centers(FIXED_GRID) - CENTER, axis=-1) > 60
        np.testing.assert_array_equal(result.forward.array[far], wrong.rounded().array[far])

    def test_landmarks_of_one_scan_alone_are_refused(self, pair, wrong):
        with pytest.raises(InputError, match="Landmarks of both"):
            repair(pair.fixed, pair.moving, wrong, fixed_landmarks=inner(3))


class TestResult:
    def test_the_inverse_consistency_error_is_small_in_the_region(self, repaired):
        error = np.linalg.norm(repaired.inverse()(repaired.forward(inner())) - inner(), axis=1)
        assert error.mean() < 0.2

    def test_the_warped_scan_lies_on_the_fixed_grid(self, pair, repaired):
        assert repaired.warped().geometry.is_close(pair.fixed.geometry)

    def test_the_report_has_the_figures_of_the_repair(self, repaired):
        figures = repaired.report["repair"]
        assert figures["region_ml"] == pytest.approx(4 / 3 * np.pi * 2.6**3, rel=0.1)
        assert figures["moved_max_mm"] > 4
        assert figures["similarity"]["after"]["lncc"] > figures["similarity"]["before"]["lncc"]
        assert [stage["name"] for stage in repaired.report["stages"]] == ["prepare", "refine", "finish"]

    def test_the_repaired_transform_is_judged_by_its_expected_error(self, pair, wrong, repaired):
        judged = [
            repair(pair.fixed, pair.moving, field, region=ball(radius=6.0), settings=Settings(iterations=0, threads=1))
            for field in (wrong, repaired.forward)
        ]
        at = [result.expected_error().array[ball(radius=6.0).array > 0].mean() for result in judged]
        assert at[0] > 2 * at[1] > 0
        assert repaired.report["confidence"]["judged_share"] > 0.9

    def test_the_report_of_a_registration_has_no_figures_of_a_repair(self, registered):
        assert registered.report["repair"] is None


class TestRefused:
    @pytest.mark.parametrize(
        ("region", "sentence"),
        [
            (None, "Nothing says where"),
            (Volume(np.zeros(FIXED_GRID.shape), FIXED_GRID), "region to refine is empty"),
            (Volume(np.ones((5, 5, 5)), Geometry((5, 5, 5), origin=(900.0, 0, 0))), "does not lie over"),
            (ball(radius=3.0), "only a few voxels"),
        ],
    )
    def test_an_unusable_region_is_refused(self, pair, wrong, region, sentence):
        with pytest.raises(InputError, match=sentence):
            repair(pair.fixed, pair.moving, wrong, region=region, settings=SETTINGS)

    def test_a_region_that_is_mapped_outside_the_moving_scan_is_refused(self, pair):
        away = DisplacementField(np.full((*FIXED_GRID.shape, 3), 900.0), FIXED_GRID)
        with pytest.raises(InputError, match="leads outside"):
            repair(pair.fixed, pair.moving, away, region=ball(), settings=SETTINGS)


class TestRun:
    def test_the_progress_rises_through_all_stages_to_one_with_the_current_field(self, pair, wrong):
        told = []
        repair(pair.fixed, pair.moving, wrong, region=ball(), settings=SETTINGS, on_progress=told.append)
        assert list(dict.fromkeys(p.stage for p in told)) == ["prepare", "refine", "finish"]
        fractions = [p.fraction for p in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1.0)
        shown = next(p.field() for p in reversed(told) if p.objective is not None)
        assert np.linalg.norm(shown(inner()) - wrong(inner()), axis=1).max() > 2

    def test_abort_ends_the_repair(self, pair, wrong):
        with pytest.raises(Cancelled):
            repair(pair.fixed, pair.moving, wrong, region=ball(), settings=SETTINGS, cancel=lambda: "abort")

    def test_keep_returns_the_current_field_without_folds(self, pair, wrong):
        result = repair(pair.fixed, pair.moving, wrong, region=ball(), settings=SETTINGS, cancel=lambda: "keep")
        assert result.report["stopped_early"]
        assert jacobian_figures(result.forward)["ndv_pct"] == 0


def test_a_rigid_body_outside_the_region_stays_unchanged(pair):
    labels = ball(radius=10.0, center=np.array([-30.0, 10.0, 0.0]))
    settings = Settings(iterations=4, init="header", threads=1)
    first = register(pair.fixed, pair.moving, settings, keep_rigid=labels)
    second = repair(pair.fixed, pair.moving, first.forward, region=ball(), settings=settings)
    inside = labels.array > 0
    np.testing.assert_array_equal(second.forward.array[inside], first.forward.array[inside])
