"""Planar cuts through the fixed scan, and the values of scans on them.

Cuts follow the fixed scan's canonical axes (see `space.grid`), so that a scan stored in any axis order and with any
handedness is shown in the same way, in radiological convention: the patient's right on the left side of axial and
coronal cuts, the front on the left side of sagittal cuts, the head at the top of coronal and sagittal cuts. Pixels are
square in mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..space.field import Transform, apply_matrix, world_to_unit
from ..space.geometry import Geometry
from ..space.grid import canonical_geometry, sample
from ..space.volume import Volume

__all__ = ["ORIENTATIONS", "Cut", "Orientation", "Scan", "crop", "tilt_degrees", "whole"]

MAX_SIDE_PIXELS = 640
MIN_SIDE_PIXELS = 8
MAX_OVERSAMPLING = 4
"""Most samples per pixel and direction if voxels are smaller than pixels; with one, fine texture is aliased."""

OVERSAMPLING_SLACK = 0.25
"""By how much the ratio of pixel to voxel size may exceed the number of samples per direction."""

IDENTITY = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))


@dataclass(frozen=True)
class Orientation:
    """The orientation of a cut.

    Attributes:
        name: "axial", "coronal" or "sagittal".
        across: Canonical axis (0: x to the left, 1: y to the back, 2: z to the head) along the picture's rows, toward
            the picture's right.
        down: Canonical axis along the picture's columns.
        down_sign: 1 if that axis points to the bottom of the picture, -1 if to the top.
        through: Canonical axis perpendicular to the picture.
        letters: Letters of the body's directions at the left, right, top and bottom.
    """

    name: str
    across: int
    down: int
    down_sign: int
    through: int
    letters: tuple[str, str, str, str]


ORIENTATIONS = (
    Orientation("axial", 0, 1, 1, 2, ("R", "L", "A", "P")),
    Orientation("coronal", 0, 2, -1, 1, ("R", "L", "S", "I")),
    Orientation("sagittal", 1, 2, -1, 0, ("A", "P", "S", "I")),
)


@dataclass(frozen=True, eq=False)
class Cut:
    """A rectangle of square pixels in the fixed frame.

    Attributes:
        orientation: Its orientation.
        corner: (3,) LPS mm, center of the pixel at the upper left.
        right: (3,) LPS unit vector along the rows of the picture.
        down: (3,) LPS unit vector along the columns of the picture.
        pixel_mm: Edge length of a pixel.
        rows: Number of pixel rows.
        columns: Number of pixel columns.
        oversampling: Samples per pixel and direction, which are averaged.
    """

    orientation: Orientation
    corner: np.ndarray
    right: np.ndarray
    down: np.ndarray
    pixel_mm: float
    rows: int
    columns: int
    oversampling: int = 1

    @property
    def width_mm(self) -> float:
        """Width of the picture in mm."""
        return self.columns * self.pixel_mm

    def points(self, oversampling: int = 1) -> torch.Tensor:
        """Sample points, (3, rows x columns x oversampling squared) float64, LPS mm, row by row."""

        def steps(count: int) -> np.ndarray:
            return ((np.arange(count * oversampling) + 0.5) / oversampling - 0.5) * self.pixel_mm

        down, right = np.meshgrid(steps(self.rows), steps(self.columns), indexing="ij")
        points = self.corner[:, None] + self.down[:, None] * down.ravel() + self.right[:, None] * right.ravel()
        return torch.from_numpy(points)

    def picture(self, values: np.ndarray, oversampling: int = 1) -> np.ndarray:
        """(rows, columns) from the values at `points`: the mean over each pixel."""
        n = oversampling
        return values.reshape(self.rows, n, self.columns, n).mean(axis=(1, 3))


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume that can be sampled anywhere.

    Attributes:
        tensor: (1, k, j, i) float32.
        geometry: Its grid.
        tone: Ascending values, and the shade of each, 0 (black) to 1 (white).
    """

    tensor: torch.Tensor
    geometry: Geometry
    tone: tuple[np.ndarray, np.ndarray] = IDENTITY

    @classmethod
    def of(cls, volume: Volume, tone: tuple[np.ndarray, np.ndarray] = IDENTITY) -> Scan:
        """Make a scan of a volume; `tone` as in the attributes."""
        array = volume.float32()
        array = array if array.flags.writeable else array.copy()  # torch requires it writable
        return cls(torch.from_numpy(array)[None], volume.geometry, tone)

    def shades(self, cut: Cut, transform: Transform | None = None) -> tuple[np.ndarray, np.ndarray]:
        """This scan's shades on a cut.

        Args:
            cut: A cut in the fixed frame.
            transform: Fixed -> this scan's frame, LPS mm; None if they are the same.

        Returns:
            (rows, columns) float32, 0 (black) to 1 (white), and (rows, columns) bool: where the scan has voxels.
        """
        values, inside = self.values(cut, transform)
        return np.where(inside, np.interp(values, *self.tone), 0.0).astype(np.float32), inside

    def values(self, cut: Cut, transform: Transform | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `shades`, but the values of the scan instead of shades."""
        n = cut.oversampling
        points = cut.points(n)
        if transform is not None:
            points = points + transform.displacements(points)
        values = sample(self.tensor, apply_matrix(world_to_unit(self.geometry), points))[0].numpy()
        inside = self.geometry.contains(points.numpy().T).astype(np.float32)
        return cut.picture(values, n), cut.picture(inside, n) >= 0.5


def whole(geometry: Geometry, orientation: Orientation, point: np.ndarray, pixels: int) -> Cut:
    """The cut through a point that shows the whole extent of a scan.

    Args:
        geometry: Grid of the fixed scan.
        orientation: Orientation of the cut.
        point: (3,) LPS mm.
        pixels: Approximate number of pixels.
    """
    grid = canonical_geometry(geometry)
    extent = grid.extent_mm[[orientation.across, orientation.down]]
    pixel = max(math.sqrt(extent.prod() / pixels), extent.max() / MAX_SIDE_PIXELS)
    columns, rows = np.maximum(np.rint(extent / pixel), MIN_SIDE_PIXELS).astype(int)
    middle = grid.center.copy()
    normal = grid.direction[:, orientation.through]
    middle += normal * (normal @ (np.asarray(point, float) - middle))
    return _around(grid, orientation, middle, pixel, int(rows), int(columns))


def crop(geometry: Geometry, orientation: Orientation, point: np.ndarray, side_mm: float, pixels: int) -> Cut:
    """A square cut with a point at its center.

    Args:
        geometry: Grid of the fixed scan.
        orientation: Orientation of the cut.
        point: (3,) LPS mm.
        side_mm: Edge length of the square.
        pixels: Number of pixels along an edge.
    """
    grid = canonical_geometry(geometry)
    return _around(grid, orientation, np.asarray(point, float), side_mm / pixels, pixels, pixels)


def _around(grid: Geometry, orientation: Orientation, middle: np.ndarray, pixel: float, rows: int, columns: int) -> Cut:
    right = grid.direction[:, orientation.across]
    down = grid.direction[:, orientation.down] * orientation.down_sign
    corner = middle - right * (columns - 1) / 2 * pixel - down * (rows - 1) / 2 * pixel
    finest = min(grid.spacing[orientation.across], grid.spacing[orientation.down])
    oversampling = int(np.clip(math.ceil(pixel / finest - OVERSAMPLING_SLACK), 1, MAX_OVERSAMPLING))
    return Cut(orientation, corner, right, down, float(pixel), rows, columns, oversampling)


def tilt_degrees(geometry: Geometry) -> float:
    """The largest angle between an axis of the scan and the closest axis of the body (LPS), in degrees."""
    cosines = np.clip(np.diag(canonical_geometry(geometry).direction), -1.0, 1.0)
    return float(np.degrees(np.arccos(cosines)).max())
