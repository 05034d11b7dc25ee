"""Refine here: the optimization goes on where the user says that it is wrong, and nowhere else."""

from slicer.i18n import tr as _

from ..inputs.parameters import inScene

__all__ = ["InspectRepair"]


class InspectRepair:
    """Selectors of a region and of landmarks, and the button.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
        runControl: `RunControl`: a repair shows its progress where runs do.
    """

    def __init__(self, ui, inspect, runControl):
        self._ui, self._inspect, self._runControl = ui, inspect, runControl
        ui.refineButton.connect("clicked(bool)", self.onRefine)

    def update(self):
        """Say on the button what is missing."""
        ui, what = self._ui, self._what()
        one = (what["fixedLandmarks"] is None) != (what["movingLandmarks"] is None)
        enough = what["region"] is not None or what["fixedLandmarks"] is not None
        ui.refineButton.enabled = self._inspect.free and enough and not one
        if one:
            ui.refineButton.text = _("Select the landmarks of both volumes")
        else:
            ui.refineButton.text = _("Refine here") if enough else _("Select a region or landmarks")

    def cleanup(self):
        """Nothing goes on by itself."""

    def onRefine(self, _checked=False):
        """Begin."""
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
