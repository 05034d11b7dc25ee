"""The segments of a segmentation or the labels of a label map, each by its name and with its geometry in the world."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ...errors import InputError
from ...space.volume import Volume
from ..i18n import tr as _
from .parents import worldMatrix
from .volumes import RAS_TO_LPS, ijkToRas, imageArray, matrixToNumpy, squared

__all__ = ["segmentsOf"]


def segmentsOf(node, *, ignoring=None) -> dict[str, Volume]:
    """Every segment or label by its name: uint8, nonzero inside, LPS, each on its own grid, so that they may overlap.

    Segments with equal names get a number appended; labels with equal names are named by their values.

    Args:
        node: Segmentation or label map volume.
        ignoring: As in `volumes.volumeFromNode`.

    Raises:
        InputError: Neither of the two, empty, or under a non-linear transform.
    """
    above = RAS_TO_LPS @ worldMatrix(node, "segmented", ignoring=ignoring)
    if node.IsA("vtkMRMLSegmentationNode"):
        found = _ofSegmentation(node, above)
    elif node.IsA("vtkMRMLLabelMapVolumeNode"):
        found = _ofLabelMap(node, above)
    else:
        raise InputError(
            _("'{name}' is neither a segmentation nor a label map; select one of these.").format(name=node.GetName())
        )
    if not found:
        raise InputError(_("'{name}' has no segment; draw one first.").format(name=node.GetName()))
    return found


def _ofSegmentation(node, above: np.ndarray) -> dict[str, Volume]:
    segmentation = node.GetSegmentation()
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    had = segmentation.ContainsRepresentation(kind)
    if not segmentation.CreateRepresentation(kind):
        raise InputError(
            _("The segmentation '{name}' could not be turned into voxels; draw it again.").format(name=node.GetName())
        )
    found = {}
    try:
        for index in range(segmentation.GetNumberOfSegments()):
            name = segmentation.GetNthSegmentID(index)
            volume = _segment(node, name, above)
            if volume is not None:
                found[_unused(segmentation.GetSegment(name).GetName() or name, found)] = volume
    finally:
        if not had:
            segmentation.RemoveRepresentation(kind)  # leave the segmentation unchanged
    return found


def _segment(node, name: str, above: np.ndarray) -> Volume | None:
    """One segment on its own grid; None if it is empty."""
    image = slicer.vtkOrientedImageData()
    only = vtk.vtkStringArray()
    only.InsertNextValue(name)
    made = node.GenerateMergedLabelmapForAllSegments(
        image, slicer.vtkSegmentation.EXTENT_UNION_OF_EFFECTIVE_SEGMENTS, None, only
    )
    scalars = image.GetPointData().GetScalars() if made else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    first = np.eye(4)
    first[:3, 3] = image.GetExtent()[::2]
    array = (vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]) != 0).view(np.uint8)
    if not array.any():
        return None
    return _thick(array, above @ matrixToNumpy(matrix) @ first)


def _ofLabelMap(node, above: np.ndarray) -> dict[str, Volume]:
    array = imageArray(node, _("The label map '{name}'").format(name=node.GetName()))
    colors = node.GetDisplayNode().GetColorNode() if node.GetDisplayNode() is not None else None
    names = [colors.GetColorName(value) for value in range(colors.GetNumberOfColors())] if colors is not None else []
    found = {}
    for value in np.unique(array):
        if value != 0:
            name = names[int(value)] if 0 < value < len(names) else ""
            # A name shared by several values is ambiguous: it could match another value in the other label map.
            name = name if name and names.count(name) == 1 else _("label {value}").format(value=int(value))
            found[_unused(name, found)] = _thick((array == value).view(np.uint8), above @ ijkToRas(node))
    return found


def _unused(name: str, found: dict) -> str:
    """The name, with the first unused number appended if it is already in use."""
    number, free = 2, name
    while free in found:
        number, free = number + 1, f"{name} ({number})"
    return free


def _thick(array: np.ndarray, matrix: np.ndarray) -> Volume:
    """The bounding box of the mask plus one empty voxel on every side, so that a flat mask is a closed volume."""
    used = [np.flatnonzero(array.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    low = [each[0] for each in used]
    padded = np.pad(array[tuple(slice(each[0], each[-1] + 1) for each in used)], 1)
    shift = np.eye(4)
    shift[:3, 3] = np.array(low[::-1]) - 1
    volume = squared(padded, matrix @ shift, "segmented", labels=True)
    return Volume(volume.array, volume.geometry)
