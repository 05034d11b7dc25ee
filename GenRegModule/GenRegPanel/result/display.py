"""The buttons below the figures (grid, before and after, checkerboard, undo), and the display of a result in the views.

The section Inspect shares `ResultDisplay`, so that both have the same grid, the same mode and the same maps.
"""

import slicer
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.parents import inScene

from ..text import errorsShown
from ..timing import Later
from .selection import pairOrNone, scanOf, selectedResult

__all__ = ["ResultButtons", "ResultDisplay"]

SETTLE_MS = 100
"""Time after which the views have their final sizes after a change of the layout."""


class ResultDisplay:
    """The drawn deformation, the comparison mode of the views, and the maps.

    Attributes:
        running: Whether a registration is under way, during which nothing is displayed.
    """

    def __init__(self):
        self.running, self._result, self._token = False, None, None
        self._modes = self._deformation = self._maps = None
        self._listeners = []
        self._settle = Later(self._onSettle, SETTLE_MS)

    @property
    def result(self):
        """The latest `RunResult`, or None."""
        return self._result

    @result.setter
    def result(self, result):
        self._result = result
        self._token = self._tokenOf(result.transformNode) if result is not None else None

    def listen(self, function):
        """Register a function that is called after every change."""
        self._listeners.append(function)

    def changed(self):
        """Call the registered functions."""
        for function in self._listeners:
            function()

    @property
    def modes(self):
        """`ViewModes` of the scene."""
        if self._modes is None:
            from GenRegLogic.mrml.views.comparison import ViewModes

            self._modes = ViewModes(slicer.mrmlScene)
        return self._modes

    @property
    def maps(self):
        """`MapNodes` of the scene."""
        if self._maps is None:
            from GenRegLogic.mrml.views.maps import MapNodes

            self._maps = MapNodes(slicer.mrmlScene)
        return self._maps

    @property
    def mode(self):
        """Name of the mode that is on, or empty."""
        present = self._modes.present if self._modes is not None else None
        return present.name if present is not None else ""

    @property
    def active(self):
        """Whether `leave` would change the views."""
        return self._modes is not None and self._modes.active

    @property
    def drawing(self):
        """The kind of the drawing: "grid", "arrows" or empty."""
        drawn = self._deformation
        return drawn.kind if drawn is not None and drawn.shown else ""

    def draw(self, kind, transformNode):
        """Draw the deformation as "grid" or "arrows", or remove the drawing (empty)."""
        if self._deformation is not None:
            self._deformation.hide()
            self._deformation = None
        pair = pairOrNone(transformNode) if kind else None
        if pair is not None:
            from GenRegLogic.mrml.views.deformation import Deformation

            self._deformation = Deformation(slicer.mrmlScene, pair, kind)
            self._deformation.show()
        self.changed()

    def enter(self, mode):
        """Switch a mode on instead of the present one."""
        try:
            self.modes.enter(mode)
        finally:
            self.changed()

    def leave(self):
        """Leave the mode, and restore the views."""
        if self.active:
            self.modes.leave()
            self._settle.ask()
        self.changed()

    def clear(self):
        """Leave the mode and remove the drawing."""
        self.draw("", None)
        self.leave()

    def dropOrphans(self):
        """Remove the maps of transforms that were removed."""
        if self._maps is not None:
            self._maps.dropOrphans()

    def warped(self, transformNode):
        """(k, j, i) moving scan on the fixed grid from the latest run, if the transform is unchanged; else None."""
        warped = self.result.warped if self._fits(transformNode) else None
        return warped[0] if warped is not None else None

    def confidence(self, transformNode):
        """(array, Geometry) of the expected error from the latest run, if the transform is unchanged; else None."""
        return getattr(self.result, "confidence", None) if self._fits(transformNode) else None

    def forget(self):
        """Restore the views as far as possible and release all nodes, when the scene closes."""
        self._settle.stop()
        if self._deformation is not None:
            self._deformation.hide()
        if self._modes is not None:
            self._modes.end()
        self._modes = self._deformation = self._maps = self.result = None

    def end(self):
        """Restore views and scene to their state before inspection, when the module ends."""
        self.forget()
        from GenRegLogic.mrml.views.colors import dropColors
        from GenRegLogic.mrml.views.maps import MapNodes

        MapNodes(slicer.mrmlScene).dropUnsaved()
        dropColors(slicer.mrmlScene)

    def _fits(self, transformNode):
        """Whether a transform is the result of the latest run and unchanged since."""
        result = self.result
        return (
            result is not None and result.transformNode is transformNode and self._token == self._tokenOf(transformNode)
        )

    @staticmethod
    def _tokenOf(transformNode):
        from GenRegLogic.mrml.nodes.pair import stateToken

        return stateToken(transformNode)

    def _onSettle(self):
        if self._modes is not None:
            self._modes.settle()


class ResultButtons:
    """The buttons below the figures, each enabled only if it applies.

    After a run all apply; for a transform from a saved scene there is no Undo.

    Args:
        ui: The panel's widgets.
        display: `ResultDisplay`, shared with the part Inspect.
    """

    def __init__(self, ui, display=None):
        self._ui, self._display = ui, display or ResultDisplay()
        self._parameters = None
        self._runs = []  # (result, kept nodes); more than one only after local repairs of one transform
        self._display.listen(self.update)
        ui.showGridButton.connect("clicked(bool)", self.onShowGrid)
        ui.beforeAfterButton.connect("clicked(bool)", self.onBeforeAfter)
        ui.checkerboardButton.connect("clicked(bool)", self.onCheckerboard)
        ui.undoButton.connect("clicked(bool)", self.onUndo)

    @property
    def canUndo(self):
        """Whether the latest run can be undone."""
        return bool(self._runs) and self._runs[-1][0].undo.valid

    @property
    def _result(self):
        return self._runs[-1][0] if self._runs else None

    def setParameters(self, parameters):
        """Use another parameter node, or None while the scene closes, which also releases the latest run."""
        self._parameters = parameters
        if parameters is None:
            self._runs = []
            self._display.forget()
        self.update()

    def leave(self):
        """Restore the views, before a run stores their state."""
        self._display.leave()

    def began(self):
        """Disable the buttons, when a run has started."""
        self._display.running = True
        self._display.changed()

    def ended(self, result=None, kept=(), *, repaired=False):
        """Enable the buttons, when a run has ended.

        Args:
            result: Its `RunResult`; None: it failed, and the earlier result remains.
            kept: Further nodes that the panel created for it; Undo removes them too.
            repaired: It was a local repair of the earlier result, which can still be undone after it.
        """
        self._display.running = False
        if result is not None:
            goesOn = repaired and self._result is not None and self._result.transformNode is result.transformNode
            self._runs = [*(self._runs if goesOn else []), (result, tuple(kept))]
            self._display.result = result
        self._display.changed()

    def cleanup(self):
        """Remove everything that is only for display."""
        self._display.end()
        self._parameters, self._runs = None, []

    def update(self):
        """Enable the buttons that apply, and update their texts."""
        ui, display, transform = self._ui, self._display, selectedResult(self._parameters)
        moving, fixed = scanOf(transform, "moving"), scanOf(transform, "fixed")
        shown = transform is not None and not display.running
        both = shown and fixed is not None and moving is not None
        ui.showGridButton.enabled = both
        ui.showGridButton.checked = both and display.drawing == "grid"
        flips = shown and moving is not None
        ui.beforeAfterButton.enabled = flips
        applied = flips and self._isApplied(moving, transform)
        ui.beforeAfterButton.text = _("Show before") if applied or not flips else _("Show after")
        ui.checkerboardButton.enabled = both
        ui.checkerboardButton.checked = display.mode == "checkerboard"
        ui.undoButton.enabled = not display.running and self.canUndo

    def onShowGrid(self, checked=True):
        """Draw the deformation grid, or remove it."""
        with errorsShown():
            self._display.draw("grid" if checked else "", selectedResult(self._parameters))
        self.update()

    def onBeforeAfter(self, _checked=False):
        """Switch the moving volume between its position before and after registration."""
        transform = selectedResult(self._parameters)
        moving = scanOf(transform, "moving")
        with errorsShown():
            if moving is not None:
                self._display.leave()
                self._flip(transform, moving)
        self.update()

    def onCheckerboard(self, checked=True):
        """Enter or leave the checkerboard mode."""
        transform = selectedResult(self._parameters)
        pair = pairOrNone(transform)
        with errorsShown():
            if checked and pair is not None:
                from GenRegLogic.mrml.views.comparison import Checkerboard

                warped, fields = self._display.warped(transform), self._parameters.boardFields
                self._display.enter(Checkerboard(pair, warped, fields))
            else:
                self._display.leave()
        self.update()

    def onUndo(self, _checked=False):
        """Undo the latest run."""
        with errorsShown():
            if self.canUndo:
                self._display.clear()
                result, kept = self._runs.pop()
                self._display.maps.drop(result.transformNode)
                result.undo.undo()
                for node in kept:
                    if inScene(node) is not None:
                        slicer.mrmlScene.RemoveNode(node)
                self._display.result = self._result
        self._display.changed()

    @staticmethod
    def _isApplied(moving, transform):
        from GenRegLogic.mrml.nodes.parents import chain

        return transform in chain(moving)

    def _flip(self, transform, moving):
        from GenRegLogic.mrml.nodes.parents import chain

        applied = self._isApplied(moving, transform)
        result = self._result
        if result is not None and result.transformNode is transform:
            if applied:
                result.showBefore()
            else:
                result.showAfter()
            return
        # From a saved scene: the transform has no parent and is directly above the moving volume's own transforms.
        above = chain(moving, ignoring=transform)
        (above[-1] if above else moving).SetAndObserveTransformNodeID(None if applied else transform.GetID())
