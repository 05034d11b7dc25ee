"""The section Inspect, collapsed at first: its parts, and their common state."""

from ..result.selection import pairOrNone, selectedResult
from .actions import InspectPlaces, InspectRepair, InspectReport
from .job import InspectJob
from .maps import InspectMaps
from .measures import InspectMeasures
from .modes import InspectModes

__all__ = ["InspectPart"]


class InspectPart:
    """The section Inspect.

    Args:
        ui: The panel's widgets.
        display: `ResultDisplay`, shared with ResultButtons.
        runner: `Runner`.
        runControl: `RunControl`, which runs local repairs.
        needs: See `RunControl`.
    """

    def __init__(self, ui, display, runner, runControl, needs):
        self._ui, self._display, self._runner = ui, display, runner
        self._parameters = self._shown = None
        self._closed = False
        self.job = InspectJob(ui, runner, needs, self.update)
        self.modes = InspectModes(ui, self)
        self.maps = InspectMaps(ui, self)
        self.places = InspectPlaces(ui, self, self.maps)
        self.measures = InspectMeasures(ui, self)
        self.repair = InspectRepair(ui, self, runControl)
        self.report = InspectReport(ui, self)
        self._parts = (self.modes, self.maps, self.places, self.measures, self.repair, self.report)
        display.listen(self.update)
        ui.inspectBackButton.connect("clicked(bool)", self.onBack)

    @property
    def display(self):
        """`ResultDisplay`."""
        return self._display

    @property
    def parameters(self):
        """The parameter node, or None."""
        return self._parameters

    @property
    def transform(self):
        """The selected transform if it holds a result, else None."""
        return selectedResult(self._parameters)

    @property
    def pair(self):
        """The selected transform with its two scans (`GenRegLogic.mrml.nodes.pair.Pair`), or None."""
        return pairOrNone(self.transform)

    @property
    def free(self):
        """Whether there is a result to inspect and nothing is being computed."""
        return self.pair is not None and not self._runner.running and not self._display.running and not self.job.busy

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes."""
        self._parameters = parameters
        if parameters is None:
            self.job.cancel()
        self.update()

    def update(self):
        """Update all parts."""
        if self._closed:
            return
        transform = self.transform
        if transform is not self._shown:
            if self._shown is not None:
                self._shown = transform
                self._display.clear()
            self._shown = transform
            self._display.dropOrphans()
            self.maps.forget()
        for part in self._parts:
            part.update()
        self._ui.inspectBackButton.visible = self._display.active or bool(self._display.drawing)

    def cleanup(self):
        """Stop timers and jobs."""
        self._closed = True
        self.job.cleanup()
        for part in self._parts:
            part.cleanup()
        self._parameters = None

    def onBack(self, _checked=False):
        """Leave the mode and remove the drawing."""
        self._display.clear()
