"""The monitor: its reports, the answers to it, the recorded times, and the progress bar."""

import pytest
import torch
import tqdm.auto

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.progress import SHARES, Monitor, Progress, listening

STAGES = ("prepare", "linear", "propose", "refine", "finish")


class Clock:
    """Advances by one second on each call."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def reports():
    return []


@pytest.fixture
def monitor(reports):
    return Monitor(torch.device("cpu"), reports.append, clock=Clock())


def run(monitor, steps=4):
    for name in STAGES:
        with monitor.stage(name):
            for step in range(steps + 1):
                monitor.tell(step / steps)


def test_the_shares_of_the_stages_add_up_to_the_whole():
    assert set(SHARES) == set(STAGES)
    assert sum(SHARES.values()) == pytest.approx(1)


def test_the_fraction_increases_from_0_to_1(monitor, reports):
    run(monitor)
    fractions = [progress.fraction for progress in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    assert max(fractions) <= 1


def test_the_stages_are_reported_by_name_and_in_order(monitor, reports):
    run(monitor)
    assert list(dict.fromkeys(progress.stage for progress in reports)) == list(STAGES)


def test_the_time_left_is_reported_from_the_middle_of_the_run_on(monitor, reports):
    run(monitor)
    assert reports[0].seconds_left is None
    assert all(progress.seconds_left >= 0 for progress in reports[len(reports) // 2 :])
    assert reports[-1].seconds_left == pytest.approx(0, abs=1e-6)


def test_the_time_left_is_proportional_to_the_elapsed_time(reports):
    clock = Clock()
    monitor = Monitor(torch.device("cpu"), reports.append, clock=clock)
    with monitor.stage("linear"):
        clock.now = 100.0
        monitor.tell(1.0)
    fraction = reports[-1].fraction
    assert reports[-1].seconds_left == pytest.approx(100 * (1 - fraction) / fraction)


def test_a_fraction_above_1_is_limited_to_the_stage(monitor, reports):
    with monitor.stage("prepare"):
        monitor.tell(7.0)
    assert reports[-1].fraction == SHARES["prepare"]


def test_time_and_memory_of_every_stage_are_recorded(monitor):
    run(monitor)
    assert [stage["name"] for stage in monitor.stages] == list(STAGES)
    assert all(stage["seconds"] > 0 and stage["peak_memory_mb"] > 0 for stage in monitor.stages)


def test_the_field_is_none_in_a_stage_without_one(monitor, reports):
    with monitor.stage("prepare"):
        pass
    assert reports[0].field() is None


def test_the_field_is_computed_only_when_it_is_called(monitor, reports):
    made = []
    with monitor.stage("refine"):
        monitor.tell(0.5, 0.3, lambda: made.append("field") or "field")
        assert made == []
        assert reports[-1].field() == "field"
    assert reports[-1].objective == 0.3


def test_keep_stays_true_after_it_was_answered_once():
    answers = iter([None, None, "keep", None, None])
    monitor = Monitor(torch.device("cpu"), cancel=lambda: next(answers))
    kept = []
    with monitor.stage("refine"):
        for _ in range(4):
            kept.append(monitor.keep)
            monitor.tell(0.1)
    assert kept == [False, False, True, True]


def test_the_answer_abort_raises_cancelled():
    monitor = Monitor(torch.device("cpu"), cancel=lambda: "abort")
    with pytest.raises(Cancelled, match="given up"), monitor.stage("prepare"):
        pass


def test_a_monitor_without_a_listener_records_the_stages():
    monitor = Monitor(torch.device("cpu"))
    run(monitor)
    assert [stage["name"] for stage in monitor.stages] == list(STAGES)


class TestPart:
    @pytest.fixture
    def share(self):
        return SHARES["prepare"]

    def test_its_fractions_are_mapped_to_its_range_of_the_stage(self, monitor, reports, share):
        with monitor.stage("prepare"):
            part = monitor.within(0.4, 0.7)
            for fraction in (0.0, 0.5, 1.0):
                part.tell(fraction)
        assert [progress.fraction / share for progress in reports[1:]] == pytest.approx([0.4, 0.55, 0.7])

    @pytest.mark.parametrize(("with_objective", "expected"), [(True, (0.3, 1, 7, "field")), (False, (None,) * 4)])
    def test_its_objective_and_field_are_reported_on_request(self, monitor, reports, with_objective, expected):
        with monitor.stage("refine"):
            part = monitor.within(0.0, 1.0, with_objective=with_objective)
            part.tell(0.5, 0.3, lambda: "field", level=1, iteration=7)
        last = reports[-1]
        assert (last.objective, last.level, last.iteration, last.field()) == expected

    def test_it_passes_on_the_answer_keep(self):
        monitor = Monitor(torch.device("cpu"), cancel=lambda: "keep")
        part = monitor.within(0.0, 1.0)
        assert not part.keep
        with monitor.stage("refine"):
            part.tell(0.5)
        assert part.keep


class TestBar:
    def test_a_function_is_used_unchanged(self):
        with listening(print) as listener:
            assert listener is print

    def test_a_bar_shows_the_stage_and_is_closed_on_errors(self, capsys, monkeypatch):
        closed = []

        class Bar(tqdm.auto.tqdm):
            def close(self):
                closed.append(True)
                super().close()

        monkeypatch.setattr(tqdm.auto, "tqdm", Bar)

        def run():
            with listening("bar") as listener:
                listener(Progress("refine", 0.4, None))
                raise ValueError("fails")

        with pytest.raises(ValueError, match="fails"):
            run()
        assert "refine" in capsys.readouterr().err
        assert closed

    def test_any_other_string_is_refused(self):
        with pytest.raises(InputError, match="'bar', not 'bars'"), listening("bars"):
            pass
