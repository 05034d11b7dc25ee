"""The buttons Show grid, Before and after, Checkerboard and Undo: their effects, and when they are enabled."""

import pytest

from ..conftest import REPORT, makeResult

BUTTONS = ("showGridButton", "beforeAfterButton", "checkerboardButton", "undoButton")


@pytest.fixture
def composite(scene):
    return scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")


@pytest.fixture
def done(running, composite):
    """The panel after a run."""
    running.run.succeed()
    running.settle()
    running.transform = running.ui.transformSelector.currentNode()
    return running


@pytest.fixture
def reloaded(ready, scene, composite):
    """The panel with a transform from a saved scene."""
    result = makeResult(scene, ready.fixed, ready.moving)
    ready.ui.transformSelector.setCurrentNode(result.transformNode)
    ready.settle()
    ready.transform = result.transformNode
    return ready


def enabled(panel):
    return [name for name in BUTTONS if getattr(panel.ui, name).enabled]


class TestEnabledButtons:
    def test_before_a_run_no_button_is_enabled(self, ready):
        assert enabled(ready) == []

    def test_during_a_run_no_button_is_enabled(self, done):
        done.press("runButton")
        assert enabled(done) == []

    def test_after_a_run_all_buttons_are_enabled(self, done):
        assert enabled(done) == list(BUTTONS)

    def test_for_a_transform_from_a_scene_all_but_undo_are_enabled(self, reloaded):
        assert enabled(reloaded) == ["showGridButton", "beforeAfterButton", "checkerboardButton"]

    def test_for_another_transform_only_undo_is_enabled(self, done, scene):
        done.ui.transformSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLTransformNode"))
        done.settle()
        assert enabled(done) == ["undoButton"]

    def test_after_the_moving_volume_was_removed_only_undo_is_enabled(self, done, scene):
        scene.RemoveNode(done.moving)
        done.settle()
        assert enabled(done) == ["undoButton"]

    def test_after_a_failed_run_the_buttons_apply_to_the_earlier_result(self, done):
        from GenRegLogic.errors import WorkerError

        done.press("runButton")
        done.run.end(WorkerError("It ended."))
        done.settle()
        assert enabled(done) == list(BUTTONS)

    def test_after_the_scene_is_closed_no_button_is_enabled(self, done, scene):
        scene.Clear(False)
        done.settle()
        assert enabled(done) == []


class TestGrid:
    def test_a_click_draws_the_grid_and_another_removes_it(self, done):
        done.press("showGridButton")
        assert done.panel.display.drawing == "grid"
        assert done.ui.showGridButton.checked
        assert done.ui.gridModeButton.checked
        done.press("showGridButton")
        assert done.panel.display.drawing == ""
        assert not done.ui.showGridButton.checked


class TestBeforeAndAfter:
    @pytest.fixture(params=["done", "reloaded"])
    def either(self, request):
        return request.getfixturevalue(request.param)

    def test_clicks_alternate_between_before_and_after(self, either):
        assert either.ui.beforeAfterButton.text == "Show before"
        either.press("beforeAfterButton")
        assert either.moving.GetParentTransformNode() is None
        assert either.ui.beforeAfterButton.text == "Show after"
        either.press("beforeAfterButton")
        assert either.moving.GetParentTransformNode() is either.transform
        assert either.ui.beforeAfterButton.text == "Show before"

    def test_own_transforms_of_the_moving_volume_are_kept(self, reloaded, scene):
        own = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "own")
        reloaded.moving.SetAndObserveTransformNodeID(own.GetID())
        own.SetAndObserveTransformNodeID(reloaded.transform.GetID())
        reloaded.settle()
        reloaded.press("beforeAfterButton")
        assert reloaded.moving.GetParentTransformNode() is own
        assert own.GetParentTransformNode() is None
        reloaded.press("beforeAfterButton")
        assert reloaded.moving.GetParentTransformNode() is own
        assert own.GetParentTransformNode() is reloaded.transform

    def test_for_a_result_that_was_not_applied_the_first_click_shows_after(self, running):
        running.run.succeed(REPORT, apply=False)
        running.settle()
        assert running.ui.beforeAfterButton.text == "Show after"
        running.press("beforeAfterButton")
        assert running.moving.GetParentTransformNode() is running.ui.transformSelector.currentNode()


class TestCheckerboard:
    def test_a_click_shows_it_and_another_restores_the_views(self, done, composite, scene):
        before = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
        done.press("checkerboardButton")
        board = scene.GetNodeByID(composite.GetBackgroundVolumeID())
        assert board.GetName().startswith("GenReg checkerboard")
        assert not board.GetSaveWithScene()
        done.press("checkerboardButton")
        assert (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()) == before
        assert board.GetScene() is None

    def test_the_next_run_removes_it(self, done, scene):
        done.press("checkerboardButton")
        done.press("runButton")
        assert scene.GetFirstNodeByName("GenReg checkerboard") is None
        assert not done.ui.checkerboardButton.checked

    def test_closing_the_module_removes_it(self, done, scene):
        done.press("checkerboardButton")
        done.panel.buttons.cleanup()
        assert scene.GetFirstNodeByName("GenReg checkerboard") is None

    def test_for_a_transform_from_a_scene_the_moving_volume_is_resampled(self, reloaded, composite):
        reloaded.press("checkerboardButton")
        assert reloaded.ui.checkerboardButton.checked
        assert composite.GetBackgroundVolumeID() is not None


class TestUndo:
    def test_a_run_is_undone_once(self, done):
        undo = done.panel.display.result.undo
        done.press("undoButton")
        assert undo.used == 1
        assert not done.ui.undoButton.enabled

    def test_undo_removes_grid_and_checkerboard(self, done, scene):
        done.press("showGridButton")
        done.press("checkerboardButton")
        done.press("undoButton")
        assert scene.GetFirstNodeByName("GenReg checkerboard") is None
        assert not done.ui.showGridButton.checked
