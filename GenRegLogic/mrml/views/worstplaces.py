"""Stepping through the places with the largest expected error: slice views and crosshair jump to each."""

from __future__ import annotations

import slicer

from ..nodes.parents import nodesOf

__all__ = ["PlacesTour", "goTo"]


def goTo(scene, point, *, mark: bool = True) -> None:
    """Center every slice view and the crosshair on a point.

    Args:
        scene: The MRML scene.
        point: (3,) RAS mm, in the world.
        mark: Show the crosshair.
    """
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is None:  # Slicer always has one; a scene without the application may not
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        crosshair = scene.AddNode(crosshair)
    for node in nodesOf(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*point)
    crosshair.SetCrosshairRAS(*point)
    if mark and crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.NoCrosshair:
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)


class PlacesTour:
    """Steps through places, worst first.

    Args:
        places: `maps.Place`s.

    Attributes:
        places: The places.
        index: Index of the present place; -1 before the first step.
    """

    def __init__(self, places) -> None:
        self.places = list(places)
        self.index = -1

    @property
    def present(self):
        """The present place; None before the first step."""
        return self.places[self.index] if 0 <= self.index < len(self.places) else None

    def step(self, scene, by: int):
        """Show the next or the previous place and return it; None if there are no places. Steps stop at both ends.

        Args:
            scene: The MRML scene whose views jump to the place.
            by: 1 for the next place, -1 for the previous one, 0 for the worst.
        """
        if not self.places:
            return None
        self.index = 0 if by == 0 else min(max(self.index + by, 0), len(self.places) - 1)
        goTo(scene, self.present.point)
        return self.present
