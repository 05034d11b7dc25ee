"""Jobs about a transform in the scene: maps, and the report page."""

from __future__ import annotations

import abc
from pathlib import Path

import numpy as np

from ...errors import Cancelled, GenRegError, InputError
from ...files.atomic import replacing
from ...space.margin import LPS_TO_RAS
from ..i18n import tr as _
from ..nodes.pair import changeToken, fieldInWorld, pairOf
from ..nodes.transforms import isAsReported, reportOf
from ..views.maps import BODY, MAPS, MapNodes
from .job import Job

__all__ = ["HtmlRun", "MapsRun", "TransformJob", "savePage"]


class TransformJob(Job):
    """A job about a transform in the scene and its two scans; it does not change the scene before its end.

    Args:
        scene: The MRML scene.
        worker: As `Job`'s.
        transformNode: Result of a run, with references to its two volumes.
        device: Device that computes: "auto", "cpu", ...
        confidence: Expected error, (k, j, i) array (mm) and its Geometry, if the run's is still available.
        arguments: `Job`'s: onProgress, onLog, onEnded.
    """

    def __init__(self, scene, worker, transformNode, *, device: str = "auto", confidence=None, **arguments) -> None:
        super().__init__(scene, worker, **arguments)
        self._node, self._device, self._confidence = transformNode, device, confidence

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The two scans and the displacement field, in the world (LPS, mm)."""
        self._pair = pairOf(self._node)
        fixed, moving = self._pair.fixed(), self._pair.moving()
        field, grid = fieldInWorld(self._node, fixed.geometry)
        arrays = {"fixed": fixed.array, "moving": moving.array, "field": field}
        geometries = {"fixed": fixed.geometry, "moving": moving.geometry, "field": grid}
        if self._confidence is not None:
            arrays["confidence"], geometries["confidence"] = self._confidence
        parameters = {name: geometry.to_dict() for name, geometry in geometries.items()}
        self._token = changeToken(self._node)
        return parameters | {"device": self._device, "log": self._onLog is not None, **self.parameters()}, arrays

    def parameters(self) -> dict:
        """Additional parameters of the job."""
        return {}

    def watched(self) -> list:
        """The transform and its scans."""
        return [self._pair.transformNode, self._pair.fixedNode, self._pair.movingNode]

    def take(self, outcome: dict):
        """Reject the answer if the transform has changed since the request."""
        if changeToken(self._node) != self._token:
            raise InputError(
                _("The transform '{name}' was changed in the meantime; try again.").format(name=self._node.GetName())
            )
        return self.resultOf(outcome)

    @abc.abstractmethod
    def resultOf(self, outcome: dict):
        """The job's result, from the worker's answer."""

    def failed(self, error: GenRegError) -> GenRegError:
        """Replace the worker's message on cancellation, which is about a registration; there is nothing to undo."""
        return Cancelled(_("It was given up.")) if isinstance(error, Cancelled) else error


class MapsRun(TransformJob):
    """Computes maps of a transform in the worker; the result is all maps of that transform, {name: volume node}.

    Args:
        mapNodes: `MapNodes` that the maps are added to.
        want: Names of `MAPS`.
        saved: Save the maps with the scene.
        arguments: As `TransformJob`'s.
    """

    job = "maps"

    def __init__(
        self, scene, worker, transformNode, *, mapNodes: MapNodes, want=tuple(MAPS), saved: bool = False, **arguments
    ) -> None:
        super().__init__(scene, worker, transformNode, **arguments)
        unknown = set(want) - set(MAPS)
        if unknown:
            raise InputError(
                _("There is no map '{name}'; there are {names}.").format(name=sorted(unknown)[0], names=", ".join(MAPS))
            )
        self._mapNodes, self._want, self._saved = mapNodes, [name for name in MAPS if name in want], saved

    def parameters(self) -> dict:
        """The names of the requested maps, and of the body mask; and the tolerance that the run was judged by."""
        report = (reportOf(self._node) or {}) if isAsReported(self._node) else {}
        return {"want": [*self._want, BODY], "tolerance_mm": (report.get("confidence") or {}).get("tolerance_mm")}

    def resultOf(self, outcome: dict) -> dict:
        """Put the maps into the scene, and return all maps of the transform by name."""
        return self._mapNodes.add(self._node, outcome, saved=self._saved)


class HtmlRun(TransformJob):
    """Makes the report page of a transform in the worker; the result is its HTML text.

    Args:
        worst: Known `views.maps.Place`s, worst first; None: the worker finds them.
        names: Write the names of the two volumes on the page. They may identify the patient, so the default is no.
        arguments: As `TransformJob`'s.
    """

    job = "html"

    def __init__(self, scene, worker, transformNode, *, worst=None, names: bool = False, **arguments) -> None:
        super().__init__(scene, worker, transformNode, **arguments)
        self._worst, self._names = worst, names

    def parameters(self) -> dict:
        """The run's report (empty if the transform was changed since: the worker then measures), places and names."""
        parameters = {"report": (reportOf(self._node) or {}) if isAsReported(self._node) else {}}
        if self._worst:
            parameters["worst"] = [
                {
                    "point_lps": [float(value) for value in place.point * LPS_TO_RAS],
                    "expected_error_mm": place.expectedError,
                    "reason": place.reason,
                }
                for place in self._worst
            ]
        if self._names:
            parameters["names"] = [self._pair.fixedNode.GetName(), self._pair.movingNode.GetName()]
        return parameters

    def resultOf(self, outcome: dict) -> str:
        """The page, HTML."""
        return outcome["report"]["html"]


def savePage(page: str, path: str | Path) -> None:
    """Write the page; an existing file is replaced only when the new one is complete.

    Raises:
        InputError: The folder cannot be written to.
        ResourceError: The disk is full.
    """
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
