"""A listener that records its calls, workers that are closed after the test, and a fast stand-in for their process."""

import os
import signal
import sys
import time

import pytest

from GenRegLogic.space.volume import Volume
from GenRegLogic.worker.client import Worker

from ..conftest import Scene, centered, motion

PATIENCE_SECONDS = 60
"""Time limit of a test; working code takes much less."""

STAND_IN = """
import os, sys, threading, time
from GenRegLogic.errors import InputError
from GenRegLogic.worker.channel import open_inherited
from GenRegLogic.worker.__main__ import leave_with_program
from GenRegLogic.worker.server import Server

class Outcome:
    def __init__(self, report, arrays={}, geometries={}):
        self.report, self.arrays, self.geometries = report, arrays, geometries

def echo(parameters, arrays, control):
    return Outcome(parameters, arrays)

def loop(parameters, arrays, control):
    while control.cancel() is None:
        time.sleep(0.01)
    return Outcome({"answer": control.answer})

def hang(parameters, arrays, control):
    while True:
        time.sleep(1)

def fail(parameters, arrays, control):
    raise {"input": InputError, "bug": ZeroDivisionError, "memory": MemoryError, "torch": RuntimeError}[
        parameters["kind"]](parameters["text"])

def leave(parameters, arrays, control):
    print(parameters["text"], file=sys.stderr, flush=True)
    os._exit(parameters["code"])

def talk(parameters, arrays, control):
    for line in parameters["lines"]:
        control.log(line)
    return Outcome({})

def where(parameters, arrays, control):
    return Outcome({"pid": os.getpid(), "variable": os.environ.get("GENREG_TEST_VARIABLE")})

threading.Thread(target=leave_with_program, daemon=True).start()
jobs = dict(echo=echo, loop=loop, hang=hang, fail=fail, leave=leave, talk=talk, where=where)
Server(open_inherited(sys.argv[2:]), lambda: jobs).run()
"""
"""The real server, channel and lifeline with jobs of a few lines; needs no torch and starts fast."""


class Recorder:
    """A listener that records its calls; `on_progress` is called with the stage of each report."""

    def __init__(self, on_progress=lambda stage: None):
        self.reports, self.previews, self.lines, self.ends = [], [], [], []
        self._on_progress = on_progress

    def progress(self, stage, fraction, seconds_left, objective):
        self.reports.append((stage, fraction, seconds_left, objective))
        self._on_progress(stage)

    def preview(self, field, geometry):
        self.previews.append((field, geometry))

    def log(self, line):
        self.lines.append(line)

    def ended(self, outcome):
        self.ends.append(outcome)

    @property
    def end(self):
        assert len(self.ends) == 1
        return self.ends[0]


def poll_until(worker, done, seconds=PATIENCE_SECONDS):
    """Poll until `done()` is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the worker did not finish in time"
        if not worker.poll():
            worker.wait(0.02)


def do(worker, job, parameters=None, arrays=None, recorder=None):
    """Run one job to its end; returns the listener."""
    recorder = recorder or Recorder()
    worker.submit(job, parameters or {}, arrays or {}, recorder)
    poll_until(worker, lambda: recorder.ends)
    return recorder


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        if os.path.exists("/proc/self"):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(pid):
    """Wait until a process has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid):
        assert time.monotonic() < deadline, "the process is still running"
        time.sleep(0.02)


def program(code):
    """The command of a Python that runs `code` in place of the worker."""
    return [sys.executable, "-c", code]


needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signals to send")


@pytest.fixture
def make_worker():
    """Makes workers and closes them after the test."""
    made = []

    def make(code=None, **options):
        if code is not None:
            options["command"] = program(code)
        made.append(Worker(**options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def fresh(make_worker):
    """A worker whose process is the stand-in, not yet started."""
    return make_worker(STAND_IN)


@pytest.fixture(scope="session")
def shared_stand_in():
    """One worker for all tests that do not depend on its state."""
    worker = Worker(command=program(STAND_IN))
    yield worker
    worker.close()


@pytest.fixture
def stand_in(shared_stand_in):
    """A worker whose process is the stand-in, possibly already started."""
    yield shared_stand_in
    if shared_stand_in.busy:
        shared_stand_in.close()


@pytest.fixture(scope="session")
def real_worker():
    """A worker with the real process, which is kept between tests; it is started again after a test that ends it."""
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def scans():
    """A fixed and a moving scan, small."""
    scene, flow = Scene(), motion()
    grid = centered((32, 28, 34), (3.8, 3.8, 3.8))
    return scene.scan(grid), scene.scan(centered((30, 32, 28), (4.0, 3.6, 4.4)), flow.inverse(), seed=1)


@pytest.fixture
def job(scans):
    """Parameters and arrays of a short registration of the small pair."""
    return make_job(*scans)


def make_job(fixed: Volume, moving: Volume, iterations=2, **parameters):
    """Parameters and arrays of a registration."""
    grids = {"fixed": fixed.geometry.to_dict(), "moving": moving.geometry.to_dict()}
    return (
        grids | {"settings": {"iterations": iterations, "init": "header", "device": "cpu"}} | parameters,
        {"fixed": fixed.array, "moving": moving.array},
    )
