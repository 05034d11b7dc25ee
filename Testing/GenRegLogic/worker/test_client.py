"""The program's side, against the real server with jobs of a few lines."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, GenRegError, InputError, ResourceError, WorkerError
from GenRegLogic.worker.client import ABORT_SECONDS

from .conftest import STAND_IN, Ear, do, poll_until

MB = 2**20


class TestJobs:
    @pytest.mark.parametrize("pipe", [False, True])
    def test_what_is_sent_comes_back(self, make_worker, monkeypatch, pipe):
        if not pipe and sys.platform == "win32":
            pytest.skip("Windows has pipes only")
        monkeypatch.setattr("GenRegLogic.worker.channel.USE_PIPES", pipe)
        arrays = {
            "large": np.random.default_rng(0).integers(0, 255, (9, MB), np.uint8),
            "none": np.zeros((0, 3)),
            "turned": np.arange(24, dtype=np.int16).reshape(2, 3, 4).T,
        }
        end = do(make_worker(STAND_IN), "echo", {"a": [1, None, "ü"]}, arrays).end
        assert end["report"] == {"a": [1, None, "ü"]}
        for name, array in arrays.items():
            np.testing.assert_array_equal(end["arrays"][name], array)

    def test_the_process_stays_for_the_next_job(self, stand_in):
        first, second = (do(stand_in, "where").end["report"]["pid"] for _ in range(2))
        assert first == second == stand_in.pid
        assert stand_in.running

    def test_a_worker_is_busy_until_the_end_is_told(self, stand_in):
        busy = []
        ear = Ear()
        ear.ended = lambda outcome: busy.append(stand_in.busy)
        assert not stand_in.busy
        stand_in.submit("echo", {}, {}, ear)
        assert stand_in.busy
        poll_until(stand_in, lambda: busy)
        assert busy == [False]

    def test_a_second_job_at_once_is_refused_with_one_sentence(self, stand_in):
        first = Ear()
        stand_in.submit("echo", {}, {}, first)
        with pytest.raises(InputError, match=r"^A registration is already running; .*\.$"):
            stand_in.submit("echo", {}, {}, Ear())
        poll_until(stand_in, lambda: first.ends)
        assert isinstance(first.end, dict)

    def test_an_unknown_job_is_refused(self, stand_in):
        assert isinstance(do(stand_in, "dance").end, InputError)

    def test_arrays_of_text_are_refused_before_anything_starts(self, fresh):
        with pytest.raises(InputError, match="real numbers"):
            fresh.submit("echo", {}, {"fixed": np.array(["text"])}, Ear())
        assert not fresh.busy
        assert not fresh.running

    def test_variables_reach_the_process(self, make_worker):
        worker = make_worker(STAND_IN, environment={"GENREG_TEST_VARIABLE": "7"})
        assert do(worker, "where").end["report"]["variable"] == "7"

    def test_many_small_jobs_follow_one_another(self, stand_in):
        for n in range(30):
            assert do(stand_in, "echo", {"n": n}, {"a": np.full(n, n)}).end["report"] == {"n": n}

    def test_a_job_can_be_handed_out_when_another_ends(self, stand_in):
        second = Ear()
        first = Ear()
        first.ended = lambda outcome: stand_in.submit("echo", {"second": True}, {}, second)
        stand_in.submit("echo", {}, {}, first)
        poll_until(stand_in, lambda: second.ends)
        assert second.end["report"] == {"second": True}


class TestErrors:
    def test_an_engines_error_keeps_its_class_and_sentence(self, stand_in):
        end = do(stand_in, "fail", {"kind": "input", "text": "What is wrong."}).end
        assert type(end) is InputError
        assert str(end) == "What is wrong."

    def test_a_bug_is_one_sentence_and_its_traceback_is_in_the_log(self, stand_in):
        ear = do(stand_in, "fail", {"kind": "bug", "text": "deep inside"})
        assert type(ear.end) is GenRegError
        assert str(ear.end).startswith("Something unexpected went wrong")
        assert "\n" not in str(ear.end)
        assert "deep inside" not in str(ear.end)
        assert any("deep inside" in line for line in ear.lines)

    @pytest.mark.parametrize("kind", ["memory", "torch"])
    def test_the_end_of_memory_is_one_sentence(self, stand_in, kind):
        end = do(stand_in, "fail", {"kind": kind, "text": "DefaultCPUAllocator: can't allocate memory"}).end
        assert type(end) is ResourceError
        assert "not enough memory" in str(end)

    def test_the_process_serves_on_after_an_error(self, stand_in):
        do(stand_in, "fail", {"kind": "bug", "text": ""})
        pid = stand_in.pid
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}
        assert stand_in.pid == pid

    @pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
    def test_scans_that_do_not_fit_into_the_process_are_refused(self, make_worker):
        limited = ["/bin/sh", "-c", 'ulimit -v 2000000; exec "$0" -c "$@"', sys.executable]
        worker = make_worker(command=[*limited, STAND_IN])
        huge = np.broadcast_to(np.uint8(0), (1500, 1500, 1500))
        assert isinstance(do(worker, "echo", {}, {"fixed": huge}).end, ResourceError)
        assert do(worker, "echo", {"a": 1}).end["report"] == {"a": 1}


class TestAnswers:
    def test_keep_reaches_the_job(self, stand_in):
        ear = Ear()
        stand_in.submit("loop", {}, {}, ear)
        stand_in.answer("keep")
        poll_until(stand_in, lambda: ear.ends)
        assert ear.end["report"] == {"answer": "keep"}

    def test_abort_ends_the_job_and_leaves_the_process(self, stand_in):
        do(stand_in, "echo")
        pid = stand_in.pid
        ear = Ear()
        stand_in.submit("loop", {}, {}, ear)
        stand_in.poll()
        stand_in.answer("abort")
        poll_until(stand_in, lambda: ear.ends)
        assert isinstance(ear.end, Cancelled)
        assert do(stand_in, "where").end["report"]["pid"] == pid

    def test_abort_before_the_process_is_there_ends_the_job_at_once(self, fresh):
        ear = Ear()
        fresh.submit("loop", {}, {}, ear)
        fresh.answer("abort")
        fresh.poll()
        assert isinstance(ear.end, Cancelled)
        assert do(fresh, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_abort_while_the_scans_are_sent(self, stand_in):
        do(stand_in, "echo")
        ear = Ear()
        stand_in.submit("echo", {}, {"fixed": np.broadcast_to(np.uint8(1), (2000, 1000, 1000))}, ear)
        for _ in range(5):
            stand_in.poll(0.001)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: ear.ends)
        assert isinstance(ear.end, Cancelled)
        assert do(stand_in, "echo", {"a": 1}, {"b": np.ones(5)}).end["arrays"]["b"].sum() == 5

    def test_abort_while_the_result_is_received(self, stand_in):
        ear = Ear()
        stand_in.submit("echo", {}, {"fixed": np.zeros((200, MB), np.uint8)}, ear)
        poll_until(stand_in, lambda: stand_in._job.incoming is not None)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: ear.ends)
        assert isinstance(ear.end, Cancelled)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_a_process_that_does_not_listen_is_killed_in_time(self, make_worker):
        now = [100.0]
        worker = make_worker(STAND_IN, clock=lambda: now[0])
        do(worker, "echo")
        pid = worker.pid
        ear = Ear()
        worker.submit("deaf", {}, {}, ear)
        for _ in range(5):
            worker.poll()
        worker.answer("abort")
        now[0] += ABORT_SECONDS - 0.01
        worker.poll()
        assert not ear.ends
        now[0] += 0.02
        worker.poll()
        assert isinstance(ear.end, Cancelled)
        assert do(worker, "echo", {"a": 1}).end["report"] == {"a": 1}
        assert worker.pid != pid

    def test_nothing_is_heard_after_abort_but_the_end(self, stand_in):
        ear = Ear()
        stand_in.submit("talk", {"log": True, "lines": ["a"] * 50}, {}, ear)
        ear.log = lambda line: (ear.lines.append(line), stand_in.answer("abort"))
        poll_until(stand_in, lambda: ear.ends)
        assert isinstance(ear.end, Cancelled)
        assert ear.lines == ["a"]

    def test_answers_without_a_job_are_no_harm(self, stand_in):
        for word in ("keep", "abort"):
            stand_in.answer(word)
        stand_in.preview(True)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_another_word_is_a_mistake(self, stand_in):
        with pytest.raises(ValueError, match="keep or abort"):
            stand_in.answer("stop")


class TestListeners:
    def test_one_that_raises_stops_nothing(self, stand_in, caplog):
        ear = Ear()
        ear.log = lambda line: 1 / 0
        with caplog.at_level(logging.ERROR):
            do(stand_in, "talk", {"log": True, "lines": ["a", "b"]}, ear=ear)
        assert isinstance(ear.end, dict)
        assert "ZeroDivisionError" in caplog.text

    def test_one_that_raises_at_the_end_leaves_the_worker_free(self, stand_in, caplog):
        ear = Ear()
        ear.ended = lambda outcome: 1 / 0
        stand_in.submit("echo", {}, {}, ear)
        poll_until(stand_in, lambda: not stand_in.busy)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_one_that_polls_hears_nothing_twice(self, stand_in):
        ear = Ear()
        ear.log = lambda line: (ear.lines.append(line), stand_in.poll())
        do(stand_in, "talk", {"log": True, "lines": list("abc")}, ear=ear)
        assert ear.lines == list("abc")

    def test_one_may_close_the_worker(self, stand_in):
        ear = Ear()
        ear.log = lambda line: stand_in.close()
        do(stand_in, "talk", {"log": True, "lines": list("abc")}, ear=ear)
        assert isinstance(ear.end, Cancelled)
        assert not stand_in.running

    def test_the_log_is_silent_unless_it_is_wanted(self, stand_in):
        assert do(stand_in, "talk", {"log": False, "lines": list("abc")}).lines == []


class TestPolling:
    def test_a_worker_without_a_job_has_nothing_to_do(self, fresh):
        assert fresh.poll() is False
        fresh.wait(0)

    def test_a_started_process_is_ready_when_it_is_needed(self, fresh):
        fresh.start()
        pid = fresh.pid
        assert fresh.running
        fresh.start()
        assert do(fresh, "where").end["report"]["pid"] == pid

    def test_more_to_send_is_said(self, stand_in):
        do(stand_in, "echo")
        ear = Ear()
        stand_in.submit("echo", {}, {"fixed": np.broadcast_to(np.uint8(1), (500, 1000, 1000))}, ear)
        assert stand_in.poll(0.0)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: ear.ends)


class TestClosing:
    def test_a_job_under_way_ends_once(self, stand_in):
        ear = Ear()
        stand_in.submit("loop", {}, {}, ear)
        stand_in.poll()
        stand_in.close()
        stand_in.close()
        assert isinstance(ear.end, Cancelled)
        assert not stand_in.running
        assert not stand_in.busy

    def test_a_closed_worker_starts_again(self, stand_in):
        do(stand_in, "echo")
        stand_in.close()
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_closing_what_never_started_does_nothing(self, fresh):
        fresh.close()
        assert fresh.pid is None


class TestStarting:
    def test_a_python_that_is_not_there_is_one_sentence(self, make_worker):
        worker = make_worker(command=["/nowhere/python"])
        end = do(worker, "echo").end
        assert isinstance(end, WorkerError)
        assert "could not be started" in str(end)
        with pytest.raises(WorkerError, match="could not be started"):
            worker.start()

    def test_a_python_that_stops_at_once_is_one_sentence_with_the_reason_in_the_log(self, make_worker):
        ear = do(make_worker("raise SystemExit('no such thing')"), "echo")
        assert isinstance(ear.end, WorkerError)
        assert "\n" not in str(ear.end)
        assert "no such thing" in ear.lines

    def test_torch_is_not_loaded_by_the_programs_side(self):
        script = "import sys, GenRegLogic.worker.client; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script]).returncode == 0
