"""The figures of a run's report are those of its result."""

import json

import numpy as np
import pytest

from GenRegLogic.quality.measure import foreground, inverse_error
from GenRegLogic.quality.verdict import default_tolerance
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.jacobian import jacobian_figures


def test_the_report_is_plain_json(registered):
    assert json.loads(json.dumps(registered.report, allow_nan=False)) == registered.report


def test_the_report_has_geometries_settings_and_linear_part(registered, pair):
    report = registered.report
    assert report["inputs"]["fixed"] == pair.fixed.geometry.to_dict()
    assert report["inputs"]["moving"] == pair.moving.geometry.to_dict()
    assert report["settings"]["init"] == "auto"
    assert isinstance(report["settings"]["iterations"], int)
    np.testing.assert_allclose(report["linear_matrix"], registered.linear.matrix)


def test_the_jacobian_figures_are_those_of_the_field_in_the_foreground(registered, pair):
    expected = jacobian_figures(registered.forward, mask=foreground(pair.fixed))
    assert registered.report["jacobian"] == pytest.approx(expected)


def test_the_inverse_consistency_error_is_that_of_the_inverse(registered, pair):
    points = pair.points
    points = points[pair.moving.geometry.contains(registered.forward(points))]
    mean = inverse_error(registered.forward, registered.inverse(), points=points).mean_mm
    assert registered.report["inverse_error"]["mean_mm"] == pytest.approx(mean, abs=0.05)
    assert registered.report["inverse_error"]["mean_mm"] <= 0.1


def test_both_similarities_are_higher_after_the_registration(registered):
    before, after = (registered.report["similarity"][when] for when in ("before", "after"))
    assert after["nmi"] > before["nmi"]
    assert after["lncc"] > before["lncc"]


def test_the_figures_of_the_expected_error_are_ordered_and_name_its_grid(registered):
    figures = registered.report["confidence"]
    assert 0 < figures["median_mm"] < figures["p90_mm"] < figures["p95_mm"]
    assert figures["median_mm"] < figures["mean_mm"] < figures["p95_mm"]
    assert figures["grid_mm"] == registered.confidence.geometry.spacing[0]


def test_the_95th_percentile_of_the_expected_error_exceeds_the_median_true_error(registered, pair):
    assert registered.report["confidence"]["p95_mm"] > np.median(pair.error(registered.forward))


def test_the_tolerance_that_was_set_is_judged_by(registered, pair):
    settings = Settings(iterations=0, init="header", kind="affine", tolerance_mm=0.5, threads=1)
    figures = register(pair.fixed, pair.moving, settings).report["confidence"]
    assert figures["tolerance_mm"] == 0.5
    assert figures["within_share"] < 0.3
    assert registered.report["confidence"]["tolerance_mm"] == default_tolerance(
        pair.fixed.geometry, pair.moving.geometry
    )


def test_the_stages_are_listed_in_order_and_their_times_add_up(registered):
    assert [s["name"] for s in registered.report["stages"]] == ["prepare", "linear", "propose", "refine", "finish"]
    total = sum(s["seconds"] for s in registered.report["stages"])
    assert registered.report["seconds"] == pytest.approx(total)


def test_the_objective_falls_at_the_finest_level(registered):
    history = registered.report["objective"]
    finest = [each["objective"] for each in history if each["level"] == history[-1]["level"]]
    assert finest[-1] < 0.9 * finest[0]


def test_the_notes_name_the_linear_start_and_the_proposal(registered):
    assert "Linear start: " in registered.report["notes"][-1]
    assert "Proposal: " in registered.report["notes"][-1]


def test_scores_and_names_of_parts_are_marked_as_details_for_programs(registered):
    (start,) = registered.report["details"]
    assert start == registered.report["notes"][-1]


def test_a_good_registration_is_trustworthy_and_the_reasons_say_why(registered):
    assert registered.report["verdict"]["status"] == "trustworthy"
    assert "The two scans match better than before." in registered.report["verdict"]["reasons"]


def test_the_map_of_the_expected_error_covers_the_body(registered, pair):
    assert registered.confidence.geometry.contains(pair.points).all()
    index = np.rint(registered.confidence.geometry.to_index(pair.points)).astype(int)
    assert (registered.confidence.array[tuple(index.T[::-1])] > 0).all()
