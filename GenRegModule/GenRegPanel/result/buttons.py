"""The buttons below the figures: grid, before and after, checkerboard, undo."""

import slicer
from slicer.i18n import tr as _

from GenRegLogic.mrml.nodes.transforms import reportOf

from ..inputs.parameters import inScene
from ..text import errorsShown
from .display import ResultDisplay, pairOrNone

__all__ = ["ResultButtons"]


class ResultButtons:
    """The buttons below the figures, each enabled only where it makes sense.

    After a run everything can be done; for a transform from a saved scene there is no undo.

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
        """Whether the latest run can be taken back."""
        return bool(self._runs) and self._runs[-1][0].undo.valid

    @property
    def _result(self):
        return self._runs[-1][0] if self._runs else None

    def setParameters(self, parameters):
        """Take up a parameter node, or None while the scene closes: then the latest run is forgotten."""
        self._parameters = parameters
        if parameters is None:
            self._runs = []
            self._display.forget()
        self.update()

    def leave(self):
        """Put the views back before a run remembers them."""
        self._display.leave()

    def began(self):
        """A run has begun: nothing to look at until it has ended."""
        self._display.running = True
        self._display.changed()

    def ended(self, result=None, kept=(), *, repaired=False):
        """A run has ended.

        Args:
            result: Its `RunResult`; None: it failed, and the earlier one stays.
            kept: Further nodes that the panel made for it; Undo takes them away too.
            repaired: It went on from the result before it, which can still be undone after it.
        """
        self._display.running = False
        if result is not None:
            goesOn = repaired and self._result is not None and self._result.transformNode is result.transformNode
            self._runs = [*(self._runs if goesOn else []), (result, tuple(kept))]
            self._display.result = result
        self._display.changed()

    def cleanup(self):
        """Take away what is only for display."""
        self._display.end()
        self._parameters, self._runs = None, []

    def update(self):
        """Enable the buttons that make sense, and say what a click would do."""
        ui, display, transform = self._ui, self._display, self._transform()
        moving, fixed = self._node("moving", transform), self._node("fixed", transform)
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
        """Draw the deformation grid, or take it away."""
        with errorsShown():
            self._display.draw("grid" if checked else "", self._transform())
        self.update()

    def onBeforeAfter(self, _checked=False):
        """Flip the moving volume between its old place and its new one."""
        transform = self._transform()
        moving = self._node("moving", transform)
        with errorsShown():
            if moving is not None:
                self._display.leave()
                self._flip(transform, moving)
        self.update()

    def onCheckerboard(self, checked=True):
        """Show fixed and moving in alternate squares, or what was shown before."""
        transform = self._transform()
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
        """Put everything back as it was before the run."""
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

    def _transform(self):
        """The selected output transform if it holds a result, else None."""
        node = inScene(self._parameters.outputTransform) if self._parameters is not None else None
        return node if reportOf(node) is not None else None

    @staticmethod
    def _node(role, transform):
        """The fixed or the moving volume that a transform was made of, if it is still there."""
        if transform is None:
            return None
        kind = slicer.vtkMRMLTransformNode
        name = kind.GetFixedNodeReferenceRole() if role == "fixed" else kind.GetMovingNodeReferenceRole()
        return inScene(transform.GetNodeReference(name))

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
        # From a saved scene: the transform lies in the world, right above the moving volume's own transforms.
        above = chain(moving, ignoring=transform)
        (above[-1] if above else moving).SetAndObserveTransformNodeID(None if applied else transform.GetID())
