"""The verdict on the selected output transform and its figures, which are saved with the transform."""

import slicer
import vtk
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.parents import inScene
from GenRegLogic.mrml.nodes.transforms import reportOf

from .. import text as words
from ..timing import Later
from .selection import scanOf

__all__ = ["ResultPart"]


class ResultPart:
    """Shows verdict and figures from the report of the selected output transform.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._ui = ui
        self._parameters = None
        self._node, self._tags = None, []
        self._soon = Later(self.update)

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes."""
        self._parameters = parameters
        self.update()

    def cleanup(self):
        """Remove the observers."""
        self._soon.stop()
        self._parameters = None
        self._listenTo(None)

    def update(self):
        """Show the verdict of the selected transform, or why there is none."""
        node = inScene(self._parameters.outputTransform) if self._parameters is not None else None
        isNew = node is not self._node
        self._listenTo(node)
        report = reportOf(node)
        ui = self._ui
        if isNew and report is not None:
            ui.resultCollapsibleButton.collapsed = False
        ui.figuresLabel.visible = report is not None
        if report is None:
            nothing, empty = _("Nothing registered yet."), _("The selected transform holds no result yet.")
            ui.verdictLabel.text = nothing if node is None else empty
            ui.figuresLabel.text = ""
            return
        if not self._stillHolds(node):
            ui.verdictLabel.text = _(
                "This transform was changed after its run, so the run's verdict no longer holds; "
                "Save report measures it again."
            )
            ui.figuresLabel.text = ""
            return
        try:
            ui.verdictLabel.text = words.verdictHtml(report)
            ui.figuresLabel.text = words.rowsAsHtml(
                [*self._pairRows(node), *words.figureRows(report)], notes=report.get("warnings", ())
            )
        except (KeyError, TypeError, ValueError, AttributeError):  # written by another version, or by hand
            ui.verdictLabel.text = _("The report on this transform cannot be read; run again to get a new one.")
            ui.figuresLabel.text = ""

    def show(self):
        """Expand the section and update it, after a run."""
        self._ui.resultCollapsibleButton.collapsed = False
        self.update()

    @staticmethod
    def _stillHolds(node):
        """Whether the transform is unchanged since its report was made."""
        from GenRegLogic.mrml.nodes.transforms import isAsReported

        return isAsReported(node)

    @staticmethod
    def _pairRows(node):
        """The row with the names of the two volumes, if both are still in the scene."""
        fixed, moving = scanOf(node, "fixed"), scanOf(node, "moving")
        if fixed is None or moving is None:
            return []
        return [(_("Registered"), _("{moving} onto {fixed}").format(moving=moving.GetName(), fixed=fixed.GetName()))]

    def _listenTo(self, node):
        if node is self._node:
            return
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._node = node
        events = (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent)
        self._tags = [node.AddObserver(event, self._soon.ask) for event in events] if node is not None else []
