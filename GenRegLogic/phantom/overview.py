"""A picture that shows whether two scans are aligned.

Needs matplotlib, but no screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..files.atomic import check_writable, replacing
from ..space.field import AffineTransform, DisplacementField, Transform, sample_transform
from ..space.geometry import Geometry
from ..space.volume import Volume
from ..space.warp import warp_image

__all__ = ["write_overview"]

VIEWS = ("fixed", "moving before", "moving after", "fixed and after", "deformation")
WINDOW_PERCENTILES = (1.0, 99.5)
TILES_ACROSS, GRID_LINES_ACROSS = 9, 26
COLUMN_INCHES, HEADER_INCHES, DPI = 3.2, 0.65, 100
BACKGROUND, TEXT, GRID_COLORS = "#101418", "#e8ecf0", ("#ffb454", "#5cc8ff")


class _Plane(NamedTuple):
    """How a slice is shown of an array (k, j, i) whose axes point to the head, to the back and to the left.

    Radiological convention: the patient's right is on the left of axial and coronal slices, the front is on the left of
    sagittal slices, and the head is at the top of coronal and sagittal slices.
    """

    name: str
    cut_axis: int
    down_axis: int
    across_axis: int

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """The middle slice, rows from top to bottom."""
        middle = volume.take(volume.shape[self.cut_axis] // 2, axis=self.cut_axis)
        return middle[::-1] if self.down_axis == 0 else middle  # k points to the head, the rows of a picture point down

    def aspect(self, geometry: Geometry) -> float:
        """Height of a pixel relative to its width."""
        return geometry.spacing[2 - self.down_axis] / geometry.spacing[2 - self.across_axis]

    def tile(self, geometry: Geometry, edge_mm: float) -> np.ndarray:
        """The mask (bool) of a checkerboard for the slice, with squares of `edge_mm`."""
        rows, columns = (
            (np.arange(geometry.shape[axis]) * geometry.spacing[2 - axis] // edge_mm).astype(int)
            for axis in (self.down_axis, self.across_axis)
        )
        return (rows[:, None] + columns[None, :]) % 2 == 0


PLANES = (_Plane("axial", 0, 1, 2), _Plane("coronal", 1, 0, 2), _Plane("sagittal", 2, 0, 1))


def write_overview(
    fixed: Volume, moving: Volume, transform: Transform, path: str | Path, *, title: str | None = None
) -> None:
    """Write a PNG of the fixed scan, moving before and after, a checkerboard of both, and the deformation grid.

    It shows three planes through the center of the fixed scan, in true proportions. The grid is a regular grid of the
    moving scan, warped onto the fixed scan.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        transform: Fixed -> moving, LPS mm.
        path: A .png file.
        title: A line above the picture.

    Raises:
        InputError: The ending is not .png, or the path cannot be written to.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "picture")
    fixed = _oriented(fixed)
    field = sample_transform(transform, fixed.geometry)
    before = warp_image(moving, AffineTransform.identity(), fixed.geometry)
    after = warp_image(moving, field, fixed.geometry)
    figure = _draw(_shades(fixed.array), _shades(before.array), _shades(after.array), field, title)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, facecolor=BACKGROUND)


def _oriented(volume: Volume) -> Volume:
    """The volume with its axes permuted and flipped so that they point as nearly as possible to left, back and head."""
    return Volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), "LPS"))


def _shades(array: np.ndarray) -> np.ndarray:
    """Intensities between two percentiles as gray values from 0 to 1, float32."""
    low, high = np.percentile(array[::2, ::2, ::2], WINDOW_PERCENTILES)
    return np.clip((array.astype(np.float32) - low) / max(high - low, 1e-12), 0.0, 1.0)


def _draw(fixed: np.ndarray, before: np.ndarray, after: np.ndarray, field: DisplacementField, title: str | None):
    """The figure, with one row per plane and one column per view."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and only pictures need it
    from matplotlib.figure import Figure

    extent = field.geometry.extent_mm
    heights = [extent[2 - plane.down_axis] for plane in PLANES]
    widest = max(extent[2 - plane.across_axis] for plane in PLANES)
    scale = COLUMN_INCHES / widest
    figure = Figure((len(VIEWS) * COLUMN_INCHES, sum(heights) * scale + HEADER_INCHES))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(PLANES), len(VIEWS), height_ratios=heights, squeeze=False)
    top = 1 - HEADER_INCHES / figure.get_figheight()
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top, wspace=0.02, hspace=0.02)
    lines_mm = extent.max() / GRID_LINES_ACROSS
    for row, plane in zip(axes, PLANES):
        slices = [plane.cut(volume) for volume in (fixed, before, after)]
        tile = plane.tile(field.geometry, extent.max() / TILES_ACROSS)
        for axis, image in zip(row, (*slices, np.where(tile, slices[0], slices[2]), 0.45 * slices[0])):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=plane.aspect(field.geometry))
        _draw_grid(row[-1], plane, field, lines_mm)
        row[0].text(0.02, 0.98, plane.name, transform=row[0].transAxes, color=TEXT, va="top", fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, name in zip(axes[0], VIEWS):
        axis.set_title(name, color=TEXT, fontsize=11)
    if title:
        figure.suptitle(title, color=TEXT, fontsize=12, y=1 - 0.1 / figure.get_figheight())
    return figure


def _draw_grid(axis, plane: _Plane, field: DisplacementField, lines_mm: float) -> None:
    """Draw lines of equal coordinates of the moving scan: its regular grid, warped by the deformation."""
    geometry = field.geometry
    for array_axis, color in zip((plane.across_axis, plane.down_axis), GRID_COLORS):
        grid_axis = 2 - array_axis
        along = field.array @ geometry.direction[:, grid_axis].astype(np.float32)
        steps = np.arange(geometry.size[grid_axis], dtype=np.float32) * geometry.spacing[grid_axis]
        place = plane.cut(along + steps.reshape([-1 if n == array_axis else 1 for n in range(3)]))
        first = np.ceil(place.min() / lines_mm) * lines_mm
        levels = np.arange(first, place.max(), lines_mm)
        if len(levels):
            axis.contour(place, levels=levels, colors=color, linewidths=0.7)
