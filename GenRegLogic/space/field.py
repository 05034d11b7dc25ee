"""Transforms: where a point of the fixed scan lies in the moving scan.

Every transform of the engine maps *fixed* points to *moving* points, LPS mm, ITK's resampling sense:
``x_moving = x_fixed + u(x_fixed)``. All can be called with (n, 3) points, converted to SimpleITK with ``to_sitk`` and
sampled on a grid with `sample_transform`.

Key names: `AffineTransform`, `DisplacementField`, `CompositeTransform`, `sample_transform`, `compose`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from .geometry import Geometry
from .grid import sample

__all__ = [
    "AffineTransform",
    "CompositeTransform",
    "DisplacementField",
    "ItkTransform",
    "Transform",
    "compose",
    "outside",
    "sample_transform",
]

CHUNK_VOXELS = 2**20
"""Voxels handled at once: large enough that Python's overhead is negligible, small enough to stay below 100 MB."""

FADING_SHARE = 0.2
"""Share of a grid's mean extent over which a field's own deformation fades out beyond the grid: deformations of organs
are smooth over such distances, so close to the grid the nearest displacement says more than the linear part alone."""

ROUNDING_PER_VOXEL = 2.0**-10
"""Displacements in files are multiples of at most this fraction of a voxel: far below any accuracy, and the zeros it
leaves in the last bits make files a third smaller and quicker to write."""


@dataclass(frozen=True, eq=False, repr=False)
class AffineTransform:
    """An affine mapping.

    Attributes:
        matrix: (4, 4) float64 on homogeneous LPS mm, fixed -> moving.

    Raises:
        InputError: The matrix is not 4x4, not finite or not invertible.

    Example:
        A shift by 5 mm to the left (LPS: x grows to the left), and back:

        >>> matrix = np.eye(4)
        >>> matrix[0, 3] = 5
        >>> shift = AffineTransform(matrix)
        >>> shift(np.array([[1.0, 2.0, 3.0]])).tolist()
        [[6.0, 2.0, 3.0]]
        >>> shift.inverse()(np.array([[6.0, 2.0, 3.0]])).tolist()
        [[1.0, 2.0, 3.0]]
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise InputError("The linear transform is not an invertible 4x4 matrix.")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) fixed points to (n, 3) moving points, LPS mm."""
        return as_points(points) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def displacements(self, points: torch.Tensor) -> torch.Tensor:
        """(3, n) points, LPS mm, to (3, n) displacements, mm."""
        return apply_matrix(self.matrix - np.eye(4), points)

    def inverse(self) -> AffineTransform:
        """The mapping from moving to fixed points."""
        return AffineTransform(np.linalg.inv(self.matrix))

    def to_sitk(self) -> sitk.AffineTransform:
        """The same mapping for SimpleITK."""
        transform = sitk.AffineTransform(3)
        transform.SetMatrix(self.matrix[:3, :3].ravel().tolist())
        transform.SetTranslation(self.matrix[:3, 3].tolist())
        return transform

    @classmethod
    def from_sitk(cls, transform: sitk.Transform) -> AffineTransform:
        """From any linear 3D ITK transform: affine, Euler, versor, similarity, translation, …

        Raises:
            InputError: The transform is not linear or not 3D.
        """
        if transform.GetDimension() != 3 or not transform.IsLinear():
            raise InputError(f"The transform ({transform.GetName()}) is not a linear transform of 3D points.")
        origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([transform.TransformPoint(tuple(e)) for e in np.eye(3)], axis=1) - origin[:, None]
        matrix[:3, 3] = origin
        return cls(matrix)

    def __repr__(self) -> str:
        """One line: where the frame's origin goes, mm, and the determinant, by which volumes change."""
        shift = ", ".join(f"{x:.4g}" for x in self.matrix[:3, 3])
        return f"AffineTransform(origin to ({shift}) mm, volume x {np.linalg.det(self.matrix[:3, :3]):.4g})"

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        return f"<code>{self!r}</code>"

    @classmethod
    def identity(cls) -> AffineTransform:
        """The identity: no displacement anywhere."""
        return cls(np.eye(4))


@dataclass(frozen=True, eq=False, repr=False)
class DisplacementField:
    """A displacement for every voxel of a grid, interpolated linearly in between.

    Outside its grid (more than half a voxel beyond the outer voxel centers) the displacement is zero, as in ITK, unless
    there is a linear transform to continue with. Then the mapping is continued from the outer voxel centers on: the
    difference between the nearest displacement and the linear one fades out, and the linear transform remains.

    Attributes:
        array: (k, j, i, 3) float32 mm, the LPS components (x, y, z) of the displacement from fixed to moving.
        geometry: The grid, in the frame of the fixed scan.
        beyond: Fixed -> moving; the linear part of the same mapping, or None.

    Raises:
        InputError: The array does not fit the geometry or is not finite.

    Example:
        Two voxels along i; the second is displaced by 2 mm along x, a point halfway between them by half of that:

        >>> array = np.zeros((2, 2, 2, 3), np.float32)
        >>> array[:, :, 1, 0] = 2
        >>> field = DisplacementField(array, Geometry((2, 2, 2)))
        >>> field(np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 0.0, 0.0], [9.0, 0.0, 0.0]])).tolist()
        [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [3.0, 0.0, 0.0], [9.0, 0.0, 0.0]]
    """

    array: np.ndarray
    geometry: Geometry
    beyond: AffineTransform | None = None

    def __post_init__(self) -> None:
        array = np.ascontiguousarray(self.array, np.float32)
        if array.shape != (*self.geometry.shape, 3):
            raise InputError(f"A displacement field on {self.geometry.shape} voxels cannot have shape {array.shape}.")
        if not np.isfinite(array.sum(dtype=np.float64)):  # one pass, and no mask of the array's size
            raise InputError("The displacement field holds NaN or infinite values.")
        object.__setattr__(self, "array", array if array.flags.writeable else array.copy())  # torch needs it writable

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) fixed points to (n, 3) moving points, LPS mm."""
        points = as_points(points)
        return points + self.displacements(torch.from_numpy(points.T)).numpy().T

    def displacements(self, points: torch.Tensor) -> torch.Tensor:
        """(3, n) points, LPS mm, to (3, n) displacements, mm."""
        coordinates = apply_matrix(world_to_unit(self.geometry), points)
        if self.beyond is not None:
            return self._continued(points, coordinates)
        half_voxel = 1.0 / (torch.tensor(self.geometry.size, dtype=points.dtype) - 1).clamp(min=1).view(3, 1)
        inside = (coordinates.abs() <= 1 + half_voxel).all(dim=0)
        return sample(self.tensor(), coordinates).to(points.dtype) * inside

    def _continued(self, points: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
        """Displacements of a mapping that continues outside the grid."""
        result = sample(self.tensor(), coordinates).to(points.dtype)
        outside_grid = (coordinates.abs() > 1).any(dim=0)
        if outside_grid.any():
            there = points[:, outside_grid]
            edge = apply_matrix(np.linalg.inv(world_to_unit(self.geometry)), coordinates[:, outside_grid].clamp(-1, 1))
            rest = result[:, outside_grid] - self.beyond.displacements(edge)
            fading_mm = FADING_SHARE * float(self.geometry.extent_mm.mean())
            weight = (1 - (there - edge).norm(dim=0) / fading_mm).clamp(min=0)
            result[:, outside_grid] = self.beyond.displacements(there) + weight * rest
        return result

    def tensor(self) -> torch.Tensor:
        """The displacements as a (3, k, j, i) tensor that shares the array's memory."""
        return torch.from_numpy(self.array).permute(3, 0, 1, 2)

    def resampled(self, geometry: Geometry) -> DisplacementField:
        """The same mapping on another grid (fixed frame, LPS), outside this grid too."""
        if geometry.is_close(self.geometry, 1e-6):
            return self
        return replace(sample_transform(self, geometry), beyond=self.beyond)

    def rounded(self) -> DisplacementField:
        """The field with the precision of files: multiples of a power of two below 1/1024 of a voxel (and of 1 mm).

        Files written by `files.write_transform` hold exactly these values, so figures measured on the rounded field
        are those of the file. Rounding twice changes nothing.
        """
        array = np.empty_like(self.array)
        step = rounding_step(self.geometry)
        for k in range(len(array)):
            np.rint(self.array[k] * np.float32(1 / step), out=array[k])
            array[k] *= np.float32(step)
        return DisplacementField(array, self.geometry, self.beyond)

    def __repr__(self) -> str:
        """One line: the grid; no displacement is read."""
        return f"DisplacementField({repr(self.geometry)[9:-1]}, {self.array.dtype} mm, fixed to moving)"

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        return f"<code>{self!r}</code>"

    def to_image(self, pixel_type: int = sitk.sitkVectorFloat32) -> sitk.Image:
        """A SimpleITK vector image of the displacements, mm, LPS."""
        dtype = np.float64 if pixel_type == sitk.sitkVectorFloat64 else np.float32
        image = sitk.GetImageFromArray(self.array.astype(dtype, copy=False), isVector=True)
        self.geometry.copy_to(image)
        return image

    @classmethod
    def from_image(cls, image: sitk.Image) -> DisplacementField:
        """From a 3D SimpleITK image of three components per voxel: mm, LPS.

        Raises:
            InputError: Not 3D, or not three components.
        """
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
            raise InputError("The image is not a displacement field: it needs 3 dimensions and 3 values per voxel.")
        return cls(sitk.GetArrayFromImage(image), Geometry.from_sitk(image))

    def to_sitk(self) -> sitk.DisplacementFieldTransform:
        """The field for SimpleITK, in double precision (24 bytes per voxel); zero outside the grid."""
        return sitk.DisplacementFieldTransform(self.to_image(sitk.sitkVectorFloat64))

    def to_sitk_continued(self) -> sitk.Transform:
        """The mapping for SimpleITK, with the linear part A outside the grid where `beyond` gives one.

        A composite ``x -> A (x + r(x))``: the fields of ITK are zero outside their grid, where A is left.
        """
        if self.beyond is None:
            return self.to_sitk()
        back = self.beyond.inverse().matrix
        rest = np.empty(self.array.shape, np.float64)
        for slab, points in voxel_centers(self.geometry):
            places = points.T.numpy().astype(np.float64)
            moved = places + self.array[slab].reshape(-1, 3)
            rest[slab] = (moved @ back[:3, :3].T + back[:3, 3] - places).reshape(rest[slab].shape)
        image = sitk.GetImageFromArray(rest, isVector=True)
        self.geometry.copy_to(image)
        # ITK applies the transform that was added last first
        return sitk.CompositeTransform([self.beyond.to_sitk(), sitk.DisplacementFieldTransform(image)])


@dataclass(frozen=True, eq=False, repr=False)
class CompositeTransform:
    """Several transforms, applied one after the other.

    Attributes:
        parts: In the order in which they are applied; ITK stores them in the opposite order.

    Example:
        Doubled first, then shifted by 5 mm:

        >>> doubled, shifted = np.diag([2.0, 2.0, 2.0, 1.0]), np.eye(4)
        >>> shifted[0, 3] = 5
        >>> both = CompositeTransform((AffineTransform(doubled), AffineTransform(shifted)))
        >>> both(np.array([[1.0, 2.0, 3.0]])).tolist()
        [[7.0, 4.0, 6.0]]
    """

    parts: tuple[Transform, ...]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) fixed points to (n, 3) moving points, LPS mm."""
        points = as_points(points)
        for part in self.parts:
            points = part(points)
        return points

    def displacements(self, points: torch.Tensor) -> torch.Tensor:
        """(3, n) points, LPS mm, to (3, n) displacements, mm."""
        total = torch.zeros_like(points)  # summed apart from the points: small displacements keep their precision
        for part in self.parts:
            total = total + part.displacements(points + total)
        return total

    def __repr__(self) -> str:
        """One line: the parts, first to last."""
        return f"CompositeTransform({', then '.join(type(part).__name__ for part in self.parts)})"

    def _repr_html_(self) -> str:
        """The same for notebooks."""
        return f"<code>{self!r}</code>"

    def to_sitk(self) -> sitk.CompositeTransform:
        """The same mapping for SimpleITK."""
        transform = sitk.CompositeTransform(3)
        for part in reversed(self.parts):  # ITK applies the transform added last first
            transform.AddTransform(part.to_sitk())
        return transform


@dataclass(frozen=True, eq=False)
class ItkTransform:
    """Any other transform that ITK reads, such as elastix's B-splines: exact, but slow on grids.

    Attributes:
        itk: A 3D SimpleITK transform.
    """

    itk: sitk.Transform

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) fixed points to (n, 3) moving points, LPS mm."""
        moved = [self.itk.TransformPoint(p) for p in as_points(points).tolist()]
        return np.array(moved, np.float64).reshape(-1, 3)

    def displacements(self, points: torch.Tensor) -> torch.Tensor:
        """(3, n) points, LPS mm, to (3, n) displacements, mm."""
        start = points.double()
        return (torch.from_numpy(self(start.T.numpy())).T - start).to(points.dtype)

    def to_sitk(self) -> sitk.Transform:
        """The wrapped transform."""
        return self.itk


Transform = AffineTransform | DisplacementField | CompositeTransform | ItkTransform


def from_sitk(transform: sitk.Transform) -> Transform:
    """The engine's own transform for any 3D ITK transform, fixed -> moving; nothing is resampled.

    Raises:
        InputError: The transform is not 3D.
    """
    if transform.GetDimension() != 3:
        raise InputError(f"The transform is {transform.GetDimension()}D; GenReg needs a transform of 3D points.")
    transform = transform.Downcast()
    if isinstance(transform, sitk.CompositeTransform):
        count = transform.GetNumberOfTransforms()
        parts = tuple(from_sitk(transform.GetNthTransform(n)) for n in reversed(range(count)))
        return parts[0] if count == 1 else CompositeTransform(parts)
    if isinstance(transform, sitk.DisplacementFieldTransform):
        return DisplacementField.from_image(transform.GetDisplacementField())
    return AffineTransform.from_sitk(transform) if transform.IsLinear() else ItkTransform(transform)


def outside(transform: Transform, points: np.ndarray) -> np.ndarray:
    """Which points a transform maps outside the grid of a displacement field, where the mapping is extrapolated.

    Args:
        transform: Fixed -> moving.
        points: (n, 3) LPS mm.

    Returns:
        (n,) bool.

    Example:
        >>> field = DisplacementField(np.zeros((2, 2, 2, 3)), Geometry((2, 2, 2)))
        >>> outside(field, np.array([[0.5, 0.5, 0.5], [9.0, 0.0, 0.0]])).tolist()
        [False, True]
    """
    points = as_points(points)
    if isinstance(transform, DisplacementField):
        return ~transform.geometry.contains(points)
    found = np.zeros(len(points), bool)
    for part in getattr(transform, "parts", ()):
        found |= outside(part, points)
        points = part(points)
    return found


def sample_transform(transform: Transform, geometry: Geometry) -> DisplacementField:
    """The displacement of any transform at every voxel center of a grid.

    Args:
        transform: Fixed -> moving.
        geometry: The grid, in the fixed frame.

    Returns:
        The field on that grid, float32 mm, LPS components.

    Example:
        Distances along x doubled: the displacement of a point is its own x.

        >>> doubled = AffineTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
        >>> sample_transform(doubled, Geometry((3, 2, 2))).array[0, 0].tolist()
        [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    """
    array = np.empty((*geometry.shape, 3), np.float32)
    for slab, points in voxel_centers(geometry):
        array[slab] = as_slab(transform.displacements(points), geometry)
    return DisplacementField(array, geometry)


def compose(first: Transform, second: Transform, *, geometry: Geometry) -> DisplacementField:
    """``x -> second(first(x))`` as one field.

    Args:
        first: Applied first; fixed frame -> intermediate frame.
        second: Applied to the result; intermediate frame -> moving frame.
        geometry: Grid of the result, in the fixed frame.

    Returns:
        The field on that grid, fixed -> moving, float32 mm, LPS components.

    Example:
        Distances along x doubled, then a shift by 5 mm along x; the displacements along x of three voxels:

        >>> shift = np.eye(4)
        >>> shift[0, 3] = 5
        >>> doubled = AffineTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
        >>> both = compose(doubled, AffineTransform(shift), geometry=Geometry((3, 2, 2)))
        >>> both.array[0, 0, :, 0].tolist()
        [5.0, 6.0, 7.0]
    """
    return sample_transform(CompositeTransform((first, second)), geometry)


def as_points(points: np.ndarray) -> np.ndarray:
    """Points as (n, 3) float64, mm; one point (3,) becomes (1, 3).

    Raises:
        InputError: Any other shape.
    """
    points = np.atleast_2d(np.asarray(points, np.float64))
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"Points must be an (n, 3) array of x, y, z in mm, not of shape {points.shape}.")
    return points


def rounding_step(geometry: Geometry) -> float:
    """Power of two, mm, to which displacements are rounded in files: 2**-10 for voxels of 1 mm and more, else finer."""
    return 2.0 ** np.floor(np.log2(min(1.0, *geometry.spacing))) * ROUNDING_PER_VOXEL


def voxel_centers(geometry: Geometry) -> Iterator[tuple[slice, torch.Tensor]]:
    """Slabs of a grid along k, and the LPS positions of their voxel centers, (3, n) float32 mm, i fastest."""
    n_k, n_j, n_i = geometry.shape
    matrix = torch.from_numpy(geometry.index_to_world.copy())
    step_i, step_j, step_k, origin = (matrix[:3, column].view(3, 1, 1, 1) for column in range(4))
    plane = (step_j * torch.arange(n_j).view(-1, 1) + step_i * torch.arange(n_i) + origin).float()
    step = max(1, CHUNK_VOXELS // (n_j * n_i))
    for start in range(0, n_k, step):
        stop = min(start + step, n_k)
        offset = (step_k * torch.arange(start, stop).view(-1, 1, 1)).float()
        yield slice(start, stop), (offset + plane).view(3, -1)


def as_slab(vectors: torch.Tensor, geometry: Geometry) -> np.ndarray:
    """The (3, n) vectors at a slab of `voxel_centers` as a (k, j, i, 3) view."""
    return vectors.reshape(3, -1, *geometry.shape[1:]).permute(1, 2, 3, 0).numpy()


def apply_matrix(matrix: np.ndarray, points: torch.Tensor) -> torch.Tensor:
    """(3, n) points mapped by a (4, 4) matrix, in the points' precision."""
    linear, shift = (torch.tensor(part, dtype=points.dtype) for part in (matrix[:3, :3], matrix[:3, 3:]))
    return torch.addmm(shift, linear, points)


def world_to_unit(geometry: Geometry) -> np.ndarray:
    """(4, 4) from LPS mm to unit coordinates: -1 and 1 are the outer voxel centers along (i, j, k)."""
    matrix = np.eye(4)
    np.fill_diagonal(matrix[:3, :3], 2.0 / np.maximum(np.array(geometry.size) - 1, 1))
    matrix[:3, 3] = -1.0
    return matrix @ geometry.world_to_index
