"""The transforms above a node: what they amount to, and hanging a node's whole chain below another transform."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ..errors import InputError

__all__ = ["Placement", "chain", "nonLinearAbove", "worldMatrix"]


def chain(node, *, ignoring=None) -> list:
    """The transform nodes above a node, the nearest first, up to (and without) `ignoring`."""
    above = []
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not ignoring:
        above.append(parent)
        parent = parent.GetParentTransformNode()
    return above


def nonLinearAbove(node, *, ignoring=None) -> list:
    """The non-linear ones of `chain`."""
    return [parent for parent in chain(node, ignoring=ignoring) if not parent.IsLinear()]


def worldMatrix(node, role: str, *, ignoring=None) -> np.ndarray:
    """(4, 4) from the node's own RAS to the world's RAS, mm.

    Raises:
        InputError: A transform above the node is not linear.
    """
    total = np.eye(4)
    for parent in chain(node, ignoring=ignoring):
        if not parent.IsLinear():
            raise InputError(
                f"The {role} volume '{node.GetName()}' lies under the non-linear transform '{parent.GetName()}'; "
                "harden that transform, or take the volume off it."
            )
        matrix = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToParent(matrix)
        total = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)]) @ total
    return total


class Placement:
    """Hangs a scan below a transform of the world, and takes it off again, exactly as it was.

    A scan without parents observes the transform itself. Linear transforms above the scan stay in force: the topmost
    goes below the transform. Where other nodes share them (they must not move), the scan gets one linear transform of
    its own in their stead.

    Args:
        node: The scan's node.
        ignoring: The transform that the placement replaces where the scan lies under it already (a second run into the
            same output).
    """

    def __init__(self, node, *, ignoring=None) -> None:
        self._scene = node.GetScene()
        self._nodeID = node.GetID()
        self._chain = [parent.GetID() for parent in chain(node, ignoring=ignoring)]
        self._parents = {each.GetID(): each.GetTransformNodeID() for each in (node, *chain(node, ignoring=ignoring))}
        self._matrix = worldMatrix(node, "moving", ignoring=ignoring)
        self._copyID = None

    @property
    def intact(self) -> bool:
        """Whether every node that it touches is still in the scene."""
        return all(self._scene.GetNodeByID(nodeID) is not None for nodeID in self._parents)

    @property
    def moved(self) -> bool:
        """Whether the linear transforms above the scan have changed since; ask while the scan is taken off."""
        node = self._scene.GetNodeByID(self._nodeID)
        parents = {nodeID: self._scene.GetNodeByID(nodeID).GetTransformNodeID() for nodeID in self._parents}
        if parents != self._parents:
            return True
        above = [self._scene.GetNodeByID(nodeID) for nodeID in self._chain]
        ignoring = above[-1].GetParentTransformNode() if above else node.GetParentTransformNode()
        return not np.array_equal(worldMatrix(node, "moving", ignoring=ignoring), self._matrix)

    def put(self, transformNode) -> None:
        """Hang the scan below a transform node, which itself lies in the world."""
        node = self._scene.GetNodeByID(self._nodeID)
        if not self._chain:
            node.SetAndObserveTransformNodeID(transformNode.GetID())
        elif not self._shared():
            self._scene.GetNodeByID(self._chain[-1]).SetAndObserveTransformNodeID(transformNode.GetID())
        else:
            node.SetAndObserveTransformNodeID(self._copy(node).GetID())
            self._scene.GetNodeByID(self._copyID).SetAndObserveTransformNodeID(transformNode.GetID())

    def takeOff(self) -> None:
        """Give every node the parent that it had; nodes that are gone are passed over."""
        for nodeID, parentID in self._parents.items():
            node = self._scene.GetNodeByID(nodeID)
            if node is not None and node.GetTransformNodeID() != parentID:
                node.SetAndObserveTransformNodeID(parentID)
        if self._copyID is not None:
            copy = self._scene.GetNodeByID(self._copyID)
            if copy is not None:
                self._scene.RemoveNode(copy)
            self._copyID = None

    def _shared(self) -> bool:
        own = {self._nodeID, *self._chain}
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLTransformableNode")):
            other = self._scene.GetNthNodeByClass(index, "vtkMRMLTransformableNode")
            if other.GetTransformNodeID() in self._chain and other.GetID() not in own:
                return True
        return False

    def _copy(self, node):
        copy = self._scene.GetNodeByID(self._copyID) if self._copyID else None
        if copy is None:
            copy = self._scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"{node.GetName()} position")
            copy.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(self._matrix))
            self._copyID = copy.GetID()
        return copy
