"""The line below the inputs that describes them, and the estimate; it also updates the Run button (`run.runbutton`)."""

import slicer
import vtk
from slicer.i18n import tr as _

from GenRegLogic.errors import GenRegError

from .. import text as words
from ..run.runbutton import showRunButton
from ..timing import Later
from .parameters import inputsOf, outputsOf, settingsOf

__all__ = ["InputsPart"]

QUIET_MS = 400
"""Time without a change of the inputs before their contrasts are compared, so that scrolling a list starts nothing."""


class InputsPart:
    """Describes the inputs, and states what is missing.

    Args:
        ui: The panel's widgets.
        runner: `Runner`, for its state and its idle jobs.
        devices: `DevicesList`, for memory and speed of the chosen device.
        mayInspect: Returns whether the worker can be asked (torch is installed).
    """

    def __init__(self, ui, runner, devices, mayInspect):
        self._ui, self._runner, self._devices, self._mayInspect = ui, runner, devices, mayInspect
        self._parameters = None
        self._observed = []
        self._contrasts = {}
        self._soon = Later(self.update)
        self._inspection = Later(self._inspect, QUIET_MS)
        self.ready = False

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes."""
        self._parameters = parameters
        self.updateSoon()

    def cleanup(self):
        """Stop timers and observers."""
        self._soon.stop()
        self._inspection.stop()
        self._parameters = None
        self._listenTo([])

    def updateSoon(self, *_):
        """Update when Qt is idle; several requests make one update."""
        self._soon.ask()

    def update(self):
        """Update the texts and the Run button."""
        if self._runner.running:
            return
        understanding = None
        if self._parameters is not None:
            self._listenTo([self._parameters.fixedVolume, self._parameters.movingVolume])
            try:
                understanding = self._understand()
            except GenRegError as error:
                self._show(None, str(error), refused=True)
                return
        sentence = understanding.sentence if understanding is not None else ""
        if understanding is not None and understanding.ready:
            sentence = " ".join(part for part in (sentence, self._contrasts.get(self._pair(), "")) if part)
            self._inspection.ask()
        self._show(understanding, sentence)

    def expectedSeconds(self):
        """The engine's estimate of a run's time, not corrected by past runs; None if it is unknown."""
        if self._parameters is None or not self.ready:
            return None
        try:
            return self._expected().seconds
        except GenRegError:
            return None

    def _understand(self):
        from GenRegLogic.mrml.runs.inputs import understand

        return understand(inputsOf(self._parameters), outputsOf(self._parameters))

    def _show(self, understanding, sentence, refused=False):
        ui = self._ui
        self.ready = ready = showRunButton(ui.runButton, understanding, refused)
        ui.inputsLabel.text = sentence
        ui.inputsLabel.visible = bool(sentence)
        estimate = self._estimate() if ready else ""
        ui.estimateLabel.text = estimate
        ui.estimateLabel.visible = bool(estimate)

    def _estimate(self):
        """The estimated time and memory as text, or the reason why a run is not possible."""
        device = self._devices.chosen()
        try:
            expected = self._expected()
        except GenRegError as error:  # not enough memory for any plan
            return str(error)
        where = _("on {device}").format(device=device.words)
        speed = self._devices.speed(device)
        if speed is None:
            return _("Needs about {memory} {where}; the time is known after the first run there.").format(
                memory=words.memory(expected.bytes), where=where
            )
        text = _("{duration} and {memory} {where}").format(
            duration=words.duration(expected.seconds * speed), memory=words.memory(expected.bytes), where=where
        )
        return text[0].upper() + text[1:]

    def _expected(self):
        """The engine's estimate.

        Raises:
            GenRegError: There is not enough memory, or a volume's geometry cannot be used.
        """
        from GenRegLogic.machine.estimate import estimate

        nodes = self._parameters.fixedVolume, self._parameters.movingVolume
        fixed, moving = (self._geometry(node) for node in nodes)
        return estimate(fixed, moving, settingsOf(self._parameters), self._devices.chosen().memory)

    @staticmethod
    def _geometry(node):
        """Size and spacing of a volume, without its parents, which is sufficient for an estimate."""
        from GenRegLogic.space.geometry import Geometry

        return Geometry(node.GetImageData().GetDimensions(), node.GetSpacing())

    def _inspect(self):
        """Compare the contrasts of the two volumes in the worker, once for each pair."""
        pair = self._pair()
        if self._runner.running or not self.ready or pair is None or not self._mayInspect():
            return
        self._devices.findOnce()
        if pair in self._contrasts:
            return

        def prepare():
            from GenRegLogic.mrml.runs.inputs import coarsened

            outputs = outputsOf(self._parameters)
            fixed, fixedGeometry = coarsened(self._parameters.fixedVolume)
            moving, movingGeometry = coarsened(self._parameters.movingVolume, ignoring=outputs.transform)
            geometries = {"fixed": fixedGeometry.to_dict(), "moving": movingGeometry.to_dict()}
            return geometries, {"fixed": fixed, "moving": moving}

        def done(report):
            alike, different = _("Their contrasts are alike."), _("Their contrasts differ, which is fine.")
            self._contrasts[pair] = alike if report["same_contrast"] else different
            self.updateSoon()

        self._runner.idle.ask("inspect", "inspect", prepare, done)

    def _pair(self):
        """The identity of the two volumes and their voxels."""
        if self._parameters is None:
            return None
        nodes = self._parameters.fixedVolume, self._parameters.movingVolume
        if any(node is None or node.GetImageData() is None for node in nodes):
            return None
        return tuple((node.GetID(), node.GetImageData().GetMTime()) for node in nodes)

    def _listenTo(self, nodes):
        """Observe changes to the volumes' voxels, geometry and parents."""
        nodes = [node for node in nodes if node is not None]
        if [node for node, _tags in self._observed] == nodes:
            return
        for node, tags in self._observed:
            for tag in tags:
                node.RemoveObserver(tag)
        events = (
            vtk.vtkCommand.ModifiedEvent,
            slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
            slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
        )
        self._observed = [(node, [node.AddObserver(event, self.updateSoon) for event in events]) for node in nodes]
