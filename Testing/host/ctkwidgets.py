"""Stand-ins for the CTK widgets that panels use: plain Qt with the same names, properties and signals.

They look alike only roughly. A class that is missing here raises AttributeError, rather than doing nothing quietly.
"""

import types
from types import MappingProxyType

from PySide6 import QtCore, QtGui, QtWidgets

from . import record
from .pythonqt import standIn

Property, Signal = QtCore.Property, QtCore.Signal
_HEADER = 24  # pixels
_UNLIMITED = 2**24 - 1  # Qt's largest height


@standIn
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows and hides the widgets below it."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else None
        parents = [argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)]
        super().__init__(*parents)
        self._collapsed = False
        self._wanted = {}
        if text:
            self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.toggled.connect(lambda on: self._fold(not on))

    def _isCollapsed(self):
        return self._collapsed

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, _isCollapsed, setCollapsed)

    def _flat(self):
        return False

    flat = Property(bool, _flat, lambda self, value: None)

    def _fold(self, collapsed):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                if collapsed:
                    self._wanted[child] = child.isVisibleTo(self)
                    child.setVisible(False)
                else:
                    child.setVisible(self._wanted.get(child, True))
        self.setMaximumHeight(_HEADER if collapsed else _UNLIMITED)
        self.contentsCollapsed.emit(collapsed)

    def childEvent(self, event):
        if event.type() == QtCore.QEvent.Type.ChildPolished and event.child().isWidgetType() and self._collapsed:
            self._wanted.setdefault(event.child(), True)
            event.child().setVisible(False)

    def hitButton(self, position):
        return position.y() < _HEADER

    def sizeHint(self):
        hint = QtWidgets.QWidget.sizeHint(self)
        width = self.fontMetrics().horizontalAdvance(self.text) + 40
        return QtCore.QSize(max(width, hint.width()), _HEADER if self._collapsed else max(_HEADER, hint.height()))

    def minimumSizeHint(self):
        layout = self.layout()
        if self._collapsed or layout is None:
            return QtCore.QSize(60, _HEADER)
        return QtCore.QSize(max(60, layout.minimumSize().width()), layout.minimumSize().height())

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), _HEADER)
        option.features = QtWidgets.QStyleOptionButton.ButtonFeature(0)
        option.state |= QtWidgets.QStyle.StateFlag.State_Raised
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, 7, 10, 10)
        kind = QtWidgets.QStyle.PrimitiveElement
        shape = kind.PE_IndicatorArrowRight if self._collapsed else kind.PE_IndicatorArrowDown
        self.style().drawPrimitive(shape, arrow, painter, self)
        painter.drawText(option.rect.adjusted(24, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, self.text)
        painter.end()


@standIn
class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box whose check mark shows and hides its content."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.setCheckable(True)
        self._collapsed = False
        self.toggled.connect(lambda on: self._fold(not on))

    def _isCollapsed(self):
        return self._collapsed

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, _isCollapsed, setCollapsed)

    def _fold(self, collapsed):
        self._collapsed = collapsed
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)


@standIn
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box, of floating-point numbers."""

    valueChanged = Signal(float)
    valueChanging = Signal(float)
    valueIsChanging = Signal(float)
    _signals = MappingProxyType({"valueChanged(double)": "valueChanged", "valueChanging(double)": "valueChanging"})

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._spin = QtWidgets.QDoubleSpinBox()
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self._step, self._page, self._tracking, self._busy = 1.0, 10.0, True, False
        self._spin.setRange(0.0, 99.0)
        self._spin.valueChanged.connect(self._followSpin)
        self._slider.valueChanged.connect(self._followSlider)
        self._rescale()

    def _rescale(self):
        self._busy = True
        span = self._spin.property("maximum") - self._spin.property("minimum")
        self._slider.setRange(0, min(1_000_000, max(0, round(span / self._step))) if span < float("inf") else 0)
        self._slider.setValue(round((self._spin.property("value") - self._spin.property("minimum")) / self._step))
        self._busy = False

    def _followSpin(self, value):
        self._rescale()
        self.valueChanged.emit(value)

    def _followSlider(self, position):
        if not self._busy:
            self._spin.setValue(self._spin.property("minimum") + position * self._step)

    def _get(name):
        return lambda self: self._spin.property(name)

    def _set(name):
        def put(self, value):
            getattr(self._spin, "set" + name[0].upper() + name[1:])(value)
            self._rescale()

        return put

    setValue, setMinimum, setMaximum = _set("value"), _set("minimum"), _set("maximum")
    setSuffix, setPrefix, setDecimals = _set("suffix"), _set("prefix"), _set("decimals")
    value = Property(float, _get("value"), setValue)
    minimum = Property(float, _get("minimum"), setMinimum)
    maximum = Property(float, _get("maximum"), setMaximum)
    suffix = Property(str, _get("suffix"), setSuffix)
    prefix = Property(str, _get("prefix"), setPrefix)
    decimals = Property(int, _get("decimals"), setDecimals)

    def setSingleStep(self, step):
        self._step = step
        self._spin.setSingleStep(step)
        self._rescale()

    singleStep = Property(float, lambda self: self._step, setSingleStep)

    def _setPage(self, step):
        self._page = step

    pageStep = Property(float, lambda self: self._page, _setPage)

    def setTracking(self, tracking):
        self._tracking = tracking

    tracking = Property(bool, lambda self: self._tracking, setTracking)

    def setSpinBoxVisible(self, visible):
        self._spin.setVisible(visible)

    spinBoxVisible = Property(bool, lambda self: not self._spin.isHidden(), setSpinBoxVisible)

    def setRange(self, minimum, maximum):
        self._spin.setRange(minimum, maximum)
        self._rescale()


@standIn
class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    """CTK's spin box without adaptive decimals."""


@standIn
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a default text when nothing is selected."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._default = ""

    def setDefaultText(self, text):
        self._default = text
        self.setPlaceholderText(text)

    defaultText = Property(str, lambda self: self._default, setDefaultText)


@standIn
class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box."""


@standIn
class ctkPushButton(QtWidgets.QPushButton):
    """A push button."""


@standIn
class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser."""


@standIn
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that is recorded and answered from `host.answers`."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._key = ""

    def _setKey(self, key):
        self._key = key

    dontShowAgainSettingsKey = Property(str, lambda self: self._key, _setKey)


KINDS = {
    QtWidgets.QMessageBox.Icon.Critical: "error",
    QtWidgets.QMessageBox.Icon.Warning: "warning",
    QtWidgets.QMessageBox.Icon.Question: "question",
}


def answerBox(box, *_):
    """In place of QMessageBox.exec: records the box and returns the next answer's standard button."""
    text, details, title = (box.property(name) for name in ("text", "detailedText", "windowTitle"))
    record.messages.append(record.Message(KINDS.get(box.property("icon"), "information"), text, details, title.strip()))
    Button = QtWidgets.QMessageBox.StandardButton
    shown = QtWidgets.QMessageBox.standardButtons.__get__(box) or Button.Ok
    if callable(shown):
        shown = shown() or Button.Ok
    if record.answers:
        answer = Button[record.answers.pop(0)]
        if not shown & answer:
            raise AssertionError(f"the box {text!r} has no button {answer.name}")
        return answer
    accepting = (Button.Ok, Button.Yes, Button.Retry)
    rejecting = (Button.Cancel, Button.No, Button.Close)
    wanted = accepting + rejecting if record.defaultAnswer == "accept" else rejecting + accepting
    return next(button for button in wanted if shown & button)


def makeModule():
    """The module `ctk`."""
    for name in ("exec", "exec_"):
        setattr(QtWidgets.QMessageBox, name, answerBox)
    module = types.ModuleType("ctk", "stand-ins for CTK's widgets")
    for name, item in globals().items():
        if name.startswith("ctk"):
            setattr(module, name, item)
    return module
