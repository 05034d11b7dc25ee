"""Faults of the process: interrupted, killed, short of memory; the worker killed.

How often a fault is tried at a random moment differs: a few times in the subset, and many times in the whole trial.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np

from GenRegLogic.errors import Cancelled, GenRegError, WorkerError

from .commands import REGISTER, fill
from .interface import volumes
from .trial import CODE, CRASH, HANG, INTERRUPTED, LEFT, SENTENCE, WRONG, Case, Place, expect, sentences, waited

KILLS, INTERRUPTS = 100, 24
LONG = ("--iterations", "200", "--network", "off")


def cases() -> Iterator[Case]:
    yield from process_cases()
    yield from worker_cases()


# The process ---------------------------------------------------------------------------------------------------------


def process_cases() -> Iterator[Case]:
    for name in ("SIGINT", "SIGTERM", "SIGKILL"):
        for n in range(INTERRUPTS):
            yield Case("process", f"{name} at a random moment {n}", _signalled(name), n < 1)
    for n in range(6):
        yield Case("process", f"SIGINT twice {n}", _signalled("SIGINT", times=2), n < 1)
    for megabytes in (1, 50, 200, 500, 1000, 1500, 2000, 2500, 3000, 4000):
        yield Case("process", f"{megabytes} MB of memory", _little_memory(megabytes), megabytes in (1500, 3000))
    for number in (64, 32, 16, 12):
        yield Case("process", f"{number} open files", _few_files(number), number == 32)


def _signalled(name: str, times: int = 1) -> Callable:
    """A run that a signal ends: nothing half-written is there, whenever it came."""

    def check(place: Place) -> None:
        fill(place)
        restored = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        program = restored + "import sys\nfrom GenRegLogic.cli import main\nsys.exit(main(sys.argv[1:]))\n"
        words = [word for word in REGISTER if word not in ("--linear-only", "--quiet")]
        process = place.start(*words[:5], *LONG, program=program)
        time.sleep(place.random.uniform(0.5, 9))
        for _ in range(times):
            process.send_signal(getattr(signal, name))
            time.sleep(0.3)
        _, err = process.communicate(timeout=60)
        left = [path.name for path in place.out.iterdir()]
        expect("Traceback (most" not in err or process.returncode < 0, SENTENCE, err[-400:])
        allowed = (0, 3, INTERRUPTED, -getattr(signal, name))
        expect(process.returncode in allowed, CODE, f"{process.returncode}: {err[-300:]}")
        if process.returncode < 0:
            expect(not [n for n in left if not n.startswith(".")] or left == ["t.nii.gz"], LEFT, f"{left}")
        else:
            expect(left in ([], ["t.nii.gz"]), LEFT, f"{left}")
        if "t.nii.gz" in left:
            from GenRegLogic.files.transforms import read_transform

            read_transform(place.out / "t.nii.gz")
        for path in place.out.glob(".*"):
            expect(name == "SIGKILL", LEFT, path.name)
            path.unlink()

    return check


def _limited(place: Place, what: int, value: int) -> None:
    fill(place)
    process = place.start(*REGISTER, preexec_fn=lambda: resource.setrlimit(what, (value, value)))
    _, err = process.communicate(timeout=60)
    left = list(place.out.iterdir())
    # below what Python and its packages need to start at all, nothing can be asked of the program but to leave nothing
    started = "genreg: " in err
    expect(process.returncode in (0, 2, 3) or not started, CODE, f"{process.returncode}: {err[-400:]}")
    expect(process.returncode in (0, 3) or not left, LEFT, f"{left}")
    if started and process.returncode == 2:
        expect(len(sentences(err)) == 1, SENTENCE, err[-400:])


def _little_memory(megabytes: int) -> Callable:
    return lambda place: _limited(place, resource.RLIMIT_AS, megabytes * 2**20)


def _few_files(number: int) -> Callable:
    return lambda place: _limited(place, resource.RLIMIT_NOFILE, number)


# The worker ----------------------------------------------------------------------------------------------------------


class Recorder:
    """A listener that keeps how its job ended."""

    def __init__(self) -> None:
        self.ends = []

    def progress(self, *_) -> None:
        pass

    preview = log = progress

    def ended(self, outcome) -> None:
        self.ends.append(outcome)


def worker_cases() -> Iterator[Case]:
    for n in range(KILLS):
        name = ("SIGKILL", "SIGTERM", "SIGSEGV", "SIGSTOP")[n % 4]
        yield Case("worker", f"{name} at a random moment {n}", _killed(name), n < 2)
    for name, change in BAD_JOBS.items():
        yield Case("worker", name, _bad_job(change))


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def job() -> tuple[dict, dict]:
    fixed, moving = volumes()
    settings = {"iterations": 20, "network": "off", "device": "cpu"}
    grids = {"fixed": fixed.geometry.to_dict(), "moving": moving.geometry.to_dict()}
    return grids | {"settings": settings}, {"fixed": fixed.array, "moving": moving.array}


def _poll(worker, recorder: Recorder, until: Callable[[], bool]) -> bool:
    def done() -> bool:
        worker.poll()
        return until()

    return waited(done)


def _killed(name: str) -> Callable:
    """A worker that is killed: one sentence, no process and no file left, and the next job works."""

    def check(place: Place) -> None:
        from GenRegLogic.worker.client import Worker

        worker, recorder = Worker(environment=place.environment), Recorder()
        try:
            worker.submit("register", *job(), recorder)
            end = time.monotonic() + place.random.uniform(0.05, 6)
            _poll(worker, recorder, lambda: bool(recorder.ends) or time.monotonic() > end)
            pid = worker.pid
            if pid is not None and not recorder.ends:
                os.kill(pid, getattr(signal, name))
                if name == "SIGSTOP":
                    worker.answer("abort")
                expect(_poll(worker, recorder, lambda: bool(recorder.ends)), HANG, "the job does not end")
                (ended,) = recorder.ends
                text = str(ended)
                fine = isinstance(ended, (WorkerError, Cancelled, dict))
                expect(fine and (isinstance(ended, dict) or ("\n" not in text and text.endswith("."))), SENTENCE, text)
            if name == "SIGKILL":
                recorder = Recorder()
                worker.submit("register", *job(), recorder)
                expect(_poll(worker, recorder, lambda: bool(recorder.ends)), HANG, "the next job does not end")
                expect(isinstance(recorder.ends[0], dict), WRONG, f"the next job fails: {recorder.ends[0]}")
        finally:
            pids = {pid, worker.pid} - {None}
            worker.close()
        expect(waited(lambda: all(is_gone(pid) for pid in pids), 10), LEFT, "a process is left")

    return check


def _without(name: str) -> Callable:
    return lambda parameters, arrays: parameters.pop(name, None) or arrays.pop(name, None)


BAD_JOBS = {
    "no settings": _without("settings"),
    "no fixed scan": lambda parameters, arrays: arrays.pop("fixed"),
    "no grid": lambda parameters, arrays: parameters.pop("fixed"),
    "settings that are none": lambda parameters, arrays: parameters.update(settings={"iterations": "many"}),
    "an unknown setting": lambda parameters, arrays: parameters.update(settings={"magic": 1}),
    "a grid of another size": lambda parameters, arrays: parameters["fixed"].update(size=[3, 3, 3]),
    "a constant scan": lambda parameters, arrays: arrays.update(fixed=0 * arrays["fixed"]),
    "a scan of NaN": lambda parameters, arrays: arrays.update(moving=np.nan * arrays["moving"]),
    "a scan that is flat": lambda parameters, arrays: arrays.update(moving=arrays["moving"][0]),
}


def _bad_job(change: Callable) -> Callable:
    def check(place: Place) -> None:
        from GenRegLogic.worker.client import Worker

        parameters, arrays = job()
        change(parameters, arrays)
        worker, recorder = Worker(environment=place.environment), Recorder()
        try:
            worker.submit("register", parameters, arrays, recorder)
            expect(_poll(worker, recorder, lambda: bool(recorder.ends)), HANG, "the job does not end")
            ended = recorder.ends[0]
            expect(isinstance(ended, (GenRegError, dict)), CRASH, f"{ended!r}")
            expect(isinstance(ended, dict) or "\n" not in str(ended), SENTENCE, str(ended))
        finally:
            worker.close()

    return check
