"""The verdict: each sign of an error is noticed and explained in words that a clinician understands."""

import copy
import math

import pytest

from GenRegLogic.quality.verdict import NOT_MEASURED, default_tolerance, verdict
from GenRegLogic.space.geometry import Geometry

GOOD = {
    "inputs": {
        "fixed": {"size": [60, 60, 20], "spacing_mm": [1.0, 1.0, 3.0]},
        "moving": {"size": [60, 60, 60], "spacing_mm": [1.0, 1.0, 1.0]},
    },
    "linear_matrix": [[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    "similarity": {"before": {"nmi": 1.05, "lncc": 0.2}, "after": {"nmi": 1.15, "lncc": 0.4}},
    "jacobian": {"folds_pct": 0.0, "ndv_pct": 0.0, "sdlogj": 0.2, "min_det": 0.4, "max_det": 3.0},
    "inverse_error": {"mean_mm": 0.02, "max_mm": 0.4},
    "confidence": {
        "mean_mm": 0.8,
        "median_mm": 0.6,
        "p90_mm": 1.4,
        "p95_mm": 1.7,
        "tolerance_mm": 2.0,
        "within_share": 0.97,
        "judged_share": 1.0,
        "grid_mm": 3.0,
    },
    "landmarks": {"count": 5, "tre_before_mm": 9.0, "tre_after_mm": 1.2},
    "stopped_early": False,
}


def changed(path, value):
    figures = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    part = figures
    for name in parents:
        part = part[name]
    part[last] = value
    return figures


def test_good_figures_are_trustworthy_and_the_reasons_say_why():
    status, reasons = verdict(GOOD)
    assert status == "trustworthy"
    assert "The two scans match better than before." in reasons
    (within,) = [reason for reason in reasons if "expected to lie" in reason]
    assert within.startswith("The alignment is expected to lie within 2.0 mm in 97 % of the body (typically off by 0.6")
    (landmarks,) = [reason for reason in reasons if "landmarks" in reason]
    assert landmarks.startswith("The landmarks lie 1.2 mm apart on average (9.0 mm before); as they guided the run")


@pytest.mark.parametrize(
    ("path", "value", "expected", "words"),
    [
        ("similarity.after", {"nmi": 1.0, "lncc": 0.1}, "failed", "match less well"),
        ("similarity.after", {"nmi": 1.0, "lncc": 0.4}, "check", "One of two measures"),
        ("jacobian.folds_pct", 0.01, "failed", "folds tissue"),
        ("jacobian.ndv_pct", 0.01, "check", "close to folding"),
        ("jacobian.sdlogj", 1.2, "check", "unevenly"),
        ("jacobian.min_det", 0.001, "check", "shrinks or grows"),
        ("jacobian.max_det", 100.0, "check", "shrinks or grows"),
        ("inverse_error.mean_mm", 2.0, "check", "and back misses"),
        ("inverse_error.mean_mm", None, "check", "was not measured"),
        ("confidence.within_share", 0.7, "check", "Only 70 % of the body is expected to be aligned within 2.0 mm"),
        ("confidence.within_share", 0.05, "failed", "only 5 % of the body is expected to lie within 2.0 mm"),
        ("confidence.judged_share", 0.1, "check", "Only 10 % of the fixed body lies in the moving scan"),
        ("landmarks.tre_after_mm", 12.0, "failed", "farther apart"),
        ("landmarks.tre_after_mm", 6.0, "check", "still lie 6.0 mm apart"),
        ("inputs.moving.size", [20, 20, 20], "check", "only 8,000 voxels"),
        ("inputs.moving.size", None, "check", "are not known"),
        ("stopped_early", True, "check", "stopped before"),
        ("given_up", "The deformation was given up.", "failed", "was given up"),
    ],
)
def test_each_sign_of_an_error_changes_the_status_and_gives_its_reason(path, value, expected, words):
    status, reasons = verdict(changed(path, value))
    assert status == expected
    assert len(reasons) == 1
    assert words in reasons[0]


def test_the_most_serious_reason_comes_first():
    figures = changed("jacobian.folds_pct", 0.5)
    figures["stopped_early"] = True
    status, reasons = verdict(figures)
    assert status == "failed"
    assert "folds tissue" in reasons[0]
    assert len(reasons) == 2


def test_a_tiny_loss_of_similarity_is_still_trustworthy():
    status, reasons = verdict(changed("similarity.after", {"nmi": 1.0499, "lncc": 0.1999}))
    assert status == "trustworthy"
    assert "matched as well before" in reasons[0]


REQUIRED = ("similarity", "jacobian", "inverse_error", "confidence", "inputs", "linear_matrix")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("missing", ["absent", None, {}], ids=["absent", "None", "empty"])
def test_a_missing_figure_gives_the_status_check_and_is_named(name, missing):
    figures = {key: value for key, value in GOOD.items() if key != name}
    if missing != "absent":
        figures[name] = missing
    assert verdict(figures) == ("check", [NOT_MEASURED[name]])


@pytest.mark.parametrize("value", [None, math.nan, math.inf], ids=str)
@pytest.mark.parametrize(
    "path",
    [
        "similarity.before.nmi",
        "similarity.after.lncc",
        "jacobian.folds_pct",
        "jacobian.ndv_pct",
        "jacobian.sdlogj",
        "jacobian.min_det",
        "jacobian.max_det",
        "inverse_error.mean_mm",
        "confidence.median_mm",
        "confidence.p95_mm",
        "confidence.tolerance_mm",
        "confidence.within_share",
        "confidence.judged_share",
        "landmarks.tre_after_mm",
        "inputs.fixed.spacing_mm",
        "inputs.moving.spacing_mm",
    ],
)
def test_a_figure_that_is_not_finite_is_never_trustworthy_and_is_named(path, value):
    figures = changed(path, [value, 1.0, 1.0] if path.startswith("inputs") else value)
    status, reasons = verdict(figures)
    assert status != "trustworthy"
    assert NOT_MEASURED[path.partition(".")[0]] in reasons


@pytest.mark.parametrize("spacing", [[1.0, 0.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0], []], ids=str)
def test_an_impossible_spacing_counts_as_not_measured(spacing):
    assert verdict(changed("inputs.moving.spacing_mm", spacing)) == ("check", [NOT_MEASURED["inputs"]])


def test_a_registration_without_landmarks_can_be_trustworthy():
    assert verdict(GOOD | {"landmarks": None})[0] == "trustworthy"
    assert verdict({key: value for key, value in GOOD.items() if key != "landmarks"})[0] == "trustworthy"


def test_without_any_figure_the_status_is_check_and_all_are_named():
    assert verdict({}) == ("check", [NOT_MEASURED[name] for name in NOT_MEASURED if name != "landmarks"])


def test_a_fold_is_more_serious_than_a_missing_figure():
    figures = changed("jacobian.folds_pct", 0.5) | {"confidence": None}
    status, reasons = verdict(figures)
    assert status == "failed"
    assert "folds tissue" in reasons[0]


def test_a_change_of_scale_in_the_linear_part_is_no_extreme_volume_change():
    figures = changed("linear_matrix", [[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1]])
    figures["jacobian"] |= {"min_det": 30.0, "max_det": 120.0}
    assert verdict(figures)[0] == "trustworthy"


def test_landmark_errors_are_judged_relative_to_the_voxel_size():
    assert verdict(changed("landmarks.tre_after_mm", 1.2))[0] == "trustworthy"
    mouse = changed("inputs", {role: {"size": [60] * 3, "spacing_mm": [0.1] * 3} for role in ("fixed", "moving")})
    mouse["landmarks"]["tre_after_mm"] = 1.2
    status, reasons = verdict(mouse)
    assert status == "check"
    assert reasons == ["The landmarks still lie 1.2 mm apart on average."]


def test_what_lies_outside_the_moving_scan_is_said_beside_a_good_verdict():
    status, reasons = verdict(changed("confidence.judged_share", 0.6))
    assert status == "trustworthy"
    assert any(reason.endswith("; 40 % of it lies outside the moving scan and was not judged.") for reason in reasons)


@pytest.mark.parametrize(("share", "said"), [(0.999, "99 %"), (1.0, "100 %"), (0.906, "91 %")])
def test_a_share_is_never_rounded_up_to_all_of_the_body(share, said):
    assert f"within 2.0 mm in {said} of the body" in " ".join(verdict(changed("confidence.within_share", share))[1])


CUBES = {"head": (200, 1.0), "thick": (100, 4.0), "mouse": (128, 0.15), "fish": (100, 0.005)}


@pytest.mark.parametrize(("name", "tolerance"), [("head", 2.0), ("thick", 8.0), ("mouse", 0.384), ("fish", 0.01)])
def test_the_default_tolerance_is_two_voxels_or_2_mm_and_less_in_a_small_body(name, tolerance):
    size, spacing = CUBES[name]
    grid = Geometry((size,) * 3, (spacing,) * 3)
    assert default_tolerance(grid, grid) == pytest.approx(tolerance)


def test_the_coarser_of_two_scans_decides_on_the_default_tolerance():
    fine, coarse = Geometry((200,) * 3, (1.0,) * 3), Geometry((50,) * 3, (4.0,) * 3)
    assert default_tolerance(fine, coarse) == default_tolerance(coarse, fine) == pytest.approx(8.0)


@pytest.mark.parametrize("word", ["jacobian", "NMI", "LNCC", "sdlog", "NDV", "det J"])
def test_no_reason_contains_a_technical_abbreviation(word):
    for figures in (GOOD, changed("jacobian.folds_pct", 1.0), changed("jacobian.sdlogj", 2.0), {}):
        reasons = verdict(figures)[1]
        assert reasons
        assert all(word.lower() not in sentence.lower() for sentence in reasons)
