"""The comparison modes of the slice views: what they show, and that leaving restores the views."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.mrml.nodes.pair import pairOf
from GenRegLogic.mrml.views.comparison import Checkerboard, Flicker, Fusion, MapOverlay, SideBySide, ViewModes

from ..conftest import FIXED, makeMaps, stateOf

MODES = {
    "checkerboard": Checkerboard,
    "flicker": Flicker,
    "fusion": Fusion,
    "sideBySide": SideBySide,
    "fixed flicker": lambda pair: Flicker(pair, "fixed"),
}


@pytest.fixture
def modes(views):
    """The modes of the three slice views; left at the end of the test."""
    made = ViewModes(views)
    yield made
    made.end()


class TestModes:
    @pytest.mark.parametrize("name", MODES)
    def test_leaving_restores_the_views_exactly(self, modes, views, transform, name):
        pair = pairOf(transform)
        before = stateOf(views)
        modes.enter(MODES[name](pair))
        assert stateOf(views) != before
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(5.0, 6.0, 7.0)
        modes.leave()
        assert stateOf(views) == before

    def test_leaving_after_all_modes_in_turn_restores_the_views(self, modes, views, transform):
        pair = pairOf(transform)
        before = stateOf(views)
        for kind in (*MODES.values(), *reversed(MODES.values())):
            modes.enter(kind(pair))
        modes.leave()
        assert stateOf(views) == before

    def test_the_mode_after_side_by_side_has_the_original_planes(self, modes, views, transform):
        modes.enter(SideBySide(pairOf(transform)))
        modes.enter(Fusion(pairOf(transform)))
        assert views.GetNodeByID("vtkMRMLSliceNodeYellow").GetOrientation() == "Sagittal"

    def test_side_by_side_links_three_views_of_one_plane(self, modes, views, transform):
        modes.enter(SideBySide(pairOf(transform)))
        nodes = [views.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Green", "Yellow")]
        assert {node.GetOrientation() for node in nodes} == {"Axial"}
        composites = [views.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}") for name in ("Red", "Green", "Yellow")]
        assert all(node.GetHotLinkedControl() for node in composites)
        assert len({node.GetBackgroundVolumeID() for node in composites}) == 3

    def test_a_mode_is_left_when_another_scene_is_imported(self, modes, views, transform):
        before = stateOf(views)
        modes.enter(SideBySide(pairOf(transform)))
        views.StartState(slicer.vtkMRMLScene.ImportState)
        views.EndState(slicer.vtkMRMLScene.ImportState)
        assert modes.present is None
        assert stateOf(views)[:4] == before[:4]

    def test_the_flicker_toggles_the_upper_layer(self, modes, views, transform):
        mode = Flicker(pairOf(transform))
        modes.enter(mode)
        composite = views.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        seen = []
        for _ in range(4):
            mode.flick()
            seen.append(composite.GetForegroundOpacity())
        assert seen == [0.0, 1.0, 0.0, 1.0]

    def test_checkerboard_squares_alternate_between_the_two_scans(self, modes, views, transform):
        pair = pairOf(transform)
        for node, value in ((pair.fixedNode, 0.0), (pair.movingNode, 100.0)):
            slicer.util.arrayFromVolume(node)[:] = value
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevelMinMax(0, 100)
        mode = Checkerboard(pair, np.full(FIXED.shape, 100.0, np.float32), squares=4)
        modes.enter(mode)
        board = slicer.util.arrayFromVolume(slicer.util.getNode("GenReg checkerboard"))
        assert set(np.unique(board)) == {0, 255}
        assert 0.4 < (board == 255).mean() < 0.6
        fixedSquare = board[0, :5, :5].copy()
        mode.setSquares(2)
        board = slicer.util.arrayFromVolume(slicer.util.getNode("GenReg checkerboard"))
        assert not fixedSquare.any()
        assert not board[0, :10, :10].any()

    def test_a_map_overlay_shows_and_hides_its_legend(self, modes, views, transform):
        _, _, made = makeMaps(views, transform)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(made["magnitude"])
        modes.enter(MapOverlay(pairOf(transform), made["magnitude"], "magnitude", 0.5))
        assert legend.GetVisibility()
        modes.leave()
        assert not legend.GetVisibility()

    @pytest.mark.parametrize("name", MODES)
    def test_closing_the_scene_leaves_the_mode(self, modes, views, transform, name):
        modes.enter(MODES[name](pairOf(transform)))
        views.Clear(False)
        assert modes.present is None

    def test_the_side_by_side_layout_is_not_saved_with_the_scene(self, modes, views, transform):
        layout = views.GetFirstNodeByClass("vtkMRMLLayoutNode")
        modes.enter(SideBySide(pairOf(transform)))
        assert not layout.GetSaveWithScene()
        modes.leave()
        assert layout.GetSaveWithScene()
