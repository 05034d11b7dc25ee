"""A transform node with the two scans that were registered: the input of inspection, after a run or a reload."""

from __future__ import annotations

import dataclasses

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ...errors import InputError
from ...quality.organs import sampled
from ...space.geometry import ORTHONORMAL_TOLERANCE, Geometry
from ...space.margin import LPS_TO_RAS, nodeGeometry
from ...space.volume import Volume
from ..i18n import tr as _
from .parents import nonLinearAbove, worldMatrix
from .transforms import fieldOfNode, initialFromNode
from .volumes import RAS_TO_LPS, geometryFromMatrix, imageOfArray, volumeFromNode

__all__ = ["Pair", "changeToken", "fieldInWorld", "pairOf", "stateToken", "warpedOnto"]

LINEAR_VOXELS = 8
"""Number of grid points for a linear transform as a field: two along each axis describe it completely."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A transform with its scans.

    Attributes:
        transformNode: Fixed -> moving (FromParent).
        fixedNode: Scalar volume node.
        movingNode: Scalar volume node; it may be below the transform or not.
    """

    transformNode: object
    fixedNode: object
    movingNode: object

    def fixed(self) -> Volume:
        """The fixed scan in the world, LPS."""
        return volumeFromNode(self.fixedNode, "fixed")

    def moving(self) -> Volume:
        """The moving scan in the world, LPS, without the transform and what is above it."""
        return volumeFromNode(self.movingNode, "moving", ignoring=self.transformNode)


def pairOf(transformNode) -> Pair:
    """The pair, from the node references that a run sets on its transform.

    Raises:
        InputError: No transform, or one of the scans is gone.
    """
    if transformNode is None or transformNode.GetScene() is None:
        raise InputError(_("There is no transform; register two volumes, or select the transform of an earlier run."))
    kind = slicer.vtkMRMLTransformNode
    fixed = transformNode.GetNodeReference(kind.GetFixedNodeReferenceRole())
    moving = transformNode.GetNodeReference(kind.GetMovingNodeReferenceRole())
    for node, role in ((fixed, _("fixed")), (moving, _("moving"))):
        if node is None or node.GetScene() is None:
            raise InputError(
                _("The {role} volume of '{name}' is not in the scene any more; load it, or register again.").format(
                    role=role, name=transformNode.GetName()
                )
            )
    return Pair(transformNode, fixed, moving)


def changeToken(node) -> tuple:
    """A value that changes when a transform's mapping changes; the transforms above it are included."""
    token = []
    while node is not None:
        transform = node.GetTransformFromParent()
        grid = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, False)
        image = grid.GetDisplacementGrid() if grid is not None else None
        token.append(
            (
                node.GetID(),
                transform.GetMTime() if transform is not None else 0,
                image.GetMTime() if image is not None else 0,
            )
        )
        node = node.GetParentTransformNode()
    return tuple(token)


def stateToken(transformNode) -> tuple:
    """A value that changes when a transform's mapping or the voxels of its scans change."""
    token = list(changeToken(transformNode))
    try:
        pair = pairOf(transformNode)
    except InputError:
        return tuple(token)
    for node in (pair.fixedNode, pair.movingNode):
        token.append((node.GetID(), node.GetImageData().GetMTime() if node.GetImageData() is not None else 0))
    return tuple(token)


def fieldInWorld(transformNode, fixed: Geometry) -> tuple[np.ndarray, Geometry]:
    """Any transform as a displacement field.

    Args:
        transformNode: vtkMRMLTransformNode; the transforms above it are included.
        fixed: Geometry of the fixed scan (LPS); a transform that is not a grid is sampled over it.

    Returns:
        (k, j, i, 3) float32 mm, LPS components, fixed -> moving, and its grid (LPS).

    Raises:
        InputError: The transform is not finite somewhere on the fixed scan.
    """
    found = fieldOfNode(transformNode)
    if found is not None:
        own, grid = (found[0] * LPS_TO_RAS.astype(np.float32)).astype(np.float32, copy=False), found[1]
        if transformNode.GetParentTransformNode() is None:
            return own, grid
        moved = _belowLinear(transformNode, own, grid, nodeGeometry(fixed))
        if moved is not None:
            return moved, nodeGeometry(fixed)
    description, field = initialFromNode(transformNode, fixed)
    if field is not None:
        return field, Geometry.from_dict(description["geometry"])
    grid = nodeGeometry(fixed, LINEAR_VOXELS)
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    points = grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    matrix = np.array(description["matrix"])
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    return (moved - points).astype(np.float32).reshape(*grid.shape, 3), grid


def _belowLinear(node, own: np.ndarray, grid: Geometry, wanted: Geometry) -> np.ndarray | None:
    """A field below linear transforms, at its own resolution; None if one of these is not linear or shears.

    Args:
        node: Transform node.
        own: (k, j, i, 3) mm, LPS: its field without its parents.
        grid: Grid of that field, LPS.
        wanted: Grid of the result in the world, LPS.
    """
    if nonLinearAbove(node):
        return None
    toOwn = np.linalg.inv(RAS_TO_LPS @ worldMatrix(node, "transform") @ RAS_TO_LPS)
    there = geometryFromMatrix(toOwn @ wanted.index_to_world, wanted.size)
    if np.abs(there.direction.T @ there.direction - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        return None
    field = sampled(own, grid, there)
    slopes = (toOwn - np.eye(4)) @ wanted.index_to_world
    for axis, count in enumerate(wanted.size):
        shape = [1, 1, 1, 3]
        shape[2 - axis] = count
        field += (np.arange(count)[:, None] * slopes[:3, axis]).reshape(shape).astype(np.float32)
    return field + slopes[:3, 3].astype(np.float32)


def warpedOnto(volume: Volume, transformNode, reference: Geometry, *, labels: bool = False) -> np.ndarray:
    """A moving volume resampled on a grid in the fixed frame, as Slicer's slice views resample it.

    Args:
        volume: In the world before the transform, LPS.
        transformNode: Fixed -> moving; None resamples the volume without a transform.
        reference: Grid of the result, LPS, in the world.
        labels: Nearest neighbor and 0 outside, instead of linear interpolation and the lowest value.

    Returns:
        (k, j, i) on the reference, of the volume's dtype.
    """
    image = imageOfArray(volume.array)
    path = vtk.vtkGeneralTransform()
    path.PostMultiply()
    path.Concatenate(slicer.util.vtkMatrixFromArray(RAS_TO_LPS @ reference.index_to_world))
    if transformNode is not None:
        toMoving = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transformNode, toMoving)
        path.Concatenate(toMoving)
    path.Concatenate(slicer.util.vtkMatrixFromArray(np.linalg.inv(RAS_TO_LPS @ volume.geometry.index_to_world)))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(path)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, reference.size[0] - 1, 0, reference.size[1] - 1, 0, reference.size[2] - 1)
    if labels:
        reslice.SetInterpolationModeToNearestNeighbor()
        reslice.SetBackgroundLevel(0)
    else:
        reslice.SetInterpolationModeToLinear()
        reslice.SetBackgroundLevel(float(volume.array.min()))
    reslice.Update()
    return vtk_to_numpy(reslice.GetOutput().GetPointData().GetScalars()).reshape(reference.shape)
