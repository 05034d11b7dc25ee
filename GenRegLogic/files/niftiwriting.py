"""Writing NIfTI files: ITK compresses on one thread and doesn't notice a full disk.

`write_nifti` compresses on all threads and fails with the system's own error.
"""

from __future__ import annotations

import errno
import struct
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..space.geometry import Geometry

__all__ = ["is_nifti", "write_nifti"]

DIM_OFFSET, VOX_OFFSET_OFFSET = 40, 108
"""Where the NIfTI-1 header keeps dim[8] (int16) and vox_offset (float32)."""

GZIP_LEVEL, GZIP_STRATEGY, GZIP_CONTAINER, GZIP_MEMORY = 1, zlib.Z_RLE, 31, 9
"""A smooth field has long runs of zeros but hardly any repeated strings: looking for runs alone is 2.5 times as fast
as zlib's quickest level, for a file a twentieth larger."""

HEADER_BYTES = 352
"""Of NIfTI-1, up to the first voxel."""

GZIP_BLOCK_BYTES = 2**22
MAX_GZIP_THREADS = 8


def is_nifti(path: Path) -> bool:
    """Whether the file's name says NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


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
    if len(content) < HEADER_BYTES:  # ITK doesn't notice a full disk
        raise OSError(errno.ENOSPC, "not enough space")
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
