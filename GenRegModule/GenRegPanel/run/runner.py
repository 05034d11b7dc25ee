"""The worker process, one run at a time, and the timer that polls it: what the module's logic is made of.

Everything happens on Slicer's own thread in small steps, so that the window stays live. A run itself notices when the
scene is closed or one of its nodes removed; the end of the module leads through `cleanup`.
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
"""Between two looks at the worker: while nothing waits, and while volumes are on their way."""

WAIT_S = 0.05
"""A blocking caller looks up this often, so that Ctrl+C gets through."""

END_WAIT_S = 1.0
"""How long the end of the module waits for a run to put the scene back; the worker itself is ended at once."""


def pythonCommand():
    """The Python to run the worker with: Slicer's launcher where there is one, which knows the libraries' places."""
    return [shutil.which("PythonSlicer") or sys.executable]


def makeWorker():
    """A worker process, not yet started."""
    from GenRegLogic.worker.client import Worker

    return Worker(command=pythonCommand())


def makeJob(kind, *arguments, **keywords):
    """A job from nodes to nodes (`GenRegLogic.mrml.runs.job.Job`), not yet started.

    Args:
        kind: "register", "repair", "maps" or "html".
        arguments: Scene, worker, and what the kind takes.
        keywords: What the kind takes.
    """
    from GenRegLogic.mrml.runs.localrepair import RepairRun
    from GenRegLogic.mrml.runs.registration import RegistrationRun
    from GenRegLogic.mrml.runs.transformjobs import HtmlRun, MapsRun

    kinds = {"register": RegistrationRun, "repair": RepairRun, "maps": MapsRun, "html": HtmlRun}
    return kinds[kind](*arguments, **keywords)


class Runner:
    """One worker, one job at a time: a registration, a repair, maps or a report.

    Args:
        jobFactory: Makes a job; called as `makeJob` is.
        workerFactory: Makes the worker.
        clock: Seconds.

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
        """The present job, or None; a job is over once it is `finished`, and then tells its owner itself."""
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
        """Give up the idle jobs and call `then` once the worker is free: at once, or within half a second."""
        self.idle.abandon(then)

    def begin(self, kind, *arguments, onEnded=None, timed=True, **options):
        """Begin a job and return it at once.

        Args:
            kind: See `makeJob`.
            arguments: What the kind takes: for "register" `RunInputs` and `RunOutputs`, else the transform's node.
            onEnded: Receives the result or a `GenRegError`, once; the job itself calls it (`Job.ended`).
            timed: A timer polls; False: the caller does.
            options: What the kind takes: preview, keepWarm, onProgress, onPreview, onLog, ...

        Raises:
            InputError: Another job is under way, or a node cannot be used; the scene is untouched.
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
        """Begin a job as `begin` does, wait for its end, and return the result; the window stands still meanwhile.

        Raises:
            GenRegError: What it ended with.
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
        """Give the present run up, if there is one; the scene becomes what it was."""
        if self.run is not None:
            self.run.cancel()

    def stopAndKeep(self):
        """End the present run, if there is one, with the best alignment so far."""
        if self.run is not None:
            self.run.stopAndKeep()

    def setPreview(self, on):
        """Switch the preview of the present run, if there is one."""
        if self.run is not None:
            self.run.setPreview(on)

    def cleanup(self):
        """End everything: the run, the timer, the worker. Can be called twice; a later start makes a new worker."""
        self._timer.stop()
        self.idle.forget()
        run = self.run
        if run is not None:
            self._endRun(run)
        self.dropWorker()
        if run is not None:
            run.ended(Cancelled(_("The registration was given up.")))  # unless it has ended by now

    def dropWorker(self):
        """End the worker's process; what comes next starts a new one."""
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
        except Exception as error:  # nobody is left to be told
            asGenRegError(error)

    def _tick(self):
        run = self.run
        if run is None:
            self._timer.stop()
            self._run = None  # its arrays are not kept
            return
        try:
            more = run.poll()
        except Exception as error:  # a fault must not come back with every tick of the timer
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
        except Exception as another:  # it is broken already
            asGenRegError(another)
        if self._worker is not None:
            self._worker.close()
        run.ended(error)  # unless the worker's end has ended it
