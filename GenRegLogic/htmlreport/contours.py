"""Edges of one scan as lines over the other, for scans of different contrast.

Where two scans show the same tissue with different brightness, a blend of both is colored however well they are
aligned. Their edges are at the same places nevertheless, so that lines can be compared with what lies under them.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..space.field import Transform
from ..space.geometry import Geometry
from .cuts import Cut
from .render import quantized

__all__ = ["LINE_COLOR", "edges", "lines_over", "structure", "widths"]

LEAST_WIDTH = 2.4
"""Standard deviation in pixels, at least, of the Gaussian before edges are found: finer ones cannot be told apart on
the page, and it averages the speckle of ultrasound."""

WIDTH_OF_A_VOXEL = 0.8
"""The same in voxels: values between voxels are interpolated, and have an edge at each voxel with less smoothing."""

BRIGHT = 0.04
"""Shade above which a pixel is not air."""

STRONG_PERCENTILE = 80.0
"""Percentile of the gradients in the body from which an edge is drawn."""

WEAK_SHARE = 0.45
"""Share of that gradient down to which an edge continues."""

LEAST_GRADIENT, LEAST_SHARE = 0.01, 0.25
"""Of an edge that is drawn: shades per pixel, and the share of the strongest ones; what is fainter is noise."""

STRONGEST_PERCENTILE = 99.5

SHORTEST = 12
"""Pixels of the shortest line."""

SIDE_SHARE = 0.2
"""Opacity of the pixels beside a line, which makes it smooth."""

BEHIND = 0.85
"""Brightness of the scan behind the lines."""

LINE_COLOR = np.array([255, 140, 30], np.float32) / 255


def widths(cut: Cut, geometry: Geometry, transform: Transform | None = None) -> tuple[float, float]:
    """How strongly a scan is smoothed before its edges are found.

    Args:
        cut: A cut in the fixed frame.
        geometry: Grid of the scan.
        transform: Fixed -> the scan's frame, LPS mm; None if they are the same.

    Returns:
        Standard deviations along the columns and the rows of the picture, pixels.
    """
    found = []
    for axis, count in ((cut.right, cut.columns), (cut.down, cut.rows)):
        middle = cut.corner + (cut.right * (cut.columns - 1) + cut.down * (cut.rows - 1)) * cut.pixel_mm / 2
        reach = axis * count * cut.pixel_mm / 2
        ends = np.stack([middle - reach, middle + reach])
        voxels = np.ptp(geometry.to_index(ends if transform is None else transform(ends)), axis=0)
        voxels_per_pixel = float(np.linalg.norm(voxels)) / count
        found.append(max(LEAST_WIDTH, WIDTH_OF_A_VOXEL / max(voxels_per_pixel, 1e-6)))
    return found[0], found[1]


def edges(shades: np.ndarray, inside: np.ndarray, width: tuple[float, float]) -> np.ndarray:
    """The edges of a picture: thin lines where the shades change most, by the method of Canny (IEEE PAMI 1986).

    Args:
        shades: (rows, columns), 0 to 1.
        inside: (rows, columns) bool: where the scan has voxels. Its border is no edge.
        width: As `widths` returns it.

    Returns:
        (rows, columns) bool.
    """
    image = _image(shades)
    gradient = _gradient(image, width)
    seen = _eroded(inside, width)
    strong = gradient[seen & (shades > BRIGHT)]
    if not strong.size:
        return np.zeros(shades.shape, bool)
    strong, strongest = np.percentile(strong, (STRONG_PERCENTILE, STRONGEST_PERCENTILE))
    least = max(float(strong), LEAST_SHARE * float(strongest), LEAST_GRADIENT)
    found = sitk.CannyEdgeDetection(
        image,
        lowerThreshold=WEAK_SHARE * least,
        upperThreshold=least,
        variance=[float(w) ** 2 for w in width],
        maximumError=[0.01, 0.01],
    )
    found = sitk.GetImageFromArray((sitk.GetArrayFromImage(found) > 0).astype(np.uint8) * seen)
    lines = sitk.RelabelComponent(sitk.ConnectedComponent(found, True), SHORTEST)
    return sitk.GetArrayFromImage(lines) > 0


def structure(shades: np.ndarray, inside: np.ndarray, width: tuple[float, float]) -> float:
    """How much a picture shows, noise aside: the mean gradient of the smoothed shades, per pixel.

    The arguments are those of `edges`.
    """
    return float((_gradient(_image(shades), width) * _eroded(inside, width)).mean())


def lines_over(background: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Draw lines over a picture.

    Args:
        background: (rows, columns) shades.
        lines: (rows, columns) bool.

    Returns:
        (rows, columns, 3) uint8.
    """
    padded = np.pad(lines, 1)
    beside = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    opacity = np.where(lines, 1.0, np.where(beside, SIDE_SHARE, 0.0))[..., None]
    return quantized(BEHIND * background[..., None] * (1 - opacity) + LINE_COLOR * opacity)


def _image(shades: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(shades, np.float32))


def _gradient(image: sitk.Image, width: tuple[float, float]) -> np.ndarray:
    smooth = sitk.DiscreteGaussian(image, variance=[float(w) ** 2 for w in width], maximumKernelWidth=257)
    return sitk.GetArrayFromImage(sitk.GradientMagnitude(smooth))


def _eroded(inside: np.ndarray, width: tuple[float, float]) -> np.ndarray:
    """Without what lies so close to the border of the voxels that smoothing mixes it with what is outside."""
    if inside.all():
        return inside
    radius = [round(2 * w) for w in width]
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    return sitk.GetArrayFromImage(sitk.BinaryErode(mask, radius, sitk.sitkBox, 0.0, 1.0)) > 0
