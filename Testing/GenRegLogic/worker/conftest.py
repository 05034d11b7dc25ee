"""A listener that remembers, workers that are put away, and a quick process that stands in for the real one."""

import os
import signal
import sys
import time

import pytest

from GenRegLogic.space.volume import Volume
from GenRegLogic.worker.client import Worker

from ..conftest import Scene, centered, motion

PATIENCE_SECONDS = 60
"""After which a test gives up; nothing that works takes nearly as long."""

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

def deaf(parameters, arrays, control):
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
jobs = dict(echo=echo, loop=loop, deaf=deaf, fail=fail, leave=leave, talk=talk, where=where)
Server(open_inherited(sys.argv[2:]), lambda: jobs).run()
"""
"""The real server, channel and lifeline with jobs of a few lines, which needs no torch and is there at once."""


class Ear:
    """A listener that remembers; `on_progress` is called with the stage."""

    def __init__(self, on_progress=lambda stage: None):
        self.told, self.previews, self.lines, self.ends = [], [], [], []
        self._on_progress = on_progress

    def progress(self, stage, fraction, seconds_left, objective):
        self.told.append((stage, fraction, seconds_left, objective))
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
        assert time.monotonic() < deadline, "the worker did not get on"
        if not worker.poll():
            worker.wait(0.02)


def do(worker, job, parameters=None, arrays=None, ear=None):
    """Run one job to its end; returns the listener."""
    ear = ear or Ear()
    worker.submit(job, parameters or {}, arrays or {}, ear)
    poll_until(worker, lambda: ear.ends)
    return ear


def is_alive(pid):
    """Whether a process runs; one that only waits for its parent to notice its end doesn't."""
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
    """Wait until a process is gone."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid):
        assert time.monotonic() < deadline, "the process is still there"
        time.sleep(0.02)


def program(code):
    """The command of a Python that runs `code` in the worker's place."""
    return [sys.executable, "-c", code]


needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signals to send")


@pytest.fixture
def make_worker():
    """Makes workers and puts them away after the test."""
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
    """One for all tests that don't mind what happened before."""
    worker = Worker(command=program(STAND_IN))
    yield worker
    worker.close()


@pytest.fixture
def stand_in(shared_stand_in):
    """A worker whose process is the stand-in, perhaps warm."""
    yield shared_stand_in
    if shared_stand_in.busy:
        shared_stand_in.close()


@pytest.fixture(scope="session")
def real_worker():
    """The real one, kept warm; tests that end its process leave it to start a new one."""
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
