"""Saving the report as one page that opens in any browser."""

import qt
import slicer
from slicer.i18n import tr as _

from ..messages import errorsShown

__all__ = ["InspectReport", "askForFile"]


def askForFile(title, name, kinds):
    """The path to save to, or an empty text if the user would rather not.

    Args:
        title: Of the dialog.
        name: Suggested file name.
        kinds: As Qt has them: "Web page (*.html)".
    """
    chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds)
    return str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen or "")


class InspectReport:
    """The button Save report.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
    """

    def __init__(self, ui, inspect):
        self._ui, self._inspect = ui, inspect
        ui.reportButton.connect("clicked(bool)", self.onSave)

    def update(self):
        """Enable the button."""
        self._ui.reportButton.enabled = self._inspect.free

    def cleanup(self):
        """Nothing goes on by itself."""

    def onSave(self, _checked=False):
        """Ask where to, have the page made, and write it."""
        transform = self._inspect.transform
        if transform is None:
            return
        path = askForFile(_("Save report"), _("registration report.html"), _("Web page (*.html)"))
        if not path:
            return
        if not path.lower().endswith((".html", ".htm")):
            path += ".html"

        def done(page):
            from GenRegLogic.mrml.runs.reportpage import savePage

            savePage(page, path)
            slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 3000)

        def begin(_made):
            parameters, looking = self._inspect.parameters, self._inspect.looking
            self._inspect.job.start(
                "html",
                transform,
                _("Making the report"),
                done,
                names=bool(parameters.nameVolumes),
                device=parameters.device or "auto",
                worst=looking.maps.worst(transform),
                confidence=looking.confidence(transform) or looking.maps.volume(transform, "confidence"),
            )

        with errorsShown():
            self._inspect.maps.have(("confidence",), _("Looking for the worst places"), begin)
