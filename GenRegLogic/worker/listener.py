"""Who hears of a job."""

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
    """Who hears of a job; called from `Worker.poll` and `Worker.close` only, and after `ended` not again."""

    def progress(self, stage: str, fraction: float, seconds_left: float | None, objective: dict | None) -> None:
        """How far the job is.

        Args:
            stage: "prepare", "linear", "propose", "refine" or "finish"; of the job "maps", "maps".
            fraction: Of the whole job, 0 to 1.
            seconds_left: Estimate, or None.
            objective: {"level", "iteration", "objective"} in the refinement, else None; lower is better.
        """

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:
        """The displacement so far: (k, j, i, 3) float32, LPS mm, fixed -> moving, on a coarse LPS grid."""

    def log(self, line: str) -> None:
        """A line for whoever wants to know more; also the end of what a crashed process wrote."""

    def ended(self, outcome: dict | GenRegError) -> None:
        """The job is over; called once.

        Args:
            outcome: {"report": dict, "arrays": {name: ndarray}, "geometries": {name: Geometry}}, or what went wrong.
        """


def call(method: Callable, *arguments) -> None:
    """A listener's fault is its own: it is written down, and the job goes on."""
    try:
        method(*arguments)
    except Exception as error:
        # Where, and of what kind: the error's own text may hold a node's name, and with it a patient's.
        _log.error(
            "A listener of the worker failed (%s).\n%s",
            type(error).__name__,
            "".join(traceback.format_tb(error.__traceback__)),
        )
