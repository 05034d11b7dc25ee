"""Frames over both kinds of channel."""

import multiprocessing
import os
import socket
import sys
import threading

import pytest

from GenRegLogic.worker.channel import (
    FRAME,
    LARGEST_FRAME,
    ChannelClosed,
    PipeChannel,
    ProtocolError,
    SocketChannel,
    make_pair,
    open_inherited,
    send_waiting,
)

needs_sockets = pytest.mark.skipif(sys.platform == "win32", reason="Windows has pipes instead")


def pipes():
    return [PipeChannel(end) for end in multiprocessing.Pipe()]


def sockets():
    return [SocketChannel(end) for end in socket.socketpair()]


@pytest.fixture(params=[pipes, pytest.param(sockets, marks=needs_sockets)])
def ends(request):
    ends = request.param()
    yield ends
    for end in ends:
        end.close()


def received(channel):
    while (frame := channel.receive()) is None:
        assert channel.wait(30)
    return frame[0], bytes(frame[1])


class TestFrames:
    def test_frames_arrive_complete_and_in_order(self, ends):
        here, there = ends
        for n in range(3):
            here.send(n, bytes([n]) * n)
        assert [received(there) for _ in range(3)] == [(0, b""), (1, b"\x01"), (2, b"\x02\x02")]

    def test_nothing_is_received_before_a_frame_is_sent(self, ends):
        assert ends[0].receive() is None
        assert not ends[0].wait(0)

    def test_a_large_frame_arrives(self, ends):
        here, there = ends
        payload = os.urandom(3 * 2**20)
        thread = threading.Thread(target=send_waiting, args=(here, 7, payload))
        thread.start()
        assert received(there) == (7, payload)
        thread.join()

    def test_frames_sent_before_the_other_end_was_closed_are_received(self, ends):
        here, there = ends
        here.send(1, b"last")
        here.close()
        assert received(there) == (1, b"last")
        with pytest.raises(ChannelClosed):
            received(there)

    def test_sending_to_a_closed_end_raises_channel_closed(self, ends):
        here, there = ends
        there.close()
        with pytest.raises(ChannelClosed):
            here.send(1, b"payload")


@needs_sockets
class TestSockets:
    def test_sending_never_blocks(self):
        here, there = sockets()
        here.send(1, bytes(64 * 2**20))
        assert not here.clear
        assert not here.flush()
        while there.receive() is None:
            here.flush()
        assert here.clear

    def test_an_incomplete_frame_is_not_received(self):
        end, raw = socket.socketpair()
        channel = SocketChannel(end)
        frame = FRAME.pack(4, 1) + b"abcd"
        for byte in frame[:-1]:
            raw.send(bytes([byte]))
            assert channel.receive() is None
        raw.send(frame[-1:])
        assert channel.receive() == (1, b"abcd")

    def test_a_frame_above_the_size_limit_raises_protocol_error(self):
        end, raw = socket.socketpair()
        raw.send(FRAME.pack(LARGEST_FRAME + 1, 1))
        with pytest.raises(ProtocolError):
            SocketChannel(end).receive()


class TestInheriting:
    @pytest.mark.parametrize("pipe", [True, pytest.param(False, marks=needs_sockets)])
    def test_the_worker_opens_its_end_from_the_arguments(self, monkeypatch, pipe):
        monkeypatch.setattr("GenRegLogic.worker.channel.USE_PIPES", pipe)
        ours, theirs, arguments = make_pair()
        number = os.dup(theirs.fileno()) if sys.platform != "win32" else theirs.fileno()
        channel = open_inherited([arguments[0], str(number)])
        channel.send(1, b"here")
        assert received(ours) == (1, b"here")

    def test_unknown_arguments_are_refused(self):
        with pytest.raises(ValueError, match="unknown option"):
            open_inherited(["--port", "80"])
