"""The worker's side of the line: receives a job and its arrays, runs it, tells how it goes, sends what came out."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from ..errors import Cancelled, DependencyError, GenRegError, InputError, ResourceError
from ..machine.memory import is_out_of_memory
from .channel import Channel, ChannelClosed, ProtocolError, send_waiting
from .messages import CHUNK, MESSAGE, Assembly, chunks, decode, describe, encode, error_to_message
from .preview import thinned

__all__ = ["JobControl", "Server"]

PROGRESS_SECONDS = 0.05
"""Between two reports of progress, unless the stage or the objective has changed."""

PREVIEW_SECONDS = 0.5
"""Between two previews, at the least."""

LOGGED_ITERATIONS = 10
"""Between two lines of the log."""


class JobControl:
    """What a running job has of the program: its answers, its wish for previews, and its ear.

    Args:
        server: To send with.
        parameters: Of the job: "preview" and "log" are heeded here.
        clock: Seconds.
    """

    def __init__(self, server: Server, parameters: dict, clock: Callable[[], float] = time.monotonic) -> None:
        self.answer: str | None = None
        self._server, self._clock = server, clock
        self._preview_wanted = bool(parameters.get("preview"))
        self._talkative = bool(parameters.get("log"))
        self._preview_pending = False
        self._previewed_at = self._told_at = -1e9
        self._stage = ""

    def cancel(self) -> str | None:
        """None, "keep" or "abort", as the program says by now; does not wait."""
        for kind, payload in self._server.pending():
            if kind == MESSAGE:
                self.note(decode(payload))
        return self.answer

    def check(self) -> None:
        """Raise `Cancelled` if the program has given up."""
        if self.cancel() == "abort":
            raise Cancelled("The registration was given up; nothing was changed.")

    def note(self, message: dict) -> None:
        """Take in what the program says in the middle of a job."""
        if message["type"] == "answer":
            self.answer = "abort" if "abort" in (self.answer, message["word"]) else message["word"]
        elif message["type"] == "preview":
            self._preview_wanted = message["wanted"]
        elif message["type"] == "previewed":
            self._preview_pending = False

    def log(self, line: str) -> None:
        """A line of the log, if it is wanted."""
        if self._talkative:
            self._server.send({"type": "log", "line": line})

    def on_progress(self, progress) -> None:
        """Pass a `Progress` on, and now and then the field that belongs to it."""
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


class Server:
    """Serves one job after the other until the program hangs up.

    Args:
        channel: To the program.
        load: Imports what the jobs need, and returns them by name.
    """

    def __init__(self, channel: Channel, load: Callable[[], dict[str, Callable]] | None = None) -> None:
        self._channel = channel
        self._load = load or load_jobs

    def run(self) -> None:
        """Returns when the process shall end.

        Raises:
            ChannelClosed: The program has hung up.
        """
        try:
            jobs = self._load()
        except DependencyError as error:
            self.send({"type": "ready", "error": error_to_message(error), "log": traceback.format_exc()})
            return self._wait_for_end()
        self.send({"type": "ready", "error": None})
        while True:
            kind, payload = self._next()
            if kind != MESSAGE:
                continue  # left over from a job that was given up, like answers that come too late
            message = decode(payload)
            if message["type"] == "job" and self._serve(message, jobs):
                return self._wait_for_end()

    def _wait_for_end(self) -> NoReturn:
        """The program hangs up when it has received everything; until then the line must stay."""
        while True:
            self._next()

    def send(
        self, message: dict, arrays: dict[str, np.ndarray] | None = None, between: Callable[[], None] = lambda: None
    ) -> None:
        """A message and the arrays that belong to it; waits until the program has taken them.

        Args:
            message: With the key "type".
            arrays: By name.
            between: Called before each chunk; it may raise.
        """
        if arrays is not None:
            message = message | {"arrays": describe(arrays)}
        send_waiting(self._channel, MESSAGE, encode(message))
        for array in (arrays or {}).values():
            for chunk in chunks(array):
                between()
                send_waiting(self._channel, CHUNK, chunk)

    @property
    def heeded(self) -> bool:
        """Whether the program takes what is sent; while it is at something else, a job shall not wait for it."""
        return self._channel.wait(0, to_send=True, to_receive=False)

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """The frames that have arrived by now."""
        while (frame := self._channel.receive()) is not None:
            yield frame

    def _next(self) -> tuple[int, bytes]:
        while True:
            frame = self._channel.receive()
            if frame is not None:
                return frame
            self._channel.wait(None)

    def _serve(self, message: dict, jobs: dict[str, Callable]) -> bool:
        """Run one job to its end; returns whether the process shall end with it."""
        parameters = message["parameters"]
        control = JobControl(self, parameters)
        outcome, error = None, None
        try:
            arrays = self._receive_arrays(message["arrays"], control)
            if message["job"] not in jobs:
                raise InputError(f"There is no job {message['job']!r}.")
            outcome = jobs[message["job"]](parameters, arrays, control)
            control.check()
        except GenRegError as caught:
            error = caught
        except Exception as caught:
            error = self._unexpected(caught)
        arrays = None
        leaving = not parameters.get("keep_warm", False) and holds_gpu()
        if error is None:
            try:
                self.send(
                    {
                        "type": "ended",
                        "leaving": leaving,
                        "report": outcome.report,
                        "geometries": {name: g.to_dict() for name, g in outcome.geometries.items()},
                    },
                    outcome.arrays,
                    between=control.check,
                )
                return leaving
            except Cancelled as caught:
                error = caught
        self.send({"type": "ended", "leaving": leaving, "error": error_to_message(error)})
        return leaving

    def _receive_arrays(self, description: list[dict], control: JobControl) -> dict[str, np.ndarray]:
        assembly = Assembly(description)
        while not assembly.done:
            kind, payload = self._next()
            if kind == CHUNK:
                assembly.take(payload)
                self.send({"type": "taken"})
            else:
                control.note(decode(payload))
                if control.answer == "abort":
                    raise Cancelled("The registration was given up; nothing was changed.")
        return assembly.arrays

    def _unexpected(self, error: Exception) -> GenRegError:
        if isinstance(error, (ChannelClosed, ProtocolError)):
            raise error
        if is_out_of_memory(error):
            return ResourceError(
                "There is not enough memory for these scans; close other programs, crop the scans or "
                "resample them to larger voxels."
            )
        for line in traceback.format_exc().splitlines():
            self.send({"type": "log", "line": line})
        return GenRegError(
            f"Something unexpected went wrong ({type(error).__name__}); run it again with the log "
            "switched on and report what it says."
        )


def load_jobs() -> dict[str, Callable]:
    """Import torch and the engine.

    Raises:
        DependencyError: They are not there, or do not load.
    """
    try:
        import torch  # noqa: F401 - first, and by itself: its absence has a sentence of its own
    except ImportError as error:
        if getattr(error, "name", None) == "torch":
            raise DependencyError("PyTorch is not installed; install it and run the registration again.") from error
        raise DependencyError("PyTorch is installed but does not load; install it again.") from error
    except OSError as error:  # a library of it that the system refuses
        raise DependencyError("PyTorch is installed but does not load; install it again.") from error
    try:
        from ..machine.device import tune_allocator
        from .html_job import run_html
        from .jobs import JOBS
        from .maps_job import run_maps
        from .repair_job import run_repair
    except ImportError as error:
        raise DependencyError(
            f"A package that GenReg needs does not load ({error.name or error}); install it and "
            "run the registration again."
        ) from error
    tune_allocator()
    return {**JOBS, "html": run_html, "maps": run_maps, "repair": run_repair}


def holds_gpu() -> bool:
    """Whether this process has taken memory of a GPU, some of which only its end gives back."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    from ..machine.device import has_context

    if torch.cuda.is_initialized() and any(has_context(number) for number in range(torch.cuda.device_count())):
        return True
    return torch.backends.mps.is_available() and torch.mps.driver_allocated_memory() > 0
