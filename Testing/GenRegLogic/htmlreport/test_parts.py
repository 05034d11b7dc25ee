"""The parts of a page: the objective's curve, the rows of figures, the worst places, reports, and the written file."""

import dataclasses
import json

import numpy as np
import pytest

from GenRegLogic.errors import InputError, ResourceError
from GenRegLogic.htmlreport import check_report, measured_report, read_report, write_html
from GenRegLogic.htmlreport.illustrations import Plates
from GenRegLogic.htmlreport.objective_plot import curve_svg, shares
from GenRegLogic.htmlreport.reports import distinct
from GenRegLogic.htmlreport.table import figure_rows, geometry_rows, length, motion_rows, number, settings_rows
from GenRegLogic.htmlreport.worst_places import body_of, inside_body, letters, places_to_see
from GenRegLogic.quality.verdict import default_tolerance
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import AffineTransform, DisplacementField, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from ..conftest import rotation
from .conftest import Page


def entries(*levels):
    return [
        {"level": level, "iteration": iteration, "objective": value}
        for level, values in enumerate(levels)
        for iteration, value in enumerate(values)
    ]


class TestCurve:
    def test_a_level_begins_where_the_one_before_it_ended(self):
        assert [share for _, share in shares(entries([4.0, 2.0], [100.0, 50.0]))] == [1.0, 0.5, 0.5, 0.25]

    def test_the_curve_shows_the_best_value_so_far(self):
        assert [share for _, share in shares(entries([4.0, 2.0, 3.0]))] == [1.0, 0.5, 0.5]

    def test_missing_values_are_skipped(self):
        assert len(shares(entries([4.0, None, 2.0]))) == 2

    def test_the_curve_decreases_inside_its_frame(self):
        drawing = curve_svg(shares(entries([4.0, 1.0, 0.01], [3.0, 0.1])))
        page = Page(f"<body>{drawing}</body>")
        assert page.wrong == []
        (line,) = page.all("polyline")
        points = np.array([[float(v) for v in pair.split(",")] for pair in line["points"].split()])
        assert len(points) == 5
        assert (np.diff(points[:, 0]) > 0).all()
        assert (np.diff(points[:, 1]) >= 0).all()
        _, _, width, height = (float(v) for v in page.all("svg")[0]["viewbox"].split())
        assert (points >= 0).all()
        assert (points <= (width, height)).all()
        assert "within 5 iterations" in page.all("svg")[0]["aria-label"]


class TestFigures:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [(None, "–"), (float("nan"), "–"), ("3", "–"), (True, "–"), (0.0, "0.00"), (0.001, "under 0.01"), (2, "2.00")],
    )
    def test_numbers_have_fixed_decimals_and_anything_else_is_a_dash(self, value, expected):
        assert number(value, 2) == expected

    def test_folding_is_given_in_percent_or_as_none(self):
        rows = {name: value for name, _, value, _ in figure_rows({"jacobian": {"folds_pct": 0.25, "ndv_pct": 0}})}
        assert rows["Folded voxels"] == "0.2500 %"
        assert rows["Nearly folded voxels"] == "none"

    def test_the_linear_part_and_the_deformation_have_separate_rows(self):
        grid = Geometry((10, 10, 10), (3.0, 3.0, 3.0))
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(0.0, 0.0, np.radians(10.0)) * 1.1
        matrix[:3, 3] = grid.center - matrix[:3, :3] @ grid.center + (3.0, 4.0, 0.0)
        field = sample_transform(AffineTransform(matrix), grid)
        linear, deformation = motion_rows({"linear_matrix": matrix.tolist()}, grid, field)
        assert linear[2] == "5.0 mm at the center, 10.0°, volume ×1.33"
        assert deformation[2].startswith("0.0 mm mean")

    @pytest.mark.parametrize("matrix", [np.eye(4).tolist(), None], ids=["with", "without"])
    def test_the_largest_motion_is_that_of_all_voxels_with_and_without_a_linear_part(self, matrix):
        grid = Geometry((90, 90, 60))
        array = np.zeros((*grid.shape, 3), np.float32)
        array[31, 44, 52, 1] = 46.3
        *_, row = motion_rows({"linear_matrix": matrix}, grid, DisplacementField(array, grid))
        assert row[2].endswith("46.3 mm at most")

    def test_every_setting_has_a_name_in_words(self):
        rows = dict(settings_rows({"settings": Settings(tolerance_mm=2.5).resolved()}))
        assert len(rows) == len(dataclasses.fields(Settings))
        assert all(name[0].isupper() for name in rows)
        assert rows["Tolerance, mm"] == "2.5"

    def test_axes_are_described_in_words(self):
        rows = {
            name: values
            for name, *values in geometry_rows(
                Geometry((4, 5, 6), direction=np.diag([-1.0, 1.0, -1.0])),
                Geometry((4, 5, 6), direction=rotation(0.0, 0.0, 0.2)[:, [2, 0, 1]]),
            )
        }
        assert rows["Axes run to"] == ["right, back, feet", "head, left, back; tilted by 11°"]
        assert rows["Voxels"] == ["4 × 5 × 6", "4 × 5 × 6"]

    @pytest.mark.parametrize(
        ("value", "expected"), [(12.34, "12.3 mm"), (0.1234, "0.12 mm"), (0, "0.0 mm"), (None, "– mm"), (True, "– mm")]
    )
    def test_lengths_are_rounded_to_significant_digits(self, value, expected):
        assert length(value) == expected


class TestPlaces:
    def test_positions_have_letters_of_the_bodys_directions(self):
        assert letters(np.array([12.0, -30.5, 45.0])) == "L 12.0, A 30.5, S 45.0"
        assert letters(np.array([-1.0, 2.0, -3.0])) == "R 1.0, P 2.0, I 3.0"

    def test_the_worst_place_comes_first_and_lies_in_the_body(self, plain):
        grid = plain.fixed.geometry
        error = np.zeros(grid.shape, np.float32)
        error[0, 0, 0], error[9, 10, 12], error[9, 10, 4] = 99.0, 5.0, 3.0
        confidence = Volume(error, grid)
        places = places_to_see(None, confidence, grid, body_of(plain.fixed))
        assert [place.expected_error_mm for place in places[:2]] == [5.0, 3.0]
        np.testing.assert_allclose(places[0].point, grid.to_world((12, 10, 9)))

    def test_the_map_is_zero_outside_the_body(self, plain):
        ones = Volume(np.ones(plain.fixed.geometry.shape, np.float32), plain.fixed.geometry)
        inside = inside_body(ones, body_of(plain.fixed)).array
        assert inside[9, 10, 12] == 1
        assert inside[0, 0, 0] == 0

    def test_given_places_outside_the_scan_are_left_out(self, plain):
        worst = [
            {"point_lps": [9e3, 0, 0], "expected_error_mm": 9.0},
            {"point_lps": plain.fixed.geometry.center.tolist(), "expected_error_mm": 1.0},
        ]
        places = places_to_see(worst, None, plain.fixed.geometry, body_of(plain.fixed))
        assert [place.expected_error_mm for place in places] == [1.0]


class TestReports:
    def test_a_report_is_read(self, plain, tmp_path):
        path = tmp_path / "r.json"
        path.write_text(json.dumps(plain.report))
        assert read_report(path) == plain.report

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("", "not JSON"),
            ("[1]", "not a report"),
            ("{}", "not a report"),
            ("\x00", "not JSON"),
            ('{"inputs": {}, "verdict": 3}', "not a report"),
        ],
    )
    def test_a_file_that_is_not_a_report_is_refused(self, tmp_path, content, expected):
        path = tmp_path / "r.json"
        path.write_text(content)
        with pytest.raises(InputError, match=expected):
            read_report(path)

    def test_a_report_of_other_scans_is_refused(self, plain):
        grid = plain.fixed.geometry
        check_report(plain.report, grid, plain.moving.geometry)
        other = Geometry(grid.size, grid.spacing, (0.0, 0.0, 0.0))
        with pytest.raises(InputError, match="another moving scan"):
            check_report(plain.report, grid, other)
        with pytest.raises(InputError, match="does not say what the fixed scan was"):
            check_report({"inputs": {}}, grid, grid)

    def test_a_measured_report_has_figures_and_a_verdict(self, plain):
        report = measured_report(plain.fixed, plain.moving, plain.forward, confidence=plain.confidence)
        assert report["verdict"]["status"] in ("trustworthy", "check", "failed")
        assert report["jacobian"]["folds_pct"] == 0
        assert report["similarity"]["after"]["nmi"] > 1
        assert report["confidence"]["mean_mm"] < report["confidence"]["p95_mm"]
        assert "measured afterward" in report["notes"][0]
        check_report(report, plain.fixed.geometry, plain.moving.geometry)


class TestSentences:
    def test_an_equal_sentence_is_said_once(self):
        one, other = "The field was smoothed where it folded.", "The field was stopped where it folded."
        assert distinct([one, other, one]) == [one, other]

    @pytest.mark.parametrize(
        "other",
        [
            "The moving mask was resampled to its grid.",
            "The fixed mask was not resampled to its grid.",
            "The fixed mask was resampled to our grid.",
        ],
    )
    def test_a_word_that_makes_a_difference_keeps_both(self, other):
        one = "The fixed mask was resampled to its grid."
        assert distinct([one, other]) == [one, other]

    def test_numbers_make_a_difference(self):
        sentences = [f"{n} of the slices in this scan are missing." for n in (3, 4)]
        assert distinct(sentences) == sentences

    def test_what_was_said_before_is_left_out(self):
        assert distinct(["A reason.", "A note."], said=["A reason."]) == ["A note."]


class TestWriting:
    def test_the_file_contains_the_page(self, tmp_path):
        write_html("<p>über</p>", tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>über</p>"
        assert [path.name for path in tmp_path.iterdir()] == ["page.html"]

    def test_another_ending_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="ending"):
            write_html("", tmp_path / "page.txt")

    def test_a_full_disk_leaves_nothing_behind(self, tmp_path, monkeypatch):
        from collections import namedtuple

        usage = namedtuple("usage", "free")
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10))
        with pytest.raises(ResourceError, match="disk is full"):
            write_html("x" * 100, tmp_path / "page.html")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("tolerance", "full"), [(None, 3.0), (4.0, 12.0)])
def test_the_colors_of_the_expected_error_are_scaled_by_the_tolerance_and_not_by_its_values(plain, tolerance, full):
    fixed = plain.fixed
    for value in (0.1, 50.0):
        error = Volume(np.full(fixed.geometry.shape, value, np.float32), fixed.geometry)
        plates = Plates(fixed, plain.moving, plain.forward, error, body_of(fixed), tolerance_mm=tolerance)
        default = default_tolerance(fixed.geometry, plain.moving.geometry)
        assert plates.error_mm == pytest.approx(full if tolerance else full * default)
