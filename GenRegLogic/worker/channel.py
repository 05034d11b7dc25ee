"""One end of the channel between a program and its worker: transmits whole frames, without blocking unless asked to.

A frame is a kind (one byte) and a payload. The channel is an anonymous pair of sockets or pipes, made by the program
and inherited by the worker, so no other process can connect to it.

Key names: `make_pair` (both ends, and the arguments for the worker), `open_inherited` (the worker's end),
`send_waiting` (a whole frame, blocking).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import select
import socket
import struct
import sys
from collections.abc import Sequence

__all__ = [
    "Channel",
    "ChannelClosed",
    "PipeChannel",
    "ProtocolError",
    "SocketChannel",
    "make_pair",
    "open_inherited",
    "send_waiting",
]

LARGEST_FRAME = 256 * 2**20
"""Bytes; a header that announces more is invalid."""

FRAME = struct.Struct(">IB")
BUFFER_BYTES = 4 * 2**20
"""Size requested of the system, which grants what its limits allow."""

NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
SO_NOSIGPIPE = 0x1022  # macOS, which has no MSG_NOSIGNAL
"""Options against SIGPIPE: a host application may lack Python's handler for it, and a dead worker must not end it."""


class ChannelClosed(Exception):
    """The other end of the channel is closed."""


class ProtocolError(Exception):
    """Received data violate the protocol."""


class SocketChannel:
    """A channel over a socket that never blocks (Linux, macOS)."""

    OPTION = "--socket"

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        if sys.platform == "darwin":
            end.setsockopt(socket.SOL_SOCKET, SO_NOSIGPIPE, 1)
        self._socket = end
        self._out: list[memoryview] = []
        self._head = bytearray(FRAME.size)
        self._payload: bytearray | None = None
        self._missing = memoryview(self._head)

    @property
    def clear(self) -> bool:
        """Whether the last frame is sent completely, so that another can be sent."""
        return not self._out

    def send(self, kind: int, payload: bytes | memoryview) -> None:
        """Begin to send a frame; the channel must be clear.

        Args:
            kind: One byte.
            payload: Must not change until the channel is clear again.

        Raises:
            ChannelClosed: The other end is closed.
        """
        assert self.clear
        self._out = [part for part in (memoryview(FRAME.pack(len(payload), kind)), memoryview(payload)) if len(part)]
        self.flush()

    def flush(self) -> bool:
        """Continue sending as far as possible without waiting; returns whether the channel is clear.

        Raises:
            ChannelClosed: The other end is closed.
        """
        while self._out:
            try:
                sent = self._socket.send(self._out[0], NO_SIGNAL)
            except (BlockingIOError, InterruptedError):
                return False
            except (OSError, ValueError) as error:
                raise ChannelClosed(str(error)) from error
            self._out[0] = self._out[0][sent:]
            if not len(self._out[0]):
                self._out.pop(0)
        return True

    def receive(self) -> tuple[int, bytearray] | None:
        """The kind and payload of the next frame, or None if it has not arrived completely.

        Raises:
            ChannelClosed: The other end is closed, and everything that it sent has been received.
            ProtocolError: A frame is larger than allowed.
        """
        while True:
            while len(self._missing):
                try:
                    got = self._socket.recv_into(self._missing)
                except (BlockingIOError, InterruptedError):
                    return None
                except (OSError, ValueError) as error:
                    raise ChannelClosed(str(error)) from error
                if got == 0:
                    raise ChannelClosed("the other end has closed")
                self._missing = self._missing[got:]
            size, kind = FRAME.unpack(self._head)
            if self._payload is not None:
                payload, self._payload = self._payload, None
                self._missing = memoryview(self._head)
                return kind, payload
            if size > LARGEST_FRAME:
                raise ProtocolError(f"a frame of {size} bytes")
            self._payload = bytearray(size)
            self._missing = memoryview(self._payload)

    def wait(self, timeout_s: float | None, *, to_send: bool = False, to_receive: bool = True) -> bool:
        """Wait until something can be received or sent, as requested.

        Args:
            timeout_s: Seconds to wait at most; None for no limit.
            to_send: Wait until something can be sent.
            to_receive: Wait until something has arrived.

        Returns:
            False if the time is over and neither is possible.
        """
        events = (select.POLLIN if to_receive else 0) | (select.POLLOUT if to_send else 0)
        poller = select.poll()  # select.select fails where a program has more than 1024 files open
        poller.register(self._socket, events)
        return bool(poller.poll(None if timeout_s is None else max(timeout_s, 0) * 1000))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class PipeChannel:
    """A channel over a `multiprocessing` connection (Windows).

    Its `send` blocks while the other end does not read, so frames that exceed the pipe's buffer are sent only to a
    worker that has reported that it is reading.
    """

    OPTION = "--pipe"
    clear = True

    def __init__(self, end: multiprocessing.connection.Connection) -> None:
        self._connection = end

    def send(self, kind: int, payload: bytes | memoryview) -> None:
        """As `SocketChannel.send`."""
        try:
            self._connection.send_bytes(bytes((kind,)) + bytes(payload))
        except (OSError, ValueError) as error:
            raise ChannelClosed(str(error)) from error

    def flush(self) -> bool:
        """As `SocketChannel.flush`; always true, since `send` sends the whole frame."""
        return True

    def receive(self) -> tuple[int, memoryview] | None:
        """As `SocketChannel.receive`."""
        try:
            if not self._connection.poll(0):
                return None
            frame = self._connection.recv_bytes(LARGEST_FRAME + 1)
        except (EOFError, OSError, ValueError) as error:
            raise ChannelClosed(str(error)) from error
        if not frame:
            raise ProtocolError("an empty frame")
        return frame[0], memoryview(frame)[1:]

    def wait(self, timeout_s: float | None, *, to_send: bool = False, to_receive: bool = True) -> bool:
        """As `SocketChannel.wait`; sending is always possible."""
        return to_send or bool(multiprocessing.connection.wait([self._connection], timeout_s))

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


Channel = SocketChannel | PipeChannel
USE_PIPES = sys.platform == "win32"


def make_pair() -> tuple[Channel, object, list[str]]:
    """Make a channel.

    Returns:
        The program's end; the worker's end, which has `fileno()` (a handle on Windows) and `close()`; and the command
        line arguments from which the worker opens its end.
    """
    if USE_PIPES:
        ours, theirs = multiprocessing.Pipe()
        return PipeChannel(ours), theirs, [PipeChannel.OPTION, str(theirs.fileno())]
    ours, theirs = socket.socketpair()
    return SocketChannel(ours), theirs, [SocketChannel.OPTION, str(theirs.fileno())]


def open_inherited(arguments: Sequence[str]) -> Channel:
    """Open the worker's end of the channel.

    Args:
        arguments: As returned by `make_pair`.

    Raises:
        ValueError: The arguments are others.
    """
    option, number = arguments
    if option == SocketChannel.OPTION:
        return SocketChannel(socket.socket(fileno=int(number)))
    if option != PipeChannel.OPTION:
        raise ValueError(f"unknown option {option}")
    ends = multiprocessing.connection
    return PipeChannel((ends.PipeConnection if sys.platform == "win32" else ends.Connection)(int(number)))


def send_waiting(channel: Channel, kind: int, payload: bytes | memoryview) -> None:
    """Send a whole frame, and wait as long as the other end takes to receive it. For the worker's side only.

    Raises:
        ChannelClosed: The other end is closed.
    """
    channel.send(kind, payload)
    while not channel.flush():
        channel.wait(None, to_send=True, to_receive=False)
