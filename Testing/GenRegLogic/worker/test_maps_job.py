"""The job "maps": maps of a registration on the fixed grid, and the places of the largest expected error."""

import dataclasses

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.quality.maps import confidence_on, displacement_magnitude, local_similarity, log_jacobian
from GenRegLogic.quality.verdict import default_tolerance
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space import margin as grids
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.worker.maps_job import MAPS, run_maps

from .conftest import do
from .test_jobs import Control


@pytest.fixture(scope="module")
def result(scans):
    return register(*scans, Settings(iterations=3, init="header", device="cpu", threads=1))


@pytest.fixture
def make(scans, result):
    """Makes parameters and arrays of the job; with `known` the expected error is among them."""

    def make(want=None, known=True):
        fixed, moving = scans
        parameters = {
            "fixed": fixed.geometry.to_dict(),
            "moving": moving.geometry.to_dict(),
            "field": result.forward.geometry.to_dict(),
            "device": "cpu",
        }
        arrays = {"fixed": fixed.array, "moving": moving.array, "field": result.forward.array}
        if want is not None:
            parameters["want"] = want
        if known:
            parameters["confidence"] = result.confidence.geometry.to_dict()
            arrays["confidence"] = result.confidence.array
        return parameters, arrays

    return make


def test_the_maps_equal_the_engines(real_worker, make, scans, result):
    end = do(real_worker, "maps", *make()).end
    assert set(end["arrays"]) == set(MAPS)
    fixed, moving = scans
    sent = dataclasses.replace(result.forward, beyond=None)  # a field alone, as a scene has it
    for name, expected in (
        ("log_jacobian", log_jacobian(sent)),
        ("magnitude", displacement_magnitude(sent)),
        ("similarity_before", local_similarity(fixed, moving, AffineTransform.identity())),
        ("similarity_after", local_similarity(fixed, moving, sent)),
        ("confidence", confidence_on(result.confidence, fixed.geometry, inside_only=True)),
    ):
        np.testing.assert_allclose(end["arrays"][name], expected.array, atol=1e-4)
        assert end["geometries"][name].is_close(fixed.geometry, 1e-9)


def test_the_expected_error_is_colored_by_the_tolerance_that_is_given_or_by_that_of_the_scans(make, scans):
    report = run_maps(*make(["magnitude"]), Control()).report
    assert report["tolerance_mm"] == default_tolerance(*(scan.geometry for scan in scans))
    parameters, arrays = make(["magnitude"])
    assert run_maps(parameters | {"tolerance_mm": 7.5}, arrays, Control()).report["tolerance_mm"] == 7.5


def test_only_the_wanted_maps_are_computed(make):
    outcome = run_maps(*make(["magnitude"]), Control())
    assert set(outcome.arrays) == set(outcome.geometries) == {"magnitude"}


def test_without_similarity_the_scans_may_be_absent(make):
    parameters, arrays = make(["magnitude", "log_jacobian"], known=False)
    outcome = run_maps(parameters, {"field": arrays["field"]}, Control())
    assert set(outcome.arrays) == {"magnitude", "log_jacobian"}
    assert outcome.report["worst"] == []


def test_the_worst_places_are_sorted_by_expected_error(make, result):
    worst = run_maps(*make(["confidence"]), Control()).report["worst"]
    errors = [place["expected_error_mm"] for place in worst]
    assert 0 < errors[0] <= float(result.confidence.array.max()) + 1e-6
    assert errors == sorted(errors, reverse=True)
    assert all(len(place["point_lps"]) == 3 and place["reason"].endswith(".") for place in worst)


def test_the_worst_places_lie_in_the_body(make):
    outcome = run_maps(*make(["confidence", "body"]), Control())
    body, grid = outcome.arrays["body"], outcome.geometries["body"]
    assert set(np.unique(body)) == {0, 1}
    assert outcome.report["worst"]
    for place in outcome.report["worst"]:
        i, j, k = np.rint(grid.to_index(np.array(place["point_lps"]))).astype(int)
        assert body[max(k - 2, 0) : k + 3, max(j - 2, 0) : j + 3, max(i - 2, 0) : i + 3].any()


def test_the_ranges_lie_within_the_maps_values(make):
    outcome = run_maps(*make(["magnitude"]), Control())
    found, values = outcome.report["ranges"]["magnitude"], outcome.arrays["magnitude"]
    assert values.min() <= found["min"] <= found["p1"] <= found["p99"] <= found["max"] <= values.max()


def test_an_unknown_expected_error_is_computed(make, result):
    outcome = run_maps(*make(["confidence"], known=False), Control())
    known = run_maps(*make(["confidence"]), Control())
    a, b = outcome.arrays["confidence"], known.arrays["confidence"]
    inside = b > 0
    assert np.corrcoef(a[inside], b[inside])[0, 1] > 0.5  # their backward registrations have other linear parts


def test_a_field_on_another_grid_gives_maps_on_the_fixed_grid(make, result):
    parameters, arrays = make(["magnitude"])
    wide, geometry = grids.withMargin(result.forward.array, result.forward.geometry)
    arrays["field"] = wide * grids.LPS_TO_RAS.astype(np.float32)
    parameters["field"] = geometry.to_dict()
    outcome = run_maps(parameters, arrays, Control())
    np.testing.assert_allclose(outcome.arrays["magnitude"], displacement_magnitude(result.forward).array, atol=1e-3)


def test_an_unknown_map_is_refused(make):
    with pytest.raises(InputError, match="no map 'beauty'"):
        run_maps(*make(["beauty"]), Control())


def test_abort_ends_the_job(make):
    with pytest.raises(Cancelled):
        run_maps(*make(known=False), Control("abort"))
