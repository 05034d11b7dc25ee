"""The report on one page: made by the worker, written when it is whole."""

from __future__ import annotations

from pathlib import Path

from ...files.atomic import replacing
from ...space.margin import LPS_TO_RAS
from ..nodes.transforms import isAsReported
from .job import TransformJob, reportOf

__all__ = ["HtmlRun", "savePage"]


class HtmlRun(TransformJob):
    """Has the worker make the page about a transform; ends with its text.

    Args:
        worst: `maps.Place`s that are known, the worst first; None leaves them to the worker.
        names: The page names the two volumes. They may say who the patient is, so they are left out by default.
        arguments: As `TransformJob`'s.
    """

    job = "html"

    def __init__(self, scene, worker, transformNode, *, worst=None, names: bool = False, **arguments) -> None:
        super().__init__(scene, worker, transformNode, **arguments)
        self._worst, self._names = worst, names

    def parameters(self) -> dict:
        """The run's report, unless the transform was changed since (then the worker measures), and what to tell."""
        parameters = {"report": reportOf(self._node) if isAsReported(self._node) else {}}
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

    def take(self, outcome: dict) -> str:
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
