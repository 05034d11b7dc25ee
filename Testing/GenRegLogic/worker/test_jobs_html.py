"""The job "html": makes the page from arrays."""

import re

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.htmlreport import page
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.worker.jobs import run_html

from .conftest import do
from .test_jobs import Control


@pytest.fixture
def small_pictures(monkeypatch):
    """Makes pages in a fraction of the time."""
    monkeypatch.setattr(page, "PIXELS_TO_TRY", (2_000,))


@pytest.fixture
def job(scans):
    """Parameters and arrays of a page without the report of a registration."""
    fixed, moving = scans
    grid = fixed.geometry
    wide = Geometry(np.add(grid.size, 2), grid.spacing, tuple(grid.to_world((-1, -1, -1))), grid.direction)
    field = np.zeros((*wide.shape, 3), np.float32)
    field[..., 0] = 2.0
    geometries = {"fixed": grid, "moving": moving.geometry, "field": wide, "confidence": grid}
    arrays = {
        "fixed": fixed.array,
        "moving": moving.array,
        "field": field,
        "confidence": np.linspace(0, 5, fixed.array.size, dtype=np.float32).reshape(grid.shape),
    }
    return {name: geometry.to_dict() for name, geometry in geometries.items()}, arrays


REPORT = {"verdict": {"status": "check", "reasons": ["Mind the step."]}, "inputs": {}}


def html(parameters, arrays, **more):
    outcome = run_html(parameters | more, arrays, Control())
    assert (outcome.arrays, outcome.geometries) == ({}, {})
    return outcome.report["html"]


def test_the_page_shows_the_given_report(job, small_pictures):
    made = html(*job, report=REPORT)
    assert made.startswith("<!DOCTYPE html>")
    assert "Mind the step." in made
    assert "Look at the result before you use it." in made


def test_without_a_report_the_figures_are_measured(job, small_pictures):
    assert "measured afterward" in html(*job)


def test_a_page_without_a_confidence_map_says_that_the_error_was_not_estimated(job, small_pictures):
    parameters, arrays = job
    made = html(parameters, {name: array for name, array in arrays.items() if name != "confidence"}, report=REPORT)
    assert "was not estimated" in made


def test_the_page_shows_the_given_places_and_names(job, small_pictures):
    center = Geometry.from_dict(job[0]["fixed"]).center.tolist()
    worst = [{"point_lps": center, "expected_error_mm": 3.5, "reason": "It looks odd."}]
    made = html(*job, report=REPORT, worst=worst, names=["Scan one", "Scan two"])
    assert "3.5 mm expected error" in made
    assert "It looks odd." in made
    assert "Scan one" in made


def test_a_constant_scan_is_refused(job):
    parameters, arrays = job
    with pytest.raises(InputError, match="moving image is constant"):
        run_html(parameters | {"report": REPORT}, arrays | {"moving": arrays["moving"] * 0}, Control())


def test_the_worker_returns_the_page(real_worker, job):
    parameters, arrays = job
    end = do(real_worker, "html", parameters | {"report": REPORT}, arrays).end
    assert end["report"]["html"].endswith("</html>\n")
    assert len(end["report"]["html"]) > 100_000
    assert not end["arrays"]


def test_a_field_with_a_margin_gives_the_same_pictures(job, small_pictures):
    parameters, arrays = job
    field = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
    fixed = Geometry.from_dict(parameters["fixed"])
    narrow = parameters | {"field": fixed.to_dict()}, arrays | {"field": field.resampled(fixed).array}
    pictures = [re.findall('data:image/png[^"]+', html(*given, report=REPORT)) for given in (narrow, job)]
    assert len(pictures[0]) > 24
    assert pictures[0] == pictures[1]
