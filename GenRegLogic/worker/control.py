"""The running job's connection to the program: requests to stop and for previews, progress, and lines of the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Cancelled
from ..space.geometry import Geometry
from .messages import MESSAGE, decode

if TYPE_CHECKING:
    from .server import Server

__all__ = ["PREVIEW_VOXELS", "JobControl", "thinned"]

PROGRESS_SECONDS = 0.05
"""Least time between two reports of progress, unless the stage or the objective has changed."""

PREVIEW_SECONDS = 0.5
"""Least time between two previews."""

LOGGED_ITERATIONS = 10
"""Every how many iterations the objective is logged."""

PREVIEW_VOXELS = 200_000
"""Largest number of voxels of a preview."""


class JobControl:
    """Connects a running job with the program.

    Args:
        server: Sends the messages.
        parameters: The job's parameters, of which "preview" (whether previews are wanted from the start) and "log"
            (whether lines of the log are wanted) are used here.
        clock: Returns the time in seconds.

    Attributes:
        answer: The program's request so far: None (go on), "keep" or "abort".
    """

    def __init__(self, server: Server, parameters: dict, clock: Callable[[], float] = time.monotonic) -> None:
        self.answer: str | None = None
        self._server, self._clock = server, clock
        self._preview_wanted = bool(parameters.get("preview"))
        self._log_wanted = bool(parameters.get("log"))
        self._preview_pending = False
        self._previewed_at = self._told_at = -1e9
        self._stage = ""

    def cancel(self) -> str | None:
        """Receive pending messages, without waiting for any.

        Returns:
            None (go on), "keep" (stop and keep the best result so far) or "abort" (give up).
        """
        for kind, payload in self._server.pending():
            if kind == MESSAGE:
                self.note(decode(payload))
        return self.answer

    def check(self) -> None:
        """Receive pending messages.

        Raises:
            Cancelled: The program has requested "abort".
        """
        if self.cancel() == "abort":
            raise Cancelled("The registration was given up; nothing was changed.")

    def note(self, message: dict) -> None:
        """Process a message that the program has sent during the job."""
        if message["type"] == "answer":
            self.answer = "abort" if "abort" in (self.answer, message["word"]) else message["word"]
        elif message["type"] == "preview":
            self._preview_wanted = message["wanted"]
        elif message["type"] == "previewed":
            self._preview_pending = False

    def log(self, line: str) -> None:
        """Send a line of the log, if the log is wanted."""
        if self._log_wanted:
            self._server.send({"type": "log", "line": line})

    def on_progress(self, progress) -> None:
        """Send a `Progress` report, unless it follows too soon, and a preview of its field if one is due."""
        now = self._clock()
        new_stage = progress.stage != self._stage
        if not new_stage and progress.objective is None and now - self._told_at < PROGRESS_SECONDS:
            return
        if not new_stage and not self._server.heeded:
            return
        self._stage, self._told_at = progress.stage, now
        objective = None
        if progress.objective is not None:
            objective = {"level": progress.level, "iteration": progress.iteration, "objective": progress.objective}
            if progress.iteration % LOGGED_ITERATIONS == 0:
                self.log("level {level}, iteration {iteration}: {objective:.5g}".format(**objective))
        if new_stage:
            self.log(f"stage: {progress.stage}")
        self._server.send(
            {
                "type": "progress",
                "stage": progress.stage,
                "fraction": progress.fraction,
                "seconds_left": progress.seconds_left,
                "objective": objective,
            }
        )
        if self._preview_wanted and not self._preview_pending and now - self._previewed_at >= PREVIEW_SECONDS:
            self._send_preview(progress.field())

    def _send_preview(self, field) -> None:
        if field is None:
            return
        self._preview_pending, self._previewed_at = True, self._clock()
        array, geometry = thinned(field.array, field.geometry)
        self._server.send({"type": "preview", "geometry": geometry.to_dict()}, {"field": array})


def thinned(array: np.ndarray, geometry: Geometry, voxels: int = PREVIEW_VOXELS) -> tuple[np.ndarray, Geometry]:
    """Subsample a field at regular steps, so that at most `voxels` are left.

    The axis with the smallest spacing is subsampled first. The first voxel of each axis is always kept; kept voxels
    have their original positions and values.

    Args:
        array: (k, j, i, 3) displacements.
        geometry: Grid of the displacements.
        voxels: Largest number of voxels to keep; at least 8.

    Returns:
        The subsampled array, contiguous, and its grid.
    """
    size, steps = np.array(geometry.size), np.ones(3, int)
    while np.prod(-(-size // steps)) > voxels:
        axis = min((n for n in range(3) if size[n] > steps[n]), key=lambda n: steps[n] * geometry.spacing[n])
        steps[axis] += 1
    i, j, k = (slice(None, None, step) for step in steps)
    grid = Geometry(tuple(-(-size // steps)), tuple(steps * geometry.spacing), geometry.origin, geometry.direction)
    return np.ascontiguousarray(array[k, j, i]), grid
