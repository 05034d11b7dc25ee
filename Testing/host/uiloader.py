"""Loads .ui files with the stand-ins in place of Slicer's widgets, and is stricter about them than Slicer is.

Connections whose signal or slot handles a MRML object can't be made by PySide6's loader: they are taken out of the file
and made here, so a selector follows its panel's scene only if the file says so, as in Slicer.
"""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools

from .pythonqt import loading


class QUiLoader(QtUiTools.QUiLoader):
    """PySide6's loader, which makes stand-ins for the classes in `classes` (name to class)."""

    classes = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._made = []

    def createWidget(self, className, parent=None, name=""):
        cls = self.classes.get(className)
        if cls is None:
            if className.startswith(("qMRML", "ctk", "qSlicer")):
                raise NotImplementedError(f"the test host has no stand-in for {className}")
            widget = super().createWidget(className, parent, name)
        else:
            widget = cls(parent) if parent is not None else cls()
            widget.setObjectName(name)
        self._made.append(widget)
        return widget

    def load(self, device, parent=None):
        """Loads from an open QFile or a path. Raises ValueError where the file names what its classes lack."""
        text = _read(device)
        tree = ElementTree.fromstring(text)
        connections = _takeMrmlConnections(tree)
        unknown = {element.get("class") for element in tree.iter("widget") if _lacksStandIn(element, self.classes)}
        if unknown:
            raise NotImplementedError(f"the test host has no stand-in for {', '.join(sorted(unknown))}")
        content = QtCore.QBuffer()
        content.setData(ElementTree.tostring(tree))
        content.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        with loading():
            widget = super().load(content, parent)
        if widget is None:
            raise ValueError(f"the .ui file can't be loaded: {self.errorString()}")
        widgets = {made.property("objectName"): made for made in [widget, *widget.findChildren(QtCore.QObject)]}
        _checkProperties(tree, widgets)
        for sender, signal, receiver, slot in connections:
            widgets[sender].connect(signal, getattr(widgets[receiver], slot.split("(")[0]))
        widgets.pop("", None)
        key = id(widget)
        _kept[key] = self._made  # Python halves of stand-ins live as long as their window
        widget.destroyed.connect(lambda *_: _kept.pop(key, None))
        self._made = []
        return widget


_kept = {}


def _read(device):
    if isinstance(device, str):
        with open(device, "rb") as file:
            return file.read()
    return bytes(device.readAll().data())


def _takeMrmlConnections(tree):
    """Removes the connections that handle MRML objects and returns them as (sender, signal, receiver, slot)."""
    taken = []
    for connections in tree.iter("connections"):
        for connection in list(connections):
            row = tuple(connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot"))
            if "vtkMRML" in row[1] or "vtkMRML" in row[3]:
                taken.append(row)
                connections.remove(connection)
    return taken


def _lacksStandIn(element, classes):
    name = element.get("class")
    return name.startswith(("qMRML", "ctk", "qSlicer")) and name not in classes


def _checkProperties(tree, widgets):
    """A misspelled property would silently become a dynamic one: raise ValueError unless the file says it is one."""
    for element in tree.iter("widget"):
        widget = widgets.get(element.get("name"))
        for item in element.findall("property"):
            name = item.get("name")
            if widget is not None and item.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
                raise ValueError(f"{element.get('class')} {element.get('name')} has no property {name!r}")
