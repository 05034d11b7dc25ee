"""What the slice views show: remembered and put back, layers, the deformation grid, a checkerboard."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..volume import Geometry
from .volumes import setVolume

__all__ = ["SliceViewState", "checkerboardVolume", "hideGrid", "showAlike", "showGrid", "showLayers"]

GRID_LINES = 24
"""Of the deformation grid along the fixed scan's longest edge."""


class SliceViewState:
    """Every slice view's layers, position and zoom as they are now."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._layers = {node.GetID(): _layersOf(node) for node in _nodes(scene, "vtkMRMLSliceCompositeNode")}
        self._slices = {node.GetID(): _sliceOf(node) for node in _nodes(scene, "vtkMRMLSliceNode")}

    def restore(self) -> None:
        """Put everything back; views and volumes that are gone are passed over."""
        for nodeID, values in self._layers.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is not None:
                _setLayers(self._scene, node, values)
        for nodeID, (matrix, fieldOfView, origin) in self._slices.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is None:
                continue
            with slicer.util.NodeModify(node):
                node.GetSliceToRAS().DeepCopy(matrix)
                node.SetFieldOfView(*fieldOfView)
                node.SetXYZOrigin(*origin)
                node.UpdateMatrices()


def showLayers(scene, background, foreground=None, opacity: float = 0.5) -> None:
    """Show a volume node, and another one over it, in every slice view."""
    for node in _nodes(scene, "vtkMRMLSliceCompositeNode"):
        with slicer.util.NodeModify(node):
            node.SetBackgroundVolumeID(background.GetID() if background is not None else None)
            node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            node.SetForegroundOpacity(opacity)


def showAlike(display, other) -> None:
    """Give a scalar volume's display node the window, thresholds and colors of another volume's.

    `CopyContent` would also have it show the other volume's voxels.
    """
    with slicer.util.NodeModify(display):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(other.GetWindow(), other.GetLevel())
        display.SetAutoThreshold(False)
        display.SetThreshold(other.GetLowerThreshold(), other.GetUpperThreshold())
        display.SetApplyThreshold(other.GetApplyThreshold())
        display.SetInterpolate(other.GetInterpolate())
        display.SetInvertDisplayScalarRange(other.GetInvertDisplayScalarRange())
        display.SetAndObserveColorNodeID(other.GetColorNodeID())


def showGrid(transformNode, fixedNode) -> None:
    """Draw a transform's deformation grid over the fixed scan in the slice views."""
    transformNode.CreateDefaultDisplayNodes()
    display = transformNode.GetDisplayNode()
    bounds = np.zeros(6)
    fixedNode.GetRASBounds(bounds)
    edge = float((bounds[1::2] - bounds[::2]).max())
    with slicer.util.NodeModify(display):
        display.SetVisualizationMode(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GRID)
        display.SetGridSpacingMm(edge / GRID_LINES)
        display.SetGridResolutionMm(edge / GRID_LINES / 4)
        display.SetAndObserveRegionNode(fixedNode)
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        display.SetVisibility3D(False)


def hideGrid(transformNode) -> None:
    """Take the deformation grid away."""
    display = transformNode.GetDisplayNode()
    if display is not None:
        display.SetVisibility(False)
        display.SetVisibility2D(False)


def gridShown(transformNode) -> bool:
    """Whether the deformation grid is drawn."""
    display = transformNode.GetDisplayNode()
    return display is not None and bool(display.GetVisibility()) and bool(display.GetVisibility2D())


def checkerboardVolume(scene, fixedNode, movingNode, fixed: np.ndarray, warped: np.ndarray, geometry: Geometry,
                       squares: int = 8):
    """A volume of fields that show the fixed and the warped moving scan in turn, each in its own window.

    Args:
        scene: Where the node is added; it is hidden and is not saved with the scene.
        fixedNode: For its window and level.
        movingNode: For its window and level.
        fixed: (k, j, i) on the geometry.
        warped: (k, j, i) on the geometry.
        geometry: LPS.
        squares: Along the longest edge.

    Returns:
        vtkMRMLScalarVolumeNode, 0 to 255.
    """
    edge = float(geometry.extent_mm.max()) / squares
    fields = [np.floor(np.arange(n) * s / edge).astype(int) for n, s in zip(geometry.size, geometry.spacing)]
    odd = (fields[1][:, None] + fields[0][None, :]) % 2 == 1
    windows = [_window(array, node) for array, node in ((fixed, fixedNode), (warped, movingNode))]
    array = np.empty(geometry.shape, np.uint8)
    for k, number in enumerate(fields[2]):               # slice by slice: the whole volumes as real numbers are huge
        fromWarped = odd if number % 2 == 0 else ~odd
        array[k] = np.where(fromWarped, _windowed(warped[k], *windows[1]), _windowed(fixed[k], *windows[0]))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "GenReg checkerboard")
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    setVolume(node, array, geometry)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is not None:
        display.SetSaveWithScene(False)
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 255)
    return node


def _window(array: np.ndarray, node) -> tuple[float, float]:
    """Lowest and highest value of the node's display window, or of the voxels where there is none."""
    display = node.GetDisplayNode()
    low, high = (display.GetWindowLevelMin(), display.GetWindowLevelMax()) if display is not None else (0.0, 0.0)
    return (low, high) if high > low else tuple(np.percentile(array[::4, ::4, ::4], (0.5, 99.5)))


def _windowed(array: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values to 0 to 255."""
    return np.clip((array - np.float32(low)) * np.float32(255 / max(high - low, 1e-6)), 0, 255)


def _nodes(scene, className: str) -> list:
    return [scene.GetNthNodeByClass(index, className) for index in range(scene.GetNumberOfNodesByClass(className))]


def _layersOf(node) -> tuple:
    return (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID(),
            node.GetForegroundOpacity(), node.GetLabelOpacity(), node.GetCompositing())


def _setLayers(scene, node, values: tuple) -> None:
    background, foreground, label, opacity, labelOpacity, compositing = values

    def present(nodeID):
        return nodeID if nodeID and scene.GetNodeByID(nodeID) is not None else None

    with slicer.util.NodeModify(node):
        node.SetBackgroundVolumeID(present(background))
        node.SetForegroundVolumeID(present(foreground))
        node.SetLabelVolumeID(present(label))
        node.SetForegroundOpacity(opacity)
        node.SetLabelOpacity(labelOpacity)
        node.SetCompositing(compositing)


def _sliceOf(node) -> tuple:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetSliceToRAS())
    return matrix, node.GetFieldOfView(), node.GetXYZOrigin()
