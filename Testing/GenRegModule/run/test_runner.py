"""One run at a time, polled by a timer or by a blocking call, and its end in all cases."""

import pytest


class Request:
    """Stands for a run's inputs and outputs, which the runner only passes on."""


@pytest.fixture
def runner(fakes):
    return fakes.runner


def start(runner, **options):
    return runner.begin("register", Request(), Request(), **options)


class TestStart:
    def test_the_timer_polls_the_run(self, host, runner, fakes):
        run = start(runner)
        host.processEvents(5, until=lambda: run.polls > 2)
        assert run.polls > 2

    def test_the_outcome_is_delivered_once_and_the_timer_stops(self, host, runner):
        outcomes = []
        run = start(runner, onEnded=outcomes.append)
        run.later(run.end, "the result")
        host.processEvents(5, until=lambda: outcomes)
        polls = run.polls
        host.processEvents(0.2)
        assert outcomes == ["the result"]
        assert run.polls == polls
        assert not runner.running

    def test_a_second_run_at_the_same_time_is_refused(self, runner):
        from GenRegLogic.errors import InputError

        start(runner)
        with pytest.raises(InputError, match="under way"):
            start(runner)
        assert runner.running

    def test_a_run_can_follow_another(self, runner):
        run = start(runner)
        run.end("done")
        start(runner)
        assert runner.running

    def test_another_run_can_start_after_a_refused_one(self, runner, fakes):
        from GenRegLogic.errors import InputError

        fakes.refuse(InputError("No."))
        with pytest.raises(InputError, match="No"):
            start(runner)
        assert not runner.running
        start(runner)
        assert runner.running

    def test_options_are_passed_to_the_run(self, runner):
        run = start(runner, preview=False, keepWarm=True)
        assert (run.preview, run.keepWarm) == (False, True)


class TestWhileItRuns:
    def test_preview_keep_and_cancel_reach_the_run(self, runner):
        run = start(runner)
        runner.setPreview(False)
        runner.stopAndKeep()
        runner.cancel()
        assert run.calls == [("preview", False), "keep", "cancel"]

    def test_without_a_run_preview_keep_and_cancel_do_nothing(self, runner, fakes):
        runner.setPreview(False)
        runner.stopAndKeep()
        runner.cancel()
        assert (fakes.worker.answers, fakes.worker.previews) == ([], [])

    def test_an_unexpected_error_ends_the_run_with_one_sentence(self, host, runner, fakes):
        from GenRegLogic.errors import GenRegError

        outcomes = []
        run = start(runner, onEnded=outcomes.append)
        run.later(lambda: 1 / 0)
        host.processEvents(5, until=lambda: outcomes)
        assert isinstance(outcomes[0], GenRegError)
        assert "unexpected" in str(outcomes[0])
        assert not runner.running
        assert fakes.worker.closed

    def test_an_error_in_the_receiver_of_the_outcome_leaves_the_runner_usable(self, host, runner, fakes):
        run = start(runner, onEnded=lambda outcome: 1 / 0)
        run.later(run.end, "the result")
        host.processEvents(5, until=lambda: not runner.running)
        assert not fakes.worker.closed
        start(runner)
        assert runner.running


class TestWait:
    def test_the_result_is_returned(self, runner, fakes, monkeypatch):
        begin = runner.begin

        def beginAndEnd(*arguments, **keywords):
            run = begin(*arguments, **keywords)
            run.later(run.end, "the result")
            return run

        monkeypatch.setattr(runner, "begin", beginAndEnd)
        assert runner.wait("register", Request(), Request()) == "the result"

    def test_a_failure_is_raised(self, runner, monkeypatch):
        from GenRegLogic.errors import WorkerError

        begin = runner.begin

        def beginAndEnd(*arguments, **keywords):
            run = begin(*arguments, **keywords)
            run.later(run.end, WorkerError("The process ended."))
            return run

        monkeypatch.setattr(runner, "begin", beginAndEnd)
        with pytest.raises(WorkerError, match="ended"):
            runner.wait("register", Request(), Request())
        assert not runner.running

    def test_an_interruption_cancels_the_run(self, runner, fakes, monkeypatch):
        monkeypatch.setattr(fakes.worker, "wait", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.wait("register", Request(), Request())
        assert "cancel" in fakes.runs[-1].calls
        assert not runner.running
        assert fakes.worker.closed


class TestCleanup:
    def test_a_run_is_canceled_and_the_worker_closed(self, runner, fakes):
        outcomes = []
        run = start(runner, onEnded=outcomes.append)
        runner.cleanup()
        assert run.calls == ["cancel"]
        assert len(outcomes) == 1
        assert fakes.worker.closed == 1

    def test_a_run_that_does_not_end_is_abandoned_after_a_second(self, host, runner, fakes, monkeypatch, part):
        from GenRegLogic.errors import Cancelled

        monkeypatch.setattr(part("run.runner"), "END_WAIT_S", 0.05)
        outcomes = []
        run = start(runner, onEnded=outcomes.append)
        monkeypatch.setattr(run, "cancel", lambda: None)
        runner.cleanup()
        assert isinstance(outcomes[0], Cancelled)
        assert fakes.worker.closed == 1
        polls = run.polls
        host.processEvents(0.1)
        assert run.polls == polls

    def test_a_second_cleanup_does_nothing(self, runner, fakes):
        runner.cleanup()
        runner.cleanup()
        assert fakes.worker.closed == 0

    def test_a_run_can_start_after_cleanup(self, runner):
        start(runner)
        runner.cleanup()
        start(runner)
        assert runner.running


class TestPython:
    def test_slicers_launcher_is_preferred_to_the_interpreter(self, part, monkeypatch):
        monkeypatch.setattr(part("run.runner").shutil, "which", lambda name: f"/slicer/bin/{name}")
        assert part("run.runner").pythonCommand() == ["/slicer/bin/PythonSlicer"]

    def test_without_slicers_launcher_the_interpreter_is_used(self, part, monkeypatch):
        import sys

        monkeypatch.setattr(part("run.runner").shutil, "which", lambda name: None)
        assert part("run.runner").pythonCommand() == [sys.executable]
