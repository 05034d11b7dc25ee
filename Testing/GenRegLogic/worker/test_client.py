"""The program's side of the worker, with the real server and jobs of a few lines."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, GenRegError, InputError, ResourceError, WorkerError
from GenRegLogic.worker.client import ABORT_SECONDS

from .conftest import STAND_IN, Recorder, do, poll_until

MB = 2**20


class TestJobs:
    @pytest.mark.parametrize("pipe", [False, True])
    def test_parameters_and_arrays_are_transferred_both_ways_unchanged(self, make_worker, monkeypatch, pipe):
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

    def test_the_process_is_kept_for_the_next_job(self, stand_in):
        first, second = (do(stand_in, "where").end["report"]["pid"] for _ in range(2))
        assert first == second == stand_in.pid
        assert stand_in.running

    def test_a_worker_is_busy_until_ended_is_called(self, stand_in):
        busy = []
        recorder = Recorder()
        recorder.ended = lambda outcome: busy.append(stand_in.busy)
        assert not stand_in.busy
        stand_in.submit("echo", {}, {}, recorder)
        assert stand_in.busy
        poll_until(stand_in, lambda: busy)
        assert busy == [False]

    def test_a_second_job_at_the_same_time_is_refused_with_one_sentence(self, stand_in):
        first = Recorder()
        stand_in.submit("echo", {}, {}, first)
        with pytest.raises(InputError, match=r"^A registration is already running; .*\.$"):
            stand_in.submit("echo", {}, {}, Recorder())
        poll_until(stand_in, lambda: first.ends)
        assert isinstance(first.end, dict)

    def test_an_unknown_job_is_refused(self, stand_in):
        assert isinstance(do(stand_in, "dance").end, InputError)

    def test_arrays_of_text_are_refused_before_anything_starts(self, fresh):
        with pytest.raises(InputError, match="real numbers"):
            fresh.submit("echo", {}, {"fixed": np.array(["text"])}, Recorder())
        assert not fresh.busy
        assert not fresh.running

    def test_environment_variables_are_set_for_the_process(self, make_worker):
        worker = make_worker(STAND_IN, environment={"GENREG_TEST_VARIABLE": "7"})
        assert do(worker, "where").end["report"]["variable"] == "7"

    def test_many_small_jobs_run_one_after_the_other(self, stand_in):
        for n in range(30):
            assert do(stand_in, "echo", {"n": n}, {"a": np.full(n, n)}).end["report"] == {"n": n}

    def test_a_job_can_be_submitted_when_another_ends(self, stand_in):
        second = Recorder()
        first = Recorder()
        first.ended = lambda outcome: stand_in.submit("echo", {"second": True}, {}, second)
        stand_in.submit("echo", {}, {}, first)
        poll_until(stand_in, lambda: second.ends)
        assert second.end["report"] == {"second": True}


class TestErrors:
    def test_an_error_of_the_engine_keeps_its_class_and_sentence(self, stand_in):
        end = do(stand_in, "fail", {"kind": "input", "text": "What is wrong."}).end
        assert type(end) is InputError
        assert str(end) == "What is wrong."

    def test_an_unexpected_exception_gives_one_sentence_and_its_traceback_is_in_the_log(self, stand_in):
        recorder = do(stand_in, "fail", {"kind": "bug", "text": "deep inside"})
        assert type(recorder.end) is GenRegError
        assert str(recorder.end).startswith("Something unexpected went wrong")
        assert "\n" not in str(recorder.end)
        assert "deep inside" not in str(recorder.end)
        assert any("deep inside" in line for line in recorder.lines)

    @pytest.mark.parametrize("kind", ["memory", "torch"])
    def test_running_out_of_memory_gives_one_sentence(self, stand_in, kind):
        end = do(stand_in, "fail", {"kind": kind, "text": "DefaultCPUAllocator: can't allocate memory"}).end
        assert type(end) is ResourceError
        assert "not enough memory" in str(end)

    def test_the_process_is_kept_after_an_error(self, stand_in):
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
        recorder = Recorder()
        stand_in.submit("loop", {}, {}, recorder)
        stand_in.answer("keep")
        poll_until(stand_in, lambda: recorder.ends)
        assert recorder.end["report"] == {"answer": "keep"}

    def test_abort_ends_the_job_and_keeps_the_process(self, stand_in):
        do(stand_in, "echo")
        pid = stand_in.pid
        recorder = Recorder()
        stand_in.submit("loop", {}, {}, recorder)
        stand_in.poll()
        stand_in.answer("abort")
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, Cancelled)
        assert do(stand_in, "where").end["report"]["pid"] == pid

    def test_abort_before_the_process_is_ready_ends_the_job_immediately(self, fresh):
        recorder = Recorder()
        fresh.submit("loop", {}, {}, recorder)
        fresh.answer("abort")
        fresh.poll()
        assert isinstance(recorder.end, Cancelled)
        assert do(fresh, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_abort_while_the_scans_are_sent_ends_the_job(self, stand_in):
        do(stand_in, "echo")
        recorder = Recorder()
        stand_in.submit("echo", {}, {"fixed": np.broadcast_to(np.uint8(1), (2000, 1000, 1000))}, recorder)
        for _ in range(5):
            stand_in.poll(0.001)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, Cancelled)
        assert do(stand_in, "echo", {"a": 1}, {"b": np.ones(5)}).end["arrays"]["b"].sum() == 5

    def test_abort_while_the_result_is_received_ends_the_job(self, stand_in):
        recorder = Recorder()
        stand_in.submit("echo", {}, {"fixed": np.zeros((200, MB), np.uint8)}, recorder)
        poll_until(stand_in, lambda: stand_in.receiving)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, Cancelled)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_a_process_that_does_not_react_to_abort_is_killed_after_the_time_limit(self, make_worker):
        now = [100.0]
        worker = make_worker(STAND_IN, clock=lambda: now[0])
        do(worker, "echo")
        pid = worker.pid
        recorder = Recorder()
        worker.submit("hang", {}, {}, recorder)
        for _ in range(5):
            worker.poll()
        worker.answer("abort")
        now[0] += ABORT_SECONDS - 0.01
        worker.poll()
        assert not recorder.ends
        now[0] += 0.02
        worker.poll()
        assert isinstance(recorder.end, Cancelled)
        assert do(worker, "echo", {"a": 1}).end["report"] == {"a": 1}
        assert worker.pid != pid

    def test_after_abort_the_listener_is_called_only_with_the_end(self, stand_in):
        recorder = Recorder()
        stand_in.submit("talk", {"log": True, "lines": ["a"] * 50}, {}, recorder)
        recorder.log = lambda line: (recorder.lines.append(line), stand_in.answer("abort"))
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, Cancelled)
        assert recorder.lines == ["a"]

    def test_answers_without_a_job_have_no_effect(self, stand_in):
        for word in ("keep", "abort"):
            stand_in.answer(word)
        stand_in.preview(True)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_an_unknown_answer_is_refused(self, stand_in):
        with pytest.raises(ValueError, match="keep or abort"):
            stand_in.answer("stop")


class TestListeners:
    def test_a_job_continues_after_an_exception_in_its_listener(self, stand_in, caplog):
        recorder = Recorder()
        recorder.log = lambda line: 1 / 0
        with caplog.at_level(logging.ERROR):
            do(stand_in, "talk", {"log": True, "lines": ["a", "b"]}, recorder=recorder)
        assert isinstance(recorder.end, dict)
        assert "ZeroDivisionError" in caplog.text

    def test_a_worker_is_free_after_an_exception_in_ended(self, stand_in, caplog):
        recorder = Recorder()
        recorder.ended = lambda outcome: 1 / 0
        stand_in.submit("echo", {}, {}, recorder)
        poll_until(stand_in, lambda: not stand_in.busy)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_a_listener_that_polls_receives_every_line_once(self, stand_in):
        recorder = Recorder()
        recorder.log = lambda line: (recorder.lines.append(line), stand_in.poll())
        do(stand_in, "talk", {"log": True, "lines": list("abc")}, recorder=recorder)
        assert recorder.lines == list("abc")

    def test_a_listener_can_close_the_worker(self, stand_in):
        recorder = Recorder()
        recorder.log = lambda line: stand_in.close()
        do(stand_in, "talk", {"log": True, "lines": list("abc")}, recorder=recorder)
        assert isinstance(recorder.end, Cancelled)
        assert not stand_in.running

    def test_no_lines_are_logged_unless_the_log_is_wanted(self, stand_in):
        assert do(stand_in, "talk", {"log": False, "lines": list("abc")}).lines == []


class TestPolling:
    def test_polling_without_a_job_reports_nothing_to_do(self, fresh):
        assert fresh.poll() is False
        fresh.wait(60)  # returns immediately
        assert not fresh.running

    def test_a_process_started_in_advance_runs_the_first_job(self, fresh):
        fresh.start()
        pid = fresh.pid
        assert fresh.running
        fresh.start()
        assert do(fresh, "where").end["report"]["pid"] == pid

    def test_poll_reports_that_there_is_more_to_send(self, stand_in):
        do(stand_in, "echo")
        recorder = Recorder()
        stand_in.submit("echo", {}, {"fixed": np.broadcast_to(np.uint8(1), (500, 1000, 1000))}, recorder)
        assert stand_in.poll(0.0)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: recorder.ends)


class TestClosing:
    def test_closing_ends_a_running_job_once(self, stand_in):
        recorder = Recorder()
        stand_in.submit("loop", {}, {}, recorder)
        stand_in.poll()
        stand_in.close()
        stand_in.close()
        assert isinstance(recorder.end, Cancelled)
        assert not stand_in.running
        assert not stand_in.busy

    def test_a_closed_worker_starts_again(self, stand_in):
        do(stand_in, "echo")
        stand_in.close()
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_closing_a_worker_that_never_started_has_no_effect(self, fresh):
        fresh.close()
        assert fresh.pid is None


class TestStarting:
    def test_a_missing_python_gives_one_sentence(self, make_worker):
        worker = make_worker(command=["/nowhere/python"])
        end = do(worker, "echo").end
        assert isinstance(end, WorkerError)
        assert "could not be started" in str(end)
        with pytest.raises(WorkerError, match="could not be started"):
            worker.start()

    def test_a_process_that_exits_at_the_start_gives_one_sentence_and_its_output_is_in_the_log(self, make_worker):
        recorder = do(make_worker("raise SystemExit('no such thing')"), "echo")
        assert isinstance(recorder.end, WorkerError)
        assert "\n" not in str(recorder.end)
        assert "no such thing" in recorder.lines

    def test_the_programs_side_does_not_load_torch(self):
        script = "import sys, GenRegLogic.worker.client; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script]).returncode == 0
