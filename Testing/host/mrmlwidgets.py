"""Stand-ins for Slicer's MRML widgets other than the node selector and the views."""

from types import MappingProxyType

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .ctkwidgets import ctkDoubleSpinBox, ctkSliderWidget
from .pythonqt import standIn

Property, Signal = QtCore.Property, QtCore.Signal


@standIn
class qMRMLWidget(QtWidgets.QWidget):
    """A widget that holds the scene and signals its changes, to which the .ui file connects its children."""

    mrmlSceneChanged = Signal(object)
    _signals = MappingProxyType({"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"})

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._scene = None

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self):
        return self._scene


@standIn
class qMRMLSliderWidget(ctkSliderWidget):
    """ctkSliderWidget; the suffix from the scene's units is not implemented."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._quantity = ""

    def _setQuantity(self, quantity):
        self._quantity = quantity

    quantity = Property(str, lambda self: self._quantity, _setQuantity)

    def setMRMLScene(self, scene):
        pass


@standIn
class qMRMLSpinBox(ctkDoubleSpinBox):
    """ctkDoubleSpinBox; the suffix from the scene's units is not implemented."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._quantity = ""

    def _setQuantity(self, quantity):
        self._quantity = quantity

    quantity = Property(str, lambda self: self._quantity, _setQuantity)

    def setMRMLScene(self, scene):
        pass


@standIn
class qMRMLPlotView(QtWidgets.QWidget):
    """Draws the chart of a plot view node: its series as lines, its title and the axes' titles."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._node, self._watched = None, None, []
        self.destroyed.connect(lambda *_, view=self.__dict__: _unwatch(view))

    def setMRMLScene(self, scene):
        self._scene = scene

    def mrmlScene(self):
        return self._scene

    def setMRMLPlotViewNode(self, node):
        if node is not None and not isinstance(node, slicer.vtkMRMLPlotViewNode):
            raise TypeError(f"setMRMLPlotViewNode takes a vtkMRMLPlotViewNode, not {node!r}")
        self._node = node
        self._watch()

    def mrmlPlotViewNode(self):
        return self._node

    def fitToContent(self):
        self.update()

    def _watch(self, *_):
        _unwatch(self.__dict__)
        for item in (self._node, *self._parts()):
            if item is not None:
                self._watched.append((item, item.AddObserver(vtk.vtkCommand.ModifiedEvent, self._watch)))
        self.update()

    def _parts(self):
        """The chart, its series and their tables, for the observers."""
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        return [chart, *series, *(item.GetTableNode() for item in series)]

    def curves(self):
        """The drawn series, for tests: a list of (series name, list of (x, y))."""
        drawn = []
        for item in self._parts():
            table = item.GetTableNode().GetTable() if item is not None and item.IsA("vtkMRMLPlotSeriesNode") else None
            y = table.GetColumnByName(item.GetYColumnName()) if table is not None else None
            if y is None:
                continue
            x = table.GetColumnByName(item.GetXColumnName() or "")
            rows = range(y.GetNumberOfTuples())
            points = [(x.GetTuple1(n) if x is not None else float(n), y.GetTuple1(n)) for n in rows]
            drawn.append((item.GetName(), points))
        return drawn

    def sizeHint(self):
        return QtCore.QSize(300, 160)

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        area = QtCore.QRectF(QtWidgets.QWidget.rect(self))
        painter.fillRect(area, QtGui.QColor("white"))
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        painter.setPen(QtGui.QColor("black"))
        top, bottom = QtCore.Qt.AlignmentFlag.AlignTop, QtCore.Qt.AlignmentFlag.AlignBottom
        center = QtCore.Qt.AlignmentFlag.AlignHCenter
        if chart is not None:
            painter.drawText(area, top | center, chart.GetTitle() or "")
            painter.drawText(area, bottom | center, chart.GetXAxisTitle() or "")
        frame = area.adjusted(36, 18, -8, -20)
        painter.drawRect(frame)
        points = [point for _, curve in self.curves() for point in curve]
        if points:
            self._drawCurves(painter, frame, points)
        painter.end()

    def _drawCurves(self, painter, frame, points):
        low = [min(point[n] for point in points) for n in (0, 1)]
        high = [max(point[n] for point in points) for n in (0, 1)]
        span = [(b - a) or 1.0 for a, b in zip(low, high)]
        colors = [item.GetColor() for item in self._parts() if item is not None and item.IsA("vtkMRMLPlotSeriesNode")]
        for (_, curve), color in zip(self.curves(), colors):
            painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*color), 2))
            line = QtGui.QPolygonF(
                [
                    QtCore.QPointF(
                        frame.left() + frame.width() * (x - low[0]) / span[0],
                        frame.bottom() - frame.height() * (y - low[1]) / span[1],
                    )
                    for x, y in curve
                ]
            )
            painter.drawPolyline(line)
            if len(curve) == 1:
                painter.drawEllipse(line[0], 2, 2)
        painter.setPen(QtGui.QColor("black"))
        painter.drawText(QtCore.QPointF(2, frame.top() + 10), f"{high[1]:.3g}")
        painter.drawText(QtCore.QPointF(2, frame.bottom()), f"{low[1]:.3g}")


@standIn
class qMRMLPlotWidget(qMRMLWidget):
    """A plot view in a frame."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._view = qMRMLPlotView(self)
        layout.addWidget(self._view)

    def setMRMLScene(self, scene):
        super().setMRMLScene(scene)
        self._view.setMRMLScene(scene)

    def plotView(self):
        return self._view

    def setMRMLPlotViewNode(self, node):
        self._view.setMRMLPlotViewNode(node)

    def mrmlPlotViewNode(self):
        return self._view.mrmlPlotViewNode()


def _unwatch(view):
    for item, tag in view["_watched"]:
        item.RemoveObserver(tag)
    view["_watched"] = []
