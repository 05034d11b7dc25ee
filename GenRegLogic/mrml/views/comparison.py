"""Ways to look at a registration in Slicer's slice views: checkerboard, flicker, color fusion, side by side, a map.

One of them is on at a time. Entering the first remembers the views, going from one to another keeps the place that is
looked at, and leaving puts everything back exactly: layers, positions, zoom, links, crosshair and layout. The nodes
that a mode needs are hidden, are not saved with the scene and leave with it; the user's own nodes are not touched.
"""

from __future__ import annotations

import numpy as np
import slicer

from ..nodes.pair import Pair, warpedOnto
from ..nodes.parents import isIn, nodesOf
from ..nodes.undo import batch
from ..nodes.volumes import setVolume
from .colors import FUSION_FIXED, FUSION_MOVING, colorNode
from .layers import ViewsState, setLayers, showAlike
from .maps import hideLegends, showLegend

__all__ = ["Checkerboard", "Flicker", "Fusion", "MapOverlay", "SideBySide", "ViewModes"]

LAYOUT = 5270
"""Number of the layout of three views; Slicer's own are below 1000."""

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
    """Keeps at most one mode on, and what the views were before the first.

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
        """Whether the views are other than they were left by the user."""
        return self._before is not None

    @property
    def scene(self):
        """The MRML scene."""
        return self._scene

    def begin(self) -> None:
        """Remember the views as they are, unless that was done already."""
        if self._before is None:
            self._before = ViewsState(self._scene)

    def enter(self, mode) -> None:
        """Switch a mode on in place of the present one.

        Raises:
            InputError: It can't be; the views are then as they were before all modes.
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
        """Switch the present mode off and put the views back as they were."""
        present, self.present = self.present, None
        before, self._before = self._before, None
        if present is not None:
            present.leave()
        if before is not None:
            before.restore()
            self._left = before

    def settle(self) -> None:
        """Put places and zoom back once more, when the views have got their sizes back after a change of the layout."""
        left, self._left = self._left, None
        if left is not None and not self.active:
            left.restorePlaces()

    def end(self) -> None:
        """Leave for good."""
        self.leave()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _onLeave(self, caller, event) -> None:
        self.leave()  # a scene is added without what is only shown; or saved, should Slicer come to tell of it

    def _onClose(self, caller, event) -> None:
        self.leave()
        self._left = None


class _Mode:
    """What modes have in common: temporary nodes."""

    name = ""
    turnsViews = False
    """The views show other planes than before, which the next mode does not keep."""

    def __init__(self) -> None:
        self._nodes: list = []
        self._scene = None

    def enter(self, scene) -> None:
        """Change the views."""
        self._scene = scene
        with batch(scene):
            self.show()

    def show(self) -> None:
        """Make what is needed and put it into the views."""
        raise NotImplementedError

    def leave(self) -> None:
        """Remove the temporary nodes."""
        for node in self._nodes:
            if isIn(self._scene, node):
                displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
                self._scene.RemoveNode(node)
                for display in displays:
                    if isIn(self._scene, display):
                        self._scene.RemoveNode(display)
        self._nodes = []

    def volume(self, name: str, array: np.ndarray, geometry, like=None, *, window=None, colors: str = ""):
        """A temporary volume node: hidden, not saved.

        Args:
            name: Of the node.
            array: (k, j, i); shared, not copied.
            geometry: LPS.
            like: Volume node whose window and colors it gets.
            window: (lowest, highest) instead.
            colors: Name of a color table (`colors.COLORS`) instead.
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
    """A mode about a transform and its scans.

    Args:
        pair: The scans.
    """

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def fixedNode(self, **how):
        """The fixed scan, in a node of its own where its colors differ."""
        if not how:
            return self.pair.fixedNode
        fixed = self.pair.fixed()
        return self.volume("GenReg fixed", fixed.array, fixed.geometry, self.pair.fixedNode, **how)

    def movingNode(self, *, after: bool, **how):
        """The moving scan before or after the transform, whatever the scan's own node shows."""
        moving, name = self.pair.moving(), "GenReg after" if after else "GenReg before"
        node = self.volume(name, moving.array, moving.geometry, self.pair.movingNode, **how)
        if after:
            node.SetAndObserveTransformNodeID(self.pair.transformNode.GetID())
        return node


class Checkerboard(_PairMode):
    """Fixed and aligned moving scan in alternate squares.

    Args:
        pair: The scans.
        warped: (k, j, i) moving scan on the fixed grid, where it is known already.
        squares: Along the longest edge.
    """

    name = "checkerboard"

    def __init__(self, pair: Pair, warped: np.ndarray | None = None, squares: int = 8) -> None:
        super().__init__(pair)
        self._warped, self._squares = warped, squares

    def show(self) -> None:
        """Make the board."""
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
        """Change the squares' size."""
        if squares == self._squares:
            return
        self._squares = squares
        if self._nodes and isIn(self._scene, self._nodes[0]):
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
    """The moving scan after the transform, in turn with another picture: before it, or the fixed scan.

    Args:
        pair: The scans.
        other: "before" or "fixed".
    """

    name = "flicker"

    def __init__(self, pair: Pair, other: str = "before") -> None:
        super().__init__(pair)
        self._other, self._after = other, True

    @property
    def showsAfter(self) -> bool:
        """Which of the two is to be seen."""
        return self._after

    def show(self) -> None:
        """Both lie in the views; the upper one comes and goes."""
        other = self.movingNode(after=False) if self._other == "before" else self.fixedNode()
        setLayers(self._scene, other, self.movingNode(after=True), opacity=1.0, clip=False)

    def flick(self) -> None:
        """Show the other one."""
        self._after = not self._after
        for node in nodesOf(self._scene, "vtkMRMLSliceCompositeNode"):
            node.SetForegroundOpacity(1.0 if self._after else 0.0)


class Fusion(_PairMode):
    """Both scans in one picture: the fixed one in cyan, the aligned moving one in red; where they agree it is gray."""

    name = "fusion"

    def show(self) -> None:
        """Add the colors up."""
        setLayers(
            self._scene,
            self.fixedNode(colors=FUSION_FIXED),
            self.movingNode(after=True, colors=FUSION_MOVING),
            opacity=1.0,
            compositing=ADD,
        )


class SideBySide(_PairMode):
    """Fixed, moving before and moving after, one beside the other in linked views; a scroll moves all three."""

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
            layout.SetSaveWithScene(False)  # another Slicer wouldn't know this layout; nothing tells of a save
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
        """Have the layout saved again."""
        super().leave()
        if self._layout is not None:
            self._layout.SetSaveWithScene(self._saved)
            self._layout = None


class MapOverlay(_Mode):
    """A map over the fixed scan, with its legend.

    Args:
        pair: The scans.
        mapNode: Volume node of the map.
        mapName: One of `maps.MAPS`.
        opacity: Of the map.
    """

    name = "map"

    def __init__(self, pair: Pair, mapNode, mapName: str = "", opacity: float = 0.7) -> None:
        super().__init__()
        self.pair, self.mapNode, self.mapName, self._opacity = pair, mapNode, mapName, opacity

    def show(self) -> None:
        """Put the map into the views."""
        setLayers(self._scene, self.pair.fixedNode, self.mapNode, opacity=self._opacity)

    def enter(self, scene) -> None:
        """The legend comes last: it looks at the layers."""
        super().enter(scene)
        showLegend(self.mapNode)

    def setOpacity(self, opacity: float) -> None:
        """Change how much the map covers."""
        self._opacity = opacity
        for node in nodesOf(self._scene, "vtkMRMLSliceCompositeNode"):
            if node.GetForegroundVolumeID() == self.mapNode.GetID():
                node.SetForegroundOpacity(opacity)

    def leave(self) -> None:
        """Take the legend away."""
        if self._scene is not None:
            hideLegends(self._scene)
        super().leave()


def _alike(node, other) -> None:
    """Give a slice view the plane, the place and the scale of another one."""
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
    """(k, j, i) uint8 in the node's window, slice by slice: whole volumes as real numbers are huge."""
    display = node.GetDisplayNode()
    low, high = (display.GetWindowLevelMin(), display.GetWindowLevelMax()) if display is not None else (0.0, 0.0)
    if not high > low:
        low, high = np.percentile(array[::4, ::4, ::4], (0.5, 99.5))
    factor = np.float32(255 / max(high - low, 1e-6))
    out = np.empty(array.shape, np.uint8)
    for k, plane in enumerate(array):
        out[k] = np.clip((plane - np.float32(low)) * factor, 0, 255)
    return out
