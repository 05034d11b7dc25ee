"""What program and worker exchange: JSON messages, and arrays as raw chunks that follow the message which lists them.
Nothing is pickled, so received data cannot execute code.

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
"""Chunks that may be sent to the worker before it has confirmed that it has received them."""

SENT_KINDS = "biufc"
"""NumPy's kinds of the types that can be sent."""


def encode(message: Mapping) -> bytes:
    """A message as the payload of a frame; NumPy's scalars and arrays become numbers and lists."""
    return json.dumps(message, default=_plain).encode()


def _plain(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a message cannot hold a {type(value).__name__}")


def decode(payload: bytes | bytearray | memoryview) -> dict:
    """The message in a payload.

    Raises:
        ProtocolError: The payload holds no message.
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
        InputError: An array's values are not numbers.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in SENT_KINDS:
            raise InputError(f"The values of {name} are of type {array.dtype}; GenReg needs real numbers.")
    return [{"name": name, "dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()]


def chunks(array: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array in C order, at most CHUNK_BYTES at a time.

    A contiguous array is not copied; of any other, one slab at a time is.
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
    """Arrays that are being received.

    Args:
        description: As returned by `describe`.

    Attributes:
        arrays: The arrays by name; complete when `done`.

    Raises:
        ProtocolError: The description is invalid.
        MemoryError: There is not enough memory for the arrays.
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
            raise ProtocolError("an invalid description of arrays") from error
        self._open = [array.reshape(-1).view(np.uint8) for array in self.arrays.values() if array.size]

    @property
    def done(self) -> bool:
        """Whether all arrays are complete."""
        return not self._open

    def take(self, chunk: bytes | bytearray | memoryview) -> None:
        """Store the next chunk.

        Raises:
            ProtocolError: No array is incomplete, or the chunk is empty or longer than what its array lacks.
        """
        if not self._open or not 0 < len(chunk) <= len(self._open[0]):
            raise ProtocolError("a chunk that belongs to no array")
        self._open[0][: len(chunk)] = np.frombuffer(chunk, np.uint8)
        self._open[0] = self._open[0][len(chunk) :]
        if not len(self._open[0]):
            self._open.pop(0)


def error_to_message(error: GenRegError) -> dict:
    """The class name and the sentence of an error."""
    return {"class": type(error).__name__, "sentence": str(error)}


def error_from_message(message: Mapping) -> GenRegError:
    """The error that `error_to_message` has described; an unknown class becomes `GenRegError`."""
    kind = getattr(errors, message["class"], GenRegError) if message["class"] in errors.__all__ else GenRegError
    return kind(str(message["sentence"]))
