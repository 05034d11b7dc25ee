"""Comparison modes of Slicer's slice views: checkerboard, flicker, color fusion, side by side, and map overlay.

At most one mode is on. Entering the first one stores the state of the views, switching to another one keeps the
position, and leaving restores the state exactly: layers, positions, zoom, links, crosshair and layout. The nodes that a
mode creates are hidden, not saved with the scene, and removed when it is left; the user's nodes are not changed.
"""

from __future__ import annotations

import abc

import numpy as np
import slicer

from ..nodes.pair import Pair, warpedOnto
from ..nodes.parents import inScene, nodesOf
from ..nodes.undo import batch
from ..nodes.volumes import setVolume
from .colors import FUSION_FIXED, FUSION_MOVING, colorNode
from .layers import ViewsState, setLayers, showAlike
from .maps import hideLegends, showLegend

__all__ = ["Checkerboard", "Flicker", "Fusion", "MapOverlay", "SideBySide", "ViewModes"]

LAYOUT = 5270
"""Number of the side-by-side layout; Slicer's own layouts have numbers below 1000."""

VIEW_NAMES = ("Red", "Green", "Yellow")
"""Slicer's standard views, in the order in which they show fixed, before and after."""

LAYOUT_XML = """<layout type="horizontal" split="true">{items}</layout>"""
ITEM_XML = """
 <item><view class="vtkMRMLSliceNode" singletontag="{name}">
  <property name="orientation" action="default">Axial</property>
  <property name="viewlabel" action="default">{letter}</property>
 </view></item>"""

ADD = slicer.vtkMRMLSliceCompositeNode.Add


class ViewModes:
    """Switches modes on and off, at most one at a time, and stores the state of the views before the first.

    Args:
        scene: The MRML scene.

    Attributes:
        present: The mode that is on, or None.
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self._before: ViewsState | None = None
        self._left: ViewsState | None = None
        self.present = None
        self._tags = [
            scene.AddObserver(event, self._onLeave)
            for event in (slicer.vtkMRMLScene.StartSaveEvent, slicer.vtkMRMLScene.StartImportEvent)
        ]
        self._tags.append(scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._onClose))

    @property
    def active(self) -> bool:
        """Whether the state of the views is stored, so that `leave` would restore it."""
        return self._before is not None

    @property
    def scene(self):
        """The MRML scene."""
        return self._scene

    def begin(self) -> None:
        """Store the state of the views, unless it is stored already."""
        if self._before is None:
            self._before = ViewsState(self._scene)

    def enter(self, mode) -> None:
        """Switch a mode on instead of the present one.

        Raises:
            InputError: The mode cannot be entered; the views are then restored to their state before all modes.
        """
        self.begin()
        present, self.present = self.present, None
        try:
            if present is not None:
                present.leave()
                self._before.restore(places=present.turnsViews)
            mode.enter(self._scene)
            self.present = mode
        except BaseException:
            mode.leave()
            self.leave()
            raise

    def leave(self) -> None:
        """Switch the present mode off and restore the views."""
        present, self.present = self.present, None
        before, self._before = self._before, None
        if present is not None:
            present.leave()
        if before is not None:
            before.restore()
            self._left = before

    def settle(self) -> None:
        """Restore position and zoom again, once the views have their final sizes after a change of the layout."""
        left, self._left = self._left, None
        if left is not None and not self.active:
            left.restorePlaces()

    def end(self) -> None:
        """Leave the present mode, and stop observing the scene."""
        self.leave()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _onLeave(self, caller, event) -> None:
        self.leave()  # temporary nodes and layers must not be part of a saved or imported scene

    def _onClose(self, caller, event) -> None:
        self.leave()
        self._left = None


class _Mode(abc.ABC):
    """Base class of the modes; it manages temporary nodes."""

    name = ""
    turnsViews = False
    """Whether the mode changes the planes of the views, so that the next mode has to restore them."""

    def __init__(self) -> None:
        self._nodes: list = []
        self._scene = None

    def enter(self, scene) -> None:
        """Switch the mode on, with all changes shown at once."""
        self._scene = scene
        with batch(scene):
            self.show()

    @abc.abstractmethod
    def show(self) -> None:
        """Create the temporary nodes and show them in the views."""

    def leave(self) -> None:
        """Remove the temporary nodes."""
        for node in self._nodes:
            if inScene(node) is not None:
                displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
                self._scene.RemoveNode(node)
                for display in displays:
                    if inScene(display) is not None:
                        self._scene.RemoveNode(display)
        self._nodes = []

    def volume(self, name: str, array: np.ndarray, geometry, like=None, *, window=None, colors: str = ""):
        """A temporary volume node: hidden, not saved.

        Args:
            name: Name of the node.
            array: (k, j, i); shared, not copied.
            geometry: LPS.
            like: Volume node whose window and colors are copied.
            window: (lowest, highest) value of the window, instead of the copied one.
            colors: Name of a color table (`colors.COLORS`), instead of the copied one.
        """
        node = self._scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        self._nodes.append(node)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        if window is not None:
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(*window)
        elif like is not None and like.GetDisplayNode() is not None:
            showAlike(display, like.GetDisplayNode())
        setVolume(node, array, geometry)
        if colors:
            display.SetAndObserveColorNodeID(colorNode(self._scene, colors).GetID())
        return node


class _PairMode(_Mode):
    """A mode that shows a transform and its scans.

    Args:
        pair: The transform and its scans.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def fixedNode(self, **how):
        """The fixed scan's node, or a temporary one with another display if options of `volume` are given."""
        if not how:
            return self.pair.fixedNode
        fixed = self.pair.fixed()
        return self.volume("GenReg fixed", fixed.array, fixed.geometry, self.pair.fixedNode, **how)

    def movingNode(self, *, after: bool, **how):
        """A temporary node of the moving scan before or after the transform, independent of the scan's own node."""
        moving, name = self.pair.moving(), "GenReg after" if after else "GenReg before"
        node = self.volume(name, moving.array, moving.geometry, self.pair.movingNode, **how)
        if after:
            node.SetAndObserveTransformNodeID(self.pair.transformNode.GetID())
        return node


class Checkerboard(_PairMode):
    """Fixed and aligned moving scan in alternating squares.

    Args:
        pair: The transform and its scans.
        warped: (k, j, i) moving scan on the fixed grid, if it is available; else it is computed.
        squares: Number of checkerboard squares along the longest edge.
    """

    name = "checkerboard"

    def __init__(self, pair: Pair, warped: np.ndarray | None = None, squares: int = 8) -> None:
        super().__init__(pair)
        self._warped, self._squares = warped, squares

    def show(self) -> None:
        """Compute the checkerboard and show it."""
        fixed = self.pair.fixed()
        warped = self._warped
        if warped is None or warped.shape != fixed.array.shape:
            warped = warpedOnto(self.pair.moving(), self.pair.transformNode, fixed.geometry)
        self._geometry = fixed.geometry
        self._gray = [
            _gray(array, node) for array, node in ((fixed.array, self.pair.fixedNode), (warped, self.pair.movingNode))
        ]
        board = self.volume("GenReg checkerboard", self._board(), fixed.geometry, window=(0, 255))
        setLayers(self._scene, board)

    def setSquares(self, squares: int) -> None:
        """Change the number of squares along the longest edge."""
        if squares == self._squares:
            return
        self._squares = squares
        if self._nodes and inScene(self._nodes[0]) is not None:
            setVolume(self._nodes[0], self._board(), self._geometry)

    def leave(self) -> None:
        """Remove the checkerboard and release its voxels."""
        super().leave()
        self._gray = []

    def _board(self) -> np.ndarray:
        geometry = self._geometry
        edge = float(geometry.extent_mm.max()) / self._squares
        i, j, k = (np.floor(np.arange(n) * s / edge).astype(int) for n, s in zip(geometry.size, geometry.spacing))
        odd = (j[:, None] + i[None, :]) % 2 == 1
        fixed, warped = self._gray
        board = np.empty(geometry.shape, np.uint8)
        for n, number in enumerate(k):
            board[n] = np.where(odd if number % 2 == 0 else ~odd, warped[n], fixed[n])
        return board


class Flicker(_PairMode):
    """The moving scan after the transform, alternating with the moving scan before it or with the fixed scan.

    Args:
        pair: The transform and its scans.
        other: "before" or "fixed".
    """

    name = "flicker"

    def __init__(self, pair: Pair, other: str = "before") -> None:
        super().__init__(pair)
        self._other, self._after = other, True

    @property
    def showsAfter(self) -> bool:
        """Whether the moving scan after the transform is visible at present."""
        return self._after

    def show(self) -> None:
        """Show both as layers; `flick` switches the upper one on and off."""
        other = self.movingNode(after=False) if self._other == "before" else self.fixedNode()
        setLayers(self._scene, other, self.movingNode(after=True), opacity=1.0, clip=False)

    def flick(self) -> None:
        """Show the other one."""
        self._after = not self._after
        for node in nodesOf(self._scene, "vtkMRMLSliceCompositeNode"):
            node.SetForegroundOpacity(1.0 if self._after else 0.0)


class Fusion(_PairMode):
    """Both scans as one color image: the fixed one in cyan, the aligned moving one in red; gray where they agree."""

    name = "fusion"

    def show(self) -> None:
        """Show both scans with additive compositing."""
        setLayers(
            self._scene,
            self.fixedNode(colors=FUSION_FIXED),
            self.movingNode(after=True, colors=FUSION_MOVING),
            opacity=1.0,
            compositing=ADD,
        )


class SideBySide(_PairMode):
    """Fixed, moving before and moving after in three linked views, which scroll together."""

    name = "sideBySide"
    turnsViews = True
    _layout = None

    def show(self) -> None:
        """Change the layout and link the views."""
        layout = self._scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None:
            items = "".join(ITEM_XML.format(name=name, letter=name[0]) for name in VIEW_NAMES)
            if not layout.IsLayoutDescription(LAYOUT):
                layout.AddLayoutDescription(LAYOUT, LAYOUT_XML.format(items=items))
            self._layout, self._saved = layout, layout.GetSaveWithScene()
            layout.SetSaveWithScene(False)  # other Slicer sessions do not know this layout
            layout.SetViewArrangement(LAYOUT)
        volumes = (self.fixedNode(), self.movingNode(after=False), self.movingNode(after=True))
        first = self._scene.GetNodeByID(f"vtkMRMLSliceNode{VIEW_NAMES[0]}")
        for name, volume in zip(VIEW_NAMES, volumes):
            composite = self._scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}")
            if composite is not None:
                setLayers(self._scene, volume, composites=[composite])
                composite.SetLinkedControl(True)
                composite.SetHotLinkedControl(True)
            _alike(self._scene.GetNodeByID(f"vtkMRMLSliceNode{name}"), first)

    def leave(self) -> None:
        """Remove the temporary nodes, and save the layout with the scene again."""
        super().leave()
        if self._layout is not None:
            self._layout.SetSaveWithScene(self._saved)
            self._layout = None


class MapOverlay(_Mode):
    """A map over the fixed scan, with its legend.

    Args:
        pair: The transform and its scans.
        mapNode: Volume node of the map.
        mapName: One of `maps.MAPS`.
        opacity: Opacity of the map, 0 to 1.
    """

    name = "map"

    def __init__(self, pair: Pair, mapNode, mapName: str = "", opacity: float = 0.7) -> None:
        super().__init__()
        self.pair, self.mapNode, self.mapName, self._opacity = pair, mapNode, mapName, opacity

    def show(self) -> None:
        """Show the map over the fixed scan."""
        setLayers(self._scene, self.pair.fixedNode, self.mapNode, opacity=self._opacity)

    def enter(self, scene) -> None:
        """Switch the mode on; the legend is shown last, because it depends on the layers."""
        super().enter(scene)
        showLegend(self.mapNode)

    def setOpacity(self, opacity: float) -> None:
        """Change the opacity of the map, 0 to 1."""
        self._opacity = opacity
        for node in nodesOf(self._scene, "vtkMRMLSliceCompositeNode"):
            if node.GetForegroundVolumeID() == self.mapNode.GetID():
                node.SetForegroundOpacity(opacity)

    def leave(self) -> None:
        """Hide the legend."""
        if self._scene is not None:
            hideLegends(self._scene)
        super().leave()


def _alike(node, other) -> None:
    """Set plane, position and scale of a slice view to those of another one."""
    if node is None or other is None or node is other:
        return
    width, _height, depth = other.GetFieldOfView()
    own = node.GetDimensions()
    scale = width / max(other.GetDimensions()[0], 1)
    with slicer.util.NodeModify(node):
        node.GetSliceToRAS().DeepCopy(other.GetSliceToRAS())
        if min(own[:2]) > 0:
            node.SetFieldOfView(scale * own[0], scale * own[1], depth)
        node.SetXYZOrigin(*other.GetXYZOrigin())
        node.UpdateMatrices()


def _gray(array: np.ndarray, node) -> np.ndarray:
    """(k, j, i) uint8 in the node's window; slice by slice, since a whole volume of floats needs too much memory."""
    display = node.GetDisplayNode()
    low, high = (display.GetWindowLevelMin(), display.GetWindowLevelMax()) if display is not None else (0.0, 0.0)
    if not high > low:
        low, high = np.percentile(array[::4, ::4, ::4], (0.5, 99.5))
    factor = np.float32(255 / max(high - low, 1e-6))
    out = np.empty(array.shape, np.uint8)
    for k, plane in enumerate(array):
        out[k] = np.clip((plane - np.float32(low)) * factor, 0, 255)
    return out
