"""The listener: the object that receives the progress, log and result of a job."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..errors import GenRegError
from ..space.geometry import Geometry

__all__ = ["Listener", "call"]

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Receives the progress, previews, log and result of a job.

    Its methods are called from `Worker.poll` and `Worker.close` only, and never after `ended`.
    """

    def progress(self, stage: str, fraction: float, seconds_left: float | None, objective: dict | None) -> None:
        """Receives a report of progress.

        Args:
            stage: "prepare", "linear", "propose", "refine" or "finish"; "maps" for the job of that name.
            fraction: Fraction of the whole job that is done, 0 to 1.
            seconds_left: Estimated time left, or None.
            objective: {"level", "iteration", "objective"} in the refinement, else None; a lower objective is better.
        """

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:
        """Receives a preview of the displacement field.

        Args:
            field: (k, j, i, 3) float32, LPS mm, fixed -> moving.
            geometry: The field's grid, which is coarse, in LPS.
        """

    def log(self, line: str) -> None:
        """Receives a line of the log; also the last lines that a crashed process has printed."""

    def ended(self, outcome: dict | GenRegError) -> None:
        """Receives the end of the job; called once.

        Args:
            outcome: {"report": dict, "arrays": {name: ndarray}, "geometries": {name: Geometry}}, or the error.
        """


def call(method: Callable, *arguments) -> None:
    """Call a listener's method; an exception in it is logged, and the job continues."""
    try:
        method(*arguments)
    except Exception as error:
        # Only type and place: the error's text may contain the name of a node, and thereby of a patient.
        _log.error(
            "A listener of the worker failed (%s).\n%s",
            type(error).__name__,
            "".join(traceback.format_tb(error.__traceback__)),
        )
