"""Masks and landmarks for the engine, from label maps, segmentations and markups."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ...errors import InputError
from ...space.volume import Volume
from .parents import worldMatrix
from .volumes import RAS_TO_LPS, ijkToRas, imageArray, matrixToNumpy, squared

__all__ = ["landmarkPairs", "landmarksFromNode", "maskFromNode"]


def maskFromNode(node, role: str, *, ignoring=None, labels: bool = False) -> Volume:
    """A mask in the world, on its own grid (LPS, mm): nonzero where the scan is used.

    Args:
        node: Label map volume or segmentation (its visible segments together).
        role: "fixed", "moving", or another purpose ("region", "rigid"), for messages.
        ignoring: As in `volumes.volumeFromNode`.
        labels: Keep one value for each label or visible segment, instead of 1 for all of them.

    Raises:
        InputError: Not a mask, empty, or under a non-linear transform.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        array, ijkToNode = _segments(node, role)
    elif node.IsA("vtkMRMLScalarVolumeNode"):
        array, ijkToNode = imageArray(node, f"The {role} mask '{node.GetName()}'"), ijkToRas(node)
    else:
        raise InputError(
            f"'{node.GetName()}' is neither a label map nor a segmentation; select one of these as the {role} mask."
        )
    if not array.any():
        raise InputError(f"The {role} mask is empty; draw it again or leave it out.")
    matrix = RAS_TO_LPS @ _above(node, f"{role} mask", ignoring) @ ijkToNode
    volume = squared(array if labels else (array != 0).view(np.uint8), matrix, role, labels=True)
    return Volume(volume.array, volume.geometry)


def landmarksFromNode(node, role: str, *, ignoring=None) -> np.ndarray:
    """(n, 3) LPS mm, in the world: the control points of a markups node that have been placed, in order.

    Raises:
        InputError: Not a markups list, or under a non-linear transform.
    """
    return _landmarks(node, role, _placed(node), ignoring)


def landmarkPairs(fixedNode, movingNode, *, ignoring=None) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks of both scans, matched by their index in the two lists.

    If the lists have the same length, only points that were placed in both are used, so that a point that is missing in
    one list does not shift the pairs after it.

    Args:
        fixedNode: Markups node.
        movingNode: Markups node.
        ignoring: As in `volumes.volumeFromNode`, for the moving landmarks.

    Returns:
        Fixed and moving points, each (n, 3) LPS mm in the world.

    Raises:
        InputError: Not a markups list, or under a non-linear transform.
    """
    placed = [_placed(fixedNode), _placed(movingNode)]
    if fixedNode.GetNumberOfControlPoints() == movingNode.GetNumberOfControlPoints():
        placed = [[index for index in placed[0] if index in placed[1]]] * 2
    return (_landmarks(fixedNode, "fixed", placed[0], None), _landmarks(movingNode, "moving", placed[1], ignoring))


def _placed(node) -> list[int]:
    if not node.IsA("vtkMRMLMarkupsNode"):
        raise InputError(f"'{node.GetName()}' is not a list of landmarks; select a point list.")
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    return [
        index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == defined
    ]


def _landmarks(node, role: str, indices: list[int], ignoring) -> np.ndarray:
    matrix = RAS_TO_LPS @ _above(node, f"{role} landmarks", ignoring)
    points = np.array([node.GetNthControlPointPosition(index) for index in indices], np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _above(node, what: str, ignoring) -> np.ndarray:
    try:
        return worldMatrix(node, what, ignoring=ignoring)
    except InputError:
        verb, them = ("lie", "them") if what.endswith("landmarks") else ("lies", "it")
        raise InputError(
            f"The {what} '{node.GetName()}' {verb} under a non-linear transform; harden it, or take {them} off it."
        ) from None


def _segments(node, role: str) -> tuple[np.ndarray, np.ndarray]:
    """The visible segments merged, (k, j, i), on the segmentation's grid, and (4, 4) from its indices to its own RAS.

    They are not resampled onto the scan's grid: with different transforms above scan and segmentation, Slicer's export
    to a reference volume loses parts of the segments, and an earlier result above the scan would warp them.
    """
    segments = node.GetSegmentation()
    shown = node.GetDisplayNode()
    names = [segments.GetNthSegmentID(index) for index in range(segments.GetNumberOfSegments())]
    visible = vtk.vtkStringArray()
    for name in names:
        if shown is None or shown.GetSegmentVisibility(name):
            visible.InsertNextValue(name)
    if not visible.GetNumberOfValues():
        raise InputError(f"The {role} mask '{node.GetName()}' has no visible segment; show at least one.")
    image = slicer.vtkOrientedImageData()
    labels = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    had = segments.ContainsRepresentation(labels)
    if not (
        segments.CreateRepresentation(labels)
        and node.GenerateMergedLabelmapForAllSegments(
            image, slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS, None, visible
        )
    ):
        raise InputError(
            f"The {role} mask '{node.GetName()}' could not be turned into voxels; draw it again or leave it out."
        )
    if not had:
        segments.RemoveRepresentation(labels)  # leave the segmentation unchanged
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    first = np.eye(4)
    first[:3, 3] = image.GetExtent()[::2]
    scalars = image.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError(f"The {role} mask is empty; draw it again or leave it out.")
    return vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]), matrixToNumpy(matrix) @ first
