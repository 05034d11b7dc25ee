"""DICOM slices to a volume: every voxel at its true place.

Evenly spaced slices straight above one another are taken as they are. Others (gantry tilt, uneven spacing) are
resampled onto a straight, even grid by their positions, linearly and slice by slice, so that little more than the
result is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import Doubt, InputError
from ...space.geometry import Geometry
from .headers import Frame
from .pixels import read_values
from .stacks import EVEN, Stack, heights_of, typical_gap

__all__ = ["Slices", "stacked"]

ALMOST_WHOLE = 0.1
"""Of a slice spacing: a gap that is longer than one by so much less than a whole slice lacks a slice."""

VARIED = 1.2
"""Times the thickness of the thinnest slice: from here on the slices are of several thicknesses."""

SIDEWAYS = 0.1
"""Of a pixel: the largest sideways shift of slices that is left alone. Headers round positions."""

CROOKED = 0.5
"""Of a pixel: the largest deviation of sideways shifts from a tilt."""

WHOLE_SHIFT = 1e-3
MAX_GROWTH = 4
"""Times the number of slices, or pixels of a slice, that a resampled volume may have."""

FLOAT32_WHOLE = 1 << 24
INTEGERS = (np.int16, np.int32, np.int64)


@dataclass(eq=False)
class _Plan:
    """Where the result's slices and the plane that holds all slices lie.

    Attributes:
        heights: (n,) mm, of the slices that were scanned, along the normal.
        wanted: (m,) mm, of the result's slices.
        shifts: (n, 2) pixels (rows, columns) from the plane's corner to each slice's first voxel, not negative.
        plane: (rows, columns) of the result.
        geometry: Of the result.
        doubts: What was repaired.
    """

    heights: np.ndarray
    wanted: np.ndarray
    shifts: np.ndarray
    plane: tuple[int, int]
    geometry: Geometry
    doubts: list[Doubt]

    @property
    def straight(self) -> bool:
        return self.wanted is self.heights and not self.shifts.any()


class Slices(NamedTuple):
    """What a `Volume` is made of; see there."""

    array: np.ndarray
    geometry: Geometry
    warnings: tuple[Doubt, ...]
    padding: float | None


def stacked(stack: Stack, *, allow_missing_slices: bool) -> Slices:
    """The volume of a stack, LPS mm, in the unit that its headers give (HU, Gy ...).

    The smallest of int16, int32 and int64 that holds the values, or float32 where they are fractional or resampled.

    Raises:
        InputError: Slices are missing (unless that is allowed), shifted irregularly, or damaged.
    """
    plan = _plan(stack.frames, allow_missing_slices)
    padding = _padding_value(stack.frames)
    array, padded = (_filled if plan.straight else _resampled)(stack.frames, plan, padding)
    doubts = [*stack.doubts, *plan.doubts]
    if any(frame.tells.get("dose") == "relative" for frame in stack.frames):
        doubts.append(Doubt("dose_relative", "The RT dose is relative to a reference, not in Gy."))
    return Slices(array, plan.geometry, tuple(doubts), padded)


def _plan(frames: list[Frame], allow_missing: bool) -> _Plan:
    first, heights, doubts = frames[0], heights_of(frames), []
    spacing, wanted = _spacing(heights, allow_missing, [f.thickness for f in frames], doubts)
    edges = np.array(first.spacing)
    shifts = np.array([(frame.axes[0] @ frame.position, frame.axes[1] @ frame.position) for frame in frames])
    shifts = (shifts - shifts[0])[:, ::-1] / edges  # pixels, (rows, columns)
    corner, plane, shifts = _sideways(shifts, heights, edges, first.size, doubts)
    axes = np.stack([*first.axes, first.normal])
    origin = first.position + (corner * edges)[::-1] @ first.axes
    size = (plane[1], plane[0], len(wanted))
    geometry = Geometry(size, (edges[1], edges[0], spacing), origin, axes.T)
    return _Plan(heights, wanted, shifts, plane, geometry, doubts)


def _spacing(
    heights: np.ndarray, allow_missing: bool, thickness: list[float], doubts: list
) -> tuple[float, np.ndarray]:
    """The slice spacing of the result, mm, and the heights of its slices: those given where they are even."""
    count, gaps = len(heights), np.diff(heights)
    step = (heights[-1] - heights[0]) / (count - 1)
    if np.abs(heights - heights[0] - step * np.arange(count)).max() <= EVEN * step:
        return float(step), heights
    spacing = typical_gap(gaps)
    lacking = np.floor(gaps / spacing - 1 + ALMOST_WHOLE).clip(0)
    thick = np.array(thickness)
    if np.nanmax(thick, initial=0) > VARIED * np.nanmin(thick, initial=np.inf):  # thick slices fill longer gaps
        lacking[gaps <= (thick[1:] + thick[:-1]) / 2 * (1 + EVEN)] = 0
    missing = int(lacking.sum())
    slices = f"The DICOM series lacks {missing} slice{'s' if missing > 1 else ''}"
    if missing and not allow_missing:
        raise InputError(f"{slices}; export it again, or have them interpolated with --allow-missing-slices.")
    wanted = heights[0] + spacing * np.arange(int(np.floor((heights[-1] - heights[0]) / spacing + EVEN)) + 1)
    if len(wanted) > MAX_GROWTH * count:
        raise InputError(
            f"The DICOM slices are spaced too unevenly ({gaps.min():.3g} to {gaps.max():.3g} mm) to be one scan; "
            "export the one you want as a series of its own."
        )
    if missing:
        text = f"{slices}, interpolated from the neighbors, so the anatomy there is a guess."
        doubts.append(Doubt("slices_missing", text, guessed=True))
    if not missing or _uneven(gaps, spacing, lacking):
        text = (
            f"The DICOM slices are unevenly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm) and were resampled to "
            f"{spacing:.3g} mm by their positions."
        )
        doubts.append(Doubt("slices_uneven", text))
    return spacing, wanted


def _uneven(gaps: np.ndarray, spacing: float, lacking: np.ndarray) -> bool:
    """Whether the gaps are uneven even apart from the missing slices."""
    return bool(np.abs(gaps / (lacking + 1) - spacing).max() > EVEN * spacing)


def _sideways(shifts: np.ndarray, heights: np.ndarray, edges: np.ndarray, size: tuple[int, int], doubts: list):
    """The plane that holds all slices: its corner in pixels of the first slice, its size, the slices' shifts in it."""
    if np.abs(shifts).max() <= SIDEWAYS:
        return np.zeros(2), size, np.zeros_like(shifts)
    depth = heights - heights[0]
    slope = depth @ shifts / (depth @ depth)
    if np.abs(shifts - depth[:, None] * slope).max() > CROOKED:
        raise InputError(
            "The DICOM slices are shifted sideways against one another in no regular way, so they are not one stack; "
            "export the scan again."
        )
    degrees = np.degrees(np.arctan(np.linalg.norm(slope * edges)))
    text = f"The DICOM slices are tilted by {degrees:.3g} degrees (gantry tilt) and were resampled by their positions."
    doubts.append(Doubt("gantry_tilt", text))
    corner = np.floor(shifts.min(axis=0))
    plane = tuple(int(n) for n in np.ceil((shifts - corner).max(axis=0) - WHOLE_SHIFT) + size)
    if plane[0] * plane[1] > MAX_GROWTH * size[0] * size[1]:
        raise InputError(f"The DICOM slices are tilted by {degrees:.3g} degrees, too much for a scan; export it again.")
    return corner, plane, shifts - corner


def _padding_value(frames: list[Frame]) -> float | None:
    """The value that stands for "no data" in all slices, in their unit; None if there is no such value."""
    values = {frame.padding[2] * frame.slope + frame.intercept for frame in frames if frame.padding is not None}
    return values.pop() if len(values) == 1 and all(frame.padding is not None for frame in frames) else None


def _filled(frames: list[Frame], plan: _Plan, padding: float | None) -> tuple[np.ndarray, float | None]:
    """The slices one upon another, and the padding value if a voxel has it."""
    array, padded = np.zeros(plan.geometry.shape, INTEGERS[0]), False
    for n, (values, none) in enumerate(read_values(frames)):
        if none is not None and padding is not None:
            values, padded = np.where(none, np.asarray(padding, values.dtype), values), True
        if values.dtype.kind == "f":
            array = array.astype(np.float32, copy=False)
        elif array.dtype.kind == "i":
            array = array.astype(_integer(values, array.dtype), copy=False)
        array[n] = values
    return array, padding if padded else None


def _integer(values: np.ndarray, at_least: np.dtype) -> np.dtype:
    """The smallest integer type that holds the values, and all that the given one does."""
    low, high = int(values.min()), int(values.max())
    fits = (np.dtype(t) for t in INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.promote_types(next(fits), at_least)


def _resampled(frames: list[Frame], plan: _Plan, padding: float | None) -> tuple[np.ndarray, float | None]:
    """The slices interpolated on the plan's grid; what none covers gets the padding value, which is returned."""
    array = np.empty(plan.geometry.shape, np.float32)
    slices = _placed_slices(frames, plan)
    below = above = next(slices)
    upper = 0  # index of `above`
    for n, height in enumerate(plan.wanted):
        while upper + 1 < len(frames) and plan.heights[upper] < height - WHOLE_SHIFT:
            below, above, upper = above, next(slices), upper + 1
        gap = plan.heights[upper] - plan.heights[max(upper - 1, 0)]
        share = 1.0 if upper == 0 else float(1 - np.clip((plan.heights[upper] - height) / gap, 0, 1))
        array[n] = above if share > 1 - WHOLE_SHIFT else share * above + (1 - share) * below
    for _ in slices:  # so that damage in a slice beyond the last height is found
        pass
    empty = np.isnan(array)
    if not empty.any():
        return array, None
    if padding is None:  # no voxel has this value
        padding = float(np.floor(np.nanmin(array))) - 1.0
    array[empty] = padding
    return array, padding


def _placed_slices(frames: list[Frame], plan: _Plan) -> Iterator[np.ndarray]:
    """Each slice as float32 on the plan's plane, NaN where it has no data."""
    for (values, none), shift in zip(read_values(frames), plan.shifts):
        values = values.astype(np.float32)
        if none is not None:
            values[none] = np.nan
        for axis in (0, 1):
            values = _shifted(values, float(shift[axis]), axis, plan.plane[axis])
        yield values


def _shifted(values: np.ndarray, shift: float, axis: int, length: int) -> np.ndarray:
    """The values moved up by `shift` pixels along an axis, interpolated, in an array that is `length` long there."""
    values = np.moveaxis(values, axis, 0)
    whole = int(np.floor(shift + WHOLE_SHIFT))
    part = np.float32(shift - whole)
    result = np.full((length, *values.shape[1:]), np.nan, np.float32)
    if abs(part) <= WHOLE_SHIFT:
        result[whole : whole + len(values)] = values
    else:
        result[whole + 1 : whole + len(values)] = (1 - part) * values[1:] + part * values[:-1]
    return np.moveaxis(result, 0, axis)
