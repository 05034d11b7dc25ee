"""What the slice views show."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.mrml.curve import ObjectiveCurve
from GenRegLogic.mrml.views import SliceViewState, checkerboardVolume, gridShown, hideGrid, showGrid, showLayers
from GenRegLogic.volume import Geometry

from .conftest import GEOMETRIES

GRID = GEOMETRIES["oblique"]


@pytest.fixture
def composites(scene):
    """The layers of two slice views."""
    made = []
    for name in ("Red", "Green"):
        node = slicer.vtkMRMLSliceCompositeNode()
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        made.append(scene.AddNode(node))
    return made


class TestLayers:
    def test_every_view_gets_both_volumes(self, scene, scans, composites):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID)
        showLayers(scene, fixed, moving, 0.3)
        for node in composites:
            assert (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID()) == (fixed.GetID(), moving.GetID())
            assert node.GetForegroundOpacity() == pytest.approx(0.3)

    def test_they_come_back_with_their_opacity(self, scene, scans, composites):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID)
        showLayers(scene, moving, None, 0.0)
        state = SliceViewState(scene)
        showLayers(scene, fixed, moving, 0.3)
        state.restore()
        for node in composites:
            assert node.GetBackgroundVolumeID() == moving.GetID()
            assert node.GetForegroundVolumeID() is None
            assert node.GetForegroundOpacity() == 0.0

    def test_a_volume_that_is_gone_is_not_asked_for(self, scene, scans, composites):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID)
        showLayers(scene, moving)
        state = SliceViewState(scene)
        showLayers(scene, fixed)
        scene.RemoveNode(moving)
        state.restore()
        assert composites[0].GetBackgroundVolumeID() is None

    def test_position_and_zoom_come_back(self, scene):
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
        node.SetOrientation("Coronal")
        node.SetFieldOfView(120, 100, 1)
        node.SetSliceOffset(17.0)
        state = SliceViewState(scene)
        node.SetOrientation("Axial")
        node.SetFieldOfView(300, 300, 1)
        node.SetSliceOffset(-5.0)
        state.restore()
        assert node.GetOrientation() == "Coronal"
        assert node.GetFieldOfView() == (120, 100, 1)
        assert node.GetSliceOffset() == pytest.approx(17.0)


class TestGrid:
    def test_it_is_drawn_over_the_fixed_scan_and_taken_away(self, scans):
        node, fixed = scans.grid("result", GRID), scans.volume("fixed", GRID)
        showGrid(node, fixed)
        assert gridShown(node)
        assert node.GetDisplayNode().GetRegionNode() is fixed
        hideGrid(node)
        assert not gridShown(node)

    def test_its_lines_are_a_fraction_of_the_scan_apart(self, scans):
        node, fixed = scans.grid("result", GRID), scans.volume("fixed", Geometry((100, 100, 100)))
        showGrid(node, fixed)
        assert 2 < node.GetDisplayNode().GetGridSpacingMm() < 10


class TestCheckerboard:
    def test_neighboring_fields_show_the_two_scans_in_turn(self, scene, scans):
        geometry = Geometry((32, 32, 32))
        fixed, moving = scans.volume("fixed", geometry), scans.volume("moving", geometry)
        for node in (fixed, moving):
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevelMinMax(0, 100)
        ones = np.ones(geometry.shape, np.float32)
        node = checkerboardVolume(scene, fixed, moving, 0 * ones, 100 * ones, geometry, squares=4)
        array = slicer.util.arrayFromVolume(node)
        assert [array[0, 0, i] for i in (0, 8, 16, 24)] == [0, 255, 0, 255]
        assert array[8, 8, 8] == 255
        assert array.mean() == pytest.approx(127.5)

    def test_it_is_hidden_and_not_saved(self, scene, scans):
        geometry = Geometry((8, 8, 8))
        fixed = scans.volume("fixed", geometry)
        array = slicer.util.arrayFromVolume(fixed)
        node = checkerboardVolume(scene, fixed, fixed, array, array, geometry)
        assert node.GetHideFromEditors()
        assert not node.GetSaveWithScene()


class TestCurve:
    def test_values_come_into_the_table_when_shown(self, scene):
        curve = ObjectiveCurve(scene)
        for iteration, value in enumerate((0.9, 0.7, 0.6)):
            curve.add(0, iteration, value)
        curve.show()
        curve.add(1, 0, 0.8)
        curve.show()
        series = scene.GetNodeByID(curve.plotChartNode.GetNthPlotSeriesNodeID(0))
        table = series.GetTableNode().GetTable()
        assert [table.GetColumn(1).GetValue(row) for row in range(table.GetNumberOfRows())] == \
            pytest.approx([0.9, 0.7, 0.6, 0.8])
        assert [table.GetColumn(0).GetValue(row) for row in range(4)] == [0, 1, 2, 3]

    def test_nothing_is_left_after_removal(self, scene):
        count = scene.GetNumberOfNodes()
        curve = ObjectiveCurve(scene)
        curve.add(0, 0, 1.0)
        curve.show()
        curve.remove()
        assert scene.GetNumberOfNodes() == count

    def test_it_survives_a_closed_scene(self, scene):
        curve = ObjectiveCurve(scene)
        scene.Clear(False)
        curve.add(0, 0, 1.0)
        curve.show()
        curve.clear()
        assert curve.values == []
