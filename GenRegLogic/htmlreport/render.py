"""Pixels of the pictures: scans in gray, two in color, checkerboards, deformation grids and the expected error."""

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
    "quantized",
    "tone",
]

WINDOW_PERCENTILES = (1.0, 99.7)
"""Percentiles of the values that become black and white."""

TONE_STEPS = 256
MAX_TONE_SAMPLES = 96
"""Samples per axis, about, from which the tone is computed."""

MIN_INNER_SHARE = 0.05
"""Least share of values above the smallest one for which the smallest one is taken for padding."""

BACKGROUND_SHARE = 0.05
"""Share of the range of values that counts as air or background, whose ranks are not used."""

GRAY_LEVELS, FUSION_LEVELS = 64, 32
"""More levels cannot be distinguished on paper, and would double the size of the file."""

DIMMED = 0.55
"""Brightness of the scan behind the lines of a deformation grid."""

LINE_PIXELS = 1.1
LINE_COLORS = np.array([[255, 176, 60], [80, 200, 255]], np.float32) / 255
"""Colors of the two families of lines; distinguishable with every kind of color vision."""

ERROR_COLORS = np.array([[70, 20, 110], [170, 45, 110], [235, 95, 65], [252, 170, 50], [250, 245, 150]]) / 255
"""From a small expected error to the largest; a larger error is lighter, so that the order is also visible in gray."""

ERROR_OPACITY = 0.75
"""Opacity of the expected error from a third of the full scale on."""

MARK_COLOR = np.array([255, 225, 80], np.uint8)


def tone(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The mapping of values to shades, for any modality.

    A shade is the mean of two numbers: the value's position between the scan's robust extremes, and its rank among the
    values of the body. Soft tissue in CT thus has contrast although air and bone are shown too, and two scans of
    different contrast have about the same brightness.

    Args:
        volume: The scan.

    Returns:
        Ascending values, and the shade of each, 0 (black) to 1 (white).
    """
    steps = tuple(slice(None, None, max(1, n // MAX_TONE_SAMPLES)) for n in volume.array.shape)
    values = volume.array[steps].astype(np.float32).ravel()
    inner = values[values > values.min()]  # padding has the smallest value
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
    """Shades, (rows, columns) from 0 to 1, as (rows, columns) uint8."""
    return (np.rint(shades * (GRAY_LEVELS - 1)) * (255 / (GRAY_LEVELS - 1))).astype(np.uint8)


def fusion(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Overlay of two scans: fixed in green, moving in magenta, gray where both are equally bright.

    Args:
        fixed: (rows, columns) shades.
        moving: (rows, columns) shades.

    Returns:
        (rows, columns, 3) uint8.
    """
    scale = 255 / (FUSION_LEVELS - 1)
    green, magenta = ((np.rint(s * (FUSION_LEVELS - 1)) * scale).astype(np.uint8) for s in (fixed, moving))
    return np.stack([magenta, green, magenta], axis=-1)


def checkerboard(fixed: np.ndarray, moving: np.ndarray, tile_pixels: float) -> np.ndarray:
    """Checkerboard of two scans.

    Args:
        fixed: (rows, columns) shades.
        moving: (rows, columns) shades.
        tile_pixels: Edge length of a checkerboard square in pixels.

    Returns:
        (rows, columns) shades.
    """
    rows, columns = (np.floor(np.arange(n) / tile_pixels).astype(int) for n in fixed.shape)
    return np.where((rows[:, None] + columns[None, :]) % 2 == 0, fixed, moving)


def grid_lines(background: np.ndarray, cut: Cut, transform: Transform, step_mm: float) -> np.ndarray:
    """Draw a regular grid of the moving scan, deformed by the transform, over a dimmed picture.

    Args:
        background: (rows, columns) shades.
        cut: The cut on which they lie.
        transform: Fixed -> moving, LPS mm.
        step_mm: Spacing of the lines of the regular grid.

    Returns:
        (rows, columns, 3) uint8.
    """
    points = cut.points()
    moved = (points + transform.displacements(points)).numpy()
    colors = np.repeat(background[..., None] * DIMMED, 3, axis=-1)
    for axis, color in zip((cut.right, cut.down), LINE_COLORS):
        place = (axis @ moved).reshape(cut.rows, cut.columns)
        slope = np.hypot(*np.gradient(place))  # mm per pixel, to convert distances from mm to pixels
        distance = np.abs(place - np.rint(place / step_mm) * step_mm) / np.maximum(slope, 1e-6)
        opacity = np.clip(LINE_PIXELS / 2 + 0.5 - distance, 0.0, 1.0)[..., None]
        colors = colors * (1 - opacity) + color * opacity
    return quantized(colors)


def error_overlay(background: np.ndarray, error: np.ndarray, inside: np.ndarray, full_mm: float) -> np.ndarray:
    """Overlay the expected error in color; a larger error is more opaque.

    Args:
        background: (rows, columns) shades.
        error: (rows, columns) expected error, mm.
        inside: (rows, columns), 1 where the error is shown, 0 elsewhere.
        full_mm: Error of the last color.

    Returns:
        (rows, columns, 3) uint8.
    """
    share = np.clip(error / full_mm, 0.0, 1.0) * inside
    stops = np.linspace(0.0, 1.0, len(ERROR_COLORS))
    color = np.stack([np.interp(share, stops, channel) for channel in ERROR_COLORS.T], axis=-1)
    opacity = (ERROR_OPACITY * np.minimum(1.0, 3 * share))[..., None]
    return quantized(background[..., None] * (1 - opacity) + color * opacity)


def marked(pixels: np.ndarray) -> np.ndarray:
    """Add a mark around the center of a picture that does not cover the center itself.

    Args:
        pixels: (rows, columns) or (rows, columns, 3) uint8.

    Returns:
        (rows, columns, 3) uint8.
    """
    pixels = np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels.copy()
    rows, columns = pixels.shape[:2]
    middle_row, middle_column = (rows - 1) // 2, (columns - 1) // 2
    gap, arm = rows // 10, rows // 5
    for start, stop in ((gap, arm), (-arm, -gap)):
        pixels[middle_row + start : middle_row + stop, middle_column] = MARK_COLOR
        pixels[middle_row, middle_column + start : middle_column + stop] = MARK_COLOR
    return pixels


def nice(value: float) -> float:
    """The closest round number to a positive value: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((factor * power for factor in (1, 2, 5, 10)), key=lambda choice: abs(math.log(choice / value)))


def quantized(colors: np.ndarray) -> np.ndarray:
    """Colors, (rows, columns, 3) from 0 to 1, as uint8 with no more levels than paper shows."""
    return (np.rint(np.clip(colors, 0.0, 1.0) * (GRAY_LEVELS - 1)) * (255 / (GRAY_LEVELS - 1))).astype(np.uint8)
