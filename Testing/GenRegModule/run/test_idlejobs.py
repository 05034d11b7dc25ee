"""Small jobs are run while nothing else runs, and do not delay a run."""

import pytest


@pytest.fixture
def idle(fakes):
    return fakes.runner.idle


def ask(idle, name="inspect", heard=None):
    idle.ask(name, name, lambda: ({"a": 1}, {}), heard.append if heard is not None else lambda report: None)


class TestAsk:
    def test_the_report_of_a_job_is_delivered(self, host, idle, fakes):
        heard = []
        ask(idle, "devices", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end({"report": {"devices": []}})
        host.processEvents(5, until=lambda: heard)
        assert heard == [{"devices": []}]
        assert fakes.worker.submitted[0][:2] == ("devices", {"a": 1})

    def test_jobs_run_one_after_the_other(self, host, idle, fakes):
        ask(idle, "devices")
        ask(idle, "inspect")
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        host.processEvents(0.2)
        assert len(fakes.worker.submitted) == 1
        fakes.worker.end({"report": {}})
        host.processEvents(5, until=lambda: len(fakes.worker.submitted) == 2)
        assert [job for job, _, _ in fakes.worker.submitted] == ["devices", "inspect"]

    def test_a_later_request_replaces_an_earlier_one(self, host, idle, fakes):
        first, second = [], []
        ask(idle, "inspect", first)
        ask(idle, "inspect", second)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end({"report": {"same_contrast": True}})
        host.processEvents(5, until=lambda: second)
        assert first == []
        assert len(fakes.worker.submitted) == 1

    def test_a_job_that_fails_shows_no_message(self, host, idle, fakes):
        from GenRegLogic.errors import WorkerError

        heard = []
        ask(idle, "inspect", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end(WorkerError("It died."))
        host.processEvents(5, until=lambda: not idle.busy)
        assert heard == []
        assert host.messages == []

    def test_a_job_that_cannot_be_prepared_shows_no_message(self, host, idle, fakes):
        idle.ask("inspect", "inspect", lambda: 1 / 0, lambda report: None)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []
        assert host.messages == []

    def test_a_job_after_one_that_cannot_be_prepared_is_run(self, host, idle, fakes):
        def prepare():
            raise MemoryError

        idle.ask("inspect", "inspect", prepare, lambda report: None)
        ask(idle, "devices")
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        assert [job for job, _, _ in fakes.worker.submitted] == ["devices"]

    def test_an_unexpected_error_is_shown_in_the_status_bar(self, host, idle, monkeypatch):
        import slicer

        def prepare():
            raise MemoryError

        shown = []
        monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: shown.append(text))
        idle.ask("inspect", "inspect", prepare, lambda report: None)
        host.processEvents(5, until=lambda: shown)
        assert "memory" in shown[0]

    def test_a_run_starts_after_the_worker_has_failed_during_a_job(self, host, idle, fakes, monkeypatch):
        def fail(budget_s=0.02):
            raise MemoryError

        ask(idle)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        monkeypatch.setattr(fakes.worker, "poll", fail)
        called = []
        idle.abandon(lambda: called.append(True))
        host.processEvents(2, until=lambda: called)
        assert called == [True]
        assert not idle.busy

    def test_no_job_starts_during_a_run(self, host, idle, fakes):
        fakes.runner.begin("register", object(), object())
        ask(idle)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []


class TestARunComesFirst:
    def test_without_a_running_job_the_run_starts_immediately(self, idle):
        called = []
        idle.abandon(lambda: called.append(True))
        assert called == [True]

    def test_a_running_job_is_aborted_before_the_run(self, host, idle, fakes):
        called, heard = [], []
        ask(idle, "inspect", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        idle.abandon(lambda: called.append(fakes.worker.busy))
        assert called == []
        assert fakes.worker.answers == ["abort"]
        host.processEvents(5, until=lambda: called)
        assert called == [False]
        assert heard == []

    def test_requests_that_have_not_started_are_removed(self, host, idle, fakes):
        ask(idle)
        idle.abandon(lambda: None)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []

    def test_a_blocking_start_waits_for_the_end_of_the_job(self, host, idle, fakes):
        ask(idle)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.runner.begin("register", object(), object())
        assert not idle.busy
        assert not fakes.worker.busy
