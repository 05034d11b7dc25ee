"""Looking at a result and taking it back: grid, before and after, checkerboard, undo."""

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import InputError

from .messages import errorsShown
from .parameters import inScene
from .resultpart import reportOf

__all__ = ["Review"]


class Review:
    """The buttons below the figures, each enabled only where it makes sense.

    After a run everything can be done. For a transform from a saved scene there is no undo, and the checkerboard needs
    the warped volume.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui):
        self._ui = ui
        self._parameters = self._result = None
        self._board = self._viewsBefore = None
        self._running, self._kept = False, ()
        ui.showGridButton.connect("clicked(bool)", self.onShowGrid)
        ui.beforeAfterButton.connect("clicked(bool)", self.onBeforeAfter)
        ui.checkerboardButton.connect("clicked(bool)", self.onCheckerboard)
        ui.undoButton.connect("clicked(bool)", self.onUndo)

    @property
    def canUndo(self):
        """Whether the latest run can be taken back."""
        return self._result is not None and self._result.undo.valid

    def setParameters(self, parameters):
        """Take up a parameter node, or None while the scene closes: then the latest run is forgotten."""
        self._parameters = parameters
        if parameters is None:
            self._result = self._board = self._viewsBefore = None
        self.update()

    def began(self):
        """A run has begun: nothing to look at until it has ended."""
        self._running = True
        self._removeBoard()
        self.update()

    def ended(self, result=None, kept=()):
        """A run has ended.

        Args:
            result: Its `RunResult`; None: it failed, and the earlier one stays.
            kept: Further nodes that the panel made for it; Undo takes them away too.
        """
        self._running = False
        if result is not None:
            self._result, self._kept = result, tuple(kept)
        self.update()

    def cleanup(self):
        """Take away what is only for looking."""
        self._removeBoard()
        self._parameters = self._result = None

    def update(self):
        """Enable the buttons that make sense, and say what a click would do."""
        ui, transform = self._ui, self._transform()
        moving, fixed = self._node("moving", transform), self._node("fixed", transform)
        shown = transform is not None and not self._running
        ui.showGridButton.enabled = shown and fixed is not None
        ui.showGridButton.checked = shown and self._gridShown(transform)
        flips = shown and moving is not None
        ui.beforeAfterButton.enabled = flips
        applied = flips and self._isApplied(moving, transform)
        ui.beforeAfterButton.text = _("Show before") if applied or not flips else _("Show after")
        if self._board is not None and inScene(self._board) is None:
            self._board = None
        both = shown and fixed is not None and moving is not None
        ui.checkerboardButton.enabled = both and self._hasWarped(transform)
        ui.checkerboardButton.checked = self._board is not None
        ui.undoButton.enabled = not self._running and self.canUndo

    def onShowGrid(self, checked=True):
        """Draw the deformation grid, or take it away."""
        from GenRegLogic.mrml import views

        transform = self._transform()
        with errorsShown():
            if transform is not None:
                if checked:
                    views.showGrid(transform, self._node("fixed", transform))
                else:
                    views.hideGrid(transform)
        self.update()

    def onBeforeAfter(self, _checked=False):
        """Flip the moving volume between its old place and its new one."""
        transform = self._transform()
        moving = self._node("moving", transform)
        with errorsShown():
            if moving is not None:
                self._removeBoard()
                self._flip(transform, moving)
        self.update()

    def onCheckerboard(self, checked=True):
        """Show fixed and moving in alternate squares, or what was shown before."""
        with errorsShown():
            if checked:
                self._showBoard()
            else:
                self._removeBoard()
        self.update()

    def onUndo(self, _checked=False):
        """Put everything back as it was before the run."""
        from GenRegLogic.mrml import views

        with errorsShown():
            if self.canUndo:
                self._removeBoard()
                views.hideGrid(self._result.transformNode)
                self._result.undo.undo()
                for node in self._kept:
                    if inScene(node) is not None:
                        slicer.mrmlScene.RemoveNode(node)
                self._result, self._kept = None, ()
        self.update()

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

    def _isLatest(self, transform):
        return self._result is not None and self._result.transformNode is transform

    @staticmethod
    def _isApplied(moving, transform):
        from GenRegLogic.mrml.parents import chain

        return transform in chain(moving)

    @staticmethod
    def _gridShown(transform):
        from GenRegLogic.mrml import views

        return views.gridShown(transform)

    def _flip(self, transform, moving):
        from GenRegLogic.mrml.parents import chain

        applied = self._isApplied(moving, transform)
        if self._isLatest(transform):
            if applied:
                self._result.showBefore()
            else:
                self._result.showAfter()
            return
        # From a saved scene: the transform lies in the world, right above the moving volume's own transforms.
        above = chain(moving, ignoring=transform)
        (above[-1] if above else moving).SetAndObserveTransformNodeID(None if applied else transform.GetID())

    def _hasWarped(self, transform):
        if self._isLatest(transform) and self._result.warped is not None:
            return True
        warped = inScene(self._parameters.warpedVolume)
        return warped is not None and warped.GetImageData() is not None

    def _showBoard(self):
        from GenRegLogic.mrml import views
        from GenRegLogic.mrml.volumes import volumeFromNode

        self._removeBoard()
        transform = self._transform()
        fixedNode, movingNode = self._node("fixed", transform), self._node("moving", transform)
        if fixedNode is None or movingNode is None or not self._hasWarped(transform):
            return
        fixed = volumeFromNode(fixedNode, "fixed")
        if self._isLatest(transform) and self._result.warped is not None:
            warped = self._result.warped[0]
        else:
            warped = volumeFromNode(self._parameters.warpedVolume, "warped").array
        if warped.shape != fixed.array.shape:
            raise InputError(_("The warped volume is not on the fixed volume's voxels; run again to get a new one."))
        self._viewsBefore = views.SliceViewState(slicer.mrmlScene)
        self._board = views.checkerboardVolume(
            slicer.mrmlScene, fixedNode, movingNode, fixed.array, warped, fixed.geometry
        )
        views.showLayers(slicer.mrmlScene, self._board, None, 0.0)

    def _removeBoard(self):
        board, self._board = inScene(self._board), None
        viewsBefore, self._viewsBefore = self._viewsBefore, None
        if viewsBefore is not None and board is not None:
            viewsBefore.restore()
        if board is not None:
            slicer.mrmlScene.RemoveNode(board)
