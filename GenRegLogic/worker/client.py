"""The program's side of the worker: submits jobs, receives progress and results, and never blocks unless asked to.

    worker = Worker()
    worker.submit("register", parameters, {"fixed": fixed, "moving": moving}, listener)
    while worker.busy:                      # or from a timer of the program's event loop
        worker.poll()
        worker.wait(0.1)

There is no thread: messages are exchanged, and listeners called, inside `poll` and `close` only.
"""

from __future__ import annotations

import dataclasses
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from ..errors import Cancelled, GenRegError, InputError, ResourceError, WorkerError
from ..space.geometry import Geometry
from .channel import ChannelClosed, ProtocolError
from .listener import Listener, call
from .messages import CHUNK, CREDITS, MESSAGE, Assembly, chunks, decode, describe, encode, error_from_message
from .process import WorkerProcess, close_all, end_sentence

__all__ = ["ABORT_SECONDS", "Listener", "Worker"]

ABORT_SECONDS = 0.3
"""Time in which a job should end by itself after "abort"; then its process is killed."""

PATIENCE_SECONDS = 0.005
"""How long one call of `poll` waits for the worker while an array is transferred."""

EXIT_SECONDS = 2.0
"""How long to wait for the exit code of a process whose channel is closed; then the process is killed."""

CANCELLED = "The registration was given up; nothing was changed."
CLOSED = "The registration was given up because its process was closed; nothing was changed."
TOO_LARGE = "There is not enough memory to hand over the scans and the result; close other programs and run it again."
PROTOCOL_BROKEN = "The process that registers sent something unintelligible and was ended; run it again."


@dataclasses.dataclass(eq=False)
class _Job:
    """The current job: what is to be sent, what has been sent and what has been received.

    Attributes:
        listener: Receives progress and result.
        head: The message that announces the job and describes its arrays.
        arrays: Arrays to be sent.
        warm: Whether the process was already running and ready when the job was submitted.
        outgoing: The chunks of the arrays that are still to be sent.
        begun: Whether `head` has been sent.
        responded: Whether the process has sent anything since then.
        sent: Whether all arrays have been sent, or need not be any more.
        abort_at: When the process is to be killed, after the program has requested "abort".
        end: Result or error, once known.
        incoming: The arrays that are being received.
        complete: Is called with them when they are complete.
    """

    listener: Listener
    head: bytes
    arrays: Mapping[str, np.ndarray]
    warm: bool
    outgoing: Iterator[memoryview] | None = None
    begun: bool = False
    responded: bool = False
    sent: bool = False
    abort_at: float | None = None
    end: dict | GenRegError | None = None
    incoming: Assembly | None = None
    complete: Callable[[Assembly], None] | None = None


class Worker:
    """One process that computes; it is started for the first job and kept for the next ones.

    Args:
        command: The Python interpreter to run, and its options; by default that of this process.
        environment: Environment variables to set for it besides those of this process.
        clock: Returns the time in seconds; used to decide when "abort" takes too long.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command) if command is not None else [sys.executable]
        self._environment = dict(environment or {})
        self._clock = clock
        self._process: WorkerProcess | None = None
        self._leaving: list[WorkerProcess] = []
        self._lost_at: float | None = None
        self._job: _Job | None = None
        self._controls: list[bytes] = []
        self._credits = CREDITS
        self._polling = False
        self._outlived = weakref.finalize(self, close_all, self._leaving)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.exit_code is None

    @property
    def busy(self) -> bool:
        """Whether there is a job: from `submit` until its listener's `ended` is called."""
        return self._job is not None

    @property
    def responded(self) -> bool:
        """Whether the process has sent anything since the current job was sent to it."""
        return self._job is not None and self._job.responded

    @property
    def receiving(self) -> bool:
        """Whether arrays are being received."""
        return self._job is not None and self._job.incoming is not None

    @property
    def pid(self) -> int | None:
        """Identifier of the process, or None without one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process if there is none. Returns immediately, while the process loads what it needs.

        Raises:
            WorkerError: The process could not be started.
        """
        if self._process is not None and not self.busy and (self._process.lost or self._process.exit_code is not None):
            self._discard()  # it has ended while it had no job
        self._start()

    def _start(self) -> None:
        if self._process is None:
            self._process = WorkerProcess(self._command, self._environment)
            self._credits, self._lost_at = CREDITS, None

    def submit(self, job: str, parameters: Mapping, arrays: Mapping[str, np.ndarray], listener: Listener) -> None:
        """Submit a job. Returns immediately; `poll` then sends the job and receives its progress and result.

        Args:
            job: A name of `jobs.JOBS`, or "maps".
            parameters: JSON values; see the job's function.
            arrays: Arrays by name. They are sent without a copy, so they must not change until the job has ended.
            listener: Receives progress and result, and also the error if the process cannot be started.

        Raises:
            InputError: Another job is running, or an array's values are not numbers.
        """
        if self._job is not None:
            raise InputError("A registration is already running; wait for it or cancel it.")
        head = encode({"type": "job", "job": job, "parameters": dict(parameters), "arrays": describe(arrays)})
        job = _Job(listener, head, dict(arrays), warm=False)
        try:
            self.start()
            job.warm = self._process.ready
        except WorkerError as error:
            job.end = error
        self._controls.clear()
        self._job = job

    def answer(self, word: str) -> None:
        """Request the end of the job; without a job, nothing happens.

        Args:
            word: "keep" (stop, and keep the best result so far) or "abort" (give up: within half a second of polling,
                the listener's `ended` receives `Cancelled`).

        Raises:
            ValueError: `word` is another one.
        """
        if word not in ("keep", "abort"):
            raise ValueError(f"the answer is keep or abort, not {word!r}")
        job = self._job
        if job is None or job.abort_at is not None:
            return
        if word == "keep":
            self._controls.append(encode({"type": "answer", "word": word}))
            return
        job.abort_at = self._clock() + ABORT_SECONDS
        if not job.begun:
            job.end = Cancelled(CANCELLED)  # nothing of the job has been sent
            return
        job.sent = True
        self._controls.append(encode({"type": "answer", "word": word}))

    def preview(self, wanted: bool) -> None:
        """Switch the job's previews on or off; without a job, nothing happens."""
        if self._job is not None:
            self._controls.append(encode({"type": "preview", "wanted": bool(wanted)}))

    def poll(self, budget_s: float = 0.02) -> bool:
        """Send and receive, and call the listener with what was received.

        Args:
            budget_s: Seconds after which to return, approximately, if there is more to do.

        Returns:
            Whether there is more to do immediately, so that `poll` should be called again soon.
        """
        if self._polling:  # called by a listener, as when it lets the program's event loop run
            return False
        self._polling = True
        try:
            more = self._exchange_until(time.monotonic() + budget_s)
            self._settle(more)
            return more and self._process is not None
        finally:
            self._polling = False

    def wait(self, timeout_s: float) -> None:
        """Wait until `poll` has something to do, or until `timeout_s` seconds have passed."""
        job, process = self._job, self._process
        if process is None or (job is not None and job.end is not None):
            return
        if job is not None and job.abort_at is not None:
            timeout_s = min(timeout_s, max(job.abort_at - self._clock(), 0.0))
        if process.lost:
            time.sleep(min(timeout_s, PATIENCE_SECONDS))
            return
        process.channel.wait(timeout_s, to_send=self._wants_to_send())

    def close(self) -> None:
        """End the process and wait until it has ended; a running job ends with `Cancelled`."""
        self._discard(kill=self.busy)
        close_all(self._leaving)
        if self._job is not None:
            self._finish(Cancelled(CLOSED))

    # Sending and receiving ------------------------------------------------------------------------------------------

    def _exchange_until(self, deadline: float) -> bool:
        """Send and receive; returns whether the time was over before everything was done."""
        while (process := self._process) is not None and not process.lost:
            try:
                moved = self._send() | self._receive()
            except ChannelClosed:
                process.lost = True
                break
            except ProtocolError as error:
                self._fail(WorkerError(PROTOCOL_BROKEN), str(error))
                break
            except MemoryError:
                self._fail(ResourceError(TOO_LARGE))
                break
            left = deadline - time.monotonic()
            if left <= 0:
                return moved or self._transferring
            if moved or self._process is not process:
                continue
            if not self._transferring:
                return False
            if not process.channel.wait(min(left, PATIENCE_SECONDS), to_send=self._wants_to_send()):
                return True
        return False

    @property
    def _transferring(self) -> bool:
        """Whether arrays are being sent or received."""
        job = self._job
        return self.receiving or (job is not None and job.begun and not job.sent)

    def _wants_to_send(self) -> bool:
        process, job = self._process, self._job
        if process.deaf:
            return False
        if not process.channel.clear:
            return True
        if not process.ready or job is None:
            return False
        return not job.begun or bool(self._controls) or (not job.sent and self._credits > 0)

    def _send(self) -> bool:
        """Send one frame at most; returns whether anything was sent."""
        try:
            return not self._process.deaf and self._send_next()
        except ChannelClosed:
            self._process.deaf = True  # what it has sent before may still be unread
            return False

    def _send_next(self) -> bool:
        process, job = self._process, self._job
        channel = process.channel
        if not channel.clear:
            return channel.flush()
        if not process.ready or job is None or job.end is not None:
            return False
        if not job.begun:
            job.begun = True
            job.outgoing = (chunk for array in job.arrays.values() for chunk in chunks(array))
            channel.send(MESSAGE, job.head)
        elif self._controls:
            channel.send(MESSAGE, self._controls.pop(0))
        elif not job.sent and self._credits > 0:
            chunk = next(job.outgoing, None)
            if chunk is None:
                job.sent = True
                return False
            self._credits -= 1
            channel.send(CHUNK, chunk)
        else:
            return False
        return True

    def _receive(self) -> bool:
        """Receive one frame at most; returns whether one was received."""
        if self._process is None:
            return False
        frame = self._process.channel.receive()
        if frame is None:
            return False
        kind, payload = frame
        if self._job is not None:
            self._job.responded = self._job.begun
        try:
            if kind == CHUNK:
                self._take_chunk(payload)
            elif kind == MESSAGE:
                message = decode(payload)
                handler = self._HANDLERS.get(message["type"])
                if handler is None:
                    raise ProtocolError(f"an unknown message {message['type']}")
                handler(self, message)
            else:
                raise ProtocolError(f"a frame of kind {kind}")
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise ProtocolError(f"an invalid message ({error})") from error
        return True

    def _on_ready(self, message: dict) -> None:
        if message["error"] is None:
            self._process.ready = True
            return
        # What is missing may be installed before the next job, but this process would not find it any more.
        error = error_from_message(message["error"])
        for line in message["log"].splitlines():
            self._tell("log", line)
        self._discard()
        if self._job is not None:
            self._job.end = self._job.end or error

    def _on_taken(self, message: dict) -> None:
        self._credits += 1

    def _on_progress(self, message: dict) -> None:
        self._tell("progress", message["stage"], message["fraction"], message["seconds_left"], message["objective"])

    def _on_log(self, message: dict) -> None:
        self._tell("log", message["line"])

    def _on_preview(self, message: dict) -> None:
        geometry = Geometry.from_dict(message["geometry"])

        def complete(assembly: Assembly) -> None:
            self._tell("preview", assembly.arrays["field"], geometry)
            self._controls.append(encode({"type": "previewed"}))

        self._begin_arrays(message["arrays"], complete)

    def _on_ended(self, message: dict) -> None:
        if message["leaving"]:
            self._process.ready = False
        if message.get("error") is not None:
            self._end_with(error_from_message(message["error"]), message)
            return
        outcome = {
            "report": message["report"],
            "geometries": {name: Geometry.from_dict(g) for name, g in message["geometries"].items()},
        }

        def complete(assembly: Assembly) -> None:
            self._end_with(outcome | {"arrays": assembly.arrays}, message)

        self._begin_arrays(message["arrays"], complete)

    _HANDLERS: ClassVar = {
        "ready": _on_ready,
        "taken": _on_taken,
        "progress": _on_progress,
        "log": _on_log,
        "preview": _on_preview,
        "ended": _on_ended,
    }

    def _begin_arrays(self, description: list[dict], complete: Callable[[Assembly], None]) -> None:
        if self._job is None or self.receiving:
            raise ProtocolError("unexpected arrays")
        self._job.incoming, self._job.complete = Assembly(description), complete
        self._complete_arrays()

    def _take_chunk(self, payload) -> None:
        if not self.receiving:
            raise ProtocolError("an unexpected chunk")
        self._job.incoming.take(payload)
        self._complete_arrays()

    def _complete_arrays(self) -> None:
        job = self._job
        if job.incoming.done:
            assembly, complete = job.incoming, job.complete
            job.incoming = job.complete = None
            complete(assembly)

    # Ends -----------------------------------------------------------------------------------------------------------

    def _end_with(self, outcome: dict | GenRegError, message: dict) -> None:
        """End the job with what the worker has sent."""
        if self._job is None:
            raise ProtocolError("the end of a job without a job")
        self._credits = CREDITS
        self._controls.clear()
        if message["leaving"]:
            self._discard()
        if self._job.abort_at is not None:
            outcome = Cancelled(CANCELLED)
        self._job.end = self._job.end or outcome
        self._finish(self._job.end)

    def _fail(self, error: GenRegError, detail: str = "") -> None:
        """Kill the process and end the job with an error; `detail` goes into the log."""
        if detail:
            self._tell("log", detail)
        self._discard(kill=True)
        if self._job is not None:
            self._job.end = self._job.end or error

    def _settle(self, more: bool) -> None:
        """Handle ends that the worker does not report: "abort" without a reaction, dead processes, errors here."""
        self._leaving[:] = [process for process in self._leaving if not process.close_if_ended()]
        job, process = self._job, self._process
        if job is not None and job.abort_at is not None and job.end is None and self._clock() >= job.abort_at:
            self._discard(kill=True)
            job.end = Cancelled(CANCELLED)
        elif process is not None and (process.lost or (process.exit_code is not None and not more)):
            self._handle_dead_process(process)
        if job is not None and self._job is job and job.end is not None:
            self._finish(job.end)

    def _handle_dead_process(self, process: WorkerProcess) -> None:
        """Handle a process that has ended, or at least closed its channel."""
        now = time.monotonic()
        self._lost_at = now if self._lost_at is None else self._lost_at
        if process.exit_code is None and now - self._lost_at < EXIT_SECONDS:
            return
        code, job = process.exit_code, self._job
        if job is not None and job.end is None and job.abort_at is None and job.warm and not job.responded:
            self._restart(job)
            return
        if job is not None and job.end is None:
            for line in process.tail():
                self._tell("log", line)
            job.end = Cancelled(CANCELLED) if job.abort_at is not None else WorkerError(end_sentence(code))
        self._discard(kill=True)

    def _restart(self, job: _Job) -> None:
        """Send the job to a new process, once, since the old one had ended before it received the job."""
        self._discard(kill=True)
        job.warm = job.begun = job.sent = False
        try:
            self._start()
        except WorkerError as error:
            job.end = error

    def _discard(self, *, kill: bool = False) -> None:
        """Close the connection to the process; `_settle` or `close` wait for its end later."""
        process, self._process, self._lost_at = self._process, None, None
        if process is None:
            return
        process.hang_up()
        if kill:
            process.kill()
        self._leaving.append(process)

    def _finish(self, outcome: dict | GenRegError) -> None:
        job, self._job = self._job, None
        self._controls.clear()
        call(job.listener.ended, outcome)

    def _tell(self, method: str, *arguments) -> None:
        job = self._job
        if job is not None and job.abort_at is None:
            call(getattr(job.listener, method), *arguments)
