"""Scalar volume nodes to arrays with a geometry in the patient, and back."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ...errors import InputError
from ...space.geometry import ORTHONORMAL_TOLERANCE, Geometry
from ...space.volume import Volume
from .parents import worldMatrix

__all__ = [
    "geometryFromMatrix",
    "ijkToRas",
    "imageOfArray",
    "matrixToNumpy",
    "nodeArray",
    "setVolume",
    "squared",
    "volumeFromNode",
]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

FLAT = 1e-3
"""Volume spanned by a grid's unit axes below which they lie in one plane."""


def volumeFromNode(node, role: str, *, ignoring=None) -> Volume:
    """The node's voxels with their geometry in the world (LPS, mm), linear parents included.

    Args:
        node: vtkMRMLScalarVolumeNode with voxels.
        role: "fixed" or "moving", for messages.
        ignoring: A transform node above the scan that is left out together with all transforms above it, because the
            result will replace it.

    Returns:
        A volume whose array is a view of the node's own voxels, or, under a transform that shears, a resampled copy
        with a warning.

    Raises:
        InputError: The node has no scalar voxels, or a non-linear transform is above it.
    """
    array = nodeArray(node, role)
    matrix = RAS_TO_LPS @ worldMatrix(node, role, ignoring=ignoring) @ ijkToRas(node)
    return squared(array, matrix, role)


def nodeArray(node, role: str) -> np.ndarray:
    """(k, j, i) view of a scalar volume node's voxels.

    Raises:
        InputError: The node is None, a label map or another kind of node, or has no voxels or several values per voxel.
    """
    if node is None:
        raise InputError(f"There is no {role} volume; select one.")
    name = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"'{name}' is a label map; select the scan itself as the {role} volume.")
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLTensorVolumeNode"):
        raise InputError(f"'{name}' is not a scalar volume; select a CT, MR or ultrasound volume as the {role} one.")
    return imageArray(node, f"The {role} volume '{name}'")


def imageArray(node, what: str) -> np.ndarray:
    """(k, j, i) view of any one-component volume node's voxels.

    Raises:
        InputError: No voxels, or more than one value per voxel.
    """
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError(f"{what} holds no voxels; load it again or select another one.")
    if scalars.GetNumberOfComponents() != 1:
        raise InputError(
            f"{what} has {scalars.GetNumberOfComponents()} values per voxel (a color or vector image); "
            "GenReg needs a scalar one."
        )
    return vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])


def ijkToRas(node) -> np.ndarray:
    """(4, 4) from voxel indices (i, j, k) to the node's own RAS, without its parents."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrixToNumpy(matrix)


def matrixToNumpy(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """(4, 4) float64 of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def geometryFromMatrix(matrix: np.ndarray, size: tuple[int, int, int]) -> Geometry:
    """The geometry (LPS, mm) of a matrix from voxel indices to LPS mm.

    Args:
        matrix: (4, 4).
        size: (i, j, k) voxels.

    Raises:
        InputError: The matrix shears, flattens space, or is not finite.
    """
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (np.isfinite(matrix).all() and spacing.min() > 0) or abs(np.linalg.det(matrix[:3, :3] / spacing)) < FLAT:
        raise InputError(
            "A volume's position matrix, or a transform above it, flattens space or is not finite; correct it."
        )
    return Geometry(size, tuple(spacing), tuple(matrix[:3, 3]), matrix[:3, :3] / spacing)


def squared(array: np.ndarray, matrix: np.ndarray, role: str, *, labels: bool = False) -> Volume:
    """A volume on perpendicular axes: unchanged, or resampled if a parent transform shears it.

    Args:
        array: (k, j, i).
        matrix: (4, 4) voxel indices to LPS mm.
        role: "fixed" or "moving", for the warning.
        labels: Nearest neighbor instead of linear interpolation.

    Raises:
        InputError: The matrix flattens space, or is not finite.
    """
    size = array.shape[::-1]
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all():
        return Volume(array, geometryFromMatrix(matrix, size))  # raises
    axes = matrix[:3, :3] / np.where(spacing > 0, spacing, 1)
    if np.abs(axes.T @ axes - np.eye(3)).max() <= ORTHONORMAL_TOLERANCE or abs(np.linalg.det(axes)) < FLAT:
        return Volume(array, geometryFromMatrix(matrix, size))
    grid = _gridAround(matrix, size)
    source = sitk.GetImageFromArray(array)
    toIndex = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(toIndex[:3, :3].ravel().tolist())
    transform.SetTranslation(toIndex[:3, 3].tolist())
    interpolator = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    image = sitk.Resample(
        source,
        grid.size,
        transform,
        interpolator,
        grid.origin,
        grid.spacing,
        grid.direction.ravel().tolist(),
        0.0 if labels else float(array.min()),
    )
    sentence = f"The {role} volume lies under a transform that shears it, so it was resampled."
    return Volume(sitk.GetArrayFromImage(image), grid, (sentence,))


def _gridAround(matrix: np.ndarray, size: tuple[int, int, int]) -> Geometry:
    """The grid with the perpendicular axes nearest to the sheared ones and the same spacing that covers the volume."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    direction = left @ right
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(3, -1)
    corners = direction.T @ (matrix[:3, :3] @ ends + matrix[:3, 3:])
    low, high = corners.min(axis=1), corners.max(axis=1)
    count = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    return Geometry(tuple(count), tuple(spacing), tuple(direction @ low), direction)


def setVolume(node, array: np.ndarray, geometry: Geometry) -> None:
    """Set the voxels of a volume node and their geometry in the world, and remove its parent transform.

    Args:
        node: vtkMRMLScalarVolumeNode or a subclass.
        array: (k, j, i); shared with the node, not copied.
        geometry: LPS, mm.
    """
    matrix = RAS_TO_LPS @ geometry.index_to_world
    with slicer.util.NodeModify(node):
        node.SetAndObserveTransformNodeID(None)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveImageData(imageOfArray(array))


def imageOfArray(array: np.ndarray) -> vtk.vtkImageData:
    """(k, j, i) voxels as a VTK image with origin 0 and spacing 1; shared with the image, not copied."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).reshape(-1)))
    return image
