"""A worker job of the section Inspect, with its own progress bar and Cancel button."""

from slicer.i18n import tr as _

from GenRegLogic.errors import GenRegError

from .. import text as words
from ..text import asGenRegError, errorsShown, showError
from ..timing import Later

__all__ = ["InspectJob"]


class InspectJob:
    """Runs one job at a time.

    Args:
        ui: The panel's widgets.
        runner: `Runner`.
        needs: Returns when all requirements of a job are installed, or raises.
        onChange: Called when a job has started or ended.
    """

    def __init__(self, ui, runner, needs, onChange):
        self._ui, self._runner, self._needs, self._onChange = ui, runner, needs, onChange
        self._busy = self._running = False
        self._sentence, self._onDone, self._error = "", None, None
        self._message = Later(self._showMessage)
        ui.inspectCancelButton.connect("clicked(bool)", self.cancel)
        self._show()

    @property
    def busy(self):
        """Whether a job is under way or about to start."""
        return self._busy

    def start(self, kind, transform, sentence, onDone, **options):
        """Start a job.

        Args:
            kind: "maps" or "html" (`runner.makeJob`).
            transform: Transform node that the job is about.
            sentence: Description for the progress line.
            onDone: Called with the result; not called after an error, which is shown as a message.
            options: Options of the job.
        """
        if self._busy:
            return
        with errorsShown():
            self._runner.checkFree()
            self._needs()
            self._busy, self._sentence, self._onDone = True, sentence, onDone
            self._ui.inspectProgressBar.value = 0
            self._show()
            self._onChange()
            try:
                self._runner.whenFree(lambda: self._begin(kind, transform, options))
            except Exception as error:  # after any error Inspect is free again and the error is shown
                self._end(asGenRegError(error))

    def cancel(self, _checked=False):
        """Cancel the job."""
        if self._running:
            self._runner.cancel()
        elif self._busy:
            self._end(None)

    def cleanup(self):
        """Stop showing the job, when the module ends; the runner ends the job itself."""
        self._message.stop()
        self._busy = self._running = False
        self._onDone = None

    def _begin(self, kind, transform, options):
        if not self._busy:
            return
        try:
            self._running = True
            self._runner.begin(kind, transform, onProgress=self._onProgress, onEnded=self._end, **options)
        except Exception as error:
            self._end(asGenRegError(error))

    def _onProgress(self, _stage, fraction, secondsLeft, _objective):
        self._ui.inspectProgressBar.value = round(100 * min(max(fraction, 0.0), 1.0))
        self._ui.inspectLabel.text = ", ".join(part for part in (self._sentence, words.timeLeft(secondsLeft)) if part)

    def _end(self, outcome):
        onDone, self._onDone = self._onDone, None
        self._busy = self._running = False
        self._show()
        if isinstance(outcome, GenRegError):
            self._error = outcome
            self._message.ask()  # delayed: this may be called from within the worker's poll
        elif outcome is not None and onDone is not None:
            with errorsShown():
                onDone(outcome)
        self._onChange()

    def _showMessage(self):
        error, self._error = self._error, None
        if error is not None:
            showError(error)

    def _show(self):
        ui = self._ui
        ui.inspectLabel.text = self._sentence or _("Computing …")
        for widget in (ui.inspectLabel, ui.inspectProgressBar, ui.inspectCancelButton):
            widget.visible = self._busy
