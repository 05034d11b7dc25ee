"""Gives PySide6's classes the interface of PythonQt, and collects them in one module `qt` as Slicer does.

Slicer's Python talks to Qt through PythonQt, which differs from PySide6 in what a module may write. Here, as there:

- Qt properties are attributes, to get and to set (`label.text`), and so can't be called (`label.text()`);
- `connect("clicked(bool)", f)` and `disconnect("clicked(bool)", f)`, with the C++ signature; a callable is given as
  many of the signal's values as it takes; an exception in it is printed and goes no further;
- a name that a C++ object doesn't have can be neither read nor set;
- a QStringList is a tuple.

In doubt this is stricter than PythonQt: an unknown signal raises here, where PythonQt only prints a warning.
The classes are changed in place, once, by `install()`; nothing happens when this file is imported.
"""

import contextlib
import functools
import inspect
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from shiboken6 import Shiboken

from .record import recordError

LIBRARIES = (QtCore, QtGui, QtWidgets, QtUiTools)
NOT_IN_PYTHONQT = {"Property", "QtMsgType", "SIGNAL", "SLOT", "Signal", "SignalInstance", "Slot", "ClassInfo", "QEnum"}
# C++ properties that Slicer code doesn't need as attributes, and that would hide a class's function of another kind.
LISTS = {
    "QSettings": ("allKeys", "childGroups", "childKeys"),
    "QDir": ("entryList", "nameFilters"),
    "QObject": ("dynamicPropertyNames",),
}
_connections = {}
_loading = []
_originals = {}


class PropertyAttribute:
    """A Qt property as an attribute of instances; on the class itself the C++ function stays what it was."""

    def __init__(self, prop, original):
        self.name = prop.name()
        self.writable = prop.isWritable()
        self.typeName = prop.typeName()
        self.original = original
        self.reading = False
        self.setter = "set" + self.name[0].upper() + self.name[1:]

    def __get__(self, instance, owner):
        if instance is None:
            if self.original is None:
                raise AttributeError(f"{owner.__name__} has no attribute {self.name!r}")
            return self.original.__get__(None, owner) if hasattr(self.original, "__get__") else self.original
        if self.reading:  # Qt asks whether Python overrides the function that reads the property, such as sizeHint
            return self.original.__get__(instance, owner)
        self.reading = True
        try:
            value = QtCore.QObject.property(instance, self.name)
        finally:
            self.reading = False
        return tuple(value) if self.typeName == "QStringList" and value is not None else value

    def __set__(self, instance, value):
        if not self.writable:
            raise AttributeError(f"property {self.name!r} of {type(instance).__name__} is not writable")
        if value is None and not self.typeName.endswith("*"):
            raise AttributeError(self._refusal(value))
        setter = getattr(instance, self.setter, None)
        try:
            if setter is not None:
                setter(value)
                return
            accepted = QtCore.QObject.setProperty(instance, self.name, value)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise AttributeError(self._refusal(value)) from error
        if not accepted:
            raise AttributeError(self._refusal(value))

    def _refusal(self, value):
        return f"property {self.name!r} of type {self.typeName!r} does not accept {value!r}"


def install():
    """Changes PySide6's classes in place and returns the module `qt`. Call it once, after the QApplication exists."""
    module = types.ModuleType("qt", "Qt under PythonQt's conventions: PySide6 behind the test host's changes")
    classes = []
    for library in LIBRARIES:
        for name in dir(library):
            if name.startswith("_") or name in NOT_IN_PYTHONQT:
                continue
            item = getattr(library, name)  # PySide6 makes its classes when they are first asked for
            setattr(module, name, item)
            if isinstance(item, type) and issubclass(item, QtCore.QObject) and hasattr(item, "staticMetaObject"):
                _addProperties(item)
                classes.append(item)
    for className, functions in LISTS.items():
        for function in functions:
            _returnTuple(getattr(module, className), function)
    base = QtCore.QObject
    _originals.update(connect=base.connect, disconnect=base.disconnect)
    for cls, getAttribute in [(cls, cls.__getattribute__) for cls in classes]:
        cls.__setattr__ = _setAttribute
        cls.__getattribute__ = _attributeGetter(getAttribute)
    base.className = _className
    base.name = property(lambda self: self.objectName, lambda self, value: self.setObjectName(value))
    base.delete = lambda self: Shiboken.delete(self)
    return module


def _addProperties(cls):
    meta = cls.staticMetaObject
    for index in range(meta.propertyCount()):
        prop = meta.property(index)
        own = index >= meta.propertyOffset()
        if own or prop.name() in cls.__dict__:
            setattr(cls, prop.name(), PropertyAttribute(prop, inspect.getattr_static(cls, prop.name(), None)))


def standIn(cls):
    """Class decorator: this Python class plays a C++ class, so only names it has, or that begin with _, can be set."""
    cls._standsIn = True
    return cls


@contextlib.contextmanager
def loading():
    """While a .ui file is loaded, new attributes are dropped rather than refused."""
    _loading.append(True)
    try:
        yield
    finally:
        _loading.pop()


def adopt(cls):
    """Apply the rules of the classes that `install` has changed to a stand-in."""
    cls.__setattr__ = _setAttribute


def _setAttribute(self, name, value):
    cls = type(self)
    attribute = inspect.getattr_static(cls, name, None)
    if isinstance(attribute, QtCore.Property):
        if attribute.fset is None:
            raise AttributeError(f"property {name!r} of {cls.__name__} is not writable")
        attribute.fset(self, value)
        return
    if attribute is not None and hasattr(type(attribute), "__set__"):
        attribute.__set__(self, value)
        return
    fromPython = not cls.__module__.startswith("PySide6")
    if fromPython and (name.startswith("_") or not getattr(cls, "_standsIn", False)):
        object.__getattribute__(self, "__dict__")[name] = value
        return
    if isinstance(value, QtCore.SignalInstance):  # PySide6 keeps the signals it has bound
        object.__getattribute__(self, "__dict__")[name] = value
        return
    if _loading:  # PySide6's loader wants to give the top widget an attribute for each child; PythonQt's doesn't
        return
    raise AttributeError(f"{name!r} does not exist on {cls.__name__}, and a C++ object takes no new attributes")


def _className(self):
    return type(self).__name__


def _returnTuple(cls, name):
    original = getattr(cls, name)

    @functools.wraps(original)
    def function(self, *arguments, **keywords):
        return tuple(original(self, *arguments, **keywords))

    setattr(cls, name, function)


def _attributeGetter(original):
    """PySide6 answers for `connect` before it looks at its classes' attributes, so it has to be asked later still."""

    def getAttribute(self, name):
        if name == "connect":
            return types.MethodType(_connect, self)
        if name == "disconnect":
            return types.MethodType(_disconnect, self)
        return original(self, name)

    return getAttribute


def _connect(self, *arguments):
    """`sender.connect("signal(type)", callable)`, or with (receiver, "slot(type)") in the callable's place."""
    if len(arguments) == 3:
        signal, receiver, slot = arguments
        callback = getattr(receiver, slot.split("(")[0])
    elif len(arguments) == 2:
        signal, callback = arguments
    else:
        raise TypeError('connect takes "signal(type)" and a callable')
    if not isinstance(signal, str):
        raise TypeError(f'connect takes the signal as a string such as "clicked(bool)", not {signal!r}')
    if not callable(callback):
        raise TypeError(f"{callback!r} can't be called")
    signature = _signature(self, signal)
    receive = _receiver(callback)
    inner = getattr(type(self), "_signals", {}).get(signature)
    if inner is not None:
        connection = getattr(self, inner).connect(receive)
    else:
        connection = _originals["connect"](self, QtCore.SIGNAL(signature), receive)
    key = Shiboken.getCppPointer(self)[0]
    if key not in _connections:
        _connections[key] = []
        self.destroyed.connect(functools.partial(_connections.pop, key, None))
    _connections[key].append((signature, callback, connection, receive))
    return True


def _disconnect(self, *arguments):
    """`sender.disconnect("signal(type)", callable)`, `sender.disconnect("signal(type)")` or `sender.disconnect()`."""
    signature = _signature(self, arguments[0]) if arguments else None
    callback = arguments[1] if len(arguments) > 1 else None
    kept, ended = [], []
    for entry in _connections.get(Shiboken.getCppPointer(self)[0], []):
        matches = signature in (None, entry[0]) and (callback is None or callback == entry[1])
        (ended if matches else kept).append(entry)
    for entry in ended:
        _originals["disconnect"](entry[2])
    if ended:
        _connections[Shiboken.getCppPointer(self)[0]] = kept
    return bool(ended)


def _signature(sender, signal):
    """The signal's normalized signature; raises AttributeError if the sender's class has no such signal."""
    if "(" not in signal or not signal.endswith(")"):
        raise AttributeError(f'a signal is named with its types, such as "clicked(bool)", not {signal!r}')
    name, types_ = signal[:-1].split("(", 1)
    parts = [part.strip().removeprefix("const ").rstrip("&").strip().replace(" *", "*") for part in types_.split(",")]
    signature = f"{name.strip()}({','.join(part for part in parts if part)})"
    if signature in getattr(type(sender), "_signals", {}):
        return signature
    meta = sender.metaObject()
    index = meta.indexOfSignal(signature)
    if index < 0 or "PyObject" in signature:
        known = {meta.method(i).methodSignature().data().decode() for i in range(meta.methodCount())}
        similar = sorted(text for text in known if text.startswith(name + "(")) or "none of that name"
        raise AttributeError(f"{type(sender).__name__} has no signal {signal!r} (it has: {similar})")
    return signature


def _receiver(callback):
    """Calls `callback` with as many of the signal's values as it takes; its errors are printed and recorded."""
    limit = _argumentLimit(callback)

    def receive(*values):
        try:
            callback(*(values if limit is None else values[:limit]))
        except Exception as error:
            recordError(error)

    return receive


def _argumentLimit(callback):
    """How many values PythonQt hands over: those a Python function names; all, where that can't be told."""
    function = getattr(callback, "__func__", callback)
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - (1 if inspect.ismethod(callback) else 0)
