"""The worker's process on the program's side: starts it, and makes sure that it ends with the program.

The process has two connections to the program: the channel, and its standard input as a lifeline. The process exits
when the lifeline is closed, which also happens if the program crashes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import WorkerError
from .channel import Channel, make_pair

__all__ = ["WorkerProcess", "close_all", "end_sentence"]

MAIN = Path(__file__).resolve().with_name("__main__.py")
TAIL_BYTES = 8000
TAIL_LINES = 40
GRACE_SECONDS = 0.3
"""Time in which the process should exit by itself after its lifeline is closed; then it is killed."""

KILL_SECONDS = 5.0
"""How long to wait for the end of a killed process."""

SIGKILL = 9  # signal.SIGKILL does not exist on Windows
SHELL_SIGNALS, LARGEST_SIGNAL = 128, 64
"""Launchers such as a shell exit with 128 plus the number of the signal that ended the program they launched."""


class WorkerProcess:
    """A started worker.

    Args:
        command: The Python to run, and options of its own.
        environment: Variables to set besides those of this process.

    Attributes:
        channel: The program's end of the channel.
        ready: Whether the process has reported that it accepts jobs.
        deaf: Whether sending to it has failed; received data may still be unread.
        lost: Whether it has closed the channel, and everything that it sent has been received.

    Raises:
        WorkerError: The process could not be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.ready = False
        self.deaf = self.lost = False
        self.channel: Channel
        try:
            self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
            self.channel, theirs, arguments = make_pair()
        except OSError as error:
            raise WorkerError(f"The process that registers could not be started ({error.strerror}).") from error
        try:
            self._popen = subprocess.Popen(
                [*command, str(MAIN), *arguments],
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env={**os.environ, **(environment or {})},
                **_inheriting(theirs.fileno()),
            )
        except (OSError, ValueError) as error:
            self.channel.close()
            self._output.close()
            raise WorkerError(
                f"The process that registers could not be started ({error}); the installation may be damaged."
            ) from error
        finally:
            theirs.close()
        # Also called at the interpreter's exit, and when this object is garbage-collected.
        self._end = weakref.finalize(self, _end, self._popen, self.channel, self._output)

    @property
    def pid(self) -> int:
        """Process identifier."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while the process runs; -n if signal n ended it."""
        return self._popen.poll()

    def tail(self) -> list[str]:
        """The last lines that the process printed on its standard output and error."""
        with contextlib.suppress(OSError, ValueError):
            size = self._output.seek(0, os.SEEK_END)
            self._output.seek(max(size - TAIL_BYTES, 0))
            return self._output.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        return []

    def hang_up(self) -> None:
        """Close the channel and the lifeline, so that the process exits by itself if it can. Does not wait."""
        self.channel.close()
        with contextlib.suppress(OSError):
            self._popen.stdin.close()

    def kill(self) -> None:
        """Kill the process, whatever state it is in. Does not wait."""
        self.hang_up()
        _kill(self._popen)

    def close(self) -> None:
        """End the process and wait until it has ended; it is killed if it does not exit by itself."""
        self._end()

    def close_if_ended(self) -> bool:
        """Release what belongs to the process if it has ended; returns whether it has. Does not wait."""
        if self.exit_code is None:
            return False
        self.close()
        return True


def close_all(processes: list[WorkerProcess]) -> None:
    """End processes, wait until they have ended, and empty the list."""
    while processes:
        processes.pop().close()


def _inheriting(handle: int) -> dict:
    """Options of `Popen`: the worker inherits its end of the channel, and gets no terminal and no window."""
    if sys.platform != "win32":
        return {"pass_fds": [handle], "start_new_session": True}
    os.set_handle_inheritable(handle, True)
    startup = subprocess.STARTUPINFO()
    startup.lpAttributeList = {"handle_list": [handle]}
    return {"startupinfo": startup, "creationflags": subprocess.CREATE_NO_WINDOW, "close_fds": True}


def _kill(popen: subprocess.Popen) -> None:
    if popen.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            popen.kill()
        else:
            os.killpg(popen.pid, signal.SIGKILL)  # the process group: a launcher and what it launched


def _end(popen: subprocess.Popen, channel: Channel, output) -> None:
    channel.close()
    with contextlib.suppress(OSError):
        popen.stdin.close()
    try:
        popen.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(popen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(KILL_SECONDS)
    output.close()


def end_sentence(exit_code: int | None) -> str:
    """One sentence for the user whose job's process has ended unexpectedly.

    Args:
        exit_code: See `WorkerProcess.exit_code`; None if it is not known.
    """
    number = None
    if exit_code is not None and (exit_code < 0 or SHELL_SIGNALS < exit_code <= SHELL_SIGNALS + LARGEST_SIGNAL):
        number = -exit_code if exit_code < 0 else exit_code - SHELL_SIGNALS
    if number == SIGKILL:
        return (
            "The process that registers was ended by the system, probably because memory ran out; close other "
            "programs or choose a coarser resolution, and run it again."
        )
    if number is not None:
        return (
            f"The process that registers was ended from outside or crashed (signal {number}); run it again, and "
            "see the log if that does not help."
        )
    return "The process that registers ended unexpectedly; run it again, and see the log if that does not help."
