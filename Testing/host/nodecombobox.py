"""Stand-in for qMRMLNodeComboBox: a combo box that lists a scene's nodes of some classes and follows the scene."""

from types import MappingProxyType

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import standIn

Property, Signal = QtCore.Property, QtCore.Signal


def _stored(kind, name, default):
    """A property that is stored without an effect."""

    def put(self, value):
        self._options[name] = tuple(value) if kind == "QStringList" else value
        self._fill()

    return Property(kind, lambda self: self._options.get(name, default), put), put


@standIn
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Nodes in the order of the scene; nodes hidden from editors are left out. The current node may be None.

    As in Slicer, the first node that comes into an empty selector without "None" becomes current, and a current node
    that leaves the scene gives way to a neighbor, or to None where that is allowed.
    """

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    currentNodeValid = Signal(bool)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    currentNodeRenamed = Signal(str)
    _signals = MappingProxyType(
        {
            "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
            "currentNodeChanged(bool)": "currentNodeValid",
            "nodeActivated(vtkMRMLNode*)": "nodeActivated",
            "nodeAdded(vtkMRMLNode*)": "nodeAdded",
            "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
            "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeAboutToBeRemoved",
        }
    )

    def __init__(self, parent=None):
        super().__init__(parent)
        self._options = {}
        self._attributes = []
        self._scene, self._tags, self._nodes, self._current = None, [], [], None
        self._nameTag, self._filling = None, False
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox()
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        row.addWidget(self._combo)
        self._combo.activated.connect(self._chosen)
        self.setEnabled(False)  # until there is a scene
        self.destroyed.connect(lambda *_, box=self.__dict__: _forget(box))
        self._fill()

    nodeTypes, setNodeTypes = _stored("QStringList", "nodeTypes", ())
    hideChildNodeTypes, setHideChildNodeTypes = _stored("QStringList", "hideChildNodeTypes", ())
    showChildNodeTypes, setShowChildNodeTypes = _stored(bool, "showChildNodeTypes", True)
    showHidden, setShowHidden = _stored(bool, "showHidden", False)
    noneEnabled, setNoneEnabled = _stored(bool, "noneEnabled", False)
    addEnabled, setAddEnabled = _stored(bool, "addEnabled", True)
    removeEnabled, setRemoveEnabled = _stored(bool, "removeEnabled", True)
    editEnabled, setEditEnabled = _stored(bool, "editEnabled", False)
    renameEnabled, setRenameEnabled = _stored(bool, "renameEnabled", False)
    selectNodeUponCreation, setSelectNodeUponCreation = _stored(bool, "selectNodeUponCreation", True)
    noneDisplay, setNoneDisplay = _stored(str, "noneDisplay", "None")
    baseName, setBaseName = _stored(str, "baseName", "")
    interactionNodeSingletonTag, _setTag = _stored(str, "interactionNodeSingletonTag", "")

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        _forget(self.__dict__)
        self._scene = scene
        self.setEnabled(scene is not None)
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._tags = [scene.AddObserver(event, self._sceneChanged) for event in events]
            self._tags.append(self._observeRemoval(scene))
        self._fill()

    def _observeRemoval(self, scene):
        def leaving(caller, event, node):
            if self._listed(node):
                self.nodeAboutToBeRemoved.emit(node)

        leaving.CallDataType = vtk.VTK_OBJECT
        return scene.AddObserver(scene.NodeAboutToBeRemovedEvent, leaving)

    def mrmlScene(self):
        return self._scene

    def addAttribute(self, nodeType, name, value=None):
        self._attributes.append((nodeType, name, value))
        self._fill()

    def removeAttribute(self, nodeType, name):
        self._attributes = [entry for entry in self._attributes if entry[:2] != (nodeType, name)]
        self._fill()

    def nodeCount(self):
        return len(self._nodes)

    def nodeFromIndex(self, index):
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def currentNode(self):
        return self._current

    def _getID(self):
        return self._current.GetID() if self._current is not None else ""

    def setCurrentNodeID(self, nodeID):
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene is not None and nodeID else None)

    currentNodeID = Property(str, _getID, setCurrentNodeID)

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self.nodeFromIndex(index))

    def setCurrentNode(self, node):
        """A node, a node's ID or None. A node that isn't listed gives None, as in Slicer."""
        if isinstance(node, str):
            self.setCurrentNodeID(node)
            return
        if node is not None and not isinstance(node, slicer.vtkMRMLNode):
            raise TypeError(f"setCurrentNode takes a node, an ID or None, not {node!r}")
        self._select(node if node in self._nodes else None)

    def addNode(self, nodeType=None):
        """Create and select a node, as "Create new ..." does; returns the node."""
        kind = nodeType or self.nodeTypes[0]
        if kind not in self.nodeTypes:
            raise ValueError(f"{kind} is not among the selector's nodeTypes {self.nodeTypes}")
        name = self.baseName or self._scene.GetTagByClassName(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _listed(self, node):
        if node is None or (node.GetHideFromEditors() and not self.showHidden):
            return False
        exact = not self.showChildNodeTypes
        fits = any(node.GetClassName() == kind if exact else node.IsA(kind) for kind in self.nodeTypes)
        if not fits or any(node.IsA(kind) for kind in self.hideChildNodeTypes):
            return False
        needed = [entry for entry in self._attributes if node.IsA(entry[0])]
        return all(
            node.GetAttribute(name) is not None if value is None else node.GetAttribute(name) == str(value)
            for _, name, value in needed
        )

    def _sceneChanged(self, scene, event):
        if scene.IsBatchProcessing():
            return
        before = list(self._nodes)
        self._fill()
        for node in self._nodes:
            if node not in before:
                self.nodeAdded.emit(node)

    def _fill(self):
        """Update the list of nodes, and select the current node again or a replacement."""
        before = self._nodes
        scene = self._scene
        count = scene.GetNumberOfNodes() if scene is not None else 0
        self._nodes = [node for node in (scene.GetNthNode(n) for n in range(count)) if self._listed(node)]
        current = self._current
        if current is not None and current not in self._nodes:
            place = before.index(current) if current in before else 0
            left = [node for node in before if node in self._nodes]
            current = None if self.noneEnabled or not left else left[min(place, len(left) - 1)]
        elif current is None and not before and self._nodes and not self.noneEnabled:
            current = self._nodes[0]
        self._select(current)

    def _select(self, node):
        changed = node is not self._current
        if self._nameTag is not None and changed:
            self._current.RemoveObserver(self._nameTag)
            self._nameTag = None
        if changed and node is not None:
            self._nameTag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._renamed)
        self._current = node
        self._show()
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeValid.emit(node is not None)
            self.currentNodeIDChanged.emit(self._getID())

    def _renamed(self, node, event):
        row = self._nodes.index(node) + int(self.noneEnabled) if node in self._nodes else -1
        if row >= 0 and self._combo.itemText(row) != node.GetName():
            self._combo.setItemText(row, node.GetName())
            self.currentNodeRenamed.emit(node.GetName())

    def _show(self):
        combo = self._combo
        combo.clear()
        texts = [self.noneDisplay] if self.noneEnabled else []
        texts += [node.GetName() or node.GetID() for node in self._nodes]
        if self.addEnabled:
            texts += ["Create new " + kind.removeprefix("vtkMRML").removesuffix("Node") for kind in self.nodeTypes]
        combo.addItems(texts)
        shift = int(self.noneEnabled)
        place = self._nodes.index(self._current) + shift if self._current in self._nodes else shift - 1
        combo.setCurrentIndex(place)
        if place < 0 and not self.noneEnabled:
            combo.setPlaceholderText("Select a " + " or ".join(self._labels()))

    def _labels(self):
        return [kind.removeprefix("vtkMRML").removesuffix("Node") for kind in self.nodeTypes] or ["node"]

    def _chosen(self, row):
        place = row - int(self.noneEnabled)
        if place >= len(self._nodes):
            self.addNode(self.nodeTypes[place - len(self._nodes)])
        else:
            self._select(self._nodes[place] if place >= 0 else None)
            self.nodeActivated.emit(self._current)


def _forget(box):
    """Remove the selector's observers from its scene and node."""
    if box.get("_scene") is not None:
        for tag in box["_tags"]:
            box["_scene"].RemoveObserver(tag)
    if box.get("_nameTag") is not None:
        box["_current"].RemoveObserver(box["_nameTag"])
    box.update(_scene=None, _tags=[], _nameTag=None)
