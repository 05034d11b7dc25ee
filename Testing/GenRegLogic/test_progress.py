"""The monitor: what it tells, what it hears, and the times it keeps."""

import pytest
import torch

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.progress import SHARES, Monitor, Progress, listening

STAGES = ("prepare", "linear", "propose", "refine", "finish")


class Clock:
    """Goes a second further each time it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def told():
    return []


@pytest.fixture
def monitor(told):
    return Monitor(torch.device("cpu"), told.append, clock=Clock())


def run(monitor, steps=4):
    for name in STAGES:
        with monitor.stage(name):
            for step in range(steps + 1):
                monitor.tell(step / steps)


def test_the_shares_of_the_stages_add_up_to_the_whole():
    assert set(SHARES) == set(STAGES)
    assert sum(SHARES.values()) == pytest.approx(1)


def test_the_fraction_runs_from_0_to_1_and_never_back(monitor, told):
    run(monitor)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    assert max(fractions) <= 1


def test_the_stages_come_by_name_and_in_order(monitor, told):
    run(monitor)
    assert list(dict.fromkeys(progress.stage for progress in told)) == list(STAGES)


def test_the_time_left_is_told_once_it_can_be_known(monitor, told):
    run(monitor)
    assert told[0].seconds_left is None
    assert all(progress.seconds_left >= 0 for progress in told[len(told) // 2 :])
    assert told[-1].seconds_left == pytest.approx(0, abs=1e-6)


def test_the_time_left_follows_the_time_it_took(told):
    clock = Clock()
    monitor = Monitor(torch.device("cpu"), told.append, clock=clock)
    with monitor.stage("linear"):
        clock.now = 100.0
        monitor.tell(1.0)
    fraction = told[-1].fraction
    assert told[-1].seconds_left == pytest.approx(100 * (1 - fraction) / fraction)


def test_a_fraction_beyond_the_stage_is_cut(monitor, told):
    with monitor.stage("prepare"):
        monitor.tell(7.0)
    assert told[-1].fraction == SHARES["prepare"]


def test_times_and_memory_of_every_stage_are_kept(monitor):
    run(monitor)
    assert [stage["name"] for stage in monitor.stages] == list(STAGES)
    assert all(stage["seconds"] > 0 and stage["peak_memory_mb"] > 0 for stage in monitor.stages)


def test_without_a_field_the_callable_gives_none(monitor, told):
    with monitor.stage("prepare"):
        pass
    assert told[0].field() is None


def test_the_field_is_made_only_when_asked_for(monitor, told):
    made = []
    with monitor.stage("refine"):
        monitor.tell(0.5, 0.3, lambda: made.append("field") or "field")
        assert made == []
        assert told[-1].field() == "field"
    assert told[-1].objective == 0.3


def test_keep_is_remembered():
    answers = iter([None, None, "keep", None, None])
    monitor = Monitor(torch.device("cpu"), cancel=lambda: next(answers))
    kept = []
    with monitor.stage("refine"):
        for _ in range(4):
            kept.append(monitor.keep)
            monitor.tell(0.1)
    assert kept == [False, False, True, True]


def test_abort_is_raised():
    monitor = Monitor(torch.device("cpu"), cancel=lambda: "abort")
    with pytest.raises(Cancelled, match="given up"), monitor.stage("prepare"):
        pass


def test_nobody_has_to_listen():
    run(Monitor(torch.device("cpu")))


class TestBar:
    def test_a_function_is_left_as_it_is(self):
        with listening(print) as listener:
            assert listener is print

    def test_a_bar_follows_and_is_closed_on_errors(self, capsys):
        def run():
            with listening("bar") as listener:
                listener(Progress("refine", 0.4, None))
                raise ValueError("fails")

        with pytest.raises(ValueError, match="fails"):
            run()
        assert "refine" in capsys.readouterr().err

    def test_any_other_string_is_refused(self):
        with pytest.raises(InputError, match="'bar', not 'bars'"), listening("bars"):
            pass
