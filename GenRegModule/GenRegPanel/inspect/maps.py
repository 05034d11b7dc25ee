"""Maps over the fixed volume: computed when first selected, kept until the transform changes."""

import slicer
from slicer.i18n import tr as _

from ..text import errorsShown

__all__ = ["InspectMaps"]

NAMES = ("", "log_jacobian", "magnitude", "confidence", "similarity_before", "similarity_after")
QUICK, SLOW = ("log_jacobian", "magnitude"), ("confidence", "similarity_before", "similarity_after")
"""Maps that are computed in one job."""


class InspectMaps:
    """The list of maps, the opacity of the selected one, and the option to save maps.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
    """

    def __init__(self, ui, inspect):
        self._ui, self._inspect = ui, inspect
        self._filling, self._wanted = True, ""
        titles = {
            "": _("None"),
            "log_jacobian": _("Expansion and contraction"),
            "magnitude": _("Displacement"),
            "confidence": _("Expected error"),
            "similarity_before": _("Similarity before"),
            "similarity_after": _("Similarity after"),
        }
        ui.mapComboBox.clear()
        for name in NAMES:
            ui.mapComboBox.addItem(titles[name], name)
        self._filling = False
        ui.mapComboBox.connect("currentIndexChanged(int)", self._onChosen)
        ui.mapOpacitySlider.connect("valueChanged(double)", self._onOpacity)
        ui.saveMapsCheckBox.connect("toggled(bool)", self._onSave)

    def update(self):
        """Select the map that is shown, and enable the widgets."""
        ui, display = self._ui, self._inspect.display
        shown = display.modes.present.mapName if display.mode == "map" else ""
        wanted = self._wanted if self._inspect.job.busy else shown
        self._filling = True
        ui.mapComboBox.setCurrentIndex(NAMES.index(wanted or ""))
        self._filling = False
        ui.mapComboBox.enabled = self._inspect.free
        for widget in (ui.mapOpacityTitle, ui.mapOpacitySlider, ui.saveMapsCheckBox):
            widget.visible = bool(shown)

    def forget(self):
        """Clear the selection, when another transform is selected."""
        self._wanted = ""

    def cleanup(self):
        """Nothing to stop."""

    def have(self, names, sentence, onDone):
        """Compute those of the named maps that are missing, then call `onDone` with all maps of the transform."""
        display, transform = self._inspect.display, self._inspect.transform
        if transform is None:
            return
        made = display.maps.nodes(transform)
        want = [name for name in names if name not in made]
        if not want:
            onDone(made)
            return

        self._inspect.job.start(
            "maps",
            transform,
            sentence,
            onDone,
            mapNodes=display.maps,
            want=want,
            saved=self._saved(),
            device=self._inspect.parameters.device or "auto",
            confidence=display.confidence(transform),
        )

    def _saved(self):
        return bool(self._inspect.parameters.saveMaps)

    def _onChosen(self, index):
        if self._filling or index < 0 or self._inspect.parameters is None:
            return
        name = NAMES[index]
        with errorsShown():
            if not name:
                self._inspect.display.leave()
            else:
                self._wanted = name
                transform = self._inspect.transform
                self.have(
                    QUICK if name in QUICK else SLOW,
                    _("Computing the map"),
                    lambda made: self._put(name, made, transform),
                )
        self._inspect.update()

    def _put(self, name, made, transform):
        from GenRegLogic.mrml.views.comparison import MapOverlay

        pair = self._inspect.pair
        if pair is not None and pair.transformNode is transform and name in made:  # else another one has been selected
            self._inspect.display.enter(MapOverlay(pair, made[name], name, self._inspect.parameters.mapOpacity))

    def _onOpacity(self, value):
        display = self._inspect.display
        if display.mode == "map":
            display.modes.present.setOpacity(value)

    def _onSave(self, checked):
        if self._inspect.parameters is not None and slicer.mrmlScene is not None:
            self._inspect.display.maps.save(bool(checked))
