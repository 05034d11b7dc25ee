"""Run, Cancel, and Stop and keep; progress, the objective plot and the log of a run."""

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import GenRegError
from GenRegLogic.mrml.nodes.parents import inScene

from .. import text as words
from ..dependencies import ensureTorch
from ..inputs.parameters import inputsOf, outputsOf, settingsOf
from ..text import asGenRegError, errorsShown, showError
from ..timing import Later, repeating
from .progressview import LogPart, ObjectivePlotPart

__all__ = ["RunControl"]

SHOW_MS = 150
"""Time between two updates of the progress: short enough to appear continuous, long enough to cost little."""

OVERLAY_OPACITY = 0.5


class RunControl:
    """Starts runs and shows their progress.

    Args:
        ui: The panel's widgets.
        runner: `Runner`.
        inputs: `InputsPart`, which updates the Run button while nothing runs.
        buttons: `ResultButtons`, which are given the result.
        result: `ResultPart`, which shows the verdict.
        devices: `DevicesList`, which stores how long runs take.
        needs: Returns when all requirements of a run are installed, or raises (`dependencies.ensureTorch`).
    """

    def __init__(self, ui, runner, inputs, buttons, result, devices, needs=ensureTorch):
        self._ui, self._runner, self._needs = ui, runner, needs
        self._inputs, self._buttons, self._result, self._devices = inputs, buttons, result, devices
        self._plot, self._log = ObjectivePlotPart(ui), LogPart(ui)
        self._parameters = None
        self._latest = self._run = self._expected = None
        self._starting = self._running = self._stopping = self._closed = self._sceneClosed = False
        self._repairing = False
        self._error, self._message = None, Later(self._showMessage)
        self._shower = repeating(self._show, SHOW_MS)
        ui.runButton.connect("clicked(bool)", self.onRun)
        ui.cancelButton.connect("clicked(bool)", self.onCancel)
        ui.keepButton.connect("clicked(bool)", self.onKeep)
        ui.previewCheckBox.connect("toggled(bool)", self.onPreviewToggled)
        self._showState()

    @property
    def busy(self):
        """Whether a run of the panel is under way or about to start."""
        return self._starting or self._running

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes."""
        self._parameters = parameters
        if parameters is None:
            self._plot.remove()
            self._run = None
            self._starting = False
            self._sceneClosed = True
            self._showState()

    def cleanup(self):
        """Stop the timers and remove the objective plot; the runner ends the run."""
        self._closed = True
        self._shower.stop()
        self._message.stop()
        self._plot.remove()
        self._parameters = self._run = None

    def onRun(self, _checked=False):
        """Check the requirements, ask the user if necessary, and start a registration."""
        if self.busy or self._parameters is None:
            return
        try:
            self._runner.checkFree()
            self._needs()
            inputs, outputs = inputsOf(self._parameters), outputsOf(self._parameters)
            if not self._agreeToHarden(inputs, outputs):
                return
            options = self._options()
            shown = inputs if options["preview"] else None
            self._beginWhenFree("register", inputs, outputs, shown=shown, **options)
        except Exception as error:  # after any error the buttons are restored and the error is shown
            self._refuse(error)

    def repair(self, transform, what):
        """Start a local repair (Refine here).

        Args:
            transform: Transform node to be repaired.
            what: {"region", "fixedLandmarks", "movingLandmarks"}: nodes or None.
        """
        if self.busy or self._parameters is None:
            return
        try:
            self._runner.checkFree()
            self._needs()
            settings = settingsOf(self._parameters)
            self._beginWhenFree("repair", transform, **what, settings=settings, **self._options())
        except Exception as error:
            self._refuse(error)

    def onCancel(self, _checked=False):
        """Cancel the run."""
        self._stop(_("Canceling …"), self._runner.cancel)

    def onKeep(self, _checked=False):
        """Stop the run and keep the best alignment so far."""
        self._stop(_("Stopping, and keeping the best so far …"), self._runner.stopAndKeep)

    def onPreviewToggled(self, checked):
        """Switch the preview of the present run on or off."""
        with errorsShown():
            self._runner.setPreview(bool(checked))

    def _agreeToHarden(self, inputs, outputs):
        """Ask before hardening non-linear transforms above the volumes; False if the user declines."""
        from GenRegLogic.mrml.runs.inputs import nonLinearParents

        if inputs.fixed is None or inputs.moving is None:
            return True  # the run itself reports what is missing
        nodes = nonLinearParents(inputs, outputs)
        if not nodes:
            return True
        names = ", ".join(node.GetName() for node in nodes)
        agreed = slicer.util.confirmYesNoDisplay(
            _(
                "The volumes lie below non-linear transforms ({names}), which have to be written into their voxels "
                "first (hardened). Do that now? Undo brings them back."
            ).format(names=names),
            windowTitle=_("GenReg"),
        )
        inputs.nonLinearParents = "harden" if agreed else "refuse"
        return agreed

    def _options(self):
        """The options that registrations and repairs have in common."""
        return {
            "preview": self._parameters.preview,
            "keepWarm": self._parameters.keepWarm,
            "onProgress": self._onProgress,
            "onLog": self._log.add,
        }

    def _beginWhenFree(self, kind, *arguments, shown=None, **options):
        self._starting = True
        self._showState()
        self._runner.whenFree(lambda: self._begin(kind, arguments, options, shown))

    def _begin(self, kind, arguments, options, shown):
        """Start a run; the two volumes of `shown` are put into the views for the preview."""
        if not self._starting or self._closed:  # the scene was closed in between
            return
        self._starting, self._repairing = False, kind == "repair"
        try:
            self._reset()
            self._run = self._runner.begin(kind, *arguments, onEnded=self._onEnded, **options)
        except Exception as error:
            self._onEnded(asGenRegError(error))
            return
        self._running = True
        with errorsShown():
            self._showStarted(shown)
        self._showState()
        self._shower.start()

    def _reset(self):
        """Clear the progress of the last run, and leave the comparison mode of the views."""
        self._run = None
        self._expected = None if self._repairing else self._inputs.expectedSeconds()
        self._plot.clear()
        self._log.clear()
        self._latest, self._stopping, self._sceneClosed = None, False, False
        self._buttons.leave()

    def _showStarted(self, shown):
        from GenRegLogic.mrml.views.layers import showLayers

        self._ui.progressBar.value = 0
        self._ui.progressLabel.text = _("Starting …")
        self._buttons.began()
        if shown is not None:
            showLayers(slicer.mrmlScene, shown.fixed, shown.moving, OVERLAY_OPACITY)

    def _refuse(self, error):
        """Restore the buttons after a run that could not start, and show the error."""
        self._starting = False
        self._showOutcome(asGenRegError(error))

    def _stop(self, sentence, how):
        if self._running:
            self._stopping = True
            self._ui.progressLabel.text = sentence
            self._showState()
            with errorsShown():
                how()

    def _onProgress(self, stage, fraction, secondsLeft, objective):
        if self._sceneClosed:  # progress of a run whose scene was closed does not belong to the next scene
            return
        self._latest = (stage, fraction, secondsLeft)
        if objective is not None:
            self._plot.add(objective)

    def _show(self):
        """Update the displayed progress; called by a timer, not for every event."""
        self._plot.show()
        self._log.show()
        if self._latest is None or self._stopping:
            return
        stage, fraction, secondsLeft = self._latest
        self._ui.progressBar.value = round(100 * min(max(fraction, 0.0), 1.0))
        parts = [words.stageName(stage), words.timeLeft(secondsLeft)]
        self._ui.progressLabel.text = ", ".join(part for part in parts if part)

    def _onEnded(self, outcome):
        self._running = False
        if self._closed:
            return
        self._shower.stop()
        try:
            with errorsShown():
                self._finish(outcome)
        finally:
            self._showState()

    def _finish(self, outcome):
        self._show()
        if isinstance(outcome, GenRegError):
            if self._run is not None:
                self._run.views.restore()
            self._buttons.ended()
        else:
            self._takeOver(outcome)
        self._run = None
        self._showOutcome(outcome)
        self._inputs.update()

    def _takeOver(self, result):
        """Select and show the result, and store how long the run took."""
        from GenRegLogic.mrml.views.layers import showLayers

        parameters, kept = self._parameters, []
        if parameters is not None:
            parameters.outputTransform = result.transformNode
            if self._repairing:
                pass  # the views are not changed
            elif parameters.applyToMoving:
                showLayers(slicer.mrmlScene, parameters.fixedVolume, parameters.movingVolume, OVERLAY_OPACITY)
            elif inScene(result.warpedNode) is not None:
                showLayers(slicer.mrmlScene, parameters.fixedVolume, result.warpedNode, OVERLAY_OPACITY)
            if parameters.keepLog:
                kept.append(self._log.keep(result.transformNode))
        if self._expected and not result.report.get("stopped_early"):
            self._devices.learn(result.report.get("seconds") or 0.0, self._expected)
        self._buttons.ended(result, kept, repaired=self._repairing)
        self._result.show()

    def _showOutcome(self, outcome):
        """Show how the run ended: in the line below the progress bar, and an error also as a message."""
        if isinstance(outcome, GenRegError):
            sentence = str(outcome)
        elif outcome.report.get("stopped_early"):
            sentence = _("Stopped; the best alignment so far was kept.")
        else:
            sentence = _("Done.")
        self._showState()
        self._ui.progressLabel.text = sentence
        self._ui.progressLabel.visible = True
        if isinstance(outcome, GenRegError):
            # Delayed: this may be called from within the worker's poll, and timers run while a message is open.
            self._error = outcome
            self._message.ask()

    def _showMessage(self):
        error, self._error = self._error, None
        if error is not None:
            showError(error)

    def _showState(self):
        """Show and enable the widgets that apply to the present state."""
        ui, busy = self._ui, self.busy
        ui.runButton.visible = not busy
        ui.cancelButton.visible = busy
        ui.keepButton.visible = busy
        ui.cancelButton.enabled = self._running
        ui.keepButton.enabled = self._running and not self._stopping
        ui.progressBar.visible = busy
        ui.progressLabel.visible = busy or bool(ui.progressLabel.text)
        ui.objectivePlotFrame.visible = not self._plot.empty
        for section in (ui.inputsCollapsibleButton, ui.outputCollapsibleButton, ui.advancedCollapsibleButton):
            section.enabled = not busy
