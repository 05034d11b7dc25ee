"""Jobs about a transform that is in the scene: maps, and the report on one page."""

from __future__ import annotations

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
    """A job about a transform that is in the scene, and its two scans; it changes nothing before its end.

    Args:
        scene: The MRML scene.
        worker: As `Job`'s.
        transformNode: Made by a run, in this scene or an earlier one.
        device: What computes: "auto", "cpu", ...
        confidence: (array, Geometry) of the run, where it is still known.
        arguments: As `Job`'s.
    """

    def __init__(self, scene, worker, transformNode, *, device: str = "auto", confidence=None, **arguments) -> None:
        super().__init__(scene, worker, **arguments)
        self._node, self._device, self._confidence = transformNode, device, confidence

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The two scans and the field between them, in the world."""
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
        """Further parameters of the job."""
        return {}

    def watched(self) -> list:
        """The transform and its scans."""
        return [self._pair.transformNode, self._pair.fixedNode, self._pair.movingNode]

    def take(self, outcome: dict):
        """Refuse an answer about an earlier state of the transform."""
        if changeToken(self._node) != self._token:
            raise InputError(
                _("The transform '{name}' was changed in the meantime; try again.").format(name=self._node.GetName())
            )
        return self.resultOf(outcome)

    def resultOf(self, outcome: dict):
        """Make the result of the worker's answer."""
        raise NotImplementedError

    def failed(self, error: GenRegError) -> GenRegError:
        """The worker's own sentence on cancellation is about a registration; nothing has to be put back."""
        return Cancelled(_("It was given up.")) if isinstance(error, Cancelled) else error


class MapsRun(TransformJob):
    """Has the worker make maps of a transform; ends with all maps of that transform, {name: volume node}.

    Args:
        mapNodes: `MapNodes`, where the maps go.
        want: Names out of `MAPS`.
        saved: The maps go with the scene.
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
        """Which maps."""
        return {"want": [*self._want, BODY]}

    def resultOf(self, outcome: dict) -> dict:
        """Put the maps into the scene."""
        return self._mapNodes.add(self._node, outcome, saved=self._saved)


class HtmlRun(TransformJob):
    """Has the worker make the page about a transform; ends with its text.

    Args:
        worst: `views.maps.Place`s that are known, the worst first; None leaves them to the worker.
        names: The page names the two volumes. They may say who the patient is, so they are left out by default.
        arguments: As `TransformJob`'s.
    """

    job = "html"

    def __init__(self, scene, worker, transformNode, *, worst=None, names: bool = False, **arguments) -> None:
        super().__init__(scene, worker, transformNode, **arguments)
        self._worst, self._names = worst, names

    def parameters(self) -> dict:
        """The run's report, unless the transform was changed since (then the worker measures), and what to tell."""
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
        """The page."""
        return outcome["report"]["html"]


def savePage(page: str, path: str | Path) -> None:
    """Write the page; an older file is replaced only once all is written.

    Raises:
        InputError: The folder cannot be written to.
        ResourceError: The disk is full.
    """
    with replacing(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")
