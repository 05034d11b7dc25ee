"""Small jobs are done while nothing runs, and never stand in a run's way."""

import pytest


@pytest.fixture
def chores(fakes):
    return fakes.runner.chores


def ask(chores, name="inspect", heard=None):
    chores.ask(name, name, lambda: ({"a": 1}, {}), heard.append if heard is not None else lambda report: None)


class TestAsk:
    def test_a_job_is_done_and_its_report_delivered(self, host, chores, fakes):
        heard = []
        ask(chores, "devices", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end({"report": {"devices": []}})
        host.processEvents(5, until=lambda: heard)
        assert heard == [{"devices": []}]
        assert fakes.worker.submitted[0][:2] == ("devices", {"a": 1})

    def test_one_job_follows_the_other(self, host, chores, fakes):
        ask(chores, "devices")
        ask(chores, "inspect")
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        host.processEvents(0.2)
        assert len(fakes.worker.submitted) == 1
        fakes.worker.end({"report": {}})
        host.processEvents(5, until=lambda: len(fakes.worker.submitted) == 2)
        assert [job for job, _, _ in fakes.worker.submitted] == ["devices", "inspect"]

    def test_a_later_request_takes_an_earlier_ones_place(self, host, chores, fakes):
        first, second = [], []
        ask(chores, "inspect", first)
        ask(chores, "inspect", second)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end({"report": {"same_contrast": True}})
        host.processEvents(5, until=lambda: second)
        assert first == []
        assert len(fakes.worker.submitted) == 1

    def test_a_job_that_fails_bothers_nobody(self, host, chores, fakes):
        from GenRegLogic.errors import WorkerError

        heard = []
        ask(chores, "inspect", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.worker.end(WorkerError("It died."))
        host.processEvents(5, until=lambda: not chores.busy)
        assert heard == []
        assert host.messages == []

    def test_a_job_that_cannot_be_prepared_bothers_nobody(self, host, chores, fakes):
        chores.ask("inspect", "inspect", lambda: 1 / 0, lambda report: None)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []
        assert host.messages == []

    def test_the_next_job_has_its_turn_after_one_that_cannot_be_prepared(self, host, chores, fakes):
        def prepare():
            raise MemoryError

        chores.ask("inspect", "inspect", prepare, lambda report: None)
        ask(chores, "devices")
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        assert [job for job, _, _ in fakes.worker.submitted] == ["devices"]

    def test_an_error_that_nobody_foresaw_is_a_sentence_in_the_status_bar(self, host, chores, monkeypatch):
        import slicer

        def prepare():
            raise MemoryError

        shown = []
        monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: shown.append(text))
        chores.ask("inspect", "inspect", prepare, lambda report: None)
        host.processEvents(5, until=lambda: shown)
        assert "memory" in shown[0]

    def test_a_run_starts_after_the_worker_has_failed_in_the_middle_of_a_job(self, host, chores, fakes, monkeypatch):
        def fail(budget_s=0.02):
            raise MemoryError

        ask(chores)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        monkeypatch.setattr(fakes.worker, "poll", fail)
        called = []
        chores.abandon(lambda: called.append(True))
        host.processEvents(2, until=lambda: called)
        assert called == [True]
        assert not chores.busy

    def test_nothing_is_begun_during_a_run(self, host, chores, fakes):
        fakes.runner.start(object(), object())
        ask(chores)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []


class TestARunComesFirst:
    def test_with_nothing_under_way_it_starts_at_once(self, chores):
        called = []
        chores.abandon(lambda: called.append(True))
        assert called == [True]

    def test_what_is_under_way_is_given_up_first(self, host, chores, fakes):
        called, heard = [], []
        ask(chores, "inspect", heard)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        chores.abandon(lambda: called.append(fakes.worker.busy))
        assert called == []
        assert fakes.worker.answers == ["abort"]
        host.processEvents(5, until=lambda: called)
        assert called == [False]
        assert heard == []

    def test_what_waits_is_forgotten(self, host, chores, fakes):
        ask(chores)
        chores.abandon(lambda: None)
        host.processEvents(0.2)
        assert fakes.worker.submitted == []

    def test_a_caller_who_cannot_come_back_waits_for_it(self, host, chores, fakes):
        ask(chores)
        host.processEvents(5, until=lambda: fakes.worker.submitted)
        fakes.runner.start(object(), object())
        assert not chores.busy
        assert not fakes.worker.busy
