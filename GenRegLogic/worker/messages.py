"""What program and worker say to one another: JSON messages, and arrays as raw chunks behind the message that names
them. Nothing is pickled, so what arrives can be wrong but cannot run.

Key names: `encode` and `decode` (messages), `describe`, `chunks` and `Assembly` (arrays), `error_to_message` and
`error_from_message`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np

from .. import errors
from ..errors import GenRegError, InputError
from .channel import ProtocolError

__all__ = [
    "CHUNK",
    "CHUNK_BYTES",
    "CREDITS",
    "MESSAGE",
    "Assembly",
    "chunks",
    "decode",
    "describe",
    "encode",
    "error_from_message",
    "error_to_message",
]

MESSAGE, CHUNK = ord("J"), ord("C")
"""Kinds of frames."""

CHUNK_BYTES = 2**20
CREDITS = 4
"""Chunks that may be on their way to the worker without its having said that it took them."""

SENT_KINDS = "biufc"
"""Kinds of numbers that can be sent."""


def encode(message: Mapping) -> bytes:
    """A message as a frame's payload; NumPy's numbers and arrays become plain ones."""
    return json.dumps(message, default=_plain).encode()


def _plain(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a message cannot hold a {type(value).__name__}")


def decode(payload: bytes | bytearray | memoryview) -> dict:
    """The message of a payload.

    Raises:
        ProtocolError: It is none.
    """
    try:
        message = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("a message without a type")
    return message


def describe(arrays: Mapping[str, np.ndarray]) -> list[dict]:
    """Names, types and shapes of arrays, in the order in which their chunks are sent.

    Raises:
        InputError: An array holds something else than numbers.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in SENT_KINDS:
            raise InputError(f"The values of {name} are of type {array.dtype}; GenReg needs real numbers.")
    return [{"name": name, "dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()]


def chunks(array: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array in C order, at most CHUNK_BYTES at a time.

    An array that is contiguous is not copied, of another no more than one slab at a time.
    """
    if array.size == 0:
        return
    if not array.flags.c_contiguous and array.ndim > 1:
        for slab in array:
            yield from chunks(slab)
        return
    raw = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    for start in range(0, len(raw), CHUNK_BYTES):
        yield raw[start : start + CHUNK_BYTES]


class Assembly:
    """Arrays that are arriving.

    Args:
        description: What `describe` said of them.

    Attributes:
        arrays: By name; their values are whole once `done`.

    Raises:
        ProtocolError: The description is not one.
        MemoryError: There is no room for them.
    """

    def __init__(self, description: list[dict]) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        try:
            for entry in description:
                dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
                if dtype.kind not in SENT_KINDS or not all(isinstance(n, int) and n >= 0 for n in shape):
                    raise ValueError("not an array of numbers")
                self.arrays[entry["name"]] = np.empty(shape, dtype)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("a description of arrays that makes no sense") from error
        self._open = [array.reshape(-1).view(np.uint8) for array in self.arrays.values() if array.size]

    @property
    def done(self) -> bool:
        """Whether everything has arrived."""
        return not self._open

    def take(self, chunk: bytes | bytearray | memoryview) -> None:
        """Put the next chunk where it belongs.

        Raises:
            ProtocolError: It doesn't fit.
        """
        if not self._open or not 0 < len(chunk) <= len(self._open[0]):
            raise ProtocolError("a chunk that belongs to no array")
        self._open[0][: len(chunk)] = np.frombuffer(chunk, np.uint8)
        self._open[0] = self._open[0][len(chunk) :]
        if not len(self._open[0]):
            self._open.pop(0)


def error_to_message(error: GenRegError) -> dict:
    """The class and the sentence of an error."""
    return {"class": type(error).__name__, "sentence": str(error)}


def error_from_message(message: Mapping) -> GenRegError:
    """The error of a class and a sentence; of a class that isn't known, the base of all."""
    kind = getattr(errors, message["class"], GenRegError) if message["class"] in errors.__all__ else GenRegError
    return kind(str(message["sentence"]))
