"""The objective's curve below the progress bar (Slicer's own plot, made when the first value comes), and the log."""

import slicer
from slicer.i18n import tr as _

from ..inputs.parameters import inScene

__all__ = ["CurvePart", "LogPart", "Shares"]

VIEW_NAME = "GenRegObjective"


class Shares:
    """Makes one falling curve of the objectives of several levels, each of which has a scale of its own.

    The curve begins at 1, a level begins where the one before it ended, and the best so far is what counts, as it does
    for the result.
    """

    def __init__(self):
        self._level = None
        self._start, self._factor, self._best = 0.0, 1.0, 1.0

    def next(self, level, objective):
        """The curve's next value.

        Args:
            level: Number of the level; a new one begins a new scale.
            objective: Positive, lower is better.
        """
        if level != self._level:
            self._level, self._start, self._factor = level, objective, self._best
        if self._start > 0:
            self._best = min(self._best, self._factor * objective / self._start)
        return self._best


class CurvePart:
    """Plots the objective of a run.

    The view is made late: a plot needs OpenGL, which a Slicer without a window may lack, and a panel that never runs
    needs none.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._frame, self._layout = ui.curveFrame, ui.curveFrame.layout()
        self._curve = self._view = self._viewNode = self._ownerNode = None
        self._count, self._shares = 0, Shares()

    @property
    def empty(self):
        """Whether there is nothing to show."""
        return self._count == 0

    def add(self, objective):
        """Note a value; it appears with the next `show`.

        Args:
            objective: {"level", "iteration", "objective"}.
        """
        if self._curve is None or inScene(self._curve.plotChartNode) is None:
            self._make()
        self._count += 1
        share = self._shares.next(objective["level"], objective["objective"])
        self._curve.add(objective["level"], objective["iteration"], share)

    def show(self):
        """Bring the values noted since the last time into the plot."""
        if self._curve is not None and self._count and inScene(self._curve.plotChartNode) is not None:
            self._frame.visible = True
            self._curve.show()

    def clear(self):
        """Begin again."""
        self._count, self._shares = 0, Shares()
        self._frame.visible = False
        if self._curve is not None and inScene(self._curve.plotChartNode) is not None:
            self._curve.clear()

    def remove(self):
        """Take the curve out of the scene, as the panel ends or the scene closes, which would leave the view's node."""
        self._count = 0
        self._frame.visible = False
        if self._view is not None:
            self._view.setMRMLPlotViewNode(None)
        if self._curve is not None:
            self._curve.remove()
        for node in (self._viewNode, self._ownerNode):
            if inScene(node) is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._curve = self._viewNode = self._ownerNode = None

    def _make(self):
        from GenRegLogic.mrml.views.objectiveplot import ObjectiveCurve

        scene = slicer.mrmlScene
        self._curve = ObjectiveCurve(scene)
        if self._view is None:
            self._view = slicer.qMRMLPlotView()
            self._view.objectName = "plotWidget"
            self._layout.addWidget(self._view)
        self._view.setMRMLScene(scene)
        if inScene(self._viewNode) is None:
            self._viewNode = self._makeViewNode(scene)
        self._viewNode.SetPlotChartNodeID(self._curve.plotChartNode.GetID())
        self._view.setMRMLPlotViewNode(self._viewNode)

    def _makeViewNode(self, scene):
        """A view node that the layout leaves alone, as another node owns it."""
        owner = slicer.vtkMRMLScriptedModuleNode()
        owner.SetName("GenReg curve owner")
        owner.SetSaveWithScene(False)
        owner.SetHideFromEditors(True)
        self._ownerNode = scene.AddNode(owner)
        node = slicer.vtkMRMLPlotViewNode()
        node.SetName(VIEW_NAME)
        node.SetLayoutName(VIEW_NAME)
        node.SetSaveWithScene(False)
        node.SetAndObserveParentLayoutNodeID(self._ownerNode.GetID())
        return scene.AddNode(node)


class LogPart:
    """Collects a run's lines and shows them a few at a time.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._text = ui.logText
        self._lines, self._shown = [], 0

    def add(self, line):
        """Note a line; it appears with the next `show`."""
        self._lines.append(line.rstrip())

    def show(self):
        """Show the lines noted since the last time."""
        if self._shown < len(self._lines):
            self._text.appendPlainText("\n".join(self._lines[self._shown :]))
            self._shown = len(self._lines)

    def clear(self):
        """Begin again."""
        self._lines, self._shown = [], 0
        self._text.clear()

    def keep(self, transformNode):
        """Store the log as a text node named after the transform, and return the node."""
        name = _("{name} log").format(name=transformNode.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", slicer.mrmlScene.GenerateUniqueName(name))
        node.SetText("\n".join(self._lines))
        return node
