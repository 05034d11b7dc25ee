"""Failures of the worker's process: the program receives one sentence, and the next job works."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, DependencyError, WorkerError
from GenRegLogic.worker.process import end_sentence

from .conftest import STAND_IN, Recorder, do, is_alive, needs_signals, poll_until, wait_for_end

STAGES = ["prepare", "linear", "propose", "refine", "finish"]

HELLO = """
import json, os, socket, struct, sys, time
line = socket.socket(fileno=int(sys.argv[3]))
def say(kind, payload):
    line.sendall(struct.pack(">IB", len(payload), ord(kind)) + payload)
def tell(**message):
    say("J", json.dumps(message).encode())
tell(type="ready", error=None)
"""
"""A program that implements the worker's protocol by itself."""

ENDED = {"type": "ended", "leaving": False, "report": {}, "geometries": {}, "arrays": []}
PROTOCOL_BROKEN = {
    "no frame": "line.sendall(b'garbage, and a lot of it')",
    "no JSON": "say('J', b'garbage')",
    "an unknown kind of frame": "say('X', b'')",
    "an unknown message": "tell(type='dance')",
    "a message without its keys": "tell(type='progress')",
    "a chunk of nothing": "say('C', b'123')",
    "an array of objects": f"tell(**{ENDED | {'arrays': [{'name': 'a', 'dtype': 'O', 'shape': [1]}]}})",
    "a geometry that is none": f"tell(**{ENDED | {'geometries': {'a': {'size': [0, 0, 0]}}}})",
    "an error that is none": "tell(type='ended', leaving=False, error=[])",
}


@needs_signals
class TestKilled:
    @pytest.mark.parametrize("stage", STAGES)
    def test_a_killed_worker_gives_one_sentence_in_every_stage(self, real_worker, job, stage):
        def kill(now):
            if now == stage:
                os.kill(real_worker.pid, signal.SIGKILL)

        end = do(real_worker, "register", *job, recorder=Recorder(kill)).end
        assert isinstance(end, WorkerError)
        assert "was ended by the system, probably because memory ran out; close other programs" in str(end)
        assert "\n" not in str(end)

    def test_the_job_after_a_kill_runs_in_a_new_process(self, fresh):
        fresh.submit("hang", {}, {}, recorder := Recorder())
        fresh.poll()
        os.kill(fresh.pid, signal.SIGKILL)
        poll_until(fresh, lambda: recorder.ends)
        assert isinstance(recorder.end, WorkerError)
        assert do(fresh, "echo", {"a": 1}).end["report"] == {"a": 1}

    @pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV"])
    def test_a_process_that_ends_between_two_jobs_is_replaced(self, stand_in, name):
        do(stand_in, "echo")
        os.kill(stand_in.pid, getattr(signal, name))
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_a_process_that_ends_while_the_scans_are_sent_gives_an_error(self, stand_in):
        do(stand_in, "echo")
        recorder = Recorder()
        stand_in.submit("echo", {}, {"fixed": np.broadcast_to(np.uint8(1), (500, 1000, 1000))}, recorder)
        poll_until(stand_in, lambda: stand_in.responded)
        os.kill(stand_in.pid, signal.SIGKILL)
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, WorkerError)

    def test_a_segmentation_fault_is_in_the_log(self, real_worker, job):
        def crash(now):
            if now == "linear":
                os.kill(real_worker.pid, signal.SIGSEGV)

        recorder = do(real_worker, "register", *job, recorder=Recorder(crash))
        assert "signal 11" in str(recorder.end)
        assert any("Segmentation fault" in line for line in recorder.lines)


class TestExitCodes:
    @pytest.mark.parametrize("code", [-9, 137])
    def test_a_kill_is_attributed_to_memory(self, code):
        assert "memory ran out" in end_sentence(code)

    @pytest.mark.parametrize("code", [-11, 139])
    def test_a_signal_is_named(self, code):
        assert "signal 11" in end_sentence(code)

    @pytest.mark.parametrize("code", [0, 1, None, 0xC0000005])
    def test_any_other_exit_code_is_called_unexpected(self, code):
        assert "ended unexpectedly" in end_sentence(code)

    def test_the_last_lines_that_a_process_printed_are_in_the_log(self, fresh):
        recorder = do(fresh, "leave", {"code": 1, "text": "first\nlast words"})
        assert isinstance(recorder.end, WorkerError)
        assert recorder.lines[-2:] == ["first", "last words"]


class TestAborted:
    @pytest.mark.parametrize("stage", STAGES)
    def test_a_registration_can_be_aborted_in_every_stage(self, real_worker, job, stage):
        recorder = Recorder(lambda now: real_worker.answer("abort") if now == stage else None)
        assert isinstance(do(real_worker, "register", *job, recorder=recorder).end, Cancelled)

    def test_a_registration_after_an_abort_works(self, real_worker, job):
        do(real_worker, "register", *job, recorder=Recorder(lambda stage: real_worker.answer("abort")))
        assert "forward" in do(real_worker, "register", *job).end["arrays"]


@needs_signals
class TestStopped:
    """A process that is stopped, as it may happen on a machine that is short of memory."""

    def stop(self, worker):
        os.kill(worker.pid, signal.SIGSTOP)

    def test_sending_to_a_stopped_process_does_not_block(self, stand_in):
        do(stand_in, "echo")
        self.stop(stand_in)
        recorder = Recorder()
        stand_in.submit("echo", {}, {"fixed": np.zeros((64, 2**20), np.uint8)}, recorder)
        for _ in range(20):
            stand_in.poll(0.01)
        assert not recorder.ends
        os.kill(stand_in.pid, signal.SIGCONT)
        poll_until(stand_in, lambda: recorder.ends)
        assert recorder.end["arrays"]["fixed"].shape == (64, 2**20)

    def test_a_job_survives_a_stop_while_the_process_starts(self, fresh):
        recorder = Recorder()
        fresh.submit("echo", {}, {"fixed": np.zeros((64, 2**20), np.uint8)}, recorder)
        self.stop(fresh)
        for _ in range(20):
            fresh.poll(0.01)
        os.kill(fresh.pid, signal.SIGCONT)
        poll_until(fresh, lambda: recorder.ends)
        assert isinstance(recorder.end, dict)

    def test_abort_ends_the_job_and_the_stopped_process(self, stand_in):
        do(stand_in, "echo")
        pid = stand_in.pid
        recorder = Recorder()
        stand_in.submit("loop", {}, {}, recorder)
        stand_in.poll()
        self.stop(stand_in)
        stand_in.answer("abort")
        poll_until(stand_in, lambda: recorder.ends)
        assert isinstance(recorder.end, Cancelled)
        wait_for_end(pid)
        assert do(stand_in, "echo", {"a": 1}).end["report"] == {"a": 1}

    def test_closing_ends_a_stopped_process(self, stand_in):
        do(stand_in, "echo")
        pid = stand_in.pid
        self.stop(stand_in)
        stand_in.close()
        assert not is_alive(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="the programs of these tests speak over a socket")
class TestBrokenProtocol:
    @pytest.mark.parametrize("words", PROTOCOL_BROKEN.values(), ids=PROTOCOL_BROKEN)
    def test_invalid_data_on_the_channel_end_the_process_with_one_sentence(self, make_worker, words):
        worker = make_worker(HELLO + f"\nline.recv(100000)\n{words}\ntime.sleep(60)")
        worker.start()
        pid = worker.pid
        end = do(worker, "register").end
        assert isinstance(end, WorkerError)
        assert "unintelligible" in str(end)
        wait_for_end(pid)

    def test_a_process_that_closes_the_channel_is_ended(self, make_worker):
        worker = make_worker(HELLO + "line.close(); time.sleep(60)")
        worker.start()
        pid = worker.pid
        assert isinstance(do(worker, "register").end, WorkerError)
        wait_for_end(pid)


class TestTorch:
    def missing(self, folder, line):
        (folder / "torch.py").write_text(line)
        return {"PYTHONPATH": str(folder)}

    def test_a_missing_torch_gives_one_sentence(self, make_worker, job, tmp_path):
        variables = self.missing(tmp_path, "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
        recorder = do(make_worker(environment=variables), "register", *job)
        assert isinstance(recorder.end, DependencyError)
        assert str(recorder.end).startswith("PyTorch is not installed")
        assert any("ModuleNotFoundError" in line for line in recorder.lines)

    @pytest.mark.parametrize("error", ["OSError('WinError 126')", "ImportError('libcudart')"])
    def test_a_torch_that_does_not_load_gives_one_sentence(self, make_worker, tmp_path, error):
        end = do(make_worker(environment=self.missing(tmp_path, f"raise {error}")), "devices").end
        assert isinstance(end, DependencyError)
        assert "does not load" in str(end)

    def test_the_next_job_works_after_torch_was_installed(self, make_worker, tmp_path):
        worker = make_worker(environment=self.missing(tmp_path, "raise ImportError('gone', name='torch')"))
        do(worker, "devices")
        (tmp_path / "torch.py").unlink()
        assert do(worker, "devices").end["report"]["devices"]

    def test_a_process_started_in_advance_without_torch_is_replaced(self, make_worker, tmp_path):
        worker = make_worker(environment=self.missing(tmp_path, "raise ImportError('gone', name='torch')"))
        worker.start()
        poll_until(worker, lambda: not worker.running)
        (tmp_path / "torch.py").unlink()
        assert do(worker, "devices").end["report"]["devices"]


PROGRAM = """
import sys, time
from GenRegLogic.worker.client import Worker
class Recorder:
    def __getattr__(self, name):
        return lambda *arguments: None
worker = Worker(command=[sys.executable, "-c", sys.argv[1]]) if len(sys.argv) > 1 else Worker()
worker.submit("hang", {}, {}, Recorder())
for _ in range(WAITS):
    worker.poll()
    worker.wait(0.1)
print(worker.pid, flush=True)
"""


class TestOrphans:
    """The worker must end when the program that started it ends, for whatever reason."""

    def start(self, ending, *arguments, waits=5):
        code = PROGRAM.replace("WAITS", str(waits)) + textwrap.dedent(ending)
        program = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
        with program.stdout:
            return program, int(program.stdout.readline())

    @needs_signals
    @pytest.mark.parametrize("waits", [0, 5], ids=["while the worker starts", "in the middle of a job"])
    def test_the_worker_ends_when_its_program_is_killed(self, waits):
        program, pid = self.start("time.sleep(60)", STAND_IN, waits=waits)
        program.kill()
        program.wait()
        wait_for_end(pid)

    @needs_signals
    def test_the_real_worker_ends_when_its_program_is_killed(self):
        program, pid = self.start("time.sleep(60)", waits=1)
        program.kill()
        program.wait()
        wait_for_end(pid)

    @pytest.mark.parametrize("ending", ["", "sys.exit(1)", "raise ValueError", "import os; os._exit(0)"])
    def test_the_worker_ends_when_its_program_exits_without_closing_it(self, ending):
        program, pid = self.start(ending, STAND_IN)
        program.wait()
        wait_for_end(pid)
