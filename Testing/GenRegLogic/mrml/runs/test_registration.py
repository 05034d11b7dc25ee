"""A run from nodes to nodes with a stand-in for the worker; `test_with_worker` uses the real one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk

from GenRegLogic.errors import Cancelled, GenRegError, InputError, WorkerError
from GenRegLogic.mrml.nodes.parents import chain
from GenRegLogic.mrml.nodes.transforms import fieldOfNode
from GenRegLogic.mrml.nodes.undo import Snapshot
from GenRegLogic.mrml.runs.registration import RegistrationRun, RunInputs, RunOutputs, RunResult
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry

from ..conftest import GEOMETRIES, field, rigid

GRID = GEOMETRIES["oblique"]


@pytest.fixture
def pair(scans):
    """Fixed and moving volume nodes."""
    return scans.volume("fixed", GRID), scans.volume("moving", GRID, seed=1)


def state(scene) -> dict:
    """Everything about the scene that a failed or undone run must not have changed."""
    found = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        values = [node.GetName(), sorted((name, node.GetAttribute(name)) for name in node.GetAttributeNames())]
        if node.IsA("vtkMRMLTransformableNode"):
            values.append(node.GetTransformNodeID())
        if node.IsA("vtkMRMLTransformNode"):
            values.append(node.GetTransformFromParent().GetAddressAsString(""))
            values.append(node.GetTransformFromParent().TransformPoint(1.0, 2.0, 3.0))
        if node.IsA("vtkMRMLVolumeNode"):
            matrix = vtk.vtkMatrix4x4()
            node.GetIJKToRASMatrix(matrix)
            values += [matrix.GetElement(i, j) for i in range(4) for j in range(4)]
            values.append(node.GetImageData().GetAddressAsString(""))
        if node.IsA("vtkMRMLSliceCompositeNode"):
            values += [node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity()]
        if node.IsA("vtkMRMLSliceNode"):
            values += [node.GetSliceOffset(), node.GetFieldOfView(), node.GetOrientation()]
        found[node.GetID()] = values
    return found


def finish(scene, worker, inputs, outputs=None, **options) -> RunResult:
    run = RegistrationRun(scene, worker, inputs, outputs, **options)
    run.start()
    return run.runToEnd()


class TestResult:
    def test_the_moving_volume_is_put_below_a_new_transform(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair))
        assert chain(pair[1]) == [result.transformNode]
        assert chain(pair[0]) == []

    def test_without_apply_the_moving_volume_stays_where_it_is(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(applyToMoving=False))
        assert chain(pair[1]) == []
        assert fieldOfNode(result.transformNode) is not None

    def test_an_existing_transform_is_overwritten(self, scene, scans, pair, worker):
        node = scans.linear("mine", rigid())
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=node))
        assert result.transformNode is node
        assert not node.IsLinear()

    def test_the_warped_volume_is_on_the_fixed_grid(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(warpedVolume=True))
        fixed, warped = (slicer.util.arrayFromVolume(node) for node in (pair[0], result.warpedNode))
        assert np.array_equal(warped, fixed * 2)
        assert result.warpedNode.GetOrigin() == pytest.approx(pair[0].GetOrigin())
        assert result.warpedNode.GetDisplayNode() is not None

    def test_the_inverse_is_a_grid_in_a_separate_node(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(inverseTransform=True))
        assert result.inverseNode is not result.transformNode
        assert fieldOfNode(result.inverseNode) is not None

    def test_the_report_is_stored_on_the_transform(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair))
        assert json.loads(result.transformNode.GetAttribute("GenReg.Report")) == result.report

    def test_the_report_contains_no_node_name(self, scene, scans, worker):
        fixed, moving = scans.volume("DOE^JANE", GRID), scans.volume("DOE^JANE 2", GRID, seed=1)
        result = finish(scene, worker, RunInputs(fixed, moving))
        assert "DOE" not in result.transformNode.GetAttribute("GenReg.Report")
        assert "DOE" not in result.transformNode.GetName()

    def test_before_and_after_can_be_shown_alternately(self, scene, scans, pair, worker):
        parent = scans.linear("above", rigid())
        pair[1].SetAndObserveTransformNodeID(parent.GetID())
        result = finish(scene, worker, RunInputs(*pair))
        result.showBefore()
        assert chain(pair[1]) == [parent]
        result.showAfter()
        assert chain(pair[1]) == [parent, result.transformNode]

    def test_before_and_after_differ_for_a_second_run_into_the_same_transform(self, scene, pair, worker):
        node = finish(scene, worker, RunInputs(*pair)).transformNode
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=node))
        result.showBefore()
        assert chain(pair[1]) == []
        result.showAfter()
        assert chain(pair[1]) == [node]

    def test_the_warped_volume_gets_the_display_of_the_moving_one(self, scene, pair, worker):
        color = scene.AddNewNodeByClass("vtkMRMLColorTableNode")
        shown = pair[1].GetDisplayNode()
        shown.SetAutoWindowLevel(False)
        shown.SetWindowLevelMinMax(-3, 7)
        shown.SetAndObserveColorNodeID(color.GetID())
        warped = finish(scene, worker, RunInputs(*pair), RunOutputs(warpedVolume=True)).warpedNode
        display = warped.GetDisplayNode()
        assert display.GetInputImageData() is warped.GetImageData()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-3, 7)
        assert display.GetColorNodeID() == color.GetID()


class TestRequest:
    def test_voxels_are_sent_without_a_copy(self, scene, pair, worker):
        finish(scene, worker, RunInputs(*pair))
        arrays = worker.jobs[0][2]
        assert np.shares_memory(arrays["fixed"], slicer.util.arrayFromVolume(pair[0]))

    def test_settings_and_options_are_sent_to_the_worker(self, scene, pair, worker):
        inputs = RunInputs(*pair, settings=Settings(iterations=7, seed=3))
        finish(scene, worker, inputs, RunOutputs(inverseTransform=True), preview=False, keepWarm=True)
        parameters = worker.jobs[0][1]
        assert parameters["settings"]["iterations"] == 7
        assert (parameters["want_inverse"], parameters["preview"], parameters["keep_warm"]) == (True, False, True)

    def test_the_parameters_are_plain_json(self, scene, scans, pair, worker):
        inputs = RunInputs(*pair, initialTransform=scans.linear("start", rigid()))
        finish(scene, worker, inputs)
        assert json.loads(json.dumps(worker.jobs[0][1])) == worker.jobs[0][1]

    def test_an_initial_transform_that_is_already_a_parent_is_not_applied_twice(self, scene, scans, pair, worker):
        parent = scans.linear("above", rigid())
        pair[1].SetAndObserveTransformNodeID(parent.GetID())
        finish(scene, worker, RunInputs(*pair, initialTransform=parent))
        assert "initial" not in worker.jobs[0][1]

    def test_a_linear_output_above_the_moving_volume_is_the_initial_transform(self, scene, scans, pair, worker):
        parent = scans.linear("above", rigid())
        pair[1].SetAndObserveTransformNodeID(parent.GetID())
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=parent))
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        assert np.allclose(worker.jobs[0][1]["initial"]["matrix"], flip @ np.linalg.inv(rigid()) @ flip)
        assert chain(pair[1]) == [result.transformNode]

    def test_an_initial_transform_above_a_replaced_output_is_still_used(self, scene, scans, pair, worker):
        output, start = scans.linear("output", np.eye(4)), scans.linear("start", rigid())
        pair[1].SetAndObserveTransformNodeID(output.GetID())
        output.SetAndObserveTransformNodeID(start.GetID())
        finish(scene, worker, RunInputs(*pair, initialTransform=start), RunOutputs(transform=output))
        assert "initial" in worker.jobs[0][1]

    def test_a_second_run_into_the_same_transform_starts_without_the_first_result(self, scene, pair, worker):
        first = finish(scene, worker, RunInputs(*pair))
        second = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=first.transformNode))
        assert worker.jobs[0][1]["moving"] == worker.jobs[1][1]["moving"]
        assert chain(pair[1]) == [second.transformNode]


class TestUndo:
    def test_undo_restores_the_scene_after_new_outputs(self, scene, scans, pair, worker):
        pair[1].SetAndObserveTransformNodeID(scans.linear("above", rigid()).GetID())
        before = state(scene)
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(warpedVolume=True, inverseTransform=True))
        result.undo.undo()
        assert state(scene) == before

    def test_undo_restores_overwritten_outputs(self, scene, scans, pair, worker):
        transform, inverse = scans.linear("mine", rigid()), scans.grid("old inverse", GRID)
        warped = scans.volume("old warped", Geometry((5, 6, 7)))
        transform.SetAttribute("mine", "kept")
        transform.SetAndObserveTransformNodeID(scans.linear("above", 2 * np.eye(4)).GetID())
        before = state(scene)
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(transform, warped, inverse))
        assert state(scene) != before
        result.undo.undo()
        assert state(scene) == before

    def test_undo_restores_the_window_of_an_overwritten_volume(self, scene, scans, pair, worker):
        old = scans.volume("old warped", Geometry((5, 6, 7)))
        display = old.GetDisplayNode()
        before = (display.GetAutoWindowLevel(), display.GetWindow(), display.GetLevel())
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(warpedVolume=old))
        assert display.GetWindow() == pair[1].GetDisplayNode().GetWindow()
        result.undo.undo()
        assert (display.GetAutoWindowLevel(), display.GetWindow(), display.GetLevel()) == before
        assert display.GetInputImageData() is old.GetImageData()

    def test_undo_restores_the_views(self, scene, pair, worker):
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        composite.SetBackgroundVolumeID(pair[1].GetID())
        before = state(scene)
        result = finish(scene, worker, RunInputs(*pair))
        composite.SetBackgroundVolumeID(pair[0].GetID())
        composite.SetForegroundVolumeID(pair[1].GetID())
        result.undo.undo()
        assert state(scene) == before

    def test_undoing_a_second_run_restores_the_first_result(self, scene, pair, worker):
        first = finish(scene, worker, RunInputs(*pair))
        before = state(scene)
        second = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=first.transformNode))
        second.undo.undo()
        assert state(scene) == before

    def test_undo_restores_a_hardened_parent(self, scene, scans, pair, worker):
        pair[1].SetAndObserveTransformNodeID(scans.grid("warp", GRID, 4.0).GetID())
        before = state(scene)
        result = finish(scene, worker, RunInputs(*pair, nonLinearParents="harden"))
        assert [node.GetName() for node in chain(pair[1])] == [result.transformNode.GetName()]
        result.undo.undo()
        assert state(scene) == before

    def test_undo_restores_hardened_masks_and_landmarks(self, scene, scans, pair, worker):
        warp = scans.grid("warp", GRID, 4.0)
        labels = scans.volume("box", GRID, className="vtkMRMLLabelMapVolumeNode")
        slicer.util.updateVolumeFromArray(labels, np.ones(GRID.shape, np.uint8))
        points = [scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in ("here", "there")]
        for node in points:
            for number in range(3):
                node.AddControlPoint(number, 2 * number, 3.0)
        for node in (labels, *points):
            node.SetAndObserveTransformNodeID(warp.GetID())
        before, place = state(scene), points[0].GetNthControlPointPosition(1)
        inputs = RunInputs(
            *pair, fixedMask=labels, fixedLandmarks=points[0], movingLandmarks=points[1], nonLinearParents="harden"
        )
        result = finish(scene, worker, inputs)
        assert worker.jobs[0][1]["fixed_landmarks"][1] == pytest.approx([3.0, 2.0, -1.0])
        result.undo.undo()
        assert state(scene) == before
        assert points[0].GetNthControlPointPosition(1) == place

    def test_a_second_undo_is_refused(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair))
        result.undo.undo()
        assert not result.undo.valid
        with pytest.raises(InputError, match="can't be undone"):
            result.undo.undo()

    def test_undo_is_invalid_after_a_volume_was_removed(self, scene, pair, worker):
        result = finish(scene, worker, RunInputs(*pair))
        scene.RemoveNode(pair[1])
        assert not result.undo.valid

    def test_undo_is_invalid_in_another_scene_whose_nodes_have_the_same_ids(self, scene, scans, pair, worker):
        result = finish(scene, worker, RunInputs(*pair))
        scene.Clear(False)
        again = scans.volume("fixed", GRID), scans.volume("moving", GRID, seed=1)
        assert again[1].GetID() == pair[1].GetID()
        assert not result.undo.valid

    def test_showing_after_has_no_effect_once_the_run_was_undone(self, scene, scans, pair, worker):
        result = finish(scene, worker, RunInputs(*pair), RunOutputs(transform=scans.linear("mine", rigid())))
        result.undo.undo()
        result.showAfter()
        assert chain(pair[1]) == []


class TestPreview:
    def test_the_moving_volume_is_below_a_temporary_transform_during_the_run(self, scene, pair, waiting):
        shown = []
        run = RegistrationRun(scene, waiting, RunInputs(*pair), onPreview=shown.append)
        run.start()
        run.preview(field(GRID), GRID)
        assert chain(pair[1]) == shown
        assert shown[0].GetSaveWithScene()  # else a scene saved meanwhile would refer to nothing

    def test_cancel_removes_the_preview(self, scene, scans, pair, waiting):
        pair[1].SetAndObserveTransformNodeID(scans.linear("above", rigid()).GetID())
        before = state(scene)
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        run.cancel()
        assert isinstance(run.outcome, Cancelled)
        assert state(scene) == before

    def test_switching_the_preview_off_removes_it(self, scene, pair, waiting):
        before = state(scene)
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        run.setPreview(False)
        run.preview(field(GRID), GRID)
        assert waiting.previews == [False]
        assert state(scene) == before


class TestFaults:
    @pytest.mark.parametrize("error", [WorkerError("The worker died."), GenRegError("Something else.")])
    def test_a_failed_run_leaves_the_scene_unchanged(self, scene, scans, pair, waiting, error):
        pair[1].SetAndObserveTransformNodeID(scans.grid("warp", GRID).GetID())
        before = state(scene)
        run = RegistrationRun(scene, waiting, RunInputs(*pair, nonLinearParents="harden"))
        run.start()
        run.preview(field(GRID), GRID)
        waiting.end(error)
        assert run.outcome is error
        assert state(scene) == before

    def test_a_fault_while_the_result_is_applied_leaves_the_scene_unchanged(self, scene, pair, waiting, monkeypatch):
        from GenRegLogic.mrml.runs import registration as module

        def fail(*values):
            raise RuntimeError("no memory for voxels")

        monkeypatch.setattr(module, "setVolume", fail)
        before = state(scene)
        run = RegistrationRun(scene, waiting, RunInputs(*pair), RunOutputs(warpedVolume=True))
        run.start()
        waiting.end(waiting.result())
        assert "left as it was" in str(run.outcome)
        assert state(scene) == before

    @pytest.mark.parametrize("index", [0, 1])
    def test_removing_a_volume_during_a_run_cancels_it(self, scene, pair, waiting, index):
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        name = pair[index].GetName()
        scene.RemoveNode(pair[index])
        assert waiting.commands == ["abort"]
        assert f"'{name}' was removed" in str(run.outcome)
        assert scene.GetFirstNodeByName("GenReg preview") is None

    def test_removing_the_output_during_a_run_cancels_it(self, scene, scans, pair, waiting):
        node = scans.linear("mine", rigid())
        run = RegistrationRun(scene, waiting, RunInputs(*pair), RunOutputs(transform=node))
        run.start()
        scene.RemoveNode(node)
        assert "'mine' was removed" in str(run.outcome)

    def test_removing_another_node_does_not_disturb_the_run(self, scene, scans, pair, waiting):
        other = scans.volume("other", GRID)
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        scene.RemoveNode(other)
        assert not run.finished
        waiting.end(waiting.result())
        assert isinstance(run.outcome, RunResult)

    def test_closing_the_scene_during_a_run_cancels_it(self, scene, pair, waiting):
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        scene.Clear(False)
        assert "scene was closed" in str(run.outcome)

    def test_a_scene_opened_right_after_closing_is_not_changed(self, scene, scans, pair, waiting, monkeypatch):
        monkeypatch.setattr(waiting, "answer", waiting.commands.append)  # as the real worker: it ends at a later poll
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        scene.Clear(False)
        moving = [scans.volume(name, GRID) for name in ("other fixed", "other moving")][1]
        parent = scans.linear("other", rigid())
        moving.SetAndObserveTransformNodeID(parent.GetID())
        waiting.end(Cancelled("given up"))
        assert "scene was closed" in str(run.outcome)
        assert chain(moving) == [parent]

    def test_a_run_ends_even_if_the_scene_cannot_be_restored(self, scene, pair, waiting, monkeypatch):
        def fail(self):
            raise RuntimeError("no more")

        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        monkeypatch.setattr(Snapshot, "restore", fail)
        waiting.end(WorkerError("The worker died."))
        assert "worker died" in str(run.outcome)
        assert "could not be put back" in str(run.outcome)

    def test_an_interrupted_script_restores_the_scene(self, scene, pair, waiting, monkeypatch):
        def interrupt(timeout_s):
            raise KeyboardInterrupt

        before = state(scene)
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        run.preview(field(GRID), GRID)
        monkeypatch.setattr(waiting, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.runToEnd()
        assert isinstance(run.outcome, Cancelled)
        assert state(scene) == before

    @pytest.mark.parametrize("index", [0, 1])
    def test_the_result_is_refused_if_a_scan_was_moved_during_the_run(self, scene, pair, waiting, index):
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        pair[index].SetOrigin(1, 2, 3)
        waiting.end(waiting.result())
        assert "changed during the run" in str(run.outcome)

    def test_the_result_is_refused_if_a_parent_was_moved_during_the_run(self, scene, scans, pair, waiting):
        parent = scans.linear("above", rigid())
        pair[0].SetAndObserveTransformNodeID(parent.GetID())
        run = RegistrationRun(scene, waiting, RunInputs(*pair))
        run.start()
        parent.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
        before = state(scene)
        waiting.end(waiting.result())
        assert "changed during the run" in str(run.outcome)
        assert state(scene) == before

    def test_a_run_with_a_busy_worker_is_refused_with_the_scene_unchanged(self, scene, pair, waiting, monkeypatch):
        def busy(*values):
            raise InputError("A registration is running already; cancel it or wait for its end.")

        monkeypatch.setattr(waiting, "submit", busy)
        before = state(scene)
        with pytest.raises(InputError, match="running already"):
            RegistrationRun(scene, waiting, RunInputs(*pair)).start()
        assert state(scene) == before
