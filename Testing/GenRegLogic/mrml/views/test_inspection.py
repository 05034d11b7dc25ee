"""Maps, modes, tables and places as nodes: what is put into the scene, and that it leaves no trace."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import slicer
import vtk

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.pair import changeToken, fieldInWorld, pairOf, warpedOnto
from GenRegLogic.mrml.nodes.segments import segmentsOf
from GenRegLogic.mrml.nodes.tables import landmarkTable, pointsOf, rowsOf, saveCsv, segmentTable
from GenRegLogic.mrml.nodes.transforms import setField, setProvenance
from GenRegLogic.mrml.nodes.volumes import setVolume
from GenRegLogic.mrml.runs.transformjobs import HtmlRun, MapsRun
from GenRegLogic.mrml.views.colors import colorNode
from GenRegLogic.mrml.views.deformation import ARROWS, GRID, Deformation
from GenRegLogic.mrml.views.layers import ViewsState
from GenRegLogic.mrml.views.maps import MAPS, MapNodes, window
from GenRegLogic.mrml.views.modes import Checkerboard, Flicker, Fusion, MapOverlay, SideBySide, ViewModes
from GenRegLogic.mrml.views.tour import PlacesTour
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.margin import LPS_TO_RAS, withMargin
from GenRegLogic.space.volume import Geometry
from GenRegLogic.space.warp import warp_image

from ..conftest import GEOMETRIES, field, rigid, waves

FIXED, MOVING = GEOMETRIES["oblique"], GEOMETRIES["anisotropic"]


@pytest.fixture
def views(scene):
    """Three slice views, their layers, a layout and a crosshair."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    layout = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    for name, orientation in (("Red", "Axial"), ("Green", "Coronal"), ("Yellow", "Sagittal")):
        node = scene.CreateNodeByClass("vtkMRMLSliceNode")
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        scene.AddNode(node)
        node.SetOrientation(orientation)
        node.SetDimensions(200, 150, 1)
        node.SetFieldOfView(80, 60, 1)
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        composite.SetSingletonTag(name)
        scene.AddNode(composite)
    return scene


@pytest.fixture
def transform(scene, scans):
    """A transform with a known field, its scans, the moving one below it."""
    scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
    fixed, moving = scans.volume("CT", FIXED), scans.volume("MR", MOVING, seed=1)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "result")
    setField(node, *withMargin(field(FIXED), FIXED))
    node.SetNodeReferenceID(node.GetFixedNodeReferenceRole(), fixed.GetID())
    node.SetNodeReferenceID(node.GetMovingNodeReferenceRole(), moving.GetID())
    moving.SetAndObserveTransformNodeID(node.GetID())
    return node


def stateOf(scene) -> tuple:
    """All that a mode may have changed."""
    views = ViewsState(scene)
    slices = {
        key: ([m.GetElement(r, c) for r in range(4) for c in range(4)], *rest)
        for key, (m, *rest) in views._slices.items()
    }
    nodes = sorted(
        scene.GetNthNode(n).GetID()
        for n in range(scene.GetNumberOfNodes())
        if not scene.GetNthNode(n).GetAttribute("GenReg.Colors")
    )
    return views._layers, slices, views._layout, views._crosshair, nodes


class MapsWorker:
    """Answers the job "maps" with plain arrays, the job "html" with a page."""

    def __init__(self):
        self.jobs = []

    def submit(self, job, parameters, arrays, listener):
        self.jobs.append((job, parameters, arrays))
        grid = Geometry.from_dict(parameters["fixed"])
        if job == "html":
            self.answer = {"report": {"html": "<!DOCTYPE html>"}, "arrays": {}, "geometries": {}}
        else:
            body = np.zeros(grid.shape, np.uint8)
            body[4:-4, 4:-4, 4:-4] = 1
            made = {
                name: body if name == "body" else np.full(grid.shape, 0.4, np.float32) for name in parameters["want"]
            }
            worst = [
                {"point_lps": [1.0, 2.0, 3.0], "expected_error_mm": 4.0, "reason": "Far off."},
                {"point_lps": [5.0, 2.0, 3.0], "expected_error_mm": 3.0, "reason": "Off."},
            ]
            self.answer = {
                "report": {"worst": worst, "ranges": {}},
                "arrays": made,
                "geometries": dict.fromkeys(made, grid),
            }
        self.listener = listener

    def poll(self):
        self.listener.ended(self.answer)
        return False

    def wait(self, seconds):
        pass


def make(scene, transform, **options):
    store, worker = MapNodes(scene), MapsWorker()
    run = MapsRun(scene, worker, transform, mapNodes=store, **options)
    run.start()
    return store, worker, run.runToEnd()


class TestPair:
    def test_the_field_is_the_transforms_own(self, transform):
        array, grid = fieldInWorld(transform, FIXED)
        sampled = DisplacementField(array, grid)(FIXED.center[None])
        assert np.abs(sampled - FIXED.center - waves(FIXED.center[None])).max() < 0.3

    def test_a_linear_transform_becomes_a_field_that_says_the_same(self, scene, scans):
        matrix = np.eye(4)
        matrix[:3, :3] = [[1.1, 0.1, 0.0], [0.0, 0.9, 0.0], [0.0, 0.1, 1.0]]
        matrix[:3, 3] = (3.0, -4.0, 5.0)
        node = scans.linear("linear", matrix)
        array, grid = fieldInWorld(node, FIXED)
        there = np.array(node.GetTransformFromParent().TransformPoint(*(FIXED.center * LPS_TO_RAS))) * LPS_TO_RAS
        assert DisplacementField(array, grid)(FIXED.center[None])[0] == pytest.approx(there, abs=1e-3)

    def test_resampling_is_the_engines(self, transform):
        pair = pairOf(transform)
        expected = warp_image(pair.moving(), DisplacementField(field(FIXED), FIXED), FIXED).array
        found = warpedOnto(pair.moving(), transform, FIXED)
        inside = (found != found.min()) & (expected != expected.min())
        assert inside.mean() > 0.3
        assert np.abs(found - expected)[inside].max() < 0.01 * np.ptp(expected)

    def test_the_token_changes_with_the_mapping_only(self, transform):
        before = changeToken(transform)
        transform.GetTransformToParent().TransformPoint(1.0, 2.0, 3.0)
        transform.SetName("another name")
        assert changeToken(transform) == before
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        assert changeToken(transform) != before

    def test_a_missing_scan_is_one_sentence(self, scene, transform):
        scene.RemoveNode(pairOf(transform).movingNode)
        with pytest.raises(InputError, match="moving volume"):
            pairOf(transform)

    @pytest.mark.parametrize("pose", [rigid(), rigid((0, 0, 180), (3, 0, 0)) @ np.diag([1.1, 1.1, 1.1, 1])])
    def test_below_a_linear_transform_no_detail_of_the_field_is_lost(self, scene, transform, scans, monkeypatch, pose):
        monkeypatch.setattr("GenRegLogic.mrml.nodes.transforms.INITIAL_VOXELS", 100)
        transform.SetAndObserveTransformNodeID(scans.linear("pose", pose).GetID())
        array, grid = fieldInWorld(transform, FIXED)
        path = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transform, path)
        for index in ((3, 4, 5), (10, 2, 12), (17, 20, 1)):
            point = grid.to_world(np.array(index, float))
            expected = np.array(path.TransformPoint(point * LPS_TO_RAS)) * LPS_TO_RAS
            assert np.abs(point + array[index[::-1]] - expected).max() < 2e-3


class TestMaps:
    def test_they_are_volumes_with_colors_window_and_legend(self, scene, transform):
        _, worker, made = make(scene, transform)
        assert set(made) == set(MAPS)
        assert worker.jobs[0][2]["field"].shape[-1] == 3
        for node in made.values():
            assert not node.GetSaveWithScene()
            assert node.GetDisplayNode().GetColorNode().GetAttribute("GenReg.Colors")
            assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node) is not None
        low, high = (getattr(made["log_jacobian"].GetDisplayNode(), f"GetWindowLevel{end}")() for end in ("Min", "Max"))
        assert low == -high

    def test_outside_the_body_they_are_zero(self, scene, transform):
        _, _, made = make(scene, transform, want=("magnitude",))
        array = slicer.util.arrayFromVolume(made["magnitude"])
        assert array[0, 0, 0] == 0
        assert array[9, 9, 9] == pytest.approx(0.4)

    def test_they_are_kept_until_the_transform_changes(self, scene, transform):
        store, _, made = make(scene, transform)
        assert store.nodes(transform) == made
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        assert store.nodes(transform) == {}
        assert scene.GetFirstNodeByClass("vtkMRMLColorLegendDisplayNode") is None

    def test_another_scene_finds_them_again(self, scene, transform):
        _, _, made = make(scene, transform, saved=True)
        assert MapNodes(scene).nodes(transform) == made
        assert made["confidence"].GetSaveWithScene()
        assert made["confidence"].GetDisplayNode().GetColorNode().GetSaveWithScene()

    def test_the_worst_places_are_in_the_world_of_slicer(self, scene, transform):
        store, _, _ = make(scene, transform)
        assert [place.point for place in store.worst(transform)] == [(-1.0, -2.0, 3.0), (-5.0, -2.0, 3.0)]

    def test_windows_end_in_round_numbers(self):
        assert window("magnitude", None, {"p1": 0.2, "p99": 13.7}) == (0.0, 15.0)
        assert window("log_jacobian", None, {"p1": -0.21, "p99": 0.1}) == pytest.approx((-0.3, 0.3))
        assert window("similarity_after", None) == (0.0, 1.0)

    def test_a_transform_that_changes_meanwhile_is_refused(self, scene, transform):
        worker = MapsWorker()
        run = MapsRun(scene, worker, transform, mapNodes=MapNodes(scene))
        run.start()
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        with pytest.raises(InputError, match="changed"):
            run.runToEnd()

    def test_an_unknown_map_is_refused(self, scene, transform):
        with pytest.raises(InputError, match="no map"):
            MapsRun(scene, MapsWorker(), transform, mapNodes=MapNodes(scene), want=["taste"])


class TestReport:
    def test_names_go_along_only_when_asked_for(self, scene, transform):
        for names in (False, True):
            worker = MapsWorker()
            run = HtmlRun(scene, worker, transform, names=names)
            run.start()
            assert run.runToEnd() == "<!DOCTYPE html>"
            assert worker.jobs[0][1].get("names") == (["CT", "MR"] if names else None)


MODES = {
    "checkerboard": Checkerboard,
    "flicker": Flicker,
    "fusion": Fusion,
    "sideBySide": SideBySide,
    "fixed flicker": lambda pair: Flicker(pair, "fixed"),
}


class TestReportOfAnEarlierState:
    @pytest.mark.parametrize("how", ["values", "parent"])
    def test_the_verdict_of_a_run_is_not_told_of_a_transform_that_was_changed_since(self, scene, transform, scans, how):
        pair, worker = pairOf(transform), MapsWorker()
        setProvenance(transform, {"verdict": {"status": "trust"}}, pair.fixedNode, pair.movingNode)
        HtmlRun(scene, worker, transform).start()
        assert worker.jobs[-1][1]["report"]
        if how == "values":
            setField(transform, *withMargin(2 * field(FIXED), FIXED))
        else:
            transform.SetAndObserveTransformNodeID(scans.linear("pose", rigid()).GetID())
        HtmlRun(scene, worker, transform).start()
        assert not worker.jobs[-1][1]["report"]


class TestModes:
    @pytest.mark.parametrize("name", MODES)
    def test_leaving_puts_everything_back_exactly(self, views, transform, name):
        pair, modes = pairOf(transform), ViewModes(views)
        before = stateOf(views)
        modes.enter(MODES[name](pair))
        assert stateOf(views) != before
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByCentering(5.0, 6.0, 7.0)
        modes.leave()
        assert stateOf(views) == before
        modes.end()

    def test_going_through_all_of_them_too(self, views, transform):
        pair, modes = pairOf(transform), ViewModes(views)
        before = stateOf(views)
        for kind in (*MODES.values(), *reversed(MODES.values())):
            modes.enter(kind(pair))
        modes.leave()
        assert stateOf(views) == before

    def test_planes_turned_by_side_by_side_do_not_stay_for_the_next_mode(self, views, transform):
        modes = ViewModes(views)
        modes.enter(SideBySide(pairOf(transform)))
        modes.enter(Fusion(pairOf(transform)))
        assert views.GetNodeByID("vtkMRMLSliceNodeYellow").GetOrientation() == "Sagittal"

    def test_side_by_side_links_three_views_of_one_plane(self, views, transform):
        modes = ViewModes(views)
        modes.enter(SideBySide(pairOf(transform)))
        nodes = [views.GetNodeByID(f"vtkMRMLSliceNode{name}") for name in ("Red", "Green", "Yellow")]
        assert {node.GetOrientation() for node in nodes} == {"Axial"}
        composites = [views.GetNodeByID(f"vtkMRMLSliceCompositeNode{name}") for name in ("Red", "Green", "Yellow")]
        assert all(node.GetHotLinkedControl() for node in composites)
        assert len({node.GetBackgroundVolumeID() for node in composites}) == 3

    def test_a_mode_is_left_when_another_scene_is_added(self, views, transform):
        modes = ViewModes(views)
        before = stateOf(views)
        modes.enter(SideBySide(pairOf(transform)))
        views.StartState(slicer.vtkMRMLScene.ImportState)
        views.EndState(slicer.vtkMRMLScene.ImportState)
        assert modes.present is None
        assert stateOf(views)[:4] == before[:4]

    def test_the_flicker_changes_the_upper_picture(self, views, transform):
        mode, modes = Flicker(pairOf(transform)), ViewModes(views)
        modes.enter(mode)
        composite = views.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        seen = []
        for _ in range(4):
            mode.flick()
            seen.append(composite.GetForegroundOpacity())
        assert seen == [0.0, 1.0, 0.0, 1.0]

    def test_neighboring_fields_of_the_board_show_the_two_scans_in_turn(self, views, transform):
        pair = pairOf(transform)
        for node, value in ((pair.fixedNode, 0.0), (pair.movingNode, 100.0)):
            slicer.util.arrayFromVolume(node)[:] = value
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevelMinMax(0, 100)
        mode, modes = Checkerboard(pair, np.full(FIXED.shape, 100.0, np.float32), fields=4), ViewModes(views)
        modes.enter(mode)
        board = slicer.util.arrayFromVolume(slicer.util.getNode("GenReg checkerboard"))
        assert set(np.unique(board)) == {0, 255}
        assert 0.4 < (board == 255).mean() < 0.6
        mode.setFields(2)
        assert board[0, 0, 0] == 0
        modes.end()

    def test_a_map_brings_its_legend_and_takes_it_away(self, views, transform):
        _, _, made = make(views, transform)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(made["magnitude"])
        modes = ViewModes(views)
        modes.enter(MapOverlay(pairOf(transform), made["magnitude"], "magnitude", 0.5))
        assert legend.GetVisibility()
        modes.leave()
        assert not legend.GetVisibility()

    def test_the_scene_can_be_closed_in_any_mode(self, views, transform):
        for kind in MODES.values():
            modes = ViewModes(views)
            modes.enter(kind(pairOf(transform)))
        views.Clear(False)
        assert modes.present is None

    def test_a_layout_that_another_slicer_does_not_know_is_not_saved(self, views, transform):
        layout = views.GetFirstNodeByClass("vtkMRMLLayoutNode")
        modes = ViewModes(views)
        modes.enter(SideBySide(pairOf(transform)))
        assert not layout.GetSaveWithScene()
        modes.leave()
        assert layout.GetSaveWithScene()
        modes.end()


class TestDeformation:
    @pytest.mark.parametrize("kind", [GRID, ARROWS])
    def test_it_is_drawn_in_each_view_and_leaves_nothing(self, views, transform, kind):
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

    def test_lines_are_closer_where_the_view_is_closer(self, views, transform):
        drawn, node = Deformation(views, pairOf(transform)), views.GetNodeByID("vtkMRMLSliceNodeRed")
        wide = drawn.spacing(node)
        node.SetFieldOfView(20, 15, 1)
        assert drawn.spacing(node) < wide

    def test_where_nothing_moves_nothing_is_drawn(self, views, transform):
        setField(transform, *withMargin(np.zeros((*FIXED.shape, 3), np.float32), FIXED))
        drawn = Deformation(views, pairOf(transform))
        drawn.show()
        assert all(m.GetPolyData().GetNumberOfCells() == 0 for m in slicer.util.getNodesByClass("vtkMRMLModelNode"))

    def test_it_goes_with_its_transform(self, views, transform):
        drawn = Deformation(views, pairOf(transform), GRID)
        drawn.show()
        views.RemoveNode(transform)
        assert not drawn.shown
        assert views.GetFirstNodeByClass("vtkMRMLModelNode") is None
        assert views.GetFirstNodeByClass("vtkMRMLTransformDisplayNode") is None
        views.GetFirstNodeByClass("vtkMRMLSliceNode").SetFieldOfView(50, 40, 1)


class TestPlaces:
    def test_the_views_and_the_crosshair_go_there_and_stop_at_the_ends(self, views, transform):
        store, _, _ = make(views, transform)
        tour = PlacesTour(store.worst(transform))
        modes, before = ViewModes(views), stateOf(views)
        modes.begin()
        assert [tour.step(views, by).expectedError for by in (0, 1, 1, -1)] == [4.0, 3.0, 3.0, 4.0]
        crosshair = views.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        assert crosshair.GetCrosshairRAS() == (-1.0, -2.0, 3.0)
        red = views.GetNodeByID("vtkMRMLSliceNodeRed")
        assert red.GetSliceOffset() == pytest.approx(3.0)
        modes.leave()
        assert stateOf(views)[:3] == before[:3]
        assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair


def landmarks(scene, positions, parent=None):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for position in positions:
        node.AddControlPoint(*position)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


class TestTables:
    @pytest.mark.parametrize("applied", [False, True])
    def test_landmarks_that_belong_together_have_no_error_after(self, scene, transform, applied):
        fixed = FIXED.center + np.array([[0, 0, 0], [6, 0, 0], [0, 6, 4.0]])
        path = transform.GetTransformFromParent()
        moving = [path.TransformPoint(*point) for point in fixed * LPS_TO_RAS]
        table = landmarkTable(
            transform, landmarks(scene, fixed * LPS_TO_RAS), landmarks(scene, moving, transform if applied else None)
        )
        rows = rowsOf(table)[1:]
        assert [row[2] for row in rows] == pytest.approx([0, 0, 0], abs=1e-4)
        assert [row[1] for row in rows] == pytest.approx(np.linalg.norm(moving - fixed * LPS_TO_RAS, axis=1), abs=1e-4)
        assert np.array(pointsOf(table)) == pytest.approx(fixed * LPS_TO_RAS)

    def test_unequal_lists_are_refused(self, scene, transform):
        with pytest.raises(InputError, match="same points"):
            landmarkTable(transform, landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(0, 0, 0), (1, 1, 1)]))

    def test_segments_are_compared_label_by_label(self, scene, transform):
        pair = pairOf(transform)
        moving = np.zeros(MOVING.shape, np.int16)
        moving[3:7, 6:14, 7:17] = 2
        warped = warpedOnto(type(pair.moving())(moving, MOVING), transform, FIXED, labels=True)
        nodes = []
        for array, grid in ((warped, FIXED), (moving, MOVING)):
            node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            setVolume(node, array, grid)
            nodes.append(node)
        nodes[1].SetAndObserveTransformNodeID(transform.GetID())
        titles, row = rowsOf(segmentTable(transform, *nodes))
        found = dict(zip(titles, row))
        assert found["Dice after"] > 0.97
        assert found["Dice before"] < found["Dice after"]
        assert found["HD95 after (mm)"] < found["HD95 before (mm)"]
        voxel = np.prod(MOVING.spacing) / 1000
        assert found["Moving volume (ml)"] == pytest.approx((moving > 0).sum() * voxel, rel=0.15)

    def test_without_a_partner_there_are_volumes(self, scene, transform):
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        setVolume(node, (np.indices(FIXED.shape)[0] > 5).astype(np.uint8), FIXED)
        titles, row = rowsOf(segmentTable(transform, node))
        assert np.isnan(dict(zip(titles, row))["Dice after"])

    def test_a_table_becomes_csv(self, scene, transform, tmp_path):
        table = landmarkTable(transform, landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(3, 0, 0)]))
        saveCsv(table, tmp_path / "errors.csv")
        rows = list(csv.reader((tmp_path / "errors.csv").open(encoding="utf-8")))
        assert rows[0][1] == "Before (mm)"
        assert float(rows[1][1]) == pytest.approx(3.0)
        assert [path.name for path in tmp_path.iterdir()] == ["errors.csv"]

    def test_measuring_again_fills_the_same_table(self, scene, transform):
        lists = landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(3, 0, 0)])
        assert landmarkTable(transform, *lists) is landmarkTable(transform, *lists)


class TestSegments:
    def test_segments_of_one_name_are_all_measured(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nodules")
        for count in (1, 2):
            image = slicer.vtkOrientedImageData()
            image.SetDimensions(6, 6, 6)
            image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
            image.GetPointData().GetScalars().Fill(0)
            for index in range(count):
                image.SetScalarComponentFromDouble(2 + index, 2, 2, 0, 1)
            node.AddSegmentFromBinaryLabelmapRepresentation(image, "Nodule")
        assert {name: int(volume.array.sum()) for name, volume in segmentsOf(node).items()} == {
            "Nodule": 1,
            "Nodule (2)": 2,
        }

    def test_a_name_that_labels_share_is_given_to_none_of_them(self, scene):
        colors = colorNode(scene, "displacement")
        for value in (1, 2):
            colors.SetColorName(value, "lesion")
        names = []
        for values in ((1, 2), (2,)):
            node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            array = np.zeros(FIXED.shape, np.uint8)
            for value in values:
                array[5, 5, 5 + value] = value
            setVolume(node, array, FIXED)
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
            found = segmentsOf(node)
            names.append(list(found))
            volume = found["label 2"]
            place = volume.geometry.to_world(np.argwhere(volume.array)[0][::-1].astype(float))
            assert place == pytest.approx(FIXED.to_world(np.array((7.0, 5.0, 5.0))))
        assert names == [["label 1", "label 2"], ["label 2"]]
