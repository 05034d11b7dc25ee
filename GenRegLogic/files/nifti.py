"""NIfTI files, where ITK's own reading is too lenient and its writing too slow.

ITK reads a NIfTI file with a spacing of zero as if it said 1 mm, and fills the missing end of a truncated file with
zeros, both without a word: `check_nifti` refuses them. It also turns NaN and infinity into zeros: `non_finite` finds
them. And it compresses on one thread and doesn't notice a full disk: `write_nifti` compresses on all threads and fails
with the system's own error.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..space.geometry import Geometry

__all__ = ["check_nifti", "is_nifti", "non_finite", "write_nifti"]

HEADER_BYTES = 348
DIM_OFFSET, DATATYPE_OFFSET, BITPIX_OFFSET, PIXDIM_OFFSET, VOX_OFFSET_OFFSET = 40, 70, 72, 76, 108
"""Where the NIfTI-1 header keeps dim[8], datatype and bitpix (int16), pixdim[8] and vox_offset (float32)."""

FLOAT_DATATYPES = {16: "f4", 64: "f8"}
"""NIfTI's codes of the types that can hold NaN."""

SCAN_BLOCK_BYTES = 2**20

GZIP_LEVEL, GZIP_STRATEGY, GZIP_CONTAINER, GZIP_MEMORY = 1, zlib.Z_RLE, 31, 9
"""A smooth field has long runs of zeros but hardly any repeated strings: looking for runs alone is 2.5 times as fast
as zlib's quickest level, for a file a twentieth larger."""

GZIP_BLOCK_BYTES = 2**22
MAX_GZIP_THREADS = 8
GZIP_SIZE_MODULUS = 2**32
"""A gzip member records its length modulo 2**32."""


def is_nifti(path: Path) -> bool:
    """Whether the file's name says NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_nifti(path: Path) -> None:
    """Refuse a NIfTI-1 file whose header or length ITK would quietly repair.

    Files that aren't NIfTI-1 after all are left to ITK, which says so itself.

    Raises:
        InputError: A spacing that is not positive, a damaged or a truncated file.
    """
    try:
        compressed = _is_gzip(path)
        with gzip.open(path) if compressed else path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
        order = _byte_order(header)
        if order is None:
            return
        dim = struct.unpack_from(order + "8h", header, DIM_OFFSET)
        pixdim = struct.unpack_from(order + "8f", header, PIXDIM_OFFSET)
        _check_spacing(pixdim[1 : 1 + min(dim[0], 3)])
        bits = struct.unpack_from(order + "h", header, BITPIX_OFFSET)[0]
        offset = int(struct.unpack_from(order + "f", header, VOX_OFFSET_OFFSET)[0])
        expected = offset + math.prod(dim[1 : 1 + dim[0]]) * bits // 8
        if _holds_less_than(path, expected) if compressed else path.stat().st_size < expected:
            raise InputError("The file is truncated: it ends before its last voxel; copy or export it again.")
    except (OSError, EOFError, zlib.error, ValueError, OverflowError):
        raise InputError("The file is damaged and cannot be read; copy or export it again.") from None


def _byte_order(header: bytes) -> str | None:
    """ "<" or ">" as `struct` writes it; None where the header isn't NIfTI-1's."""
    if len(header) < HEADER_BYTES:
        return None
    return next((c for c in "<>" if struct.unpack_from(c + "i", header)[0] == HEADER_BYTES), None)


def non_finite(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The NaN and infinite values of a NIfTI-1 file, which ITK would read as zeros.

    Reads the data once, block by block, where its type can hold such values at all.

    Args:
        path: A file that `check_nifti` has passed.

    Returns:
        Their places (n,), counted in the file's order, the first axis fastest, and the values (n,).
    """
    nothing = np.empty(0, np.int64), np.empty(0)
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
            order = _byte_order(header)
            code = 0 if order is None else struct.unpack_from(order + "h", header, DATATYPE_OFFSET)[0]
            if code not in FLOAT_DATATYPES:
                return nothing
            dim = struct.unpack_from(order + "8h", header, DIM_OFFSET)
            stream.seek(int(struct.unpack_from(order + "f", header, VOX_OFFSET_OFFSET)[0]))
            dtype = np.dtype(order + FLOAT_DATATYPES[code])
            parts = list(_non_finite_parts(stream, dtype, math.prod(dim[1 : 1 + dim[0]])))
    except (OSError, EOFError, zlib.error, ValueError, OverflowError):
        raise InputError("The file is damaged and cannot be read; copy or export it again.") from None
    return tuple(np.concatenate(column) for column in zip(*parts)) if parts else nothing


def _non_finite_parts(stream, dtype: np.dtype, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    block = SCAN_BLOCK_BYTES // dtype.itemsize
    for start in range(0, count, block):
        values = np.frombuffer(stream.read(min(block, count - start) * dtype.itemsize), dtype)
        finite = np.isfinite(values)
        if not finite.all():
            where = np.flatnonzero(~finite)
            yield where + start, values[where].astype(np.float64)


def _check_spacing(spacing: tuple[float, ...]) -> None:
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        numbers = ", ".join(f"{s:g}" for s in spacing)
        raise InputError(f"The voxel spacing ({numbers}) mm must be positive; correct the image's header.")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _holds_less_than(path: Path, expected: int) -> bool:
    """Whether a gzip file inflates to fewer bytes; reads it all only where its trailer cannot tell."""
    if expected < GZIP_SIZE_MODULUS:
        with path.open("rb") as stream:
            stream.seek(-4, os.SEEK_END)
            if struct.unpack("<I", stream.read(4))[0] == expected:
                return False
    total = 0
    with gzip.open(path) as stream:
        while block := stream.read(GZIP_BLOCK_BYTES):
            total += len(block)
    return total < expected


def write_nifti(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Write a scalar or vector image as ITK would, ``.nii`` or (much faster than ITK) ``.nii.gz``.

    Args:
        array: (k, j, i) scalars or (k, j, i, c) vectors, of a dtype that ITK knows.
        geometry: Where the voxels are.
        path: Written in place; the caller provides a temporary name.

    Raises:
        OSError: The disk is full or the file cannot be written.
    """
    compress = path.name.lower().endswith(".gz")
    with path.open("wb") as stream:
        head = _header(array, geometry)
        stream.write(_gzip(head) if compress else head)
        if compress:
            _write_compressed(stream.write, _blocks(array))
        else:
            for block in _blocks(array):
                stream.write(block())


def _header(array: np.ndarray, geometry: Geometry) -> bytes:
    """ITK's own header for this kind of image: taken from a tiny image on the same axes, with the size put in.

    So the orientation codes, the intent of vectors and the data type have one source, ITK.
    """
    vector = array.ndim == 4
    tiny = sitk.GetImageFromArray(np.zeros((2, 2, 2, *array.shape[3:]), array.dtype), isVector=vector)
    geometry.copy_to(tiny)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "header.nii"
        sitk.WriteImage(tiny, str(name))
        content = bytearray(name.read_bytes())
    offset = int(struct.unpack_from("=f", content, VOX_OFFSET_OFFSET)[0])
    struct.pack_into("=3h", content, DIM_OFFSET + 2, *geometry.size)
    return bytes(content[:offset])


def _blocks(array: np.ndarray) -> Iterator[Callable[[], bytes]]:
    """Functions that give the file's data piece by piece, one component of a vector after the other."""
    step = max(1, GZIP_BLOCK_BYTES // max(1, array[0, ..., 0].nbytes if array.ndim == 4 else array[0].nbytes))
    components = [array[..., c] for c in range(array.shape[3])] if array.ndim == 4 else [array]
    for component in components:
        for k in range(0, len(component), step):
            yield lambda part=component[k : k + step]: part.astype(part.dtype.newbyteorder("="), copy=False).tobytes()


def _gzip(data: bytes) -> bytes:
    worker = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_CONTAINER, GZIP_MEMORY, GZIP_STRATEGY)
    return worker.compress(data) + worker.flush()


def _write_compressed(write: Callable[[bytes], object], blocks: Iterator[Callable[[], bytes]]) -> None:
    """Compress blocks in parallel, as one gzip member each: by RFC 1952 their concatenation is one gzip file."""
    threads = min(MAX_GZIP_THREADS, sitk.ProcessObject.GetGlobalDefaultNumberOfThreads())  # what the caller set
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        for block in blocks:
            waiting.append(pool.submit(lambda block=block: _gzip(block())))
            if len(waiting) > 2 * threads:  # no more than a few blocks are in memory at a time
                write(waiting.popleft().result())
        while waiting:
            write(waiting.popleft().result())
