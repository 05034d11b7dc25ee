"""The objective plot below the progress bar (Slicer's own plot view, created with the first value), and the log."""

import slicer
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.parents import inScene

__all__ = ["LogPart", "ObjectivePlotPart", "Shares"]

VIEW_NAME = "GenRegObjective"


class Shares:
    """Converts the objectives of several levels, each with its own scale, to one decreasing sequence.

    The first value is 1, each level starts with the last value of the level before it, and the best value so far is
    used, as it is for the result.
    """

    def __init__(self):
        self._level = None
        self._start, self._factor, self._best = 0.0, 1.0, 1.0

    def next(self, level, objective):
        """The next value of the sequence.

        Args:
            level: Number of the level; a new level starts a new scale.
            objective: Positive, lower is better.
        """
        if level != self._level:
            self._level, self._start, self._factor = level, objective, self._best
        if self._start > 0:
            self._best = min(self._best, self._factor * objective / self._start)
        return self._best


class ObjectivePlotPart:
    """Shows the objective plot of a run.

    The plot view is created with the first value, because it needs OpenGL, which may be missing in a Slicer without a
    main window.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._frame, self._layout = ui.objectivePlotFrame, ui.objectivePlotFrame.layout()
        self._plot = self._view = self._viewNode = self._ownerNode = None
        self._count, self._shares = 0, Shares()

    @property
    def empty(self):
        """Whether there are no values."""
        return self._count == 0

    def add(self, objective):
        """Store a value; it is shown by the next `show`.

        Args:
            objective: {"level", "iteration", "objective"}.
        """
        if self._plot is None or inScene(self._plot.plotChartNode) is None:
            self._make()
        self._count += 1
        share = self._shares.next(objective["level"], objective["objective"])
        self._plot.add(objective["level"], objective["iteration"], share)

    def show(self):
        """Add the values stored since the last call to the plot."""
        if self._plot is not None and self._count and inScene(self._plot.plotChartNode) is not None:
            self._frame.visible = True
            self._plot.show()

    def clear(self):
        """Remove all values, and hide the plot."""
        self._count, self._shares = 0, Shares()
        self._frame.visible = False
        if self._plot is not None and inScene(self._plot.plotChartNode) is not None:
            self._plot.clear()

    def remove(self):
        """Remove the plot's nodes, when the panel ends or the scene closes; closing would keep the view node."""
        self._count = 0
        self._frame.visible = False
        if self._view is not None:
            self._view.setMRMLPlotViewNode(None)
        if self._plot is not None:
            self._plot.remove()
        for node in (self._viewNode, self._ownerNode):
            if inScene(node) is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._plot = self._viewNode = self._ownerNode = None

    def _make(self):
        from GenRegLogic.mrml.views.objectiveplot import ObjectivePlot

        scene = slicer.mrmlScene
        self._plot = ObjectivePlot(scene)
        if self._view is None:
            self._view = slicer.qMRMLPlotView()
            self._view.objectName = "plotWidget"
            self._layout.addWidget(self._view)
        self._view.setMRMLScene(scene)
        if inScene(self._viewNode) is None:
            self._viewNode = self._makeViewNode(scene)
        self._viewNode.SetPlotChartNodeID(self._plot.plotChartNode.GetID())
        self._view.setMRMLPlotViewNode(self._viewNode)

    def _makeViewNode(self, scene):
        """A plot view node that the layout ignores, because it has an owner node."""
        owner = slicer.vtkMRMLScriptedModuleNode()
        owner.SetName("GenReg objective plot owner")
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
    """Collects the log lines of a run, and shows them in batches.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._text = ui.logText
        self._lines, self._shown = [], 0

    def add(self, line):
        """Store a line; it is shown by the next `show`."""
        self._lines.append(line.rstrip())

    def show(self):
        """Show the lines stored since the last call."""
        if self._shown < len(self._lines):
            self._text.appendPlainText("\n".join(self._lines[self._shown :]))
            self._shown = len(self._lines)

    def clear(self):
        """Remove all lines."""
        self._lines, self._shown = [], 0
        self._text.clear()

    def keep(self, transformNode):
        """Store the log as a text node named after the transform, and return the node."""
        name = _("{name} log").format(name=transformNode.GetName())
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", slicer.mrmlScene.GenerateUniqueName(name))
        node.SetText("\n".join(self._lines))
        return node
