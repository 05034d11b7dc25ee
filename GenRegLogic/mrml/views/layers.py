"""The layers of the slice views: storing and restoring their state, and showing volumes."""

from __future__ import annotations

import slicer
import vtk

from ..nodes.parents import nodesOf

__all__ = ["SliceViewState", "ViewsState", "setLayers", "showAlike", "showLayers"]


class SliceViewState:
    """The present layers, links, position and zoom of every slice view.

    Attributes:
        layers: By ID of the composite node: (IDs of its volumes, values of `SETTINGS`).
        slices: By ID of the slice node: (slice to RAS matrix, field of view, origin).
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self.layers = {node.GetID(): _layersOf(node) for node in nodesOf(scene, "vtkMRMLSliceCompositeNode")}
        self.slices = {node.GetID(): _sliceOf(node) for node in nodesOf(scene, "vtkMRMLSliceNode")}

    def restore(self, *, places: bool = True) -> None:
        """Restore everything, or all but position and zoom; views and volumes that no longer exist are skipped."""
        for nodeID, values in self.layers.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is not None:
                _setLayers(self._scene, node, values)
        if places:
            self.restorePlaces()

    def restorePlaces(self) -> None:
        """Restore position and zoom of the views."""
        for nodeID, (matrix, fieldOfView, origin) in self.slices.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is None:
                continue
            with slicer.util.NodeModify(node):
                node.GetSliceToRAS().DeepCopy(matrix)
                node.SetFieldOfView(*fieldOfView)
                node.SetXYZOrigin(*origin)
                node.UpdateMatrices()


class ViewsState(SliceViewState):
    """The same plus the layout and the crosshair.

    Attributes:
        layout: Number of the layout; None if the scene has no layout node.
        crosshair: (mode, RAS mm); None if the scene has no crosshair node.
    """

    def __init__(self, scene) -> None:
        super().__init__(scene)
        layout, crosshair = (scene.GetFirstNodeByClass(name) for name in ("vtkMRMLLayoutNode", "vtkMRMLCrosshairNode"))
        self.layout = layout.GetViewArrangement() if layout is not None else None
        self.crosshair = None
        if crosshair is not None:
            self.crosshair = crosshair.GetCrosshairMode(), crosshair.GetCrosshairRAS()

    def restore(self, *, places: bool = True) -> None:
        """Restore the layout first, because a view that is resized changes its zoom."""
        layout = self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None and self.layout is not None and layout.GetViewArrangement() != self.layout:
            layout.SetViewArrangement(self.layout)
        super().restore(places=places)

    def restorePlaces(self) -> None:
        """Restore position and zoom of the views, and the crosshair."""
        super().restorePlaces()
        crosshair = self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        if crosshair is not None:
            mode, position = self.crosshair or (slicer.vtkMRMLCrosshairNode.NoCrosshair, (0.0, 0.0, 0.0))
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
    """Show only these volumes.

    Args:
        scene: The MRML scene.
        background: Volume node.
        foreground: Volume node over it, or None.
        opacity: Opacity of the foreground, 0 to 1.
        compositing: Slicer's compositing mode.
        clip: Hide the foreground outside the background.
        composites: Composite nodes of the views; None: all of the scene's.
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
    """Copy window, thresholds and colors from one scalar volume's display node to another.

    `CopyContent` would also copy the reference to the other volume's voxels.
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
"""Properties of a composite node that are restored, besides its volumes."""


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
