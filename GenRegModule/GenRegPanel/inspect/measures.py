"""Measures: landmark errors and segments in a table, in which a click shows the position; saved as CSV."""

import math

import qt
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.parents import inScene

from ..text import errorsShown
from .actions import askForFile

__all__ = ["InspectMeasures"]

PLACE_COLUMNS = 3
"""The last columns of a table hold the position of a row (RAS mm); they are not shown."""


class InspectMeasures:
    """The selectors, the Measure buttons and the table.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
    """

    def __init__(self, ui, inspect):
        self._ui, self._inspect = ui, inspect
        self._table = None
        ui.measureLandmarksButton.connect("clicked(bool)", self.onLandmarks)
        ui.measureSegmentsButton.connect("clicked(bool)", self.onSegments)
        ui.saveTableButton.connect("clicked(bool)", self.onSave)
        ui.measuresTable.connect("cellClicked(int,int)", self.onCell)

    def update(self):
        """Enable what can be measured, and hide a table whose node was removed."""
        ui, free = self._ui, self._inspect.free
        chosen = self._chosen
        ui.measureLandmarksButton.enabled = free and None not in (
            chosen("measureFixedLandmarks"),
            chosen("measureMovingLandmarks"),
        )
        ui.measureSegmentsButton.enabled = free and chosen("fixedSegmentation") is not None
        if self._table is not None and inScene(self._table) is None:
            self._table = None
        for widget in (ui.measuresTable, ui.measuresLabel, ui.saveTableButton):
            widget.visible = self._table is not None

    def cleanup(self):
        """Release the table."""
        self._table = None

    def onLandmarks(self, _checked=False):
        """Measure the landmarks."""
        from GenRegLogic.mrml.nodes.tables import landmarkTable

        self._measure(landmarkTable, "measureFixedLandmarks", "measureMovingLandmarks")

    def onSegments(self, _checked=False):
        """Measure the segments."""
        from GenRegLogic.mrml.nodes.tables import segmentTable

        self._measure(segmentTable, "fixedSegmentation", "movingSegmentation")

    def onCell(self, row, _column):
        """Center the views on the position of a row."""
        from GenRegLogic.mrml.nodes.tables import pointsOf
        from GenRegLogic.mrml.views.worstplaces import goTo

        if inScene(self._table) is None:
            return
        point = pointsOf(self._table)[row]
        if not any(math.isnan(value) for value in point):
            display = self._inspect.display
            display.modes.begin()
            goTo(display.modes.scene, point)
            display.changed()

    def onSave(self, _checked=False):
        """Write the table as CSV."""
        from GenRegLogic.mrml.nodes.tables import saveCsv

        if inScene(self._table) is None:
            return
        path = askForFile(_("Save table"), fileName(self._table), _("Table (*.csv)"))
        if path:
            with errorsShown():
                saveCsv(self._table, path if path.lower().endswith(".csv") else path + ".csv")

    def _chosen(self, name):
        parameters = self._inspect.parameters
        return inScene(getattr(parameters, name)) if parameters is not None else None

    def _measure(self, function, fixed, moving):
        transform = self._inspect.transform
        if transform is None:
            return
        qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
        try:
            with errorsShown():
                self._table = function(transform, self._chosen(fixed), self._chosen(moving))
                self._fill()
        finally:
            qt.QApplication.restoreOverrideCursor()
        self._inspect.update()

    def _fill(self):
        from GenRegLogic.mrml.nodes.tables import rowsOf, summary

        titles, *rows = rowsOf(self._table)
        widget, count = self._ui.measuresTable, len(titles) - PLACE_COLUMNS
        widget.clear()
        widget.setRowCount(len(rows))
        widget.setColumnCount(count)
        widget.setHorizontalHeaderLabels(titles[:count])
        for number, row in enumerate(rows):
            for column, value in enumerate(row[:count]):
                widget.setItem(number, column, qt.QTableWidgetItem(_figure(value)))
        widget.resizeColumnsToContents()
        self._ui.measuresLabel.text = summary(self._table)


def fileName(table):
    """The suggested file name of a table; without the transform's name, which may identify the patient."""
    from GenRegLogic.mrml.nodes.tables import MEASURE_ATTRIBUTE

    return f"registration {table.GetAttribute(MEASURE_ATTRIBUTE) or 'table'}.csv"


def _figure(value):
    if isinstance(value, str):
        return value
    return "–" if math.isnan(value) else f"{value:.2f}"
