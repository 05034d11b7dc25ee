"""The objective plot as Slicer's own table, series and chart nodes."""

from __future__ import annotations

import slicer
import vtk

from ..i18n import tr as _

__all__ = ["ObjectivePlot"]


class ObjectivePlot:
    """A plot of the objective against the iterations; its nodes are hidden and not saved with the scene.

    `add` only stores a value; `show` updates the plot with the stored values.
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self._values: list[tuple[int, float]] = []
        self._shown = 0
        self._table = self._add("vtkMRMLTableNode", "GenReg objective")
        for name in (_("iteration"), _("objective")):
            column = vtk.vtkFloatArray()
            column.SetName(name)
            self._table.GetTable().AddColumn(column)
        self._series = self._add("vtkMRMLPlotSeriesNode", _("objective"))
        self._series.SetAndObserveTableNodeID(self._table.GetID())
        self._series.SetXColumnName(_("iteration"))
        self._series.SetYColumnName(_("objective"))
        self._series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        self._series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        self._series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        self._series.SetColor(0.12, 0.42, 0.75)
        self.plotChartNode = self._add("vtkMRMLPlotChartNode", "GenReg objective plot")
        self.plotChartNode.AddAndObservePlotSeriesNodeID(self._series.GetID())
        self.plotChartNode.SetTitle("")
        self.plotChartNode.SetXAxisTitle(_("iteration"))
        self.plotChartNode.SetYAxisTitle(_("mismatch left"))
        self.plotChartNode.SetLegendVisibility(False)

    @property
    def values(self) -> list[tuple[int, float]]:
        """The stored values: (number of the iteration, counted over all levels, objective)."""
        return list(self._values)

    def add(self, level: int, iteration: int, objective: float) -> None:
        """Store the objective after an iteration of a level."""
        self._values.append((len(self._values), float(objective)))

    def show(self) -> None:
        """Add the values stored since the last call to the plot."""
        if self._table.GetScene() is None or self._shown == len(self._values):
            return
        table = self._table.GetTable()
        for number, value in self._values[self._shown :]:
            row = table.InsertNextBlankRow()
            table.GetColumn(0).SetValue(row, number)
            table.GetColumn(1).SetValue(row, value)
        self._shown = len(self._values)
        table.Modified()
        self._table.Modified()

    def clear(self) -> None:
        """Remove all values."""
        self._values, self._shown = [], 0
        if self._table.GetScene() is not None:
            self._table.GetTable().SetNumberOfRows(0)
            self._table.GetTable().Modified()
            self._table.Modified()

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        for node in (self.plotChartNode, self._series, self._table):
            if node.GetScene() is not None:
                self._scene.RemoveNode(node)

    def _add(self, className: str, name: str):
        node = self._scene.CreateNodeByClass(className)
        node.UnRegister(None)  # CreateNodeByClass leaves a reference to its caller
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        return self._scene.AddNode(node)
