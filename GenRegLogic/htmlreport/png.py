"""Encodes pictures as PNG for a page, with zlib only, so that no imaging library is needed."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator

import numpy as np

__all__ = ["data_uri", "encode"]

GRAY, COLOR = 0, 2
BITS = 8
PLAIN, UP = 0, 2
"""PNG's filters: bytes unchanged, or minus the byte above."""

COMPRESSION = 6
"""Level of zlib: a tenth larger than level 9, and ten times as fast."""


def encode(pixels: np.ndarray) -> bytes:
    """Encode a picture.

    Args:
        pixels: (rows, columns) gray or (rows, columns, 3) red, green, blue; uint8.

    Returns:
        Content of a PNG file.
    """
    rows, columns = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    lines = np.ascontiguousarray(pixels, np.uint8).reshape(rows, columns * channels)
    header = struct.pack(">IIBBBBB", columns, rows, BITS, GRAY if channels == 1 else COLOR, 0, 0, 0)
    body = min((zlib.compress(filtered, COMPRESSION) for filtered in _filtered(lines)), key=len)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def data_uri(pixels: np.ndarray) -> str:
    """Encode a picture as the `src` of an image; `pixels` as for `encode`."""
    return "data:image/png;base64," + base64.b64encode(encode(pixels)).decode("ascii")


def _filtered(lines: np.ndarray) -> Iterator[bytes]:
    """The rows after each filter; which filter compresses best depends on the picture."""
    above = np.zeros_like(lines)
    above[1:] = lines[:-1]
    for number, predicted in ((PLAIN, 0), (UP, above)):
        filtered = np.full((len(lines), lines.shape[1] + 1), number, np.uint8)
        filtered[:, 1:] = lines - predicted  # modulo 256, as PNG requires
        yield filtered.tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
