"""The worker process with one run at a time, and the timer that polls it; used by the module's logic.

Everything is done on Slicer's main thread in small steps, so that the window remains responsive. A run itself detects
that the scene is closed or one of its nodes is removed; the end of the module calls `cleanup`.
"""

import shutil
import sys
import time

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import Cancelled, GenRegError, InputError

from ..text import asGenRegError
from ..timing import repeating
from .idlejobs import IdleJobs

__all__ = ["Runner", "makeJob", "makeWorker", "pythonCommand"]

POLL_MS, BUSY_POLL_MS = 30, 2
"""Time between two polls of the worker: without waiting data, and while volumes are transferred."""

WAIT_S = 0.05
"""Longest wait in a blocking call, so that Ctrl+C is handled."""

END_WAIT_S = 1.0
"""Longest wait for a run to restore the scene when the module ends; the worker itself is ended immediately."""


def pythonCommand():
    """The command of the worker's Python: Slicer's launcher if it exists, because it sets the library paths."""
    return [shutil.which("PythonSlicer") or sys.executable]


def makeWorker():
    """A worker process, not yet started."""
    from GenRegLogic.worker.client import Worker

    return Worker(command=pythonCommand())


def makeJob(kind, *arguments, **keywords):
    """A job from nodes to nodes (`GenRegLogic.mrml.runs.job.Job`), not yet started.

    Args:
        kind: "register", "repair", "maps" or "html".
        arguments: Scene, worker, and further arguments of that kind of job.
        keywords: Keyword arguments of that kind of job.
    """
    from GenRegLogic.mrml.runs.localrepair import RepairRun
    from GenRegLogic.mrml.runs.registration import RegistrationRun
    from GenRegLogic.mrml.runs.transformjobs import HtmlRun, MapsRun

    kinds = {"register": RegistrationRun, "repair": RepairRun, "maps": MapsRun, "html": HtmlRun}
    return kinds[kind](*arguments, **keywords)


class Runner:
    """One worker, one job at a time: a registration, a repair, maps or a report.

    Args:
        jobFactory: Makes a job, with the arguments of `makeJob`.
        workerFactory: Makes the worker.
        clock: Returns seconds.

    Attributes:
        idle: Small jobs for the same worker while nothing runs.
    """

    def __init__(self, jobFactory=makeJob, workerFactory=makeWorker, clock=time.monotonic):
        self._run = None
        self.idle = IdleJobs(self)
        self._makeJob, self._makeWorker, self._clock = jobFactory, workerFactory, clock
        self._worker = None
        self._timer = repeating(self._tick, POLL_MS)

    @property
    def run(self):
        """The present job, or None; a job that is `finished` has already called its `onEnded`."""
        return self._run if self._run is not None and not self._run.finished else None

    @property
    def running(self):
        """Whether a run is under way."""
        return self.run is not None

    def checkFree(self):
        """Raise an `InputError` if a run is under way."""
        if self.running:
            raise InputError(_("A registration or another job is under way; wait until it has ended, or cancel it."))

    @property
    def worker(self):
        """The worker; made, not started, when first asked for."""
        if self._worker is None:
            self._worker = self._makeWorker()
        return self._worker

    def whenFree(self, then):
        """Abort the idle jobs and call `then` when the worker is free: immediately, or within half a second."""
        self.idle.abandon(then)

    def begin(self, kind, *arguments, onEnded=None, timed=True, **options):
        """Start a job and return it immediately.

        Args:
            kind: See `makeJob`.
            arguments: For "register" `RunInputs` and `RunOutputs`, else the transform node.
            onEnded: Called once with the result or a `GenRegError`, by the job itself (`Job.ended`).
            timed: Poll with a timer; False: the caller polls.
            options: Options of that kind of job: preview, keepWarm, onProgress, onPreview, onLog, ...

        Raises:
            InputError: Another job is under way, or a node cannot be used; the scene is unchanged.
        """
        self.checkFree()
        self.idle.end()
        run = self._makeJob(kind, slicer.mrmlScene, self.worker, *arguments, onEnded=onEnded, **options)
        self._run = run
        try:
            run.start()
        except BaseException:
            self._run = None
            raise
        if timed and self.running:
            self._timer.setInterval(BUSY_POLL_MS)
            self._timer.start()
        return run

    def wait(self, kind, *arguments, **options):
        """Start a job as `begin` does, wait for its end, and return the result; the window is blocked meanwhile.

        Raises:
            GenRegError: The job failed or was canceled.
        """
        run = self.begin(kind, *arguments, timed=False, **options)
        try:
            while not run.finished:
                if not run.poll() and not run.finished:
                    self.worker.wait(WAIT_S)
        except BaseException:
            self.cleanup()
            raise
        self._run = None  # its arrays are not kept
        if isinstance(run.outcome, GenRegError):
            raise run.outcome
        return run.outcome

    def cancel(self):
        """Cancel the present run, if any; the scene is restored."""
        if self.run is not None:
            self.run.cancel()

    def stopAndKeep(self):
        """Stop the present run, if any, and keep the best alignment so far."""
        if self.run is not None:
            self.run.stopAndKeep()

    def setPreview(self, on):
        """Switch the preview of the present run, if any."""
        if self.run is not None:
            self.run.setPreview(on)

    def cleanup(self):
        """End the run, the timer and the worker. It can be called repeatedly; a later job gets a new worker."""
        self._timer.stop()
        self.idle.forget()
        run = self.run
        if run is not None:
            self._endRun(run)
        self.dropWorker()
        if run is not None:
            run.ended(Cancelled(_("The registration was given up.")))  # unless it has ended by now

    def dropWorker(self):
        """End the worker process; the next job starts a new one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _endRun(self, run):
        deadline = self._clock() + END_WAIT_S
        try:
            run.cancel()
            while not run.finished and self._clock() < deadline:
                if not run.poll() and not run.finished:
                    self.worker.wait(WAIT_S)
        except Exception as error:  # only logged: the panel is gone
            asGenRegError(error)

    def _tick(self):
        run = self.run
        if run is None:
            self._timer.stop()
            self._run = None  # its arrays are not kept
            return
        try:
            more = run.poll()
        except Exception as error:  # a fault must not be repeated at every timeout
            error = asGenRegError(error)
            if self.run is run:
                self._abandon(run, error)
            return
        interval = BUSY_POLL_MS if more else POLL_MS
        if self.run is run and self._timer.interval != interval:
            self._timer.setInterval(interval)

    def _abandon(self, run, error):
        self._timer.stop()
        try:
            run.cancel()
        except Exception as another:  # only logged: the run has failed already
            asGenRegError(another)
        if self._worker is not None:
            self._worker.close()
        run.ended(error)  # unless the worker's end has ended it
