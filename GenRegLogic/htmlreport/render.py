"""What a cut shows, as pixels: scans in gray, two scans in color, checkerboards, grids and the expected error."""

from __future__ import annotations

import math

import numpy as np

from ..space.field import Transform
from ..space.volume import Volume
from .cuts import Cut

__all__ = [
    "ERROR_COLORS",
    "checkerboard",
    "error_overlay",
    "fusion",
    "gray",
    "grid_lines",
    "marked",
    "nice",
    "tone",
]

WINDOW_PERCENTILES = (1.0, 99.7)
TONE_STEPS, MAX_TONE_SAMPLES, MIN_INNER_SHARE = 256, 96, 0.05
BACKGROUND_SHARE = 0.05
"""Of the range of values: what is darker is air or nothing, and its rank does not count."""

GRAY_LEVELS, FUSION_LEVELS = 64, 32
"""More shades than these no eye tells apart on paper, and the file doubles."""

DIMMED = 0.55
LINE_PIXELS = 1.1
LINE_COLORS = np.array([[255, 176, 60], [80, 200, 255]], np.float32) / 255
"""Of the lines across and down; apart for every kind of color vision."""

ERROR_COLORS = np.array([[70, 20, 110], [170, 45, 110], [235, 95, 65], [252, 170, 50], [250, 245, 150]]) / 255
"""From a small expected error to the largest; lighter is worse, so that it also holds in gray."""

ERROR_OPACITY = 0.75
MARK_COLOR = np.array([255, 225, 80], np.uint8)


def tone(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Which value gets which shade, for any modality: see `Scan`.

    Half of a shade is where a value lies between the scan's robust extremes, and half is its rank among the body's
    values: so soft tissue of a CT is told apart although air and bone are shown too, and two scans of different
    contrast are about equally bright.
    """
    steps = tuple(slice(None, None, max(1, n // MAX_TONE_SAMPLES)) for n in volume.array.shape)
    values = volume.array[steps].astype(np.float32).ravel()
    inner = values[values > values.min()]  # what pads a scan is its smallest value
    values = inner if inner.size > MIN_INNER_SHARE * values.size else values
    low, high = (float(v) for v in np.percentile(values, WINDOW_PERCENTILES))
    if not high > low:
        low, high = float(volume.array.min()), float(volume.array.max())
    places = np.linspace(low, high, TONE_STEPS)
    shades = np.linspace(0.0, 1.0, TONE_STEPS)
    body = np.sort(values[(values > low + BACKGROUND_SHARE * (high - low)) & (values < high)])
    if body.size:
        shades = (shades + np.searchsorted(body, places) / body.size) / 2
    return places, shades


def gray(shades: np.ndarray) -> np.ndarray:
    """Shades from 0 to 1 as (rows, columns) uint8."""
    return (np.rint(shades * (GRAY_LEVELS - 1)) * (255 / (GRAY_LEVELS - 1))).astype(np.uint8)


def fusion(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Fixed in green, moving in magenta; gray where both are alike. (rows, columns, 3) uint8."""
    scale = 255 / (FUSION_LEVELS - 1)
    green, magenta = ((np.rint(s * (FUSION_LEVELS - 1)) * scale).astype(np.uint8) for s in (fixed, moving))
    return np.stack([magenta, green, magenta], axis=-1)


def checkerboard(fixed: np.ndarray, moving: np.ndarray, tile_pixels: float) -> np.ndarray:
    """Squares of the one scan and of the other, (rows, columns) shades."""
    rows, columns = (np.floor(np.arange(n) / tile_pixels).astype(int) for n in fixed.shape)
    return np.where((rows[:, None] + columns[None, :]) % 2 == 0, fixed, moving)


def grid_lines(background: np.ndarray, cut: Cut, transform: Transform, step_mm: float) -> np.ndarray:
    """The moving scan's regular grid as the transform brings it here, over a dimmed picture; (rows, columns, 3) uint8.

    Args:
        background: Shades.
        cut: Where they are.
        transform: Fixed -> moving.
        step_mm: Between two lines of the regular grid.
    """
    points = cut.points()
    moved = (points + transform.displacements(points)).numpy()
    colors = np.repeat(background[..., None] * DIMMED, 3, axis=-1)
    for axis, color in zip((cut.right, cut.down), LINE_COLORS):
        place = (axis @ moved).reshape(cut.rows, cut.columns)
        slope = np.hypot(*np.gradient(place))  # mm per pixel, by which a distance in mm becomes one in pixels
        distance = np.abs(place - np.rint(place / step_mm) * step_mm) / np.maximum(slope, 1e-6)
        opacity = np.clip(LINE_PIXELS / 2 + 0.5 - distance, 0.0, 1.0)[..., None]
        colors = colors * (1 - opacity) + color * opacity
    return _quantized(colors)


def error_overlay(background: np.ndarray, error: np.ndarray, inside: np.ndarray, full_mm: float) -> np.ndarray:
    """The expected error in color over a picture, the more opaque the larger; (rows, columns, 3) uint8.

    Args:
        background: Shades.
        error: mm.
        inside: 1 where the error counts, 0 where it does not.
        full_mm: The error of the last color.
    """
    share = np.clip(error / full_mm, 0.0, 1.0) * inside
    stops = np.linspace(0.0, 1.0, len(ERROR_COLORS))
    color = np.stack([np.interp(share, stops, channel) for channel in ERROR_COLORS.T], axis=-1)
    opacity = (ERROR_OPACITY * np.minimum(1.0, 3 * share))[..., None]
    return _quantized(background[..., None] * (1 - opacity) + color * opacity)


def marked(pixels: np.ndarray) -> np.ndarray:
    """A picture with a mark around its middle that leaves the middle itself free."""
    pixels = np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels.copy()
    rows, columns = pixels.shape[:2]
    middle_row, middle_column = (rows - 1) // 2, (columns - 1) // 2
    gap, arm = rows // 10, rows // 5
    for start, stop in ((gap, arm), (-arm, -gap)):
        pixels[middle_row + start : middle_row + stop, middle_column] = MARK_COLOR
        pixels[middle_row, middle_column + start : middle_column + stop] = MARK_COLOR
    return pixels


def nice(value: float) -> float:
    """1, 2 or 5 times a power of ten, the nearest to a positive value: a length that people can read off."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda choice: abs(math.log(choice / value)))


def _quantized(colors: np.ndarray) -> np.ndarray:
    return (np.rint(np.clip(colors, 0.0, 1.0) * (GRAY_LEVELS - 1)) * (255 / (GRAY_LEVELS - 1))).astype(np.uint8)
