"""Nodes of a scene; the transforms above a node: their combined matrix, and placing a scan below another transform."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ...errors import InputError

__all__ = ["Placement", "chain", "inScene", "nodesOf", "nonLinearAbove", "worldMatrix"]


def inScene(node):
    """The node if it is still in a scene, else None.

    Nodes, not IDs, are compared: after a scene was closed, the next one gives the same IDs to other nodes.
    """
    return node if node is not None and node.GetScene() is not None else None


def nodesOf(scene, className: str) -> list:
    """The scene's nodes of a class."""
    return [scene.GetNthNodeByClass(index, className) for index in range(scene.GetNumberOfNodesByClass(className))]


def chain(node, *, ignoring=None) -> list:
    """The transform nodes above a node, nearest first, up to but without `ignoring`."""
    above = []
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not ignoring:
        above.append(parent)
        parent = parent.GetParentTransformNode()
    return above


def nonLinearAbove(node, *, ignoring=None) -> list:
    """The non-linear transforms of `chain`."""
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
    """Puts a scan below a transform that has no parent, and restores the scan's original parents.

    A scan without parents is put directly below the transform. Linear transforms above the scan are kept: the topmost
    is put below the transform. If other nodes share these (and must not move), the scan gets a copy of their combined
    linear transform instead.

    Args:
        node: The scan's node.
        ignoring: The transform that the placement replaces if the scan is already below it (a second run with the same
            output).
    """

    def __init__(self, node, *, ignoring=None) -> None:
        # Nodes are kept, not IDs (see `inScene`).
        self._scene = node.GetScene()
        self._node = node
        self._chain = chain(node, ignoring=ignoring)
        self._parents = [(each, each.GetParentTransformNode()) for each in (node, *self._chain)]
        self._matrix = worldMatrix(node, "moving", ignoring=ignoring)
        self._copy = None

    @property
    def intact(self) -> bool:
        """Whether every node that the placement changes is still in the scene."""
        return all(inScene(node) is not None for node in (self._node, *self._chain))

    @property
    def moved(self) -> bool:
        """Whether the linear transforms above the scan have changed; only valid while the scan is taken off."""
        if any(node.GetParentTransformNode() is not parent for node, parent in self._parents):
            return True
        return not np.array_equal(worldMatrix(self._node, "moving", ignoring=self._parents[-1][1]), self._matrix)

    def put(self, transformNode) -> None:
        """Put the scan below a transform node that has no parent."""
        if not self._chain:
            self._node.SetAndObserveTransformNodeID(transformNode.GetID())
        elif not self._shared():
            self._chain[-1].SetAndObserveTransformNodeID(transformNode.GetID())
        else:
            copy = self._ownCopy()
            self._node.SetAndObserveTransformNodeID(copy.GetID())
            copy.SetAndObserveTransformNodeID(transformNode.GetID())

    def takeOff(self, *, replaced=None) -> None:
        """Restore every node's original parent; nodes that no longer exist are skipped.

        Args:
            replaced: A transform node that has been overwritten: nodes that were directly below it get no parent.
        """
        for node, parent in self._parents:
            wanted = inScene(parent) if parent is not replaced else None
            if inScene(node) is not None and node.GetParentTransformNode() is not wanted:
                node.SetAndObserveTransformNodeID(wanted.GetID() if wanted is not None else None)
        if inScene(self._copy) is not None:
            self._scene.RemoveNode(self._copy)
        self._copy = None

    def _shared(self) -> bool:
        own, above = ({node.GetID() for node in nodes} for nodes in ((self._node, *self._chain), self._chain))
        others = slicer.util.getNodesByClass("vtkMRMLTransformableNode", self._scene)  # one by one would be quadratic
        return any(other.GetTransformNodeID() in above and other.GetID() not in own for other in others)

    def _ownCopy(self):
        if inScene(self._copy) is None:
            name = f"{self._node.GetName()} position"
            self._copy = self._scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
            self._copy.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(self._matrix))
        return self._copy
