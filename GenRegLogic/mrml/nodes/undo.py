"""The state that Undo restores: nodes as they were before a run changed them."""

from __future__ import annotations

import contextlib

import slicer

from .parents import inScene

__all__ = ["NodeSnapshot", "Snapshot"]


class NodeSnapshot:
    """The present state of one node: content, name, attributes, references and parent.

    Voxels and grids are not copied: a run assigns new objects to a node and does not modify the old ones, so keeping
    references is enough. Landmarks are copied, because hardening modifies them in place.
    """

    def __init__(self, node) -> None:
        self._scene = node.GetScene()
        self._node = node  # not its ID (see `inScene`)
        self._copy = node.CreateNodeInstance()
        self._copy.SetDisableModifiedEvent(True)  # else a display node computes its window from all voxels again
        self._deep = node.IsA("vtkMRMLMarkupsNode")
        self._copy.CopyContent(node, self._deep)
        self._name = node.GetName()
        self._attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
        self._references = _references(node)
        self._transforms = self._image = None
        if node.IsA("vtkMRMLTransformNode"):
            self._transforms = _transforms(node)
        if node.IsA("vtkMRMLVolumeNode"):
            self._image = node.GetImageData()

    @property
    def intact(self) -> bool:
        """Whether the node is still in the scene."""
        return inScene(self._node) is not None

    def restore(self) -> None:
        """Restore the node; does nothing if it is no longer in the scene."""
        node = self._node
        if not self.intact:
            return
        self._removeNewDisplays(node)
        with slicer.util.NodeModify(node):
            node.CopyContent(self._copy, self._deep)
            node.SetName(self._name)
            for name in set(node.GetAttributeNames()) - set(self._attributes):
                node.RemoveAttribute(name)
            for name, value in self._attributes.items():
                node.SetAttribute(name, value)
            _setReferences(node, self._references)
            if self._transforms is not None:
                _setTransforms(node, self._transforms)
            if node.IsA("vtkMRMLVolumeNode"):
                node.SetAndObserveImageData(self._image)

    def _removeNewDisplays(self, node) -> None:
        """Remove display nodes that were added since; they would stay in the scene without an owner."""
        had = self._references.get("display", [])
        for nodeID in _references(node).get("display", []):
            if nodeID not in had and self._scene.GetNodeByID(nodeID) is not None:
                self._scene.RemoveNode(self._scene.GetNodeByID(nodeID))


class Snapshot:
    """The state of several nodes; `restore` also removes the nodes that were reported to `added`."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._nodes: list[NodeSnapshot] = []
        self._added: list = []

    def remember(self, node) -> None:
        """Store the state of a node that the run will change, and of its display nodes."""
        self._nodes.append(NodeSnapshot(node))
        for index in range(node.GetNumberOfDisplayNodes()):
            if node.GetNthDisplayNode(index) is not None:
                self._nodes.append(NodeSnapshot(node.GetNthDisplayNode(index)))

    def added(self, node) -> None:
        """Register a node that the run has created."""
        self._added.append(node)

    @property
    def intact(self) -> bool:
        """Whether every stored node is still in the scene."""
        return all(node.intact for node in self._nodes)

    def restore(self) -> None:
        """Restore all stored nodes, and remove the added ones."""
        with batch(self._scene):
            for node in self._nodes:
                node.restore()
            for node in reversed(self._added):
                if inScene(node) is not None:
                    _removeWithCompanions(node)


@contextlib.contextmanager
def batch(scene):
    """Context in which many changes of the scene are shown together at the end."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def _removeWithCompanions(node) -> None:
    """Remove a node together with its display and storage nodes."""
    scene = node.GetScene()
    companions = []
    if node.IsA("vtkMRMLDisplayableNode"):
        companions += [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        companions.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is scene:
            scene.RemoveNode(companion)


def _references(node) -> dict[str, list[str]]:
    found = {}
    for index in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(index)
        found[role] = [node.GetNthNodeReferenceID(role, n) for n in range(node.GetNumberOfNodeReferences(role))]
    return found


def _setReferences(node, wanted: dict[str, list[str]]) -> None:
    now = _references(node)
    for role in now.keys() | wanted.keys():
        if now.get(role, []) == wanted.get(role, []):
            continue
        node.RemoveNodeReferenceIDs(role)
        for index, nodeID in enumerate(wanted.get(role, [])):
            node.SetNthNodeReferenceID(role, index, nodeID)


def _transforms(node) -> tuple:
    """The direction that was set, and its transform object; the other direction is computed from it."""
    for get in (node.GetTransformFromParentAs, node.GetTransformToParentAs):
        transform = get("vtkAbstractTransform", False, True)
        if transform is not None:
            return get.__name__, transform
    return "", None


def _setTransforms(node, transforms: tuple) -> None:
    getter, transform = transforms
    if getter == "GetTransformFromParentAs":
        node.SetAndObserveTransformFromParent(transform)
    else:
        node.SetAndObserveTransformToParent(transform)
