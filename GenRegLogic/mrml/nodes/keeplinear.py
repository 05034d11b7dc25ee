"""Sets GenReg's displacement fields to linear interpolation when they are loaded from files.

Slicer reads every displacement field with cubic interpolation, regardless of how it was saved. GenReg's fields are
defined with linear interpolation, as in ITK; cubic interpolation changes them by up to a few tenths of a millimeter.
Fields of other programs are not changed.
"""

from __future__ import annotations

import slicer
import vtk

from .transforms import useLinearInterpolation

__all__ = ["LinearKeeper"]


class LinearKeeper:
    """Observes a scene for transforms that are loaded, until `stop`."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._nodes: dict[str, tuple] = {}
        self._tags = [
            scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded),
            scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
            scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, self._onImported),
        ]
        self._onImported(scene, None)

    def stop(self) -> None:
        """Remove all observers."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        for node, tag in self._nodes.values():
            node.RemoveObserver(tag)
        self._tags, self._nodes = [], {}

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, caller, event, node) -> None:
        if node is not None and node.IsA("vtkMRMLTransformNode"):
            useLinearInterpolation(node)  # files are read before the node is added, or after
            tag = node.AddObserver(slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._onTransformModified)
            self._nodes[node.GetID()] = (node, tag)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeRemoved(self, caller, event, node) -> None:
        if node is not None and node.GetID() in self._nodes:
            kept, tag = self._nodes.pop(node.GetID())
            kept.RemoveObserver(tag)

    def _onTransformModified(self, node, event) -> None:
        useLinearInterpolation(node)

    def _onImported(self, caller, event) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLTransformNode", self._scene):
            useLinearInterpolation(node)
