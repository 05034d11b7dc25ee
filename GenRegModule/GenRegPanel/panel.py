"""The panel as a whole: its parts, and the parameter node that they are connected to."""

import vtk

from .dependencies import ensureTorch, torchInstalled
from .inputs.devices import DevicesList
from .inputs.inputsline import InputsPart
from .inspect.section import InspectPart
from .result.display import ResultButtons, ResultDisplay
from .result.resultsection import ResultPart
from .run.control import RunControl
from .timing import Later

__all__ = ["Panel"]


class Panel:
    """Keeps the parts up to date with the parameter node.

    Args:
        ui: The widgets of GenReg.ui.
        runner: `Runner`.
        settings: Where the speeds of devices are stored; the application's settings if None.
        needs: See `RunControl`.
        mayInspect: See `InputsPart`.

    Attributes:
        parameters: The parameter node, or None while the scene closes.
    """

    def __init__(self, ui, runner, settings=None, needs=ensureTorch, mayInspect=torchInstalled):
        self.parameters = None
        self._ui, self._runner = ui, runner
        self._guiTag = self._observerTag = None
        self._soon = Later(self.update)
        self.devices = DevicesList(ui, runner.idle, self._soon.ask, settings)
        self.inputs = InputsPart(ui, runner, self.devices, mayInspect)
        self.result = ResultPart(ui)
        self.display = ResultDisplay()
        self.buttons = ResultButtons(ui, self.display)
        self.runControl = RunControl(ui, runner, self.inputs, self.buttons, self.result, self.devices, needs)
        self.inspect = InspectPart(ui, self.display, runner, self.runControl, needs)
        self._parts = (self.devices, self.inputs, self.result, self.inspect, self.buttons, self.runControl)

    def setParameters(self, parameters):
        """Connect all parts to a parameter node; None while the scene closes."""
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.parameters.RemoveObserver(self._observerTag)
            if parameters is None or parameters.parameterNode is not self.parameters.parameterNode:
                self._forget()
        self.parameters = parameters
        if parameters is not None:
            self._guiTag = parameters.connectGui(self._ui)
            self._observerTag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._soon.ask)
            for part in self._parts:
                part.setParameters(parameters)

    def update(self):
        """Update all parts from the parameter node."""
        if self.parameters is None:
            return
        self.devices.update()
        self.inputs.update()
        self.result.update()
        self.buttons.update()
        self.inspect.update()

    def cleanup(self):
        """Stop all parts."""
        self.setParameters(None)
        self._soon.stop()
        for part in (self.inputs, self.result, self.inspect, self.buttons, self.runControl):
            part.cleanup()

    def _forget(self):
        for part in self._parts:
            part.setParameters(None)
