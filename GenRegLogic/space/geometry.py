"""Where voxels lie in the patient.

These conventions hold everywhere in the engine:

- world coordinates are LPS (left, posterior, superior), in mm, as in ITK and DICOM;
- voxel indices are (i, j, k), counted from zero, and integer indices are voxel *centers*;
- arrays are indexed (k, j, i), as NumPy views of ITK images are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from ..errors import InputError

__all__ = ["DIMENSION", "NOT_PERPENDICULAR", "ORTHONORMAL_TOLERANCE", "Geometry", "check_image_kind"]

DIMENSION = 3

ORTHONORMAL_TOLERANCE = 1e-3
"""Largest entry of |D^T D - I| that is accepted as rounding in a header: an error of 0.06 degrees between two axes."""

FINEST_SHARE, FEWEST_VOXELS = 1 / 64, 8
"""Limits of a working grid: share of the scan's smallest spacing, and voxels along its largest extent."""

NOT_PERPENDICULAR = (
    "The image's axes are not perpendicular unit vectors (a singular, scaled or sheared direction matrix); correct the "
    "header or resample the image onto a regular grid."
)


@dataclass(frozen=True, eq=False, repr=False)
class Geometry:
    """The regular grid on which voxels lie.

    Attributes:
        size: Number of voxels along (i, j, k).
        spacing: Distance between neighboring voxel centers along (i, j, k), mm, positive.
        origin: LPS position, mm, of the center of voxel (0, 0, 0).
        direction: (3, 3) float64; its columns are the LPS unit vectors of the i, j and k axes. Orthonormal; right- or
            left-handed.

    Raises:
        InputError: The size is not three positive numbers, a spacing is not positive, or the axes are not
            perpendicular to one another.

    Example:
        Indices are (i, j, k) and positions LPS mm; arrays have their axes in the opposite order, (k, j, i):

        >>> grid = Geometry(size=(40, 30, 20), spacing=(1, 1, 2.5), origin=(-20, -15, -25))
        >>> grid.shape
        (20, 30, 40)
        >>> grid.to_world((0, 0, 2)).tolist()
        [-20.0, -15.0, -20.0]
        >>> grid.to_index((-20, -15, -20)).tolist()
        [0.0, 0.0, 2.0]
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = None  # identity, made in __post_init__

    def __post_init__(self) -> None:
        direction = np.eye(DIMENSION) if self.direction is None else np.array(self.direction, np.float64)
        if direction.size == DIMENSION**2:
            direction = direction.reshape(DIMENSION, DIMENSION)
        direction.setflags(write=False)
        set_field = object.__setattr__  # the dataclass is frozen; these only bring the fields to their stated types
        set_field(self, "size", tuple(int(n) for n in self.size))
        set_field(self, "spacing", tuple(float(s) for s in self.spacing))
        set_field(self, "origin", tuple(float(x) for x in self.origin))
        set_field(self, "direction", direction)
        self._validate()

    def _validate(self) -> None:
        if len(self.size) != DIMENSION or min(self.size) < 1:
            raise InputError(f"The image size {self.size} is not three positive numbers; GenReg needs a 3D image.")
        if len(self.spacing) != DIMENSION or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(
                f"The voxel spacing {_plain(self.spacing)} mm is not usable; it must be three positive numbers, "
                "so correct the image's header."
            )
        if len(self.origin) != DIMENSION or not np.isfinite(self.origin).all():
            raise InputError(
                f"The image origin {_plain(self.origin)} is not three finite numbers; correct the image's header."
            )
        if self.direction.shape != (DIMENSION, DIMENSION) or not np.isfinite(self.direction).all():
            raise InputError("The image's direction matrix is not 3x3 finite numbers; correct the image's header.")
        if np.abs(self.direction.T @ self.direction - np.eye(DIMENSION)).max() > ORTHONORMAL_TOLERANCE:
            raise InputError(NOT_PERPENDICULAR)

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Geometry:
        """The geometry of a 3D SimpleITK image (scalar or vector).

        Raises:
            InputError: The image is not 3D, or its header breaks a rule of `Geometry`.
        """
        if image.GetDimension() != DIMENSION:
            raise InputError(f"The image has {image.GetDimension()} dimensions; GenReg needs one 3D image.")
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), np.array(image.GetDirection()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (k, j, i) of an array on this grid."""
        return self.size[::-1]

    @cached_property
    def index_to_world(self) -> np.ndarray:
        """(4, 4) float64 from (i, j, k, 1) to LPS mm."""
        matrix = np.eye(DIMENSION + 1)
        matrix[:3, :3] = self.direction * self.spacing
        matrix[:3, 3] = self.origin
        matrix.setflags(write=False)
        return matrix

    @cached_property
    def world_to_index(self) -> np.ndarray:
        """(4, 4) float64 from LPS mm to continuous (i, j, k, 1)."""
        matrix = np.linalg.inv(self.index_to_world)
        matrix.setflags(write=False)
        return matrix

    @property
    def center(self) -> np.ndarray:
        """(3,) LPS mm: the middle of the grid."""
        return self.to_world((np.array(self.size) - 1) / 2.0)

    @property
    def extent_mm(self) -> np.ndarray:
        """(3,) mm: edge lengths along (i, j, k), the outer half voxels included."""
        return np.array(self.size) * self.spacing

    @property
    def voxel_volume(self) -> float:
        """Cubic millimeters per voxel."""
        return float(np.prod(self.spacing))

    @property
    def mean_spacing(self) -> float:
        """Edge, mm, of a cube with a voxel's volume: the geometric mean of the three spacings."""
        return self.voxel_volume ** (1 / 3)

    def to_world(self, indices: np.ndarray) -> np.ndarray:
        """(..., 3) continuous (i, j, k) indices to (..., 3) LPS mm."""
        return np.asarray(indices, np.float64) @ self.index_to_world[:3, :3].T + self.index_to_world[:3, 3]

    def to_index(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) LPS mm to (..., 3) continuous (i, j, k) indices."""
        return np.asarray(points, np.float64) @ self.world_to_index[:3, :3].T + self.world_to_index[:3, 3]

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which of (n, 3) LPS points lie in the image, outer half voxels included; (n,) bool."""
        index = self.to_index(points)
        return ((index >= -0.5) & (index <= np.array(self.size) - 0.5)).all(axis=-1)

    def corners(self) -> np.ndarray:
        """(8, 3) LPS mm: the centers of the outermost voxels."""
        ends = [(0, n - 1) for n in self.size]
        return self.to_world(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, DIMENSION))

    def is_close(self, other: Geometry, tolerance: float = 1e-2) -> bool:
        """Whether both are the same grid, voxel by voxel.

        Args:
            other: The grid to compare with.
            tolerance: Largest distance between corresponding corner voxels, in units of the smallest spacing. The
                default tolerates headers in single precision.
        """
        if self.size != other.size:
            return False
        distance = np.linalg.norm(self.corners() - other.corners(), axis=1).max()
        return bool(distance <= tolerance * min(*self.spacing, *other.spacing))

    def coarsened(self, max_voxels: int) -> Geometry:
        """A coarser grid with the same corner voxels and at most so many voxels.

        Args:
            max_voxels: Largest number of voxels; a grid that has no more is returned itself. Every axis keeps at least
                two voxels.

        Example:
            >>> Geometry((100, 100, 100)).coarsened(1000).size
            (10, 10, 10)
        """
        factor = self.factor_to(max_voxels)
        if factor <= 1:
            return self
        return self.between_corners(tuple(max(2, int(n / factor)) for n in self.size))

    def coarsened_by(self, factor: float) -> Geometry:
        """A coarser grid with the same corner voxels and at most so many times the spacing.

        Args:
            factor: Largest factor on the spacing; for a factor of 1 or less the grid itself is returned.

        Example:
            >>> coarse = Geometry((101, 101, 51)).coarsened_by(4)
            >>> coarse.size, coarse.spacing
            ((26, 26, 14), (4.0, 4.0, 3.8461538461538463))
        """
        if factor <= 1:
            return self
        return self.between_corners(tuple(max(2, int(np.ceil((n - 1) / factor)) + 1) for n in self.size))

    def possible_spacing(self, wanted: float) -> float:
        """The spacing nearest to the wanted one, mm, that a working grid over these voxels can have.

        Args:
            wanted: Positive, mm.

        Returns:
            At least 1/64 of the smallest spacing, so that the number of voxels stays a number, and at most an eighth of
            the largest extent, so that there is something to compare.

        Example:
            >>> Geometry((80, 80, 80)).possible_spacing(1e300)
            10.0
        """
        return float(np.clip(wanted, min(self.spacing) * FINEST_SHARE, max(self.extent_mm) / FEWEST_VOXELS))

    def factor_to(self, max_voxels: int) -> float:
        """The factor on the spacing that gives the grid about this many voxels; below 1 if it has fewer.

        Example:
            >>> Geometry((100, 50, 20)).factor_to(100_000)
            1.0
        """
        return float((np.prod(self.size, dtype=float) / max_voxels) ** (1 / 3))

    def between_corners(self, size: tuple[int, int, int]) -> Geometry:
        """The grid of another size (at least two voxels per axis) with the same corner voxels; itself for its own size.

        Example:
            >>> Geometry((101, 101, 51)).between_corners((21, 21, 51))
            Geometry(21 x 21 x 51 voxels of 5 x 5 x 1 mm)
        """
        if tuple(size) == self.size:
            return self
        spacing = tuple(s * (n - 1) / (m - 1) for s, n, m in zip(self.spacing, self.size, size))
        return Geometry(size, spacing, self.origin, self.direction)

    def to_dict(self) -> dict:
        """Plain numbers for a report: size, spacing_mm, origin_lps_mm, direction (rows of the 3x3 matrix)."""
        return {
            "size": list(self.size),
            "spacing_mm": list(self.spacing),
            "origin_lps_mm": list(self.origin),
            "direction": self.direction.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Geometry:
        """The geometry from the numbers that `to_dict` gives.

        Raises:
            InputError: The numbers break a rule of `Geometry`.
        """
        return cls(values["size"], values["spacing_mm"], values["origin_lps_mm"], np.array(values["direction"]))

    def __repr__(self) -> str:
        """One line: size and spacing along (i, j, k)."""
        size, spacing = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (self.size, self.spacing))
        return f"Geometry({size} voxels of {spacing} mm)"

    def copy_to(self, image: sitk.Image) -> None:
        """Give a SimpleITK image of this size this spacing, origin and direction."""
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction.ravel().tolist())


def check_image_kind(dimension: int, size: Sequence[int], components: int) -> None:
    """Refuse anything but one 3D scalar image; needs the header only, before any voxel is read.

    Args:
        dimension: Number of the image's axes.
        size: Number of voxels along each of them.
        components: Values per voxel.

    Raises:
        InputError: 2D, more than three axes longer than one, or more than one value per voxel.
    """
    if components > 1:
        raise InputError(
            f"The image has {components} values per voxel (a color or vector image); GenReg needs a scalar image."
        )
    if dimension < DIMENSION:
        raise InputError(f"The image is {dimension}D; GenReg needs a 3D scan.")
    if any(n > 1 for n in size[DIMENSION:]):
        raise InputError(
            f"The image is 4D ({size[DIMENSION]} volumes in one file); GenReg registers one 3D volume at a time, "
            "so extract the one you want."
        )


def _plain(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{n:g}" for n in numbers) + ")"
