"""Small jobs for the worker while nothing runs: listing the devices, comparing the contrasts of two volumes.

They do not delay a run, which ends them. Their errors are logged; unexpected ones are shown in the status bar.
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
"""Longest wait for an abandoned job; the worker ends it within half a second."""


class _Listener:
    """The listener of one job, which only receives its end."""

    def __init__(self, ended):
        self.ended = ended

    def progress(self, *_):
        pass

    def preview(self, *_):
        pass

    def log(self, _line):
        pass


class IdleJobs:
    """Runs small jobs one after the other.

    Args:
        runner: `Runner`, whose worker is used and whose runs have priority.
    """

    def __init__(self, runner):
        self._runner = runner
        self._waiting = {}
        self._present = None
        self._then = None
        self._timer = repeating(self._tick, POLL_MS)

    @property
    def busy(self):
        """Whether an idle job is running."""
        return self._present is not None

    def ask(self, name, job, prepare, onDone):
        """Request a job, which is run as soon as the worker is free.

        Args:
            name: A request replaces an earlier one of the same name that has not started.
            job: The worker's name of the job.
            prepare: Returns (parameters, arrays); called when the job starts.
            onDone: Called with the report; not called if the job fails or is abandoned.
        """
        self._waiting[name] = (job, prepare, onDone)
        self._timer.start()

    def drop(self, name):
        """Remove a request that has not started."""
        self._waiting.pop(name, None)

    def abandon(self, then):
        """Abort the running job, remove all requests, and call `then` when the worker is free: immediately, or within
        half a second without blocking."""
        self._waiting.clear()
        if not self.busy:
            then()
            return
        self._then = then
        self._present = _discard
        self._runner.worker.answer("abort")
        self._timer.start()

    def end(self):
        """Abort the running job, remove all requests, and wait until the worker is free, at most `END_S` seconds."""
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
        """Remove all jobs without calling their receivers, before the worker is closed."""
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
            # The worker may be in any state, so the next job or run gets a new one.
            self._failed(error)
            self._runner.dropWorker()

    def _failed(self, error):
        """Show an error in the status bar, not as a message to be closed, and continue with the next job."""
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
        elif onDone is not None:  # None: removed by `forget`
            try:
                onDone(outcome["report"])
            except Exception as error:
                self._failed(error)


def _discard(_report):
    """The receiver of the report of an aborted job."""
