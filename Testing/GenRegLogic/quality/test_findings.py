"""The figures of a run's report are those of its result."""

import json

import numpy as np
import pytest

from GenRegLogic.quality.measure import foreground, inverse_error
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume


def test_the_report_is_plain_json(registered):
    assert json.loads(json.dumps(registered.report, allow_nan=False)) == registered.report


def test_geometry_settings_and_linear_part_are_told(registered, pair):
    report = registered.report
    assert report["inputs"]["fixed"] == pair.fixed.geometry.to_dict()
    assert report["inputs"]["moving"] == pair.moving.geometry.to_dict()
    assert report["settings"]["init"] == "auto"
    assert isinstance(report["settings"]["iterations"], int)
    np.testing.assert_allclose(report["linear_matrix"], registered.linear.matrix)


def test_the_jacobians_figures_are_those_of_the_field(registered, pair):
    expected = jacobian_figures(registered.forward, mask=foreground(pair.fixed))
    assert registered.report["jacobian"] == pytest.approx(expected)


def test_the_inverse_error_is_that_of_the_inverse(registered, pair):
    points = pair.points
    points = points[pair.moving.geometry.contains(registered.forward(points))]
    mean = inverse_error(registered.forward, registered.inverse(), points=points).mean_mm
    assert registered.report["inverse_error"]["mean_mm"] == pytest.approx(mean, abs=0.05)
    assert registered.report["inverse_error"]["mean_mm"] <= 0.1


def test_the_scans_match_better_than_before(registered):
    before, after = (registered.report["similarity"][when] for when in ("before", "after"))
    assert after["nmi"] > before["nmi"]
    assert after["lncc"] > before["lncc"]


def test_the_expected_error_is_summed_up(registered):
    figures = registered.report["confidence"]
    assert 0 < figures["mean_mm"] < figures["p95_mm"] <= registered.confidence.array.max()


def test_the_expected_error_is_of_the_order_of_the_error(registered, pair):
    assert registered.report["confidence"]["p95_mm"] > np.median(pair.error(registered.forward))


def test_every_stage_has_its_time(registered):
    assert [s["name"] for s in registered.report["stages"]] == ["prepare", "linear", "propose", "refine", "finish"]
    total = sum(s["seconds"] for s in registered.report["stages"])
    assert registered.report["seconds"] == pytest.approx(total)


def test_the_objective_falls_within_each_level(registered):
    history = registered.report["objective"]
    for level in {h["level"] for h in history}:
        own = [h["objective"] for h in history if h["level"] == level]
        assert min(own) <= own[0]


def test_start_and_proposal_are_named(registered):
    assert "Linear start: " in registered.report["notes"][-1]
    assert "Proposal: " in registered.report["notes"][-1]


def test_the_verdict_has_its_reasons(registered):
    assert registered.report["verdict"]["status"] == "trustworthy"
    assert registered.report["verdict"]["reasons"]


def test_the_expected_error_is_a_volume_over_the_body(registered, pair):
    assert isinstance(registered.confidence, Volume)
    assert registered.confidence.geometry.contains(pair.points).all()
    assert (registered.confidence.array >= 0).all()
