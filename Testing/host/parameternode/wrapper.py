"""The class decorator `parameterNodeWrapper`: typed parameters kept in a vtkMRMLScriptedModuleNode."""

import typing
import weakref

import qt
import slicer
import vtk

from .connectors import Connector, makeConnector
from .kinds import Default, makeKind, splitAnnotations

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Parameter:
    def __init__(self, name, kind, default, type_):
        self.basename = name
        self.kind = kind
        self.default = default
        self.unalteredType = type_


def parameterNodeWrapper(classtype=None):
    """Turns a class with annotated members into one that reads and writes them in a parameter node.

    The instance is made with the node: `MyParameters(logic.getParameterNode())`; a parameter that the node lacks is
    written with its default. Values outside their validators raise ValueError, of another type TypeError.
    """
    return _process(classtype) if classtype is not None else _process


def isParameterNodeWrapper(classOrObj):
    """Whether the class or object was made by `parameterNodeWrapper`."""
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget, parameter):
    """The descendant whose SlicerParameterName is `parameter`, or None."""
    for child in widget.findChildren(qt.QWidget):
        if child.property(SlicerParameterNamePropertyName) == parameter:
            return child
    return None


def _process(cls):
    parameters = {}
    for name, type_ in typing.get_type_hints(cls, include_extras=True).items():
        if name in _METHODS:
            raise ValueError(f"{name!r} can't be a parameter's name")
        kind = makeKind(type_)
        default = next((item for item in splitAnnotations(type_)[1] if isinstance(item, Default)), None)
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        parameters[name] = _Parameter(name, kind, default or Default(kind.empty), type_)
        setattr(cls, name, _property(name))
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    for name, function in _METHODS.items():
        setattr(cls, name, function)
    return cls


def _property(name):
    return property(lambda self: self._values[name], lambda self, value: _write(self, name, value))


def _init(self, parameterNode, prefix=None):
    state = self.__dict__
    state.update(parameterNode=parameterNode, _prefix=prefix or "", _values={}, _guis={}, _nextTag=0)
    state.update(_updatingGui=False, _writing=None)
    for name in self.allParameters:
        self._values[name] = _read(self, name)
    reference = weakref.ref(self)
    state["_tag"] = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _refresh(reference()))


def _del(self):
    node = self.__dict__.get("parameterNode")
    if node is not None and "_tag" in self.__dict__:
        node.RemoveObserver(self._tag)


def _setattr(self, name, value):
    if isinstance(getattr(type(self), name, None), property) or name.startswith("_"):
        object.__setattr__(self, name, value)
    else:
        raise AttributeError(f"{type(self).__name__} has no parameter {name!r}")


def _read(self, name):
    """The node's value; a value that the node has lost becomes the default again."""
    parameter, key = self.allParameters[name], self._prefix + name
    if not parameter.kind.isIn(self.parameterNode, key):
        parameter.kind.write(self.parameterNode, key, parameter.default.value)
    return parameter.kind.read(self.parameterNode, key)


def _refresh(self):
    """The node was changed, perhaps not through this wrapper."""
    if self is not None:
        for name in self.allParameters:
            if name != self._writing:
                self._values[name] = _read(self, name)


def _write(self, name, value):
    with slicer.util.NodeModify(self.parameterNode):
        self._writing = name
        try:
            self.allParameters[name].kind.write(self.parameterNode, self._prefix + name, value)
            self._values[name] = _read(self, name)
        finally:
            self._writing = None


def _known(self, name):
    if name not in self.allParameters:
        raise ValueError(f"there is no parameter {name!r} among {list(self.allParameters)}")
    return name


def _setValue(self, name, value):
    _write(self, _known(self, name), value)


def _connectGui(self, gui):
    """Connects every widget that has a SlicerParameterName: below a widget, or in what childWidgetVariables gave."""
    found = gui.findChildren(qt.QWidget) if hasattr(gui, "isWidgetType") else gui.__dict__.values()
    named = {widget.property(SlicerParameterNamePropertyName): widget for widget in found}
    return self.connectParametersToGui({name: widget for name, widget in named.items() if name})


def _connectParametersToGui(self, mapping):
    """Keeps parameters (names to widgets) and widgets alike, both ways; returns a tag for disconnectGui."""
    for name in mapping:
        _known(self, name)
    connectors = {
        name: item if isinstance(item, Connector) else makeConnector(item, self.allParameters[name].unalteredType)
        for name, item in mapping.items()
    }
    for name, connector in connectors.items():
        connector.write(self._values[name])
        connector.onChanged(_hear(self, name, connector))
    tag = self._nextTag
    self._nextTag += 1
    observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _updateGui(self))
    self._guis[tag] = (connectors, observer)
    return tag


def _hear(self, name, connector):
    def changed():
        if not self._updatingGui:
            with slicer.util.NodeModify(self.parameterNode):
                self.setValue(name, connector.read())

    return changed


def _updateGui(self):
    if self._updatingGui:
        return
    self._updatingGui = True
    try:
        with slicer.util.NodeModify(self.parameterNode):
            for connectors, _ in list(self._guis.values()):
                for name, connector in connectors.items():
                    connector.write(self._values[name])
    finally:
        self._updatingGui = False


def _disconnectGui(self, tag):
    if tag in self._guis:
        connectors, observer = self._guis.pop(tag)
        for connector in connectors.values():
            connector.onChanged(None)
        self.RemoveObserver(observer)


_METHODS = {
    "__init__": _init,
    "__del__": _del,
    "__setattr__": _setattr,
    "default": lambda self, name: self.allParameters[_known(self, name)].default,
    "dataType": lambda self, name: self.allParameters[_known(self, name)].unalteredType,
    "getValue": lambda self, name: self._values[_known(self, name)],
    "setValue": _setValue,
    "connectGui": _connectGui,
    "connectParametersToGui": _connectParametersToGui,
    "disconnectGui": _disconnectGui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, wasModified: self.parameterNode.EndModify(wasModified),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}
