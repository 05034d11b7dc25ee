"""Nodes of a scene, and the transforms above a node: what they amount to, and hanging its chain below another one."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from ...errors import InputError

__all__ = ["Placement", "chain", "isIn", "nodesOf", "nonLinearAbove", "worldMatrix"]


def isIn(scene, node) -> bool:
    """Whether this very node is in the scene; an ID alone does not tell, since a later scene uses it again."""
    return node is not None and node.GetID() is not None and scene.GetNodeByID(node.GetID()) is node


def nodesOf(scene, className: str) -> list:
    """The scene's nodes of a class."""
    return [scene.GetNthNodeByClass(index, className) for index in range(scene.GetNumberOfNodesByClass(className))]


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
    """Puts a scan below a transform that lies in the world, and takes it off again, exactly as it was.

    A scan without parents observes the transform itself. Linear transforms above the scan stay in force: the topmost
    goes below the transform. Where other nodes share them (they must not move), the scan gets one linear transform of
    its own instead.

    Args:
        node: The scan's node.
        ignoring: The transform that the placement replaces where the scan lies under it already (a second run into the
            same output).
    """

    def __init__(self, node, *, ignoring=None) -> None:
        # The nodes themselves are kept: a scene that was closed gives the same IDs to other nodes.
        self._scene = node.GetScene()
        self._node = node
        self._chain = chain(node, ignoring=ignoring)
        self._parents = [(each, each.GetParentTransformNode()) for each in (node, *self._chain)]
        self._matrix = worldMatrix(node, "moving", ignoring=ignoring)
        self._copy = None

    @property
    def intact(self) -> bool:
        """Whether every node that it touches is still in the scene."""
        return all(isIn(self._scene, node) for node in (self._node, *self._chain))

    @property
    def moved(self) -> bool:
        """Whether the linear transforms above the scan have changed since; ask while the scan is taken off."""
        if any(node.GetParentTransformNode() is not parent for node, parent in self._parents):
            return True
        return not np.array_equal(worldMatrix(self._node, "moving", ignoring=self._parents[-1][1]), self._matrix)

    def put(self, transformNode) -> None:
        """Put the scan below a transform node, which itself has no parent."""
        if not self._chain:
            self._node.SetAndObserveTransformNodeID(transformNode.GetID())
        elif not self._shared():
            self._chain[-1].SetAndObserveTransformNodeID(transformNode.GetID())
        else:
            copy = self._ownCopy()
            self._node.SetAndObserveTransformNodeID(copy.GetID())
            copy.SetAndObserveTransformNodeID(transformNode.GetID())

    def takeOff(self, *, replaced=None) -> None:
        """Give every node the parent that it had; nodes that no longer exist are skipped.

        Args:
            replaced: A transform node that holds something else by now: what lay below it goes to the world.
        """
        for node, parent in self._parents:
            wanted = parent if parent is not replaced and isIn(self._scene, parent) else None
            if isIn(self._scene, node) and node.GetParentTransformNode() is not wanted:
                node.SetAndObserveTransformNodeID(wanted.GetID() if wanted is not None else None)
        if isIn(self._scene, self._copy):
            self._scene.RemoveNode(self._copy)
        self._copy = None

    def _shared(self) -> bool:
        own, above = ({node.GetID() for node in nodes} for nodes in ((self._node, *self._chain), self._chain))
        others = slicer.util.getNodesByClass("vtkMRMLTransformableNode", self._scene)  # one by one would be quadratic
        return any(other.GetTransformNodeID() in above and other.GetID() not in own for other in others)

    def _ownCopy(self):
        if not isIn(self._scene, self._copy):
            name = f"{self._node.GetName()} position"
            self._copy = self._scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
            self._copy.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(self._matrix))
        return self._copy
