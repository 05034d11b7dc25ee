"""What the slice views show: remembered and put back exactly, and layers put into them."""

from __future__ import annotations

import slicer
import vtk

from ..nodes.parents import nodesOf

__all__ = ["SliceViewState", "ViewsState", "setLayers", "showAlike", "showLayers"]


class SliceViewState:
    """Every slice view's layers, links, position and zoom as they are now."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._layers = {node.GetID(): _layersOf(node) for node in nodesOf(scene, "vtkMRMLSliceCompositeNode")}
        self._slices = {node.GetID(): _sliceOf(node) for node in nodesOf(scene, "vtkMRMLSliceNode")}

    def restore(self, *, places: bool = True) -> None:
        """Put everything back, or all but the places; views and volumes that no longer exist are skipped."""
        for nodeID, values in self._layers.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is not None:
                _setLayers(self._scene, node, values)
        if places:
            self.restorePlaces()

    def restorePlaces(self) -> None:
        """Put position and zoom of the views back."""
        for nodeID, (matrix, fieldOfView, origin) in self._slices.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is None:
                continue
            with slicer.util.NodeModify(node):
                node.GetSliceToRAS().DeepCopy(matrix)
                node.SetFieldOfView(*fieldOfView)
                node.SetXYZOrigin(*origin)
                node.UpdateMatrices()


class ViewsState(SliceViewState):
    """The same with the layout and the crosshair."""

    def __init__(self, scene) -> None:
        super().__init__(scene)
        layout, crosshair = (scene.GetFirstNodeByClass(name) for name in ("vtkMRMLLayoutNode", "vtkMRMLCrosshairNode"))
        self._layout = layout.GetViewArrangement() if layout is not None else None
        self._crosshair = None
        if crosshair is not None:
            self._crosshair = crosshair.GetCrosshairMode(), crosshair.GetCrosshairRAS()

    def restore(self, *, places: bool = True) -> None:
        """The layout first: a view that gets another size changes its zoom."""
        layout = self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None and self._layout is not None and layout.GetViewArrangement() != self._layout:
            layout.SetViewArrangement(self._layout)
        super().restore(places=places)

    def restorePlaces(self) -> None:
        """Put the crosshair back too."""
        super().restorePlaces()
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            mode, position = self._crosshair or (slicer.vtkMRMLCrosshairNode.NoCrosshair, (0.0, 0.0, 0.0))
            crosshair.SetCrosshairRAS(*position)
            crosshair.SetCrosshairMode(mode)


def showLayers(scene, background, foreground=None, opacity: float = 0.5) -> None:
    """Show a volume node, and another one over it, in every slice view."""
    for node in nodesOf(scene, "vtkMRMLSliceCompositeNode"):
        with slicer.util.NodeModify(node):
            node.SetBackgroundVolumeID(background.GetID() if background is not None else None)
            node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            node.SetForegroundOpacity(opacity)


def setLayers(
    scene,
    background,
    foreground=None,
    *,
    opacity: float = 0.0,
    compositing: int = slicer.vtkMRMLSliceCompositeNode.Alpha,
    clip: bool = True,
    composites=None,
) -> None:
    """Show these volumes and nothing else.

    Args:
        scene: The MRML scene.
        background: Volume node.
        foreground: Volume node over it, or None.
        opacity: Of the foreground.
        compositing: How the two are mixed.
        clip: Nothing of the foreground shows outside the background.
        composites: The views' composite nodes; all of the scene's if None.
    """
    for node in nodesOf(scene, "vtkMRMLSliceCompositeNode") if composites is None else composites:
        with slicer.util.NodeModify(node):
            node.SetBackgroundVolumeID(background.GetID())
            node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            node.SetLabelVolumeID(None)
            node.SetForegroundOpacity(opacity)
            node.SetCompositing(compositing)
            node.SetClipToBackgroundVolume(clip)


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


SETTINGS = (
    "ForegroundOpacity",
    "LabelOpacity",
    "Compositing",
    "ClipToBackgroundVolume",
    "LinkedControl",
    "HotLinkedControl",
)
"""Properties of a composite node that are put back, besides its volumes."""


def _layersOf(node) -> tuple:
    volumes = node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID()
    return volumes, {name: getattr(node, f"Get{name}")() for name in SETTINGS}


def _setLayers(scene, node, values: tuple) -> None:
    (background, foreground, label), settings = values

    def present(nodeID):
        return nodeID if nodeID and scene.GetNodeByID(nodeID) is not None else None

    with slicer.util.NodeModify(node):
        node.SetBackgroundVolumeID(present(background))
        node.SetForegroundVolumeID(present(foreground))
        node.SetLabelVolumeID(present(label))
        for name, value in settings.items():
            getattr(node, f"Set{name}")(value)


def _sliceOf(node) -> tuple:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetSliceToRAS())
    return matrix, node.GetFieldOfView(), node.GetXYZOrigin()
