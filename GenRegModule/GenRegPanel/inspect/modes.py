"""Buttons for the deformation (grid, arrows) and the comparison modes: checkerboard, flicker, fusion, side by side."""

from ..text import errorsShown
from ..timing import Later, repeating

__all__ = ["InspectModes"]

QUIET_MS = 60
"""Time without a movement of the slider before the checkerboard is drawn again."""


class InspectModes:
    """One button for each mode; a second click leaves the mode.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
    """

    def __init__(self, ui, inspect):
        self._ui, self._inspect = ui, inspect
        self._timer = repeating(self._onFlick, 500)
        self._board = Later(self._onBoard, QUIET_MS)
        self._drawings = {"grid": ui.gridModeButton, "arrows": ui.arrowsModeButton}
        self._modes = {
            "checkerboard": ui.checkerboardModeButton,
            "flicker": ui.flickerModeButton,
            "fusion": ui.fusionModeButton,
            "sideBySide": ui.sideBySideModeButton,
        }
        for kind, button in self._drawings.items():
            button.connect("clicked(bool)", self._drawer(kind))
        for name, button in self._modes.items():
            button.connect("clicked(bool)", self._enterer(name))
        ui.boardSlider.connect("valueChanged(double)", self._board.ask)
        ui.flickerSlider.connect("valueChanged(double)", self.update)
        ui.flickerFixedCheckBox.connect("toggled(bool)", self._onOther)

    def update(self, *_):
        """Show which mode is on, and the sliders that belong to it."""
        ui, display = self._ui, self._inspect.display
        possible = self._inspect.pair is not None and not display.running
        for kind, button in self._drawings.items():
            button.enabled, button.checked = possible, display.drawing == kind
        for name, button in self._modes.items():
            button.enabled, button.checked = possible, display.mode == name
        for widget in (ui.boardTitle, ui.boardSlider):
            widget.visible = display.mode == "checkerboard"
        for widget in (ui.flickerTitle, ui.flickerSlider, ui.flickerFixedCheckBox):
            widget.visible = display.mode == "flicker"
        self._timer.setInterval(round(1000 / max(ui.flickerSlider.value, 0.1)))
        if display.mode != "flicker":
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()

    def cleanup(self):
        """Stop the timers."""
        self._timer.stop()
        self._board.stop()

    def _drawer(self, kind):
        def draw(checked=True):
            with errorsShown():
                self._inspect.display.draw(kind if checked else "", self._inspect.transform)
            self._inspect.update()

        return draw

    def _enterer(self, name):
        def enter(checked=True):
            with errorsShown():
                mode = self._make(name) if checked else None
                if mode is not None:
                    self._inspect.display.enter(mode)
                else:
                    self._inspect.display.leave()
            self._inspect.update()

        return enter

    def _make(self, name):
        from GenRegLogic.mrml.views import comparison

        pair, parameters = self._inspect.pair, self._inspect.parameters
        if pair is None:
            return None
        if name == "checkerboard":
            warped = self._inspect.display.warped(pair.transformNode)
            return comparison.Checkerboard(pair, warped, parameters.boardFields)
        if name == "flicker":
            return comparison.Flicker(pair, "fixed" if parameters.flickerFixed else "before")
        return {"fusion": comparison.Fusion, "sideBySide": comparison.SideBySide}[name](pair)

    def _onBoard(self):
        display = self._inspect.display
        if display.mode == "checkerboard":
            with errorsShown():
                display.modes.present.setSquares(round(self._ui.boardSlider.value))

    def _onOther(self, _checked):
        if self._inspect.display.mode == "flicker":
            self._enterer("flicker")(True)

    def _onFlick(self):
        display = self._inspect.display
        if display.mode == "flicker":
            display.modes.present.flick()
        else:
            self._timer.stop()
