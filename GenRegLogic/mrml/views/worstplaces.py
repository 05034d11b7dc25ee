"""Going through the places where a result is least sure: the slice views and the crosshair jump to each."""

from __future__ import annotations

import slicer

from ..nodes.parents import nodesOf

__all__ = ["PlacesTour", "goTo"]


def goTo(scene, point, *, mark: bool = True) -> None:
    """Center every slice view on a point, and put the crosshair there.

    Args:
        scene: The MRML scene.
        point: (3,) RAS mm, in the world.
        mark: Show the crosshair.
    """
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is None:  # Slicer has one always; a bare scene may not
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        crosshair = scene.AddNode(crosshair)
    for node in nodesOf(scene, "vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*point)
    crosshair.SetCrosshairRAS(*point)
    if mark and crosshair.GetCrosshairMode() == slicer.vtkMRMLCrosshairNode.NoCrosshair:
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)


class PlacesTour:
    """A walk through places, the worst first.

    Args:
        places: `maps.Place`s.

    Attributes:
        index: Of the present place; -1 before the first step.
    """

    def __init__(self, places) -> None:
        self.places = list(places)
        self.index = -1

    @property
    def present(self):
        """The place that is shown, or None."""
        return self.places[self.index] if 0 <= self.index < len(self.places) else None

    def step(self, scene, by: int):
        """Go on or back and return the place; the walk ends at neither end, it stays there.

        Args:
            scene: Whose views jump.
            by: 1 the next, -1 the one before, 0 the worst.
        """
        if not self.places:
            return None
        self.index = 0 if by == 0 else min(max(self.index + by, 0), len(self.places) - 1)
        goTo(scene, self.present.point)
        return self.present
