"""Messages and arrays as they are sent over the channel."""

import json

import numpy as np
import pytest

from GenRegLogic.errors import Cancelled, DependencyError, GenRegError, InputError, ResourceError, WorkerError
from GenRegLogic.worker.channel import ProtocolError
from GenRegLogic.worker.messages import (
    CHUNK_BYTES,
    Assembly,
    chunks,
    decode,
    describe,
    encode,
    error_from_message,
    error_to_message,
)

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "longdouble",
    ">i2",
    ">f4",
]


def transferred(arrays):
    """Arrays as they are received."""
    assembly = Assembly(json.loads(json.dumps(describe(arrays))))
    for array in arrays.values():
        for chunk in chunks(array):
            assembly.take(bytes(chunk))
    assert assembly.done
    return assembly.arrays


class TestArrays:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_every_type_of_number_arrives_unchanged(self, dtype):
        array = (np.arange(60).reshape(3, 4, 5) % 7).astype(dtype)
        (there,) = transferred({"a": array}).values()
        assert there.dtype == array.dtype
        np.testing.assert_array_equal(there, array)

    def test_a_large_array_arrives_in_chunks(self):
        array = np.arange(5 * CHUNK_BYTES // 2, dtype=np.uint8).reshape(5, -1)
        assert [len(chunk) for chunk in chunks(array)] == [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES // 2]
        np.testing.assert_array_equal(transferred({"a": array})["a"], array)

    @pytest.mark.parametrize(
        "look",
        [lambda a: a[::2, 1:], lambda a: a.T, np.asfortranarray, lambda a: a[:, :, ::-1], lambda a: a[..., 0, 0]],
    )
    def test_an_array_that_is_not_contiguous_arrives(self, look):
        array = look(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
        np.testing.assert_array_equal(transferred({"a": array})["a"], array)

    def test_a_contiguous_array_is_not_copied(self):
        array = np.zeros((3, 4, 5), np.float32)
        (chunk,) = chunks(array)
        assert np.shares_memory(np.frombuffer(chunk, np.uint8), array)

    @pytest.mark.parametrize("shape", [(0,), (3, 0, 2), ()])
    def test_arrays_of_no_bytes_and_of_one_number_arrive(self, shape):
        arrays = {"first": np.ones(3), "odd": np.ones(shape), "last": np.arange(4)}
        there = transferred(arrays)
        assert there["odd"].shape == shape
        np.testing.assert_array_equal(there["last"], arrays["last"])

    def test_a_read_only_array_is_sent(self):
        array = np.arange(6.0)
        array.setflags(write=False)
        np.testing.assert_array_equal(transferred({"a": array})["a"], array)

    def test_a_received_array_is_writable(self):
        assert transferred({"a": np.arange(6.0)})["a"].flags.writeable

    @pytest.mark.parametrize("array", [np.array(["text"]), np.array([object()]), np.array(["2026"], "M8[Y]")])
    def test_arrays_without_numbers_are_refused_with_one_sentence(self, array):
        with pytest.raises(InputError, match=r"^The values of scan are of type .* real numbers\.$"):
            describe({"scan": array})


class TestInvalid:
    @pytest.mark.parametrize("payload", [b"", b"\x80\x04", b"[]", b"{}", b'{"type": 1}', b"[" * 100_000, b"\xff"])
    def test_an_invalid_message_raises_protocol_error(self, payload):
        with pytest.raises(ProtocolError):
            decode(payload)

    @pytest.mark.parametrize(
        "entry",
        [
            {},
            {"name": "a", "dtype": "O", "shape": [1]},
            {"name": "a", "dtype": "<f4", "shape": [-1]},
            {"name": "a", "dtype": "nothing", "shape": [1]},
            {"name": "a", "dtype": "<f4", "shape": ["1"]},
            {"name": [], "dtype": "<f4", "shape": [1]},
            {"name": "a", "dtype": "<f4", "shape": None},
        ],
    )
    def test_an_invalid_description_raises_protocol_error(self, entry):
        with pytest.raises(ProtocolError):
            Assembly([entry])

    def test_a_surplus_chunk_raises_protocol_error(self):
        assembly = Assembly(describe({"a": np.zeros(3, np.uint8)}))
        assembly.take(b"123")
        with pytest.raises(ProtocolError):
            assembly.take(b"4")

    def test_a_chunk_that_is_too_long_raises_protocol_error(self):
        with pytest.raises(ProtocolError):
            Assembly(describe({"a": np.zeros(3, np.uint8)})).take(b"1234")


class TestMessages:
    def test_numpys_scalars_and_arrays_become_numbers_and_lists(self):
        message = {"type": "job", "matrix": np.eye(2), "count": np.int64(3), "share": np.float32(0.5)}
        assert decode(encode(message)) == {"type": "job", "matrix": [[1, 0], [0, 1]], "count": 3, "share": 0.5}

    @pytest.mark.parametrize("kind", [InputError, ResourceError, Cancelled, DependencyError, WorkerError, GenRegError])
    def test_errors_keep_their_class_and_sentence(self, kind):
        error = error_from_message(decode(encode({"type": "ended"} | error_to_message(kind("What is wrong.")))))
        assert type(error) is kind
        assert str(error) == "What is wrong."

    @pytest.mark.parametrize("name", ["SystemExit", "__all__", "nothing"])
    def test_an_error_of_an_unknown_class_becomes_a_genreg_error(self, name):
        assert type(error_from_message({"class": name, "sentence": "x"})) is GenRegError
