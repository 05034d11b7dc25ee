"""The deformation drawn in the slice views as a grid or as arrows, only where the displacement is visible.

Slicer computes the grid lines or arrows of a plane; here they are clipped to the region with visible displacement and
put into a model for each slice view. They are updated when a view is scrolled or zoomed. The transform's own display,
which does not clip, is not changed.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..nodes.pair import Pair
from ..nodes.parents import inScene, nodesOf
from .colors import colorNode

__all__ = ["ARROWS", "GRID", "Deformation"]

GRID, ARROWS = "grid", "arrows"

LINES = {GRID: 26, ARROWS: 30}
"""Approximate number of lines or arrows across a view."""

STEPS = (1.0, 2.0, 5.0)
"""Allowed distances between lines, mm, times a power of ten."""

SUBDIVISION = 4
"""Segments of a line between two crossings, so that lines bend."""

LEAST_SHARE, LEAST_MM = 0.03, 0.05
"""Displacements below this fraction of the largest one, or below this length, are not drawn."""

MAGNITUDE = "DisplacementMagnitude"
"""Slicer's name of the array with the displacement magnitude."""

LINE_WIDTH = 2


class Deformation:
    """A transform's grid or arrows in every slice view.

    Args:
        scene: The MRML scene.
        pair: The transform and its scans; the drawing is limited to the fixed scan's box.
        kind: `GRID` or `ARROWS`.
    """

    def __init__(self, scene, pair: Pair, kind: str = GRID) -> None:
        self._scene, self.pair, self.kind = scene, pair, kind
        self._models: dict[str, object] = {}
        self._tags: list[tuple] = []
        self._display = None
        self._most = 0.0

    @property
    def shown(self) -> bool:
        """Whether the deformation is drawn."""
        return any(inScene(model) is not None for model in self._models.values())

    def show(self) -> None:
        """Draw the deformation, and update it when the views or the transform change."""
        self._display = self._describe()
        self._most = self._furthest()
        for node in nodesOf(self._scene, "vtkMRMLSliceNode"):
            self._models[node.GetID()] = self._model(node)
            self._tags.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onSliceModified)))
            self._update(node)
        transform = self.pair.transformNode
        event = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._tags.append((transform, transform.AddObserver(event, self._onTransformModified)))
        for event, function in (
            (slicer.vtkMRMLScene.StartCloseEvent, self._onClose),
            (slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
        ):
            self._tags.append((self._scene, self._scene.AddObserver(event, function)))

    def hide(self) -> None:
        """Remove the drawing, and stop observing."""
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._tags = []
        for model in (*self._models.values(), self._display):
            if inScene(model) is not None:
                companion = model.GetDisplayNode() if model.IsA("vtkMRMLModelNode") else None
                self._scene.RemoveNode(model)
                if inScene(companion) is not None:
                    self._scene.RemoveNode(companion)
        self._models, self._display = {}, None

    def spacing(self, sliceNode) -> float:
        """Distance between two lines in a view, mm: a round number for about the same number of lines at any zoom."""
        wanted = max(sliceNode.GetFieldOfView()[:2]) / LINES[self.kind]
        power = 10.0 ** np.floor(np.log10(max(wanted, 1e-3)))
        return float(next((step * power for step in STEPS if step * power >= wanted), 10 * power))

    def _describe(self):
        """An invisible display node of the transform that holds the options for Slicer's logic."""
        display = slicer.vtkMRMLTransformDisplayNode()
        display.SetName("GenReg deformation")
        display.SetHideFromEditors(True)
        display.SetSaveWithScene(False)
        display.SetVisibility(False)
        display.SetVisibility2D(False)
        mode = display.VIS_MODE_GRID if self.kind == GRID else display.VIS_MODE_GLYPH
        display.SetVisualizationMode(mode)
        display.SetGridScalePercent(100)
        display.SetGlyphScalePercent(100)
        display.SetGlyphDisplayRangeMinMm(0.0)
        display.SetGlyphDisplayRangeMaxMm(1e6)
        self._scene.AddNode(display)
        self.pair.transformNode.AddAndObserveDisplayNodeID(display.GetID())
        return display

    def _model(self, sliceNode):
        model = self._scene.CreateNodeByClass("vtkMRMLModelNode")
        model.UnRegister(None)  # CreateNodeByClass leaves a reference to its caller
        model.SetName(f"GenReg {self.kind} {sliceNode.GetName()}")
        model.SetHideFromEditors(True)
        model.SetSaveWithScene(False)
        model.SetSelectable(False)
        self._scene.AddNode(model)
        model.SetAndObservePolyData(vtk.vtkPolyData())
        model.CreateDefaultDisplayNodes()
        display = model.GetDisplayNode()
        with slicer.util.NodeModify(display):
            display.SetSaveWithScene(False)
            display.SetVisibility3D(False)
            display.SetVisibility2D(True)
            display.SetSliceDisplayModeToProjection()
            display.SetSliceIntersectionThickness(LINE_WIDTH)
            display.AddViewNodeID(sliceNode.GetID())
            display.SetAndObserveColorNodeID(colorNode(self._scene, "deformation").GetID())
            display.SetActiveScalarName(MAGNITUDE)
            display.SetScalarVisibility(True)
            display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
            display.SetScalarRange(0.0, max(self._most, LEAST_MM))
        return model

    def _furthest(self) -> float:
        """99th percentile of the displacement in the fixed scan's box, mm."""
        bounds = self._bounds()
        axes = [np.linspace(*bounds[2 * axis : 2 * axis + 2], 14)[1:-1] for axis in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        path = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, self.pair.transformNode, path)
        moved = np.array([path.TransformPoint(point) for point in points])
        return float(np.percentile(np.linalg.norm(moved - points, axis=1), 99))

    def _bounds(self) -> np.ndarray:
        bounds = np.zeros(6)
        self.pair.fixedNode.GetRASBounds(bounds)
        return bounds

    def _update(self, sliceNode) -> None:
        model = self._models.get(sliceNode.GetID())
        # Slicer's logic does not check whether the display node still has a transform.
        if not all(inScene(node) is not None for node in (model, self._display, self.pair.transformNode)):
            return
        spacing = self.spacing(sliceNode)
        with slicer.util.NodeModify(self._display):
            self._display.SetGridSpacingMm(spacing)
            self._display.SetGridResolutionMm(spacing / SUBDIVISION)
            self._display.SetGlyphSpacingMm(spacing)
        drawn = vtk.vtkPolyData()
        slicer.vtkSlicerTransformLogic.GetVisualization2d(drawn, self._display, sliceNode, None)
        model.SetAndObservePolyData(self._seen(drawn))

    def _seen(self, drawn: vtk.vtkPolyData) -> vtk.vtkPolyData:
        """The part inside the fixed scan's box with a visible displacement."""
        if drawn.GetNumberOfPoints() == 0 or drawn.GetPointData().GetArray(MAGNITUDE) is None:
            return vtk.vtkPolyData()
        drawn.GetPointData().SetActiveScalars(MAGNITUDE)
        moving = vtk.vtkClipPolyData()
        moving.SetInputData(drawn)
        moving.SetValue(max(LEAST_SHARE * self._most, LEAST_MM))
        box = vtk.vtkBox()
        box.SetBounds(self._bounds())
        inside = vtk.vtkClipPolyData()
        inside.SetInputConnection(moving.GetOutputPort())
        inside.SetClipFunction(box)
        inside.InsideOutOn()
        inside.Update()
        return inside.GetOutput()

    def _onSliceModified(self, caller, event) -> None:
        self._update(caller)

    def _onTransformModified(self, caller, event) -> None:
        self._most = self._furthest()
        for node in nodesOf(self._scene, "vtkMRMLSliceNode"):
            self._update(node)

    def _onClose(self, caller, event) -> None:
        self.hide()

    def _onNodeRemoved(self, caller, event) -> None:
        if self._tags and inScene(self.pair.transformNode) is None:
            self.hide()
