"""Small jobs for the worker while nothing runs: which devices there are, how the contrasts of two volumes relate.

They never hold up a run: a run ends them, and their failures go to the log, and unexpected ones
to the status bar.
"""

import logging
import time

import slicer

from GenRegLogic.errors import GenRegError

from ..text import asGenRegError
from ..timing import repeating

__all__ = ["IdleJobs"]

POLL_MS = 50
STATUS_MS = 5000
END_S = 0.6
"""An abandoned job ends within half a second; the worker sees to that."""


class _Listener:
    """Receives one job's end."""

    def __init__(self, ended):
        self.ended = ended

    def progress(self, *_):
        pass

    def preview(self, *_):
        pass

    def log(self, _line):
        pass


class IdleJobs:
    """Does one small job after the other.

    Args:
        runner: Whose worker does them, and whose runs come first.
    """

    def __init__(self, runner):
        self._runner = runner
        self._waiting = {}
        self._present = None
        self._then = None
        self._timer = repeating(self._tick, POLL_MS)

    @property
    def busy(self):
        """Whether the worker is at an idle job."""
        return self._present is not None

    def ask(self, name, job, prepare, onDone):
        """Have a job done as soon as the worker is free.

        Args:
            name: A later request of the same name takes the place of an earlier one that still waits.
            job: The worker's name of the job.
            prepare: Returns (parameters, arrays) when the turn has come.
            onDone: Receives the report; not called if the job fails or is abandoned.
        """
        self._waiting[name] = (job, prepare, onDone)
        self._timer.start()

    def drop(self, name):
        """Forget a request that still waits."""
        self._waiting.pop(name, None)

    def abandon(self, then):
        """Give up what is under way and what waits, and call `then` once the worker is free: at once, or within half a
        second. Nothing blocks."""
        self._waiting.clear()
        if not self.busy:
            then()
            return
        self._then = then
        self._present = _discard
        self._runner.worker.answer("abort")
        self._timer.start()

    def end(self):
        """Give everything up and wait for it, half a second at most; for callers who cannot come back later."""
        self._waiting.clear()
        if not self.busy:
            return
        self._present, worker = _discard, self._runner.worker
        worker.answer("abort")
        deadline = time.monotonic() + END_S
        while self.busy and time.monotonic() < deadline:
            if not worker.poll() and self.busy:
                worker.wait(0.02)

    def forget(self):
        """Forget all jobs without telling their owners, as the worker is about to be closed."""
        self._timer.stop()
        self._waiting.clear()
        self._present = self._then = None

    def _tick(self):
        if self._runner.running:
            return
        try:
            if self._present is not None:
                self._runner.worker.poll()
            elif self._then is not None:
                then, self._then = self._then, None
                then()
            elif self._waiting:
                self._submit()
            else:
                self._timer.stop()
        except Exception as error:
            # The worker may be in any state: the next job or run gets a new one.
            self._failed(error)
            self._runner.dropWorker()

    def _failed(self, error):
        """Whatever it is, the next job's turn comes; it is not worth a window that has to be clicked away."""
        self._present = None
        slicer.util.showStatusMessage(str(asGenRegError(error)), STATUS_MS)

    def _submit(self):
        name = next(iter(self._waiting))
        job, prepare, onDone = self._waiting.pop(name)
        try:
            parameters, arrays = prepare()
        except Exception as error:
            self._failed(error)
            return
        self._present = onDone
        self._runner.worker.submit(job, parameters, arrays, _Listener(self._ended))

    def _ended(self, outcome):
        onDone, self._present = self._present, None
        if isinstance(outcome, GenRegError):
            logging.info("GenReg: %s", outcome)
        elif onDone is not None:  # None: forgotten in the meantime
            try:
                onDone(outcome["report"])
            except Exception as error:
                self._failed(error)


def _discard(_report):
    """The receiver of the report of a job that was abandoned."""
