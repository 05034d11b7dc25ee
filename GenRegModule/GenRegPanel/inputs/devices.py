"""The devices: names, memory, and the measured speed of runs on them."""

import dataclasses

import qt
from slicer.i18n import tr as _

__all__ = ["Device", "DevicesList"]

AUTO, CPU = "auto", "cpu"

SPEED_KEY = "GenReg/Speed/{device}"
"""Key in the application's settings for the ratio of measured to estimated time of past runs on this machine."""

NEWS_SHARE = 0.5
"""Weight of the latest run in the stored speed."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that can compute.

    Attributes:
        id: "cpu", "mps" or "cuda:N".
        words: Its name in a sentence.
        memory: Bytes of its own memory; None for the CPU.
    """

    id: str
    words: str
    memory: int | None = None


class DevicesList:
    """Fills the combo box of devices, and synchronizes it with the parameter node.

    Args:
        ui: The panel's widgets.
        idleJobs: `IdleJobs`, for asking the worker for its devices.
        onChange: Called when the list of devices has changed.
        settings: Where speeds are stored, with `value(key)` and `setValue(key, value)`; the application's if None.
    """

    def __init__(self, ui, idleJobs, onChange, settings=None):
        self._combo, self._idleJobs, self._onChange = ui.deviceComboBox, idleJobs, onChange
        self._settings = qt.QSettings() if settings is None else settings
        self._parameters = None
        self._found = []
        self._asked = self._filling = False
        self._fill()
        self._combo.connect("currentIndexChanged(int)", self._onChosen)

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes."""
        self._parameters = parameters
        self.update()

    def update(self):
        """Select the device of the parameter node."""
        wanted = self._wanted()
        if self._combo.currentIndex < 0 or self._combo.itemData(self._combo.currentIndex) != wanted:
            self._fill()

    def findOnce(self):
        """Ask the worker for its devices, unless it was asked before."""
        if not self._asked:
            self._asked = True
            self._idleJobs.ask("devices", "devices", lambda: ({}, {}), self.found)

    def chosen(self):
        """The `Device` that a run would use, according to the known devices."""
        wanted = self._wanted()
        found = {device.id: device for device in self._found}
        if wanted == AUTO:
            # The same choice as the engine's: the first CUDA device, else the CPU.
            wanted = next((id for id in found if id.startswith("cuda")), CPU)
        return found.get(wanted) or Device(wanted, _("the CPU") if wanted == CPU else wanted)

    def speed(self, device):
        """Ratio of measured to estimated time on a device; before the first run 1 for the CPU and None for a GPU."""
        try:
            return float(self._settings.value(SPEED_KEY.format(device=device.id)))
        except (TypeError, ValueError):
            return 1.0 if device.id == CPU else None

    def learn(self, measured, estimated):
        """Store the ratio of a finished run's time to its estimate.

        Args:
            measured: Seconds.
            estimated: Seconds, before any correction by `speed`.
        """
        if measured <= 0 or estimated <= 0:
            return
        device = self.chosen()
        key, speed = SPEED_KEY.format(device=device.id), measured / estimated
        if self._settings.value(key) is not None:
            speed = NEWS_SHARE * speed + (1 - NEWS_SHARE) * (self.speed(device) or speed)
        self._settings.setValue(key, f"{speed:.4g}")

    def _wanted(self):
        return (self._parameters.device if self._parameters is not None else "") or AUTO

    def _fill(self):
        self._filling = True
        try:
            self._combo.clear()
            self._combo.addItem(_("Automatic"), AUTO)
            known = {AUTO}
            for device in self._found:
                if device.id != CPU:
                    self._combo.addItem(device.words, device.id)
                    known.add(device.id)
            self._combo.addItem(_("CPU"), CPU)
            known.add(CPU)
            wanted = self._wanted()
            if wanted not in known:
                name = _("{device} (not found here)") if self._found else "{device}"
                self._combo.addItem(name.format(device=wanted), wanted)
            self._combo.setCurrentIndex(self._combo.findData(wanted))
        finally:
            self._filling = False

    def found(self, report):
        """Update the list with the worker's report.

        Args:
            report: {"devices": [{"id", "name", "memory_bytes"}]}.
        """
        self._found = [
            Device(
                one["id"],
                _("the CPU") if one["id"] == CPU else one["name"],
                None if one["id"] == CPU else one["memory_bytes"],
            )
            for one in report["devices"]
        ]
        self._fill()
        self._onChange()

    def _onChosen(self, index):
        if not self._filling and self._parameters is not None and index >= 0:
            self._parameters.device = self._combo.itemData(index)
