"""Durations, memory, verdict and figures as text."""

import copy

import pytest

from .conftest import REPORT


@pytest.fixture
def words(part):
    return part("text")


class TestDuration:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (0.2, "about 1 s"),
            (12.4, "about 12 s"),
            (33, "about 35 s"),
            (88, "about 90 s"),
            (170, "about 3 min"),
            (1150, "about 20 min"),
            (3580, "about 1 h"),
            (4900, "about 1 h 20 min"),
        ],
    )
    def test_a_duration_is_rounded_to_a_sensible_precision(self, words, seconds, said):
        assert words.duration(seconds) == said

    def test_an_unknown_remaining_time_is_empty(self, words):
        assert words.timeLeft(None) == ""

    def test_the_remaining_time_is_a_text(self, words):
        assert words.timeLeft(12) == "about 12 s left"

    def test_the_last_seconds_are_almost_done(self, words):
        assert words.timeLeft(0.5) == "almost done"


class TestMemory:
    @pytest.mark.parametrize(("count", "said"), [(3e6, "0.1 GB"), (1.44e9, "1.4 GB"), (15.6e9, "16 GB")])
    def test_memory_is_in_gigabytes(self, words, count, said):
        assert words.memory(count) == said


class TestVerdict:
    @pytest.mark.parametrize(
        ("status", "start"), [("trustworthy", "The result looks"), ("check", "Look at"), ("failed", "Do not use")]
    )
    def test_each_verdict_has_its_heading(self, words, status, start):
        text = words.verdictHtml({"verdict": {"status": status, "reasons": []}})
        assert text.startswith(f"<b>{start}")

    def test_every_reason_is_included(self, words):
        text = words.verdictHtml({"verdict": {"status": "check", "reasons": ["One.", "Two."]}})
        assert "One." in text
        assert "Two." in text

    def test_the_verdict_uses_no_color(self, words):
        assert "color" not in words.verdictHtml(REPORT)

    def test_markup_in_a_reason_is_escaped(self, words):
        text = words.verdictHtml({"verdict": {"status": "check", "reasons": ["a < b & c"]}})
        assert "a &lt; b &amp; c" in text

    def test_a_report_without_a_verdict_was_not_judged(self, words):
        assert "not judged" in words.verdictHtml({})


class TestFigures:
    def test_every_figure_of_a_report_has_a_row(self, words):
        rows = dict(words.figureRows(REPORT))
        assert rows["Similarity, shared information"] == "1.050 before, 1.210 after"
        assert rows["Similarity, local structure"] == "0.310 before, 0.640 after"
        assert rows["Folded voxels"] == "none"
        assert rows["Local volume"] == "×0.51 to ×1.92"
        assert rows["Log-Jacobian spread"] == "0.12"
        assert rows["Inverse error"] == "0.03 mm mean, 0.42 mm at most"
        assert rows["Expected error"] == "0.7 mm mean, 95\u00a0% below 1.3 mm"
        assert rows["Landmark error (mean of 12)"] == "8.1 mm before, 1.3 mm after"
        assert rows["Computed"] == "in 12 s on the CPU"

    def test_folded_voxels_are_in_percent(self, words):
        report = copy.deepcopy(REPORT)
        report["jacobian"]["folds_pct"] = 0.25
        assert dict(words.figureRows(report))["Folded voxels"] == "0.25 %"

    @pytest.mark.parametrize("missing", ["landmarks", "inverse_error", "confidence", "similarity", "jacobian"])
    def test_missing_figures_are_left_out(self, words, missing):
        assert len(words.figureRows(REPORT | {missing: None})) < len(words.figureRows(REPORT))

    def test_a_figure_without_a_value_is_a_dash(self, words):
        report = REPORT | {"inverse_error": {"mean_mm": None, "max_mm": None}}
        assert dict(words.figureRows(report))["Inverse error"].startswith("– mm")

    def test_an_empty_report_has_no_figures(self, words):
        assert words.figureRows({}) == []

    def test_rows_become_a_table_of_plain_text(self, words):
        html = words.rowsAsHtml([("a<b", "1")], notes=["Mind this."])
        assert "a&lt;b" in html
        assert "<p>Mind this.</p>" in html
