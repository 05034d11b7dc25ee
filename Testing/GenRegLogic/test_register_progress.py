"""The progress that a caller receives, and how the caller stops a run."""

import pytest

from GenRegLogic.errors import Cancelled
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField

QUICK = Settings(init="none", iterations=2)


class TestProgress:
    @pytest.fixture(scope="class")
    @staticmethod
    def told(pair):
        seen = []

        def listen(progress):
            field = progress.field() if progress.stage == "refine" else None
            seen.append((progress, field))

        register(pair.fixed, pair.moving, Settings(iterations=10), on_progress=listen)
        return seen

    def test_the_fraction_rises_from_0_to_1(self, told):
        fractions = [progress.fraction for progress, _ in told]
        assert fractions == sorted(fractions)
        assert fractions[0] == 0
        assert 0.9 < fractions[-1] <= 1

    def test_the_stages_are_reported_in_order(self, told):
        assert list(dict.fromkeys(progress.stage for progress, _ in told)) == [
            "prepare",
            "linear",
            "propose",
            "refine",
            "finish",
        ]

    def test_the_objective_is_reported_during_the_refinement_only(self, told):
        assert any(progress.objective is not None for progress, _ in told if progress.stage == "refine")
        assert all(progress.objective is None for progress, _ in told if progress.stage != "refine")

    def test_level_and_iteration_are_reported_during_the_refinement_only(self, told):
        places = [(progress.level, progress.iteration) for progress, _ in told if progress.stage == "refine"]
        places = [place for place in places if place != (None, None)]
        assert places == sorted(set(places))
        assert {level for level, _ in places} == {0, 1, 2, 3}
        assert all(progress.level is None for progress, _ in told if progress.objective is None)

    def test_the_current_field_is_available_during_the_refinement(self, told, pair):
        fields = [field for _, field in told if field is not None]
        assert len(fields) > 3
        assert all(isinstance(field, DisplacementField) for field in fields)
        assert pair.error(fields[-1]).mean() < 0.6 * pair.start.mean()

    @staticmethod
    def answer_in(stage, word):
        """`on_progress` and `cancel` that answer a word as soon as a stage has begun."""
        current = []
        return {
            "on_progress": lambda progress: current.append(progress.stage),
            "cancel": lambda: word if current and current[-1] == stage else None,
        }

    def test_keep_returns_the_best_field_so_far(self, pair):
        result = register(pair.fixed, pair.moving, **self.answer_in("refine", "keep"))
        assert result.report["stopped_early"]
        assert result.report["verdict"]["status"] == "check"
        assert result.report["jacobian"]["ndv_pct"] == 0
        assert pair.error(result.forward).mean() < pair.start.mean()

    def test_keep_stops_the_refinement(self, pair, registered):
        result = register(pair.fixed, pair.moving, **self.answer_in("refine", "keep"))
        assert len(result.report["objective"]) < 0.3 * len(registered.report["objective"])

    def test_keep_before_the_refinement_returns_a_result(self, pair):
        result = register(pair.fixed, pair.moving, **self.answer_in("linear", "keep"))
        assert result.report["stopped_early"]
        assert len(result.report["objective"]) < 5

    @pytest.mark.parametrize("stage", ["prepare", "linear", "propose", "refine", "finish"])
    def test_abort_ends_the_run_in_every_stage(self, pair, stage):
        with pytest.raises(Cancelled):
            register(pair.fixed, pair.moving, QUICK, **self.answer_in(stage, "abort"))

    def test_a_complete_run_was_not_stopped_early(self, registered):
        assert not registered.report["stopped_early"]
