"""The base class of all jobs from nodes to nodes: start, polling, progress, end or cancellation.

The owner of a job calls `poll` repeatedly: from a timer in the panel, or in a loop in a script (`runToEnd`).
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np
import slicer

from ...errors import Cancelled, GenRegError, InputError
from ...space.geometry import Geometry
from ..i18n import tr as _

__all__ = ["Job"]

POLL_SECONDS = 0.05
"""Longest wait between two polls in `runToEnd`."""


class Job(abc.ABC):
    """One of the worker's jobs; subclasses define what is sent (`request`) and how the answer is used (`take`).

    Args:
        scene: The MRML scene of all nodes.
        worker: `GenRegLogic.worker.client.Worker`, or an object with its submit, answer, preview, poll and wait.
        onProgress: Called with (stage, fraction, seconds left or None, objective or None).
        onLog: Called with one line of text.
        onEnded: Called once, with the return value of `take` or a GenRegError.

    Attributes:
        outcome: The value passed to `onEnded`; None until the job has ended.
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
        """Whether the job has ended, with a result or an error."""
        return self.outcome is not None

    # Defined by subclasses.

    @abc.abstractmethod
    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The worker's parameters and arrays.

        Raises:
            InputError: A node cannot be used.
        """

    def watched(self) -> list:
        """The nodes whose removal ends the job."""
        return []

    @abc.abstractmethod
    def take(self, outcome: dict):
        """Put the worker's answer {"report", "arrays", "geometries"} into the scene, and return the job's result."""

    def failed(self, error: GenRegError) -> GenRegError:
        """Undo what the job has changed, and return the error that is passed to `onEnded`."""
        return error

    def closePreview(self) -> None:  # noqa: B027 - a job without a preview does nothing
        """Remove the preview from the scene."""

    # Called by the owner.

    def start(self) -> None:
        """Check the nodes and send the job to the worker.

        Raises:
            InputError: A node cannot be used; the scene is unchanged.
        """
        parameters, arrays = self.request()
        self._worker.submit(self.job, parameters, arrays, self)
        if not self.finished:
            self._watchScene()

    def poll(self) -> bool:
        """Process received messages; True if more are waiting and `poll` should be called again immediately."""
        return self._worker.poll() if not self.finished else False

    def runToEnd(self):
        """Poll until the job ends and return its result.

        An interruption (Ctrl+C) cancels the job and restores the scene before it propagates.

        Raises:
            GenRegError: The job failed or was canceled.
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
        """Cancel the job; the scene is restored."""
        self.closePreview()
        self._worker.answer("abort")

    def stopAndKeep(self) -> None:
        """Stop early and keep the result so far; a job without intermediate results is canceled."""
        self.cancel()

    def setPreview(self, on: bool) -> None:  # noqa: B027 - a job without a preview does nothing
        """Switch the preview on or off, if the job has one."""

    # Called by the worker's client (`worker.listener.Listener`).

    def progress(self, stage: str, fraction: float, seconds_left: float | None, objective: dict | None) -> None:
        """Pass progress on to `onProgress`."""
        if self._onProgress is not None:
            self._onProgress(stage, fraction, seconds_left, objective)

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:  # noqa: B027 - a job without a preview does nothing
        """Show the intermediate displacement field; nothing by default."""

    def log(self, line: str) -> None:
        """Pass a line on to `onLog`."""
        if self._onLog is not None:
            self._onLog(line)

    def ended(self, outcome: dict | GenRegError) -> None:
        """End the job: put the result into the scene or restore the scene, then call `onEnded`; only the first call
        has an effect."""
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
        except Exception as error:  # whatever the fault, the scene is restored and `onEnded` is called
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
        except Exception as fault:  # the job must end nevertheless, or its owner would wait forever
            return GenRegError(f"{error} The scene could not be put back ({type(fault).__name__}: {fault}).")

    # Changes of the scene during a job.

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
