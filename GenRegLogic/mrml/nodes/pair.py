"""A transform node and the two scans that it was made of: what inspection starts from, after a run or a reload."""

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
"""Number of voxels of a linear transform written as a field: two along each axis describe it completely."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A transform with its scans.

    Attributes:
        transformNode: Fixed -> moving (FromParent).
        fixedNode: Scalar volume node.
        movingNode: Scalar volume node; it may lie below the transform or not.
    """

    transformNode: object
    fixedNode: object
    movingNode: object

    def fixed(self) -> Volume:
        """The fixed scan where it lies in the world."""
        return volumeFromNode(self.fixedNode, "fixed")

    def moving(self) -> Volume:
        """The moving scan where it lay before the transform."""
        return volumeFromNode(self.movingNode, "moving", ignoring=self.transformNode)


def pairOf(transformNode) -> Pair:
    """The pair, by the references that a run leaves on its transform.

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
    """Something that stays the same as long as a transform's mapping does; transforms above it count too."""
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
    """Stays the same as long as a transform and the voxels of its scans do."""
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
        transformNode: vtkMRMLTransformNode; the transforms above it count.
        fixed: Geometry of the fixed scan; what is no field is sampled over it.

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
    """A field below linear transforms, as fine as it is; None where one of these is not linear or shears.

    Args:
        node: Transform node.
        own: (k, j, i, 3) mm, LPS: its field without its parents.
        grid: Of the field, LPS.
        wanted: Grid in the world, LPS.
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
    """A moving volume on a grid in the fixed frame, by the resampling that Slicer's slice views use.

    Args:
        volume: Where it lay in the world before the transform, LPS.
        transformNode: Fixed -> moving; None leaves the volume where it is.
        reference: LPS, in the world.
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
