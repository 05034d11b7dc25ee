"""Buttons of the section Inspect: worst places, local repair (Refine here), and Save report."""

import qt
import slicer
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.parents import inScene

from ..text import errorsShown

__all__ = ["InspectPlaces", "InspectRepair", "InspectReport", "askForFile"]


class InspectPlaces:
    """The three buttons for the worst places, and a line about the present one.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
        maps: `InspectMaps`, which computes the expected error.
    """

    def __init__(self, ui, inspect, maps):
        self._ui, self._inspect, self._maps = ui, inspect, maps
        self._tour = self._of = None
        ui.worstPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(0))
        ui.nextPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(1))
        ui.previousPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(-1))

    def update(self):
        """Update the buttons, and the line about the present place."""
        ui, transform = self._ui, self._inspect.transform
        if self._of is not transform or not self._inspect.display.active:
            self._tour = self._of = None
        tour = self._tour
        free = self._inspect.free
        ui.worstPlaceButton.enabled = free
        ui.previousPlaceButton.enabled = free and tour is not None and tour.index > 0
        ui.nextPlaceButton.enabled = free and tour is not None and 0 <= tour.index < len(tour.places) - 1
        place = tour.present if tour is not None else None
        ui.placeLabel.visible = place is not None
        if place is not None:
            ui.placeLabel.text = _("{number} of {count}: {reason}").format(
                number=tour.index + 1, count=len(tour.places), reason=place.reason
            )

    def cleanup(self):
        """Nothing to stop."""

    def _go(self, by):
        transform = self._inspect.transform

        def step(_made):
            from GenRegLogic.mrml.views.worstplaces import PlacesTour

            display = self._inspect.display
            if self._inspect.transform is not transform:  # another one was selected in the meantime
                return
            display.modes.begin()
            if self._tour is None or self._of is not transform or by == 0:
                self._tour, self._of = PlacesTour(display.maps.worst(transform)), transform
            if self._tour.step(display.modes.scene, by) is None:
                self._ui.placeLabel.visible = True
                self._ui.placeLabel.text = _("No place stands out.")
                display.leave()
                return
            display.changed()

        with errorsShown():
            self._maps.have(("confidence",), _("Looking for the worst places"), step)
        self._inspect.update()


class InspectRepair:
    """The selectors of region and landmarks of a local repair, and the button Refine here.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
        runControl: `RunControl`, which runs the repair.
    """

    def __init__(self, ui, inspect, runControl):
        self._ui, self._inspect, self._runControl = ui, inspect, runControl
        ui.refineButton.connect("clicked(bool)", self.onRefine)

    def update(self):
        """Enable the button, or show on it what is missing."""
        ui, what = self._ui, self._what()
        one = (what["fixedLandmarks"] is None) != (what["movingLandmarks"] is None)
        enough = what["region"] is not None or what["fixedLandmarks"] is not None
        ui.refineButton.enabled = self._inspect.free and enough and not one
        if one:
            ui.refineButton.text = _("Select the landmarks of both volumes")
        else:
            ui.refineButton.text = _("Refine here") if enough else _("Select a region or landmarks")

    def cleanup(self):
        """Nothing to stop."""

    def onRefine(self, _checked=False):
        """Start the repair."""
        transform = self._inspect.transform
        if transform is not None:
            self._runControl.repair(transform, self._what())

    def _what(self):
        parameters = self._inspect.parameters
        names = {
            "region": "repairRegion",
            "fixedLandmarks": "repairFixedLandmarks",
            "movingLandmarks": "repairMovingLandmarks",
        }
        return {
            key: inScene(getattr(parameters, name)) if parameters is not None else None for key, name in names.items()
        }


def askForFile(title, name, kinds):
    """Ask the user for a file to save to; returns its path, or an empty text if the dialog was canceled.

    Args:
        title: Title of the dialog.
        name: Suggested file name.
        kinds: Qt filter of file types: "Web page (*.html)".
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
        """Nothing to stop."""

    def onSave(self, _checked=False):
        """Ask for a file, make the page in the worker, and write it."""
        transform = self._inspect.transform
        if transform is None:
            return
        path = askForFile(_("Save report"), _("registration report.html"), _("Web page (*.html)"))
        if not path:
            return
        if not path.lower().endswith((".html", ".htm")):
            path += ".html"

        def done(page):
            from GenRegLogic.mrml.runs.transformjobs import savePage

            savePage(page, path)
            slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 3000)

        def begin(_made):
            parameters, display = self._inspect.parameters, self._inspect.display
            self._inspect.job.start(
                "html",
                transform,
                _("Making the report"),
                done,
                names=bool(parameters.nameVolumes),
                device=parameters.device or "auto",
                worst=display.maps.worst(transform),
                confidence=display.confidence(transform) or display.maps.volume(transform, "confidence"),
            )

        with errorsShown():
            self._inspect.maps.have(("confidence",), _("Looking for the worst places"), begin)
