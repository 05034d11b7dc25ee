"""Scans whose headers are wrong, or that show a part only: what the capture range is measured with."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

SEED = 7
CROP_SHARE = 0.4
"""Share of the scan's length along one axis that a crop keeps."""


def headers(turns: int, axis_turns: int, shift: float) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Kind, rotation (3x3) and shift (3,), mm, of wrong headers.

    Args:
        turns: Number of rotations by any angle about any axis.
        axis_turns: Number of rotations that exchange axes, 24 at most; the first one turns nothing.
        shift: Largest along each axis, mm.
    """
    random = np.random.default_rng(SEED)
    for _ in range(turns):
        matrix, _ = np.linalg.qr(random.normal(size=(3, 3)))
        yield "turned", matrix * np.sign(np.linalg.det(matrix)), random.uniform(-shift, shift, 3)
    all_axes = [
        np.eye(3)[list(order)] * np.array(signs)
        for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3))
    ]
    proper = [turn for turn in all_axes if np.linalg.det(turn) > 0]
    for turn in proper[:axis_turns]:
        yield "axes exchanged", turn, random.uniform(-shift, shift, 3)


def movement(volume, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """4x4, LPS mm: a rotation about the scan's center and a shift."""
    center = volume.geometry.center
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turn, center - turn @ center + shift
    return out


def turned(volume, turn: np.ndarray, shift: np.ndarray):
    """The scan with a header that is turned about its center and shifted."""
    moved, geometry = movement(volume, turn, shift), volume.geometry
    origin = (moved @ np.append(geometry.origin, 1))[:3]
    grid = dataclasses.replace(geometry, origin=tuple(float(v) for v in origin), direction=turn @ geometry.direction)
    return dataclasses.replace(volume, geometry=grid)


def crops(volume) -> Iterator[tuple[str, object]]:
    """Name and scan of nine crops: the first, the middle and the last `CROP_SHARE` along each axis."""
    geometry = volume.geometry
    for axis, name in enumerate("ijk"):
        n = geometry.size[axis]
        kept = max(2, round(CROP_SHARE * n))
        for place, start in (("first", 0), ("middle", (n - kept) // 2), ("last", n - kept)):
            cut = [slice(None)] * 3
            cut[2 - axis] = slice(start, start + kept)
            index, size = np.zeros(3), list(geometry.size)
            index[axis], size[axis] = start, kept
            grid = dataclasses.replace(
                geometry, size=tuple(size), origin=tuple(float(v) for v in geometry.to_world(index[None])[0])
            )
            yield f"{place} of {name}", dataclasses.replace(volume, array=volume.array[tuple(cut)], geometry=grid)
