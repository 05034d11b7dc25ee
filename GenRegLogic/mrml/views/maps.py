"""Maps of a registration as volume nodes with colors and legends: kept until the transform changes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import slicer

from ...space.margin import LPS_TO_RAS
from ..i18n import tr as _
from ..nodes.pair import stateToken
from ..nodes.parents import isIn, nodesOf
from ..nodes.undo import batch
from ..nodes.volumes import setVolume, volumeFromNode
from .colors import colorNode

__all__ = ["BODY", "MAPS", "MapNodes", "Place", "hideLegends", "showLegend", "window"]

MAP_ATTRIBUTE, WORST_ATTRIBUTE, TRANSFORM_ROLE = "GenReg.Map", "GenReg.WorstPlaces", "GenReg.MapOf"

NICE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Numbers at which a legend may end, times a power of ten."""

LEGEND_SIZE, LEGEND_POSITION = (0.13, 0.42), (0.97, 0.5)
LABEL_SIZE, TITLE_SIZE = 13, 14


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one kind of map is shown.

    Attributes:
        title: Title of the legend.
        name: Name of the node.
        colors: Name of the color table.
        unit: "ratio" (a logarithm, its window around 0), "mm" or "share".
    """

    title: str
    name: str
    colors: str
    unit: str


MAPS = {
    "log_jacobian": Kind(_("Volume change, ln"), _("Expansion and contraction"), "volume change", "ratio"),
    "magnitude": Kind(_("Displacement, mm"), _("Displacement"), "displacement", "mm"),
    "confidence": Kind(_("Expected error, mm"), _("Expected error"), "expected error", "mm"),
    "similarity_before": Kind(_("Similarity before"), _("Similarity before"), "similarity", "share"),
    "similarity_after": Kind(_("Similarity after"), _("Similarity after"), "similarity", "share"),
}
"""The kinds by the names that the worker gives them."""

BODY = "body"
"""The worker's name for the mask of the fixed body: outside it a map is 0 and is not drawn."""

LEAST_SIMILARITY = 1e-3
"""Lowest similarity inside the body, so that the least similar voxels differ from those outside, which are 0."""

LEAST_RATIO, MOST_RATIO = 0.1, 1.5
"""Limits of the log-Jacobian's window, natural logarithm: 10 % and about fourfold."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A place where the result is least sure.

    Attributes:
        point: RAS mm, in the world.
        expectedError: mm.
        reason: One sentence.
    """

    point: tuple[float, float, float]
    expectedError: float
    reason: str


class MapNodes:
    """The maps of a scene's transforms: found again after a reload, dropped once the transform has changed.

    Args:
        scene: The MRML scene.
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self._tokens: dict[str, tuple] = {}

    def nodes(self, transformNode) -> dict:
        """The maps of a transform as it is now, by name; those of an earlier state are removed."""
        found = {}
        for node in self._all():
            if node.GetNodeReference(TRANSFORM_ROLE) is transformNode:
                found[node.GetAttribute(MAP_ATTRIBUTE)] = node
        token = self._tokens.setdefault(transformNode.GetID(), stateToken(transformNode)) if found else None
        if found and token != stateToken(transformNode):
            self.drop(transformNode)
            return {}
        return found

    def worst(self, transformNode) -> list[Place]:
        """The worst places of a transform, the worst first; empty while its confidence isn't known."""
        node = self.nodes(transformNode).get("confidence")
        text = node.GetAttribute(WORST_ATTRIBUTE) if node is not None else None
        return [Place(tuple(point), error, reason) for point, error, reason in json.loads(text or "[]")]

    def volume(self, transformNode, name: str):
        """(k, j, i) array and LPS geometry of a map that there is, or None."""
        node = self.nodes(transformNode).get(name)
        if node is None:
            return None
        volume = volumeFromNode(node, "map")
        return volume.array, volume.geometry

    def add(self, transformNode, outcome: dict, *, saved: bool = False) -> dict:
        """Put a worker's answer into the scene and return the transform's maps by name.

        Args:
            transformNode: What the maps are of.
            outcome: {"report", "arrays", "geometries"} of the job "maps".
            saved: The maps go with the scene.
        """
        had = self.nodes(transformNode)
        with batch(self._scene):
            for name in MAPS:
                if name in outcome["arrays"]:
                    if name in had:
                        _remove(self._scene, had[name])
                    self._add(transformNode, name, outcome, saved)
        self._tokens[transformNode.GetID()] = stateToken(transformNode)
        return self.nodes(transformNode)

    def save(self, saved: bool) -> None:
        """Have all maps go with the scene, or not."""
        for node in self._all():
            _setSaved(node, saved)

    def drop(self, transformNode) -> None:
        """Remove the maps of a transform."""
        for node in self._all():
            if node.GetNodeReference(TRANSFORM_ROLE) is transformNode:
                _remove(self._scene, node)
        self._tokens.pop(transformNode.GetID(), None)

    def dropOrphans(self) -> None:
        """Remove the maps whose transform is gone, except those that the user has asked to be saved."""
        for node in self._all():
            if node.GetNodeReference(TRANSFORM_ROLE) is None and not node.GetSaveWithScene():
                _remove(self._scene, node)

    def dropUnsaved(self) -> None:
        """Remove all maps that aren't to be saved: the module ends."""
        for node in self._all():
            if not node.GetSaveWithScene():
                _remove(self._scene, node)
        self._tokens.clear()

    def _all(self) -> list:
        return [node for node in nodesOf(self._scene, "vtkMRMLScalarVolumeNode") if node.GetAttribute(MAP_ATTRIBUTE)]

    def _add(self, transformNode, name: str, outcome: dict, saved: bool):
        kind, geometry = MAPS[name], outcome["geometries"][name]
        array = _inBody(outcome["arrays"][name], outcome["arrays"].get(BODY), kind)
        title = _("{transform}: {map}").format(transform=transformNode.GetName(), map=kind.name)
        node = self._scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", title)
        node.SetAttribute(MAP_ATTRIBUTE, name)
        node.SetNodeReferenceID(TRANSFORM_ROLE, transformNode.GetID())
        if name == "confidence":
            node.SetAttribute(WORST_ATTRIBUTE, _places(outcome["report"].get("worst") or []))
        node.CreateDefaultDisplayNodes()  # before the voxels come, which it would look through
        display = node.GetDisplayNode()
        low, high = window(name, array, (outcome["report"].get("ranges") or {}).get(name))
        with slicer.util.NodeModify(display):
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(low, high)
            display.SetInterpolate(kind.unit != "share")  # between the body and 0 outside lies what looks bad
            if kind.unit == "share":
                display.SetThreshold(LEAST_SIMILARITY / 2, 2.0)
                display.SetApplyThreshold(True)
            display.SetAndObserveColorNodeID(colorNode(self._scene, kind.colors, saved=saved).GetID())
        setVolume(node, array, geometry)
        _addLegend(node, kind, high)
        _setSaved(node, saved)
        return node


def window(name: str, array: np.ndarray, known: dict | None = None) -> tuple[float, float]:
    """The ends of a map's window: round numbers, 0 in the middle or at the lower end.

    Args:
        name: One of `MAPS`.
        array: The map.
        known: {"p1", "p99"} of the fixed body, where the worker has said so.
    """
    if MAPS[name].unit == "share":
        return 0.0, 1.0
    low, high = (known["p1"], known["p99"]) if known else np.percentile(array[::2, ::2, ::2], (1, 99))
    if MAPS[name].unit == "ratio":
        end = float(np.clip(_nice(max(-low, high)), LEAST_RATIO, MOST_RATIO))
        return -end, end
    return 0.0, _nice(max(high, 1e-3))


def showLegend(node) -> None:
    """Show the legend of a map that has just got into the views."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetVisibility(True)
        legend.Modified()  # it looks at the views' layers only when it changes itself


def hideLegends(scene) -> None:
    """Take the legends of all maps away."""
    for legend in nodesOf(scene, "vtkMRMLColorLegendDisplayNode"):
        owner = legend.GetDisplayableNode()
        if owner is not None and owner.GetAttribute(MAP_ATTRIBUTE):
            legend.SetVisibility(False)


def _inBody(array: np.ndarray, body: np.ndarray | None, kind: Kind) -> np.ndarray:
    if body is None or body.shape != array.shape:
        return array
    array = np.maximum(array, LEAST_SIMILARITY) if kind.unit == "share" else array
    return array * body


def _addLegend(node, kind: Kind, end: float) -> None:
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is None:  # a bare scene, without Slicer's module Colors
        return
    with slicer.util.NodeModify(legend):
        legend.SetTitleText(kind.title)
        legend.SetLabelFormat("%5.2f" if end < 2 else "%5.1f")  # of one length: the longer, the smaller the letters
        legend.SetNumberOfLabels(5)
        legend.SetSize(*LEGEND_SIZE)
        legend.SetPosition(*LEGEND_POSITION)
        legend.GetLabelTextProperty().SetFontSize(LABEL_SIZE)
        legend.GetTitleTextProperty().SetFontSize(TITLE_SIZE)
        legend.GetLabelTextProperty().SetFontFamilyToArial()
        legend.SetVisibility(False)


def _places(worst: list[dict]) -> str:
    return json.dumps(
        [
            (list(np.array(place["point_lps"]) * LPS_TO_RAS), place["expected_error_mm"], place.get("reason", ""))
            for place in worst
        ]
    )


def _nice(value: float) -> float:
    """The next round number at or above a value."""
    power = 10.0 ** np.floor(np.log10(value)) if value > 0 else 0.1
    return float(next(step * power for step in NICE if step * power >= value * (1 - 1e-9)))


def _setSaved(node, saved: bool) -> None:
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    colors = [display.GetColorNode() for display in displays if display is not None]
    for each in (
        node,
        *displays,
        *(color for color in colors if color is not None and color.GetAttribute("GenReg.Colors")),
    ):
        each.SetSaveWithScene(saved)


def _remove(scene, node) -> None:
    companions = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    companions.append(node.GetStorageNode())
    scene.RemoveNode(node)
    for companion in companions:
        if isIn(scene, companion):
            scene.RemoveNode(companion)
