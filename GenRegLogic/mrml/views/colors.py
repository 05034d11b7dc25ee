"""Color tables for maps and for color fusion: created when needed, hidden and not saved.

A slice view treats the alpha of a color as binary: where alpha is 0, nothing is drawn and the anatomy below is shown
undimmed. Each map is therefore transparent where it needs no attention.
"""

from __future__ import annotations

import numpy as np

from ..nodes.parents import nodesOf

__all__ = ["COLORS", "FUSION_FIXED", "FUSION_MOVING", "colorNode", "dropColors"]

ENTRIES = 256

FUSION_FIXED, FUSION_MOVING = "fusion fixed", "fusion moving"

CLEAR = {
    "volume change": (0.46, 0.54),
    "displacement": (0.0, 0.04),
    "expected error": (0.0, 0.12),
    "similarity": (0.75, 1.0),
}
"""Transparent part of each map's window, as fractions from 0 to 1: nearly no volume change, nearly no displacement, an
error that is small for this scan, and high similarity."""

COLORS = {
    # Dark in the middle and bright at both ends; blue and orange differ for every kind of color vision.
    "volume change": [
        (0.0, 0.75, 0.93, 1.0),
        (0.25, 0.16, 0.52, 0.95),
        (0.5, 0.10, 0.12, 0.25),
        (0.5, 0.25, 0.10, 0.08),
        (0.75, 0.93, 0.36, 0.08),
        (1.0, 1.0, 0.88, 0.55),
    ],
    # Brightness increases evenly with the value, as in viridis and inferno.
    "displacement": [
        (0.0, 0.20, 0.10, 0.42),
        (0.25, 0.18, 0.36, 0.58),
        (0.5, 0.12, 0.58, 0.55),
        (0.75, 0.44, 0.80, 0.36),
        (1.0, 1.0, 0.93, 0.20),
    ],
    "expected error": [
        (0.0, 0.30, 0.06, 0.42),
        (0.35, 0.68, 0.16, 0.38),
        (0.65, 0.94, 0.42, 0.14),
        (1.0, 1.0, 0.92, 0.40),
    ],
    "similarity": [(0.0, 1.0, 0.55, 0.75), (0.35, 0.80, 0.20, 0.55), (0.75, 0.30, 0.15, 0.45), (1.0, 0.1, 0.1, 0.3)],
    # Their sum is white, so that equal intensities appear gray.
    FUSION_FIXED: [(0.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.85, 1.0)],
    FUSION_MOVING: [(0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 0.15, 0.0)],
    "deformation": [(0.0, 0.35, 0.75, 1.0), (0.33, 0.45, 0.95, 0.55), (0.66, 1.0, 0.85, 0.25), (1.0, 1.0, 0.30, 0.20)],
}
"""By the table's name: (position from 0 to 1, red, green, blue)."""

ATTRIBUTE = "GenReg.Colors"


def colorNode(scene, name: str, *, saved: bool = False):
    """The scene's color table of that name, created if needed.

    Args:
        scene: The MRML scene.
        name: One of `COLORS`.
        saved: Save the table with the scene, as a saved map needs it.
    """
    for node in nodesOf(scene, "vtkMRMLColorTableNode"):
        if node.GetAttribute(ATTRIBUTE) == name:
            node.SetSaveWithScene(saved or node.GetSaveWithScene())
            return node
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)  # CreateNodeByClass leaves a reference to its caller
    node.SetName(f"GenReg {name}")
    node.SetAttribute(ATTRIBUTE, name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(saved)
    node.SetTypeToUser()
    node.SetNumberOfColors(ENTRIES)
    places, *channels = np.array(COLORS[name]).T
    clear = CLEAR.get(name, (2.0, 2.0))
    for entry in range(ENTRIES):
        place = entry / (ENTRIES - 1)
        red, green, blue = (float(np.interp(place, places, channel)) for channel in channels)
        alpha = 0.0 if clear[0] <= place <= clear[1] else 1.0
        node.SetColor(entry, f"{place:.3f}", red, green, blue, alpha)
    return scene.AddNode(node)


def dropColors(scene) -> None:
    """Remove the color tables that are not saved with the scene."""
    for node in nodesOf(scene, "vtkMRMLColorTableNode"):
        if node.GetAttribute(ATTRIBUTE) and not node.GetSaveWithScene():
            scene.RemoveNode(node)
