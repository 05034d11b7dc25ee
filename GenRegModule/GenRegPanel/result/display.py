"""What is drawn and shown of the selected result; the buttons below Result and those under Inspect share it."""

import slicer

from ..timing import Later

__all__ = ["ResultDisplay", "pairOrNone"]

SETTLE_MS = 100
"""After a change of the layout the views have their sizes back by then."""


def pairOrNone(transformNode):
    """The `Pair` of a transform, or None where it or one of its scans is missing."""
    from GenRegLogic.errors import InputError
    from GenRegLogic.mrml.nodes.pair import pairOf

    try:
        return pairOf(transformNode)
    except InputError:
        return None


class ResultDisplay:
    """The grid or the arrows over the views, the mode that the views are in, and the maps.

    Attributes:
        running: A registration is under way: nothing to look at.
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
        """Have a function called after every change."""
        self._listeners.append(function)

    def changed(self):
        """Tell that something has changed."""
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
        """Whether leaving would change the views."""
        return self._modes is not None and self._modes.active

    @property
    def drawing(self):
        """ "grid", "arrows" or empty."""
        drawn = self._deformation
        return drawn.kind if drawn is not None and drawn.shown else ""

    def draw(self, kind, transformNode):
        """Draw the deformation as "grid" or "arrows", or take it away (empty)."""
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
        """Switch a mode on in place of the present one."""
        try:
            self.modes.enter(mode)
        finally:
            self.changed()

    def leave(self):
        """Leave the mode; the views become what they were."""
        if self.active:
            self.modes.leave()
            self._settle.ask()
        self.changed()

    def clear(self):
        """Leave the mode and take the drawing away."""
        self.draw("", None)
        self.leave()

    def dropOrphans(self):
        """Remove the maps of transforms that are gone."""
        if self._maps is not None:
            self._maps.dropOrphans()

    def warped(self, transformNode):
        """(k, j, i) moving scan on the fixed grid, if the latest run has left it and it still fits; else None."""
        warped = self.result.warped if self._fits(transformNode) else None
        return warped[0] if warped is not None else None

    def confidence(self, transformNode):
        """(array, Geometry) of the expected error, if the latest run has left it and it still fits; else None."""
        return getattr(self.result, "confidence", None) if self._fits(transformNode) else None

    def forget(self):
        """The scene has closed or is about to: put back what still can be, and forget the nodes."""
        self._settle.stop()
        if self._deformation is not None:
            self._deformation.hide()
        if self._modes is not None:
            self._modes.end()
        self._modes = self._deformation = self._maps = self.result = None

    def end(self):
        """The module ends: views and scene become what they were before inspection."""
        self.forget()
        from GenRegLogic.mrml.views.colors import dropColors
        from GenRegLogic.mrml.views.maps import MapNodes

        MapNodes(slicer.mrmlScene).dropUnsaved()
        dropColors(slicer.mrmlScene)

    def _fits(self, transformNode):
        """Whether a transform is the latest run's, and still as that run has left it."""
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
