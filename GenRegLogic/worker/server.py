"""The worker's side of the channel: receives a job and its arrays, runs it, reports progress and sends the result."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np

from ..errors import Cancelled, DependencyError, GenRegError, InputError, ResourceError
from ..machine.memory import is_out_of_memory
from .channel import Channel, ChannelClosed, ProtocolError, send_waiting
from .control import JobControl
from .messages import CHUNK, MESSAGE, Assembly, chunks, decode, describe, encode, error_to_message

__all__ = ["Server"]


class Server:
    """Serves one job after the other until the program closes the channel.

    Args:
        channel: The worker's end of the channel.
        load: Imports what the jobs need, and returns the jobs by name; `load_jobs` by default.
    """

    def __init__(self, channel: Channel, load: Callable[[], dict[str, Callable]] | None = None) -> None:
        self._channel = channel
        self._load = load or load_jobs

    def run(self) -> None:
        """Serve jobs.

        Raises:
            ChannelClosed: The program has closed the channel; this is the regular end.
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
                continue  # left over from a job that was given up
            message = decode(payload)
            if message["type"] == "job" and self._serve(message, jobs):
                return self._wait_for_end()

    def _wait_for_end(self) -> NoReturn:
        """Keep the channel open until the program, which has then received everything, closes it."""
        while True:
            self._next()

    def send(
        self, message: dict, arrays: dict[str, np.ndarray] | None = None, between: Callable[[], None] = lambda: None
    ) -> None:
        """Send a message and its arrays; waits until the program has received them.

        Args:
            message: Must have the key "type".
            arrays: Arrays by name.
            between: Called before each chunk; it may raise, which ends the sending.

        Raises:
            ChannelClosed: The program has closed the channel.
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
        """Whether the program is receiving; if it is busy, a job should not wait for it."""
        return self._channel.wait(0, to_send=True, to_receive=False)

    def pending(self) -> Iterator[tuple[int, bytes]]:
        """The frames that have arrived; does not wait.

        Raises:
            ChannelClosed: The program has closed the channel.
        """
        while (frame := self._channel.receive()) is not None:
            yield frame

    def _next(self) -> tuple[int, bytes]:
        while True:
            frame = self._channel.receive()
            if frame is not None:
                return frame
            self._channel.wait(None)

    def _serve(self, message: dict, jobs: dict[str, Callable]) -> bool:
        """Run one job to its end; returns whether the process should end after it."""
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
    """Import torch and the engine; returns the jobs by name.

    Raises:
        DependencyError: A package is missing or does not load.
    """
    try:
        import torch  # noqa: F401 - first and separately, since its absence has an error message of its own
    except ImportError as error:
        if getattr(error, "name", None) == "torch":
            raise DependencyError("PyTorch is not installed; install it and run the registration again.") from error
        raise DependencyError("PyTorch is installed but does not load; install it again.") from error
    except OSError as error:  # one of its shared libraries does not load
        raise DependencyError("PyTorch is installed but does not load; install it again.") from error
    try:
        from ..machine.device import tune_allocator
        from .jobs import JOBS
        from .maps_job import run_maps
    except ImportError as error:
        raise DependencyError(
            f"A package that GenReg needs does not load ({error.name or error}); install it and "
            "run the registration again."
        ) from error
    tune_allocator()
    return {**JOBS, "maps": run_maps}


def holds_gpu() -> bool:
    """Whether this process has allocated GPU memory, some of which is released only when the process ends."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    from ..machine.device import has_context

    if torch.cuda.is_initialized() and any(has_context(number) for number in range(torch.cuda.device_count())):
        return True
    return torch.backends.mps.is_available() and torch.mps.driver_allocated_memory() > 0
