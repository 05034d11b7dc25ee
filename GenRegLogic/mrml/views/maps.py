"""Maps of a registration as volume nodes with colors and legends, which are kept until the transform changes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import slicer

from ...quality.verdict import SCALE_TOLERANCES
from ...space.margin import LPS_TO_RAS
from ..i18n import tr as _
from ..nodes.pair import stateToken
from ..nodes.parents import inScene, nodesOf
from ..nodes.undo import batch
from ..nodes.volumes import setVolume, volumeFromNode
from .colors import colorNode

__all__ = ["BODY", "MAPS", "MapNodes", "Place", "hideLegends", "showLegend", "window"]

MAP_ATTRIBUTE, WORST_ATTRIBUTE, TRANSFORM_ROLE = "GenReg.Map", "GenReg.WorstPlaces", "GenReg.MapOf"

NICE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Allowed upper ends of a legend, times a power of ten."""

LEGEND_SIZE, LEGEND_POSITION = (0.13, 0.42), (0.97, 0.5)
LABEL_SIZE, TITLE_SIZE = 13, 14


@dataclasses.dataclass(frozen=True)
class Kind:
    """The display of one kind of map.

    Attributes:
        title: Title of the legend.
        name: Name of the node.
        colors: Name of the color table.
        unit: "ratio" (a logarithm, with a window symmetric about 0), "mm" or "share" (0 to 1).
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
"""By the worker's names of the maps."""

BODY = "body"
"""The worker's name of the mask of the fixed body; outside it a map is 0 and not drawn."""

LEAST_SIMILARITY = 1e-3
"""Lowest similarity inside the body, so that the least similar voxels differ from those outside, which are 0."""

LEAST_RATIO, MOST_RATIO = 0.1, 1.5
"""Limits of the log-Jacobian's window, natural logarithm: volume changes of 10 % and about fourfold."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A place with a large expected error.

    Attributes:
        point: RAS mm, in the world.
        expectedError: Expected error, mm.
        reason: One sentence that explains it.
    """

    point: tuple[float, float, float]
    expectedError: float
    reason: str


class MapNodes:
    """The maps of a scene's transforms, which are found again after a reload and removed when the transform changes.

    Args:
        scene: The MRML scene.
    """

    def __init__(self, scene) -> None:
        self._scene = scene
        self._tokens: dict[str, tuple] = {}

    def nodes(self, transformNode) -> dict:
        """The maps of a transform by name; if the transform has changed since, they are removed."""
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
        """The places with the largest expected error, worst first; empty without a map of the expected error."""
        node = self.nodes(transformNode).get("confidence")
        text = node.GetAttribute(WORST_ATTRIBUTE) if node is not None else None
        return [Place(tuple(point), error, reason) for point, error, reason in json.loads(text or "[]")]

    def volume(self, transformNode, name: str):
        """(k, j, i) array and LPS geometry of a map; None if it does not exist."""
        node = self.nodes(transformNode).get(name)
        if node is None:
            return None
        volume = volumeFromNode(node, "map")
        return volume.array, volume.geometry

    def add(self, transformNode, outcome: dict, *, saved: bool = False) -> dict:
        """Put a worker's answer into the scene and return the transform's maps by name.

        Args:
            transformNode: The transform that the maps describe.
            outcome: {"report", "arrays", "geometries"} of the job "maps".
            saved: Save the maps with the scene.
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
        """Set whether the maps are saved with the scene."""
        for node in self._all():
            _setSaved(node, saved)

    def drop(self, transformNode) -> None:
        """Remove the maps of a transform."""
        for node in self._all():
            if node.GetNodeReference(TRANSFORM_ROLE) is transformNode:
                _remove(self._scene, node)
        self._tokens.pop(transformNode.GetID(), None)

    def dropOrphans(self) -> None:
        """Remove the maps whose transform was removed, except those that the user wants to be saved."""
        for node in self._all():
            if node.GetNodeReference(TRANSFORM_ROLE) is None and not node.GetSaveWithScene():
                _remove(self._scene, node)

    def dropUnsaved(self) -> None:
        """Remove all maps that are not saved with the scene, when the module ends."""
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
        node.CreateDefaultDisplayNodes()  # before the voxels are set, which it would search for a window
        display = node.GetDisplayNode()
        report = outcome["report"]
        low, high = window(name, array, (report.get("ranges") or {}).get(name), report.get("tolerance_mm"))
        with slicer.util.NodeModify(display):
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(low, high)
            display.SetInterpolate(kind.unit != "share")  # interpolation to 0 outside would look like low similarity
            if kind.unit == "share":
                display.SetThreshold(LEAST_SIMILARITY / 2, 2.0)
                display.SetApplyThreshold(True)
            display.SetAndObserveColorNodeID(colorNode(self._scene, kind.colors, saved=saved).GetID())
        setVolume(node, array, geometry)
        _addLegend(node, kind, high)
        _setSaved(node, saved)
        return node


def window(
    name: str, array: np.ndarray, known: dict | None = None, toleranceMm: float | None = None
) -> tuple[float, float]:
    """The lower and upper end of a map's window: round numbers, with 0 in the middle or at the lower end.

    Args:
        name: One of `MAPS`.
        array: The map, (k, j, i).
        known: Percentiles {"p1", "p99"} in the fixed body, if the worker reported them; else they are computed.
        toleranceMm: By which the expected error is scaled, so that patients can be compared; None scales it like the
            other maps.
    """
    if name == "confidence" and toleranceMm:
        return 0.0, SCALE_TOLERANCES * toleranceMm
    if MAPS[name].unit == "share":
        return 0.0, 1.0
    low, high = (known["p1"], known["p99"]) if known else np.percentile(array[::2, ::2, ::2], (1, 99))
    if MAPS[name].unit == "ratio":
        end = float(np.clip(_nice(max(-low, high)), LEAST_RATIO, MOST_RATIO))
        return -end, end
    return 0.0, _nice(max(high, 1e-3))


def showLegend(node) -> None:
    """Show the legend of a map that was just put into the views."""
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetVisibility(True)
        legend.Modified()  # it checks the views' layers only when it is modified itself


def hideLegends(scene) -> None:
    """Hide the legends of all maps."""
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
        legend.SetLabelFormat("%5.2f" if end < 2 else "%5.1f")  # equal lengths: long labels shrink the letters
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
        if inScene(companion) is not None:
            scene.RemoveNode(companion)
