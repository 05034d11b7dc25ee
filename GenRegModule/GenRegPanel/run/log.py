"""What the run says, on demand, and kept in the scene if wanted."""

import slicer
from slicer.i18n import tr as _

__all__ = ["LogPart"]


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
