"""The layers of the slice views, and the objective plot."""

from __future__ import annotations

import pytest
import slicer

from GenRegLogic.mrml.views.layers import SliceViewState, ViewsState, setLayers, showLayers
from GenRegLogic.mrml.views.objectiveplot import ObjectivePlot

from ..conftest import GEOMETRIES

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

    def test_restoring_brings_back_volumes_and_opacity(self, scene, scans, composites):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID)
        showLayers(scene, moving, None, 0.0)
        state = SliceViewState(scene)
        showLayers(scene, fixed, moving, 0.3)
        state.restore()
        for node in composites:
            assert node.GetBackgroundVolumeID() == moving.GetID()
            assert node.GetForegroundVolumeID() is None
            assert node.GetForegroundOpacity() == 0.0

    def test_restoring_skips_a_volume_that_was_removed(self, scene, scans, composites):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID)
        showLayers(scene, moving)
        state = SliceViewState(scene)
        showLayers(scene, fixed)
        scene.RemoveNode(moving)
        state.restore()
        assert composites[0].GetBackgroundVolumeID() is None

    def test_restoring_brings_back_position_and_zoom(self, scene):
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


class TestViewsState:
    def test_restoring_brings_back_links_layout_and_crosshair(self, scene, scans, composites):
        layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
        layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        crosshair = scene.AddNode(crosshair)
        crosshair.SetCrosshairRAS(1.0, 2.0, 3.0)
        composites[0].SetLinkedControl(True)
        composites[1].SetClipToBackgroundVolume(True)
        state = ViewsState(scene)
        layout.SetViewArrangement(layout.SlicerLayoutOneUpRedSliceView)
        crosshair.SetCrosshairRAS(7.0, 8.0, 9.0)
        crosshair.SetCrosshairMode(crosshair.ShowBasic)
        setLayers(scene, scans.volume("one", GRID), compositing=slicer.vtkMRMLSliceCompositeNode.Add, clip=False)
        composites[0].SetLinkedControl(False)
        state.restore()
        assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView
        assert (crosshair.GetCrosshairMode(), crosshair.GetCrosshairRAS()) == (crosshair.NoCrosshair, (1.0, 2.0, 3.0))
        assert [bool(node.GetLinkedControl()) for node in composites] == [True, False]
        assert composites[1].GetBackgroundVolumeID() is None
        assert composites[1].GetCompositing() == slicer.vtkMRMLSliceCompositeNode.Alpha
        assert composites[1].GetClipToBackgroundVolume()


class TestObjectivePlot:
    def test_values_are_added_to_the_table_when_shown(self, scene):
        plot = ObjectivePlot(scene)
        for iteration, value in enumerate((0.9, 0.7, 0.6)):
            plot.add(0, iteration, value)
        plot.show()
        plot.add(1, 0, 0.8)
        plot.show()
        series = scene.GetNodeByID(plot.plotChartNode.GetNthPlotSeriesNodeID(0))
        table = series.GetTableNode().GetTable()
        assert [table.GetColumn(1).GetValue(row) for row in range(table.GetNumberOfRows())] == pytest.approx(
            [0.9, 0.7, 0.6, 0.8]
        )
        assert [table.GetColumn(0).GetValue(row) for row in range(4)] == [0, 1, 2, 3]

    def test_removal_leaves_no_node_behind(self, scene):
        count = scene.GetNumberOfNodes()
        plot = ObjectivePlot(scene)
        plot.add(0, 0, 1.0)
        plot.show()
        plot.remove()
        assert scene.GetNumberOfNodes() == count

    def test_it_can_be_used_after_the_scene_was_closed(self, scene):
        plot = ObjectivePlot(scene)
        scene.Clear(False)
        plot.add(0, 0, 1.0)
        plot.show()
        assert plot.values == [(0, 1.0)]
        plot.clear()
        assert plot.values == []
        assert scene.GetFirstNodeByClass("vtkMRMLPlotChartNode") is None
