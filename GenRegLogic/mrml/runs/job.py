"""The life of a job from nodes to nodes: start, polling, progress, end or cancellation, the same for every kind.

Whoever owns the job calls `poll` often: a timer in the panel, a loop in a script (`runToEnd`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from ...errors import Cancelled, GenRegError, InputError
from ...space.geometry import Geometry
from ..i18n import tr as _

__all__ = ["Job"]

POLL_SECONDS = 0.05
"""Longest wait between two polls of a job that blocks its caller."""


class Job:
    """One of the worker's jobs; its kinds say what is sent (`request`) and what becomes of the answer (`take`).

    Args:
        scene: The MRML scene of all nodes.
        worker: `GenRegLogic.worker.client.Worker`, or anything with its submit, answer, preview, poll and wait.
        onProgress: Called with (stage, fraction, seconds left or None, objective or None).
        onLog: Called with a line.
        onEnded: Called once, with what `take` makes of the answer, or a GenRegError.

    Attributes:
        outcome: The same, once the job has ended.
    """

    job = ""
    """The worker's name of the job."""

    def __init__(
        self,
        scene,
        worker,
        *,
        onProgress: Callable | None = None,
        onLog: Callable | None = None,
        onEnded: Callable | None = None,
    ) -> None:
        self._scene, self._worker = scene, worker
        self._onProgress, self._onLog, self._onEnded = onProgress, onLog, onEnded
        self._observers: list[int] = []
        self._watched: dict[str, str] = {}
        self._sceneError: GenRegError | None = None
        self.outcome = None

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.outcome is not None

    # What the kinds of jobs say.

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The worker's parameters and arrays.

        Raises:
            InputError: A node can't be used.
        """
        raise NotImplementedError

    def watched(self) -> list:
        """The nodes without which the job has no point."""
        return []

    def take(self, outcome: dict):
        """Make the result of the worker's answer: {"report", "arrays", "geometries"}."""
        raise NotImplementedError

    def failed(self, error: GenRegError) -> GenRegError:
        """Put back what the job has changed, and return the error that its owner is told."""
        return error

    def closePreview(self) -> None:
        """Take away what was shown of the job while it ran."""

    # What its owner calls.

    def start(self) -> None:
        """Check everything and hand the work to the worker.

        Raises:
            InputError: Something can't be used; the scene is as it was.
        """
        parameters, arrays = self.request()
        self._worker.submit(self.job, parameters, arrays, self)
        if not self.finished:
            self._watchScene()

    def poll(self) -> bool:
        """Process what has arrived; True if more is waiting and it should be called again at once."""
        return self._worker.poll() if not self.finished else False

    def runToEnd(self):
        """Poll until the job ends and return its result. Interrupted (Ctrl+C), it is given up, and the scene comes back
        first.

        Raises:
            GenRegError: It failed, or was given up.
        """
        try:
            self._pollToEnd()
        except BaseException:
            self.cancel()
            self._pollToEnd()
            raise
        if isinstance(self.outcome, GenRegError):
            raise self.outcome
        return self.outcome

    def _pollToEnd(self) -> None:
        while not self.finished:
            if not self.poll():
                self._worker.wait(POLL_SECONDS)

    def cancel(self) -> None:
        """Give up; the scene comes back as it was."""
        self.closePreview()
        self._worker.answer("abort")

    def stopAndKeep(self) -> None:
        """Stop as soon as possible. Most jobs have no result before their end: they are canceled."""
        self.cancel()

    def setPreview(self, on: bool) -> None:
        """Switch the preview, where the job has one."""

    # What the worker tells (`worker.listener.Listener`).

    def progress(self, stage: str, fraction: float, seconds_left: float | None, objective: dict | None) -> None:
        """How far the job is."""
        if self._onProgress is not None:
            self._onProgress(stage, fraction, seconds_left, objective)

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:
        """The displacement so far."""

    def log(self, line: str) -> None:
        """A line for the log."""
        if self._onLog is not None:
            self._onLog(line)

    def ended(self, outcome: dict | GenRegError) -> None:
        """The job is over: the result goes into the scene, or the scene becomes what it was; then the owner is told.
        Called again, it does nothing."""
        if self.finished:
            return
        self._unwatchScene()
        try:
            self.closePreview()
            if self._sceneError is not None:
                outcome = self._sceneError
            if isinstance(outcome, dict):
                outcome = self.take(outcome)
        except GenRegError as error:
            outcome = error
        except Exception as error:  # whatever it is, the scene comes back and the owner is told
            outcome = GenRegError(
                f"The result could not be put into the scene ({type(error).__name__}: {error}); "
                "the scene was left as it was."
            )
        self.outcome = self._putBack(outcome) if isinstance(outcome, GenRegError) else outcome
        if self._onEnded is not None:
            self._onEnded(self.outcome)

    def _putBack(self, error: GenRegError) -> GenRegError:
        try:
            return self.failed(error)
        except Exception as fault:  # a job that never ended would keep its owner waiting forever
            return GenRegError(f"{error} The scene could not be put back ({type(fault).__name__}: {fault}).")

    # The scene goes on living during a job.

    def _watchScene(self) -> None:
        scene = self._scene
        self._watched = {node.GetID(): node.GetName() for node in self.watched()}
        self._observers = [
            scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose),
            scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
        ]

    def _unwatchScene(self) -> None:
        for tag in self._observers:
            self._scene.RemoveObserver(tag)
        self._observers = []

    def _onSceneClose(self, caller, event) -> None:
        self._giveUp(Cancelled(_("The scene was closed in the meantime, so the computation was given up.")))

    def _onNodeRemoved(self, caller, event) -> None:
        gone = [name for nodeID, name in self._watched.items() if self._scene.GetNodeByID(nodeID) is None]
        if gone:
            sentence = _("'{name}' was removed from the scene in the meantime, so the computation was given up.")
            self._giveUp(InputError(sentence.format(name=gone[0])))

    def _giveUp(self, error: GenRegError) -> None:
        if self._sceneError is None and not self.finished:
            self._sceneError = error
            self.cancel()
