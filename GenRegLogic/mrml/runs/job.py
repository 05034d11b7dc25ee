"""One of the worker's jobs about a transform that is in the scene: maps, a report.

It is polled as a registration is (`run.RegistrationRun`), and changes nothing in the scene before its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import slicer

from ...errors import Cancelled, GenRegError, InputError
from ..i18n import tr as _
from ..nodes.pair import changeToken, fieldInWorld, pairOf
from ..nodes.parents import isIn
from ..nodes.transforms import REPORT_ATTRIBUTE

__all__ = ["TransformJob", "reportOf"]

POLL_SECONDS = 0.05


def reportOf(transformNode) -> dict:
    """The report that a run left on a transform; empty where there is none that can be read."""
    try:
        report = json.loads(transformNode.GetAttribute(REPORT_ATTRIBUTE) or "{}")
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


class TransformJob:
    """A job of the worker's about a transform and its two scans; its kinds say which, and what becomes of the answer.

    Args:
        scene: The MRML scene.
        worker: As `RegistrationRun`'s.
        transformNode: Made by a run, in this scene or an earlier one.
        device: What computes: "auto", "cpu", ...
        confidence: (array, Geometry) of the run, where it is still known.
        onProgress: Called with (stage, fraction, seconds left or None, objective or None).
        onLog: Called with a line.
        onEnded: Called once, with what `take` makes of the answer, or a GenRegError.

    Attributes:
        outcome: The same, once the job has ended.
    """

    job = ""
    """The worker's word for it."""

    def __init__(
        self,
        scene,
        worker,
        transformNode,
        *,
        device: str = "auto",
        confidence=None,
        onProgress: Callable | None = None,
        onLog: Callable | None = None,
        onEnded: Callable | None = None,
    ) -> None:
        self._scene, self._worker, self._node = scene, worker, transformNode
        self._device, self._confidence = device, confidence
        self._onProgress, self._onLog, self._onEnded = onProgress, onLog, onEnded
        self._tag = None
        self.outcome = None

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.outcome is not None

    def start(self) -> None:
        """Hand the work to the worker.

        Raises:
            InputError: The transform or one of its scans can't be used.
        """
        self._pair = pairOf(self._node)
        fixed, moving = self._pair.fixed(), self._pair.moving()
        field, grid = fieldInWorld(self._node, fixed.geometry)
        arrays = {"fixed": fixed.array, "moving": moving.array, "field": field}
        geometries = {"fixed": fixed.geometry, "moving": moving.geometry, "field": grid}
        if self._confidence is not None:
            arrays["confidence"], geometries["confidence"] = self._confidence
        parameters = {name: geometry.to_dict() for name, geometry in geometries.items()}
        parameters |= {"device": self._device, "log": self._onLog is not None, **self.parameters()}
        self._token = changeToken(self._node)
        self._worker.submit(self.job, parameters, arrays, self)
        if not self.finished:
            self._tag = self._scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._onSceneClose)

    def parameters(self) -> dict:
        """Further parameters of the job."""
        return {}

    def take(self, outcome: dict):
        """Make the result of the worker's answer: {"report", "arrays", "geometries"}."""
        raise NotImplementedError

    def poll(self) -> bool:
        """Carry the job on for a moment; True if more is waiting and it should be called again at once."""
        return self._worker.poll() if not self.finished else False

    def runToEnd(self):
        """Poll until the job ends and return its result.

        Raises:
            GenRegError: It failed, or was given up.
        """
        while not self.finished:
            if not self.poll():
                self._worker.wait(POLL_SECONDS)
        if isinstance(self.outcome, GenRegError):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        """Give up."""
        self._worker.answer("abort")

    def stopAndKeep(self) -> None:
        """There is nothing to keep of half a job: give up."""
        self.cancel()

    def setPreview(self, on: bool) -> None:
        """There is none."""

    # What the worker tells.

    def progress(self, stage, fraction, seconds_left, objective) -> None:
        """See `worker.client.Listener`."""
        if self._onProgress is not None:
            self._onProgress(stage, fraction, seconds_left, objective)

    def preview(self, field, geometry) -> None:
        """See `worker.client.Listener`."""

    def log(self, line: str) -> None:
        """See `worker.client.Listener`."""
        if self._onLog is not None:
            self._onLog(line)

    def ended(self, outcome) -> None:
        """See `worker.client.Listener`."""
        if self._tag is not None:
            self._scene.RemoveObserver(self._tag)
            self._tag = None
        if isinstance(outcome, Cancelled):
            outcome = Cancelled(_("It was given up."))  # the worker speaks of a registration
        try:
            if isinstance(outcome, dict):
                self._check()
                outcome = self.take(outcome)
        except GenRegError as error:
            outcome = error
        except Exception as error:  # whatever it is, the caller is told
            outcome = GenRegError(f"The result could not be used ({type(error).__name__}: {error}).")
        self.outcome = outcome
        if self._onEnded is not None:
            self._onEnded(outcome)

    def _check(self) -> None:
        pair = self._pair
        for node in (pair.transformNode, pair.fixedNode, pair.movingNode):
            if not isIn(self._scene, node):
                raise InputError(_("'{name}' was removed from the scene in the meantime.").format(name=node.GetName()))
        if changeToken(self._node) != self._token:
            raise InputError(
                _("The transform '{name}' was changed in the meantime; try again.").format(name=self._node.GetName())
            )

    def _onSceneClose(self, caller, event) -> None:
        self.cancel()
