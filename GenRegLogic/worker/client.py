"""The program's side of the worker: hands out jobs, hears how they go, and never waits unless asked to.

    worker = Worker()
    worker.submit("register", parameters, {"fixed": fixed, "moving": moving}, listener)
    while worker.busy:                      # or from a timer of the program's event loop
        worker.poll()
        worker.wait(0.1)

Everything happens inside `poll` (and `close`): there is no thread, and a listener is called from nowhere else.
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
from .process import WorkerProcess, end_sentence

__all__ = ["ABORT_SECONDS", "Listener", "Worker"]

ABORT_SECONDS = 0.3
"""For a job to end by itself after "abort", before its process is killed."""

PATIENCE_SECONDS = 0.005
"""How long one call of `poll` waits for the worker to take or give more of an array."""

EXIT_SECONDS = 2.0
"""For the exit code of a process whose channel has ended; after that it is killed."""

CANCELLED = "The registration was given up; nothing was changed."
CLOSED = "The registration was given up because its process was closed; nothing was changed."
TOO_LARGE = "There is not enough memory to hand over the scans and the result; close other programs and run it again."
PROTOCOL_BROKEN = "The process that registers sent something unintelligible and was ended; run it again."


@dataclasses.dataclass(eq=False)
class _Job:
    """The job under way: what is to be sent and how far that is, and what has come.

    `warm`: the process has served before. `heard`: it has said something since the job was `begun`.
    """

    listener: Listener
    head: bytes
    arrays: Mapping[str, np.ndarray]
    warm: bool
    outgoing: Iterator[memoryview] | None = None
    begun: bool = False
    heard: bool = False
    sent: bool = False
    abort_at: float | None = None
    end: dict | GenRegError | None = None
    incoming: Assembly | None = None
    complete: Callable[[Assembly], None] | None = None


class Worker:
    """One process that computes, started when it is first needed and warm between jobs.

    Args:
        command: The Python to run, and options of its own; this one by default.
        environment: Variables to set for it besides those of this process.
        clock: Seconds, for what takes "abort" too long.
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
        self._outlived = weakref.finalize(self, _close_all, self._leaving)

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.exit_code is None

    @property
    def busy(self) -> bool:
        """Whether a job is under way: from `submit` until its listener's `ended` is called."""
        return self._job is not None

    @property
    def pid(self) -> int | None:
        """The process's number, or None."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process if there is none. Returns at once; the process loads what it needs by itself.

        Raises:
            WorkerError: It could not be started.
        """
        if self._process is not None and not self.busy and (self._process.lost or self._process.exit_code is not None):
            self._discard()  # it died while it had nothing to do
        self._start()

    def _start(self) -> None:
        if self._process is None:
            self._process = WorkerProcess(self._command, self._environment)
            self._credits, self._lost_at = CREDITS, None

    def submit(self, job: str, parameters: Mapping, arrays: Mapping[str, np.ndarray], listener: Listener) -> None:
        """Hand out a job; `poll` then sends it and tells how it goes. Returns at once.

        Args:
            job: "register", "inspect" or "devices"; see `jobs`.
            parameters: What JSON can hold.
            arrays: Sent from where they are, without a copy; leave them alone until the job has ended.
            listener: Hears of it; also of a process that could not be started.

        Raises:
            InputError: Another job is under way, or an array holds no numbers.
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
        """Say how the job shall end; without a job, nothing happens.

        Args:
            word: "keep" (stop, and keep the best so far) or "abort" (give up: within half a second of polling the
                listener's `ended` has got `Cancelled`).
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
            job.end = Cancelled(CANCELLED)  # the process knows nothing of it
            return
        job.sent = True
        self._controls.append(encode({"type": "answer", "word": word}))

    def preview(self, wanted: bool) -> None:
        """Say whether the job's previews are wanted from now on."""
        if self._job is not None:
            self._controls.append(encode({"type": "preview", "wanted": bool(wanted)}))

    def poll(self, budget_s: float = 0.02) -> bool:
        """Send and receive for at most about `budget_s`, and tell the listener what has come.

        Returns:
            Whether there is more to do right away: call again soon.
        """
        if self._polling:  # a listener has let the program's event loop run
            return False
        self._polling = True
        try:
            more = self._exchange_until(time.monotonic() + budget_s)
            self._settle(more)
            return more and self._process is not None
        finally:
            self._polling = False

    def wait(self, timeout_s: float) -> None:
        """Wait until `poll` has something to do or `timeout_s` have passed, for callers with nothing else to do."""
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
        """End the process and wait until it is gone; a job under way ends with `Cancelled`."""
        self._discard(kill=self.busy)
        _close_all(self._leaving)
        if self._job is not None:
            self._finish(Cancelled(CLOSED))

    # Sending and receiving ------------------------------------------------------------------------------------------

    def _exchange_until(self, deadline: float) -> bool:
        """Returns whether time was up before everything was done."""
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
        """An array is on its way, there or back."""
        job = self._job
        return job is not None and ((job.begun and not job.sent) or job.incoming is not None)

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
        """One frame at most."""
        try:
            return not self._process.deaf and self._send_next()
        except ChannelClosed:
            self._process.deaf = True  # what it has said before may still be unread
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
        """One frame at most."""
        if self._process is None:
            return False
        frame = self._process.channel.receive()
        if frame is None:
            return False
        kind, payload = frame
        if self._job is not None:
            self._job.heard = self._job.begun
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
            raise ProtocolError(f"a message that makes no sense ({error})") from error
        return True

    def _on_ready(self, message: dict) -> None:
        if message["error"] is None:
            self._process.ready = True
            return
        # What is missing may be there the next time: a process that has looked for it in vain is of no more use.
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
        if self._job is None or self._job.incoming is not None:
            raise ProtocolError("arrays that nobody expects")
        self._job.incoming, self._job.complete = Assembly(description), complete
        self._complete_arrays()

    def _take_chunk(self, payload) -> None:
        if self._job is None or self._job.incoming is None:
            raise ProtocolError("a chunk that nobody expects")
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
        """The worker has said the job's end."""
        if self._job is None:
            raise ProtocolError("the end of a job that nobody knows")
        self._credits = CREDITS
        self._controls.clear()
        if message["leaving"]:
            self._discard()
        if self._job.abort_at is not None:
            outcome = Cancelled(CANCELLED)
        self._job.end = self._job.end or outcome
        self._finish(self._job.end)

    def _fail(self, error: GenRegError, detail: str = "") -> None:
        """This side gives up on the process."""
        if detail:
            self._tell("log", detail)
        self._discard(kill=True)
        if self._job is not None:
            self._job.end = self._job.end or error

    def _settle(self, more: bool) -> None:
        """Whatever has come to its end without the worker's saying so."""
        self._leaving[:] = [process for process in self._leaving if not _is_gone(process)]
        job, process = self._job, self._process
        if job is not None and job.abort_at is not None and job.end is None and self._clock() >= job.abort_at:
            self._discard(kill=True)
            job.end = Cancelled(CANCELLED)
        elif process is not None and (process.lost or (process.exit_code is not None and not more)):
            self._handle_dead_process(process)
        if job is not None and self._job is job and job.end is not None:
            self._finish(job.end)

    def _handle_dead_process(self, process: WorkerProcess) -> None:
        """The process has died, or at least hung up."""
        now = time.monotonic()
        self._lost_at = now if self._lost_at is None else self._lost_at
        if process.exit_code is None and now - self._lost_at < EXIT_SECONDS:
            return
        code, job = process.exit_code, self._job
        if job is not None and job.end is None and job.abort_at is None and job.warm and not job.heard:
            self._restart(job)
            return
        if job is not None and job.end is None:
            for line in process.tail():
                self._tell("log", line)
            job.end = Cancelled(CANCELLED) if job.abort_at is not None else WorkerError(end_sentence(code))
        self._discard(kill=True)

    def _restart(self, job: _Job) -> None:
        """The process had died of something else before the job; once, the job goes to a new one."""
        self._discard(kill=True)
        job.warm = job.begun = job.sent = False
        try:
            self._start()
        except WorkerError as error:
            job.end = error

    def _discard(self, *, kill: bool = False) -> None:
        """Let go of the process; it is waited for later."""
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


def _is_gone(process: WorkerProcess) -> bool:
    if process.exit_code is None:
        return False
    process.close()
    return True


def _close_all(processes: list[WorkerProcess]) -> None:
    while processes:
        processes.pop().close()
