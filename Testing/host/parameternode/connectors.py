"""Which widget can show which type, and how it is read, written and heard: the same pairs as in Slicer."""

import enum
import typing
from dataclasses import dataclass

import ctk
import qt
import slicer

from .kinds import splitAnnotations
from .validators import Choice, Maximum, Minimum, WithinRange


@dataclass
class Decimals:
    """Annotation: digits after the point."""

    value: int


@dataclass
class SingleStep:
    """Annotation: a spin box's or slider's step."""

    value: float


class Connector:
    """Ties one widget to one parameter. `signal` is the widget's signal; None where it can't be edited."""

    def __init__(self, widget, signal, read, write):
        self.widget = widget
        self.signal = signal
        self.read = read
        self.write = write
        self._callback = None

    def onChanged(self, callback):
        """Calls `callback` when the user changes the widget; None ends that."""
        if self.signal is None:
            return
        signal = getattr(self.widget, self.signal)
        if self._callback is not None:
            signal.disconnect(self._changed)
        self._callback = callback
        if callback is not None:
            signal.connect(self._changed)

    def _changed(self, *_):
        self._callback()


def makeConnector(widget, datatype):
    """The Connector for a widget and a possibly annotated type; RuntimeError where Slicer has none either."""
    type_, annotations = splitAnnotations(datatype)
    kind = type(widget)
    if type_ is bool and kind in (qt.QCheckBox, ctk.ctkCheckBox):
        return _attribute(widget, "stateChanged", "checked")
    if type_ is bool and kind is qt.QPushButton:
        widget.checkable = True
        return _attribute(widget, "toggled", "checked")
    if type_ is int and kind in (qt.QSlider, qt.QSpinBox):
        return _intConnector(widget, annotations)
    if type_ in (int, float) and kind in _floatWidgets():
        return _floatConnector(widget, type_, annotations)
    if kind in (qt.QComboBox, ctk.ctkComboBox) and type_ in (int, float, str, bool):
        return _choiceConnector(widget, annotations)
    if kind in (qt.QComboBox, ctk.ctkComboBox) and isinstance(type_, enum.EnumMeta):
        return _enumConnector(widget, type_)
    if type_ is str and kind is qt.QLineEdit:
        return _attribute(widget, "textChanged", "text")
    if type_ is str and kind is qt.QLabel:
        return _attribute(widget, None, "text")
    if type_ is str and kind is qt.QTextEdit:
        return Connector(widget, "textChanged", widget.toPlainText, widget.setPlainText)
    if kind is slicer.qMRMLNodeComboBox and nodeTypes(type_):
        widget.nodeTypes = nodeTypes(type_)
        return Connector(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"a {kind.__name__} can't be connected to a parameter of type {datatype}")


def nodeTypes(type_):
    """Class names of the nodes that a node type or a union of node types and None stands for; () for other types."""
    members = typing.get_args(type_) if typing.get_args(type_) else (type_,)
    members = [splitAnnotations(member)[0] for member in members]
    if not all(isinstance(m, type) and (m is type(None) or issubclass(m, slicer.vtkMRMLNode)) for m in members):
        return ()
    return tuple(member().GetClassName() for member in members if member is not type(None))


def _floatWidgets():
    return (
        qt.QDoubleSpinBox,
        ctk.ctkSliderWidget,
        ctk.ctkDoubleSpinBox,
        slicer.qMRMLSliderWidget,
        slicer.qMRMLSpinBox,
    )


def _attribute(widget, signal, name, convert=lambda value: value):
    def write(value):
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(widget, signal, lambda: convert(getattr(widget, name)), write)


def _first(annotations, kind):
    return next((item for item in annotations if isinstance(item, kind)), None)


def _bounds(annotations):
    within = _first(annotations, WithinRange)
    if within is not None:
        return within.minimum, within.maximum
    low, high = _first(annotations, Minimum), _first(annotations, Maximum)
    return (low.minimum if low else None), (high.maximum if high else None)


def _intConnector(widget, annotations):
    low, high = _bounds(annotations)
    if isinstance(widget, qt.QSlider) and None in (low, high):
        raise RuntimeError("a QSlider needs a parameter with a minimum and a maximum")
    step = _first(annotations, SingleStep)
    if step is not None:
        widget.singleStep = step.value
    widget.setRange(-(2**31) if low is None else low, 2**31 - 1 if high is None else high)
    return _attribute(widget, "valueChanged", "value")


def _floatConnector(widget, type_, annotations):
    low, high = _bounds(annotations)
    if type(widget) in (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget) and None in (low, high):
        raise RuntimeError("a slider needs a parameter with a minimum and a maximum")
    decimals = _first(annotations, Decimals)
    if type_ is int:
        widget.decimals = 0
    elif decimals is not None:
        widget.decimals = decimals.value
    step = _first(annotations, SingleStep)
    if step is not None:
        widget.singleStep = step.value
    widget.minimum = float("-inf") if low is None else low
    widget.maximum = float("inf") if high is None else high
    return _attribute(widget, "valueChanged", "value", type_)


def _choiceConnector(widget, annotations):
    choice = _first(annotations, Choice)
    if choice is None:
        raise RuntimeError("a combo box needs a parameter annotated with Choice")
    return _listConnector(widget, choice.choices, str)


def _enumConnector(widget, type_):
    return _listConnector(widget, list(type_), getattr(type_, "label", lambda member: member.name))


def _listConnector(widget, values, label):
    """As in Slicer, the combo box's items are replaced by the values' texts."""
    widget.clear()
    for value in values:
        widget.addItem(label(value))

    def write(value):
        if value not in values:
            raise ValueError(f"{value!r} is not among the choices {values}")
        widget.currentIndex = list(values).index(value)

    return Connector(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)
