"""Masks and landmarks: label maps, segmentations and markups to what the engine takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import slicer

from ..errors import InputError
from ..volume import Volume
from .parents import worldMatrix
from .volumes import RAS_TO_LPS, ijkToRas, imageArray, squared

__all__ = ["landmarksFromNode", "maskFromNode"]


def maskFromNode(node, scanNode, role: str, *, ignoring=None) -> Volume:
    """A mask in the world: nonzero where the scan counts.

    Args:
        node: Label map volume or segmentation (its visible segments together).
        scanNode: The scan that the mask belongs to; a segmentation is painted onto its grid.
        role: "fixed" or "moving".
        ignoring: As in `volumes.volumeFromNode`.

    Raises:
        InputError: Not a mask, empty, or under a non-linear transform.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        with _segmentsOnGrid(node, scanNode, role) as labelMap:
            array = imageArray(labelMap, f"The {role} mask '{node.GetName()}'").copy()
            return _mask(array, labelMap, scanNode, role, ignoring)
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"'{node.GetName()}' is neither a label map nor a segmentation; select one of these as the "
                         f"{role} mask.")
    array = imageArray(node, f"The {role} mask '{node.GetName()}'")
    return _mask(array, node, node, role, ignoring)


def landmarksFromNode(node, role: str, *, ignoring=None) -> np.ndarray:
    """(n, 3) LPS mm, in the world: a markups node's points that were placed, in order.

    Raises:
        InputError: Not a markups list, or under a non-linear transform.
    """
    if not node.IsA("vtkMRMLMarkupsNode"):
        raise InputError(f"'{node.GetName()}' is not a list of landmarks; select a point list.")
    matrix = RAS_TO_LPS @ _landmarkMatrix(node, role, ignoring)
    points = []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            points.append(node.GetNthControlPointPosition(index))
    return np.array(points, np.float64).reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def _landmarkMatrix(node, role: str, ignoring) -> np.ndarray:
    try:
        return worldMatrix(node, role, ignoring=ignoring)
    except InputError:
        raise InputError(f"The {role} landmarks '{node.GetName()}' lie under a non-linear transform; harden it, or "
                         "take the landmarks off it.") from None


def _mask(array: np.ndarray, placed, above, role: str, ignoring) -> Volume:
    """The array on the grid of the node `placed`, under the transforms above the node `above`."""
    if not array.any():
        raise InputError(f"The {role} mask is empty; draw it again or leave it out.")
    matrix = RAS_TO_LPS @ worldMatrix(above, role, ignoring=ignoring) @ ijkToRas(placed)
    volume = squared((array != 0).astype(np.uint8), matrix, role, labels=True)
    return Volume(volume.array, volume.geometry)


@contextlib.contextmanager
def _segmentsOnGrid(node, scanNode, role: str) -> Iterator:
    """A temporary label map of the visible segments on the scan's own grid, parents of both taken into account."""
    segments = node.GetSegmentation()
    shown = node.GetDisplayNode()
    names = [segments.GetNthSegmentID(index) for index in range(segments.GetNumberOfSegments())]
    visible = [name for name in names if shown is None or shown.GetSegmentVisibility(name)]
    if not visible:
        raise InputError(f"The {role} mask '{node.GetName()}' has no visible segment; show at least one.")
    scene = node.GetScene()
    before = _nodeIDs(scene)
    labelMap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "GenReg mask")
    labelMap.SetHideFromEditors(True)
    labelMap.SetSaveWithScene(False)
    try:
        exported = slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
            node, visible, labelMap, scanNode, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        )
        if not exported:
            raise InputError(f"The {role} mask '{node.GetName()}' could not be painted onto the {role} volume; check "
                             "that it belongs to this scan.")
        yield labelMap
    finally:
        for nodeID in _nodeIDs(scene) - before:              # the label map, and the colors that the export adds to it
            if scene.GetNodeByID(nodeID) is not None:
                scene.RemoveNode(scene.GetNodeByID(nodeID))


def _nodeIDs(scene) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
