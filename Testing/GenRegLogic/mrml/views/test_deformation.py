"""The deformation drawn in the slice views as a grid or as arrows."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.mrml.nodes.pair import pairOf
from GenRegLogic.mrml.nodes.transforms import setField
from GenRegLogic.mrml.views.deformation import ARROWS, GRID, Deformation
from GenRegLogic.space.margin import LPS_TO_RAS, withMargin

from ..conftest import FIXED, stateOf


class TestDeformation:
    @pytest.mark.parametrize("kind", [GRID, ARROWS])
    def test_it_is_drawn_in_each_view_and_removed_completely(self, views, transform, kind):
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(*(FIXED.center * LPS_TO_RAS))
        before = stateOf(views)
        drawn = Deformation(views, pairOf(transform), kind)
        drawn.show()
        models = slicer.util.getNodesByClass("vtkMRMLModelNode")
        assert len(models) == 3
        assert max(model.GetPolyData().GetNumberOfCells() for model in models) > 20
        drawn.hide()
        assert stateOf(views) == before
        assert transform.GetNumberOfDisplayNodes() == 0

    def test_zooming_in_reduces_the_distance_between_lines(self, views, transform):
        drawn, node = Deformation(views, pairOf(transform)), views.GetNodeByID("vtkMRMLSliceNodeRed")
        wide = drawn.spacing(node)
        node.SetFieldOfView(20, 15, 1)
        assert drawn.spacing(node) < wide

    def test_nothing_is_drawn_without_a_displacement(self, views, transform):
        setField(transform, *withMargin(np.zeros((*FIXED.shape, 3), np.float32), FIXED))
        drawn = Deformation(views, pairOf(transform))
        drawn.show()
        models = slicer.util.getNodesByClass("vtkMRMLModelNode")
        assert [model.GetPolyData().GetNumberOfCells() for model in models] == [0, 0, 0]

    def test_it_is_removed_with_its_transform(self, views, transform):
        drawn = Deformation(views, pairOf(transform), GRID)
        drawn.show()
        views.RemoveNode(transform)
        assert not drawn.shown
        assert views.GetFirstNodeByClass("vtkMRMLModelNode") is None
        assert views.GetFirstNodeByClass("vtkMRMLTransformDisplayNode") is None
        views.GetFirstNodeByClass("vtkMRMLSliceNode").SetFieldOfView(50, 40, 1)
        assert views.GetFirstNodeByClass("vtkMRMLModelNode") is None  # not drawn again
