"""What Undo puts back: the nodes as they were before a run changed them."""

from __future__ import annotations

import contextlib

import slicer

from .parents import isIn

__all__ = ["NodeSnapshot", "Snapshot"]


class NodeSnapshot:
    """One node as it is now: content, name, attributes, references and parent.

    Voxels and grids are not copied: a run gives a node new ones and leaves the old objects as they were, so holding on
    to them is enough. Landmarks are copied: hardening moves them where they are.
    """

    def __init__(self, node) -> None:
        self._scene = node.GetScene()
        self._node = node  # not its ID, which another node may have after the scene was closed
        self._copy = node.CreateNodeInstance()
        self._copy.SetDisableModifiedEvent(True)  # else a display node looks for its window in all voxels again
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
        return isIn(self._scene, self._node)

    def restore(self) -> None:
        """Bring the node back; one that no longer exists is skipped."""
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
        """Remove display nodes that were made since; they would stay in the scene without an owner."""
        had = self._references.get("display", [])
        for nodeID in _references(node).get("display", []):
            if nodeID not in had and self._scene.GetNodeByID(nodeID) is not None:
                self._scene.RemoveNode(self._scene.GetNodeByID(nodeID))


class Snapshot:
    """Several nodes, and which nodes there were: `restore` also removes what has been added through `added`."""

    def __init__(self, scene) -> None:
        self._scene = scene
        self._nodes: list[NodeSnapshot] = []
        self._added: list = []

    def remember(self, node) -> None:
        """Remember a node that the run will change, and its display nodes."""
        self._nodes.append(NodeSnapshot(node))
        for index in range(node.GetNumberOfDisplayNodes()):
            if node.GetNthDisplayNode(index) is not None:
                self._nodes.append(NodeSnapshot(node.GetNthDisplayNode(index)))

    def added(self, node) -> None:
        """Note a node that the run has made."""
        self._added.append(node)

    @property
    def intact(self) -> bool:
        """Whether every remembered node is still in the scene."""
        return all(node.intact for node in self._nodes)

    def restore(self) -> None:
        """Bring everything back."""
        with batch(self._scene):
            for node in self._nodes:
                node.restore()
            for node in reversed(self._added):
                if isIn(self._scene, node):
                    _removeWithCompanions(node)


@contextlib.contextmanager
def batch(scene):
    """Many changes of the scene, shown at once at the end."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def _removeWithCompanions(node) -> None:
    """Remove a node together with the display and storage nodes that were made for it."""
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
    """The direction that was set, and its transform object; the other one is computed from it."""
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
