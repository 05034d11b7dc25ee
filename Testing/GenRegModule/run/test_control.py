"""Run, Cancel, Stop and keep, and the display of a run."""

import pytest


def progress(panel, stage="refine", fraction=0.42, left=12.0, objective=None):
    panel.run.tell(stage, fraction, left, objective)


def value(number):
    return {"level": 0, "iteration": number, "objective": 1.0 / (1 + number)}


class TestRun:
    def test_the_parameters_are_passed_to_the_run(self, ready):
        ready.ui.iterationsSlider.value = 7
        ready.ui.keepWarmCheckBox.checked = True
        ready.press("runButton")
        assert ready.run.inputs.fixed is ready.fixed
        assert ready.run.inputs.moving is ready.moving
        assert ready.run.inputs.settings.iterations == 7
        assert ready.run.keepWarm
        assert ready.run.preview

    def test_during_a_run_cancel_and_keep_replace_run(self, running):
        ui = running.ui
        assert not ui.runButton.visible
        assert ui.cancelButton.visible
        assert ui.keepButton.visible
        assert ui.progressBar.visible

    def test_before_a_run_only_run_is_visible(self, ready):
        ui = ready.ui
        assert ui.runButton.visible
        assert not ui.cancelButton.visible
        assert not ui.keepButton.visible
        assert not ui.progressBar.visible
        assert not ui.objectivePlotFrame.visible

    def test_the_inputs_are_disabled_during_a_run(self, running):
        assert not running.ui.fixedSelector.enabled
        assert not running.ui.transformSelector.enabled
        assert not running.ui.deviceComboBox.enabled
        assert running.ui.previewCheckBox.enabled

    def test_a_second_click_starts_nothing(self, running):
        running.panel.runControl.onRun()
        assert len(running.fakes.runs) == 1

    def test_a_refused_run_shows_one_sentence_and_leaves_the_panel_ready(self, ready):
        from GenRegLogic.errors import InputError

        ready.fakes.refuse(InputError("The output is above the fixed volume; select another one."))
        ready.press("runButton")
        assert ready.texts() == ["The output is above the fixed volume; select another one."]
        assert ready.ui.runButton.visible
        assert ready.ui.runButton.enabled

    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("ITK ERROR: Image(0x1): Failed to allocate memory for image.")]
    )
    def test_an_unexpected_error_at_the_start_shows_one_sentence_and_run_is_possible_again(self, ready, error):
        ready.fakes.refuse(error)
        ready.press("runButton")
        assert len(ready.texts()) == 1
        assert "ITK" not in ready.texts()[0]
        assert ready.ui.runButton.visible
        ready.press("runButton")
        assert ready.ui.cancelButton.enabled

    def test_an_unexpected_error_before_the_start_shows_one_sentence(self, ready):
        def lack():
            raise OSError("torch: cannot open shared object file")

        ready.needs.append(lack)
        ready.press("runButton")
        assert len(ready.texts()) == 1
        assert ready.ui.runButton.visible
        assert ready.fakes.runs == []

    def test_an_error_after_aborting_an_idle_job_shows_one_sentence(self, ready):
        ready.settle(5, until=lambda: ready.fakes.worker.submitted)
        ready.fakes.refuse(MemoryError())
        ready.press("runButton")
        ready.settle(5, until=lambda: ready.texts())
        assert len(ready.texts()) == 1
        assert ready.ui.runButton.visible

    def test_an_idle_job_is_aborted_before_the_run(self, ready):
        ready.settle(5, until=lambda: ready.fakes.worker.submitted)
        ready.press("runButton")
        ready.settle(5, until=lambda: ready.fakes.runs)
        assert ready.fakes.worker.answers == ["abort"]
        assert not ready.fakes.worker.busy

    def test_a_run_of_a_script_is_reported(self, ready):
        ready.fakes.runner.begin("register", object(), object())
        ready.press("runButton")
        assert len(ready.fakes.runs) == 1
        assert "under way" in ready.texts()[0]
        assert ready.ui.runButton.visible


class TestNonLinearParents:
    @pytest.fixture
    def bent(self, ready, scene):
        bspline = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "breathing")
        ready.moving.SetAndObserveTransformNodeID(bspline.GetID())
        ready.settle()
        return ready

    def test_the_user_is_asked_before_hardening(self, bent):
        bent.host.answers.append("Yes")
        bent.press("runButton")
        assert "breathing" in bent.host.messages[0].text
        assert bent.host.messages[0].kind == "question"
        assert bent.run.inputs.nonLinearParents == "harden"

    def test_the_answer_no_starts_nothing(self, bent):
        bent.host.answers.append("No")
        bent.press("runButton")
        assert bent.fakes.runs == []
        assert bent.ui.runButton.visible

    def test_without_non_linear_parents_there_is_no_question(self, running):
        assert running.host.messages == []


class TestProgress:
    def test_percent_stage_and_time_left_are_shown(self, running):
        progress(running)
        running.settle(2, until=lambda: running.ui.progressBar.value == 42)
        assert running.ui.progressBar.value == 42
        assert running.ui.progressLabel.text == "Refining on this pair, about 12 s left"

    def test_without_a_time_only_the_stage_is_shown(self, running):
        progress(running, "prepare", 0.01, None)
        running.settle(2, until=lambda: "Reading" in running.ui.progressLabel.text)
        assert running.ui.progressLabel.text == "Reading the scans"

    def test_a_thousand_events_do_not_update_the_window_each_time(self, running, monkeypatch, part):
        shown = []
        monkeypatch.setattr(part("run.progressview").ObjectivePlotPart, "show", lambda self: shown.append(True))
        for number in range(1000):
            progress(running, objective=value(number))
        assert len(shown) == 0
        running.settle(2, until=lambda: shown)
        assert 0 < len(shown) < 10

    def test_the_objective_plot_appears_with_its_first_value(self, running):
        import slicer

        for number in range(5):
            progress(running, objective=value(number))
        running.settle(2, until=lambda: running.ui.objectivePlotFrame.visible)
        view = slicer.util.findChild(running.ui.objectivePlotFrame, "plotWidget")
        assert [len(points) for _, points in view.curves()] == [5]

    def test_a_level_starts_with_the_last_value_of_the_level_before(self, part):
        shares = part("run.progressview").Shares()
        told = [(0, 0.4), (0, 0.2), (1, 6.0), (1, 3.0)]
        assert [shares.next(*one) for one in told] == pytest.approx([1.0, 0.5, 0.5, 0.25])

    def test_the_best_value_so_far_is_used(self, part):
        shares = part("run.progressview").Shares()
        assert [shares.next(0, value) for value in (2.0, 3.0, 1.0, 4.0)] == [1.0, 1.0, 0.5, 0.5]

    def test_an_objective_of_zero_is_accepted(self, part):
        shares = part("run.progressview").Shares()
        assert [shares.next(0, value) for value in (0.0, 0.0)] == [1.0, 1.0]

    def test_the_objective_plot_is_cleared_for_the_next_run(self, running):
        progress(running, objective=value(0))
        running.settle(2, until=lambda: running.ui.objectivePlotFrame.visible)
        running.run.succeed()
        running.settle()
        assert running.ui.objectivePlotFrame.visible
        running.press("runButton")
        assert not running.ui.objectivePlotFrame.visible

    def test_the_objective_plot_is_not_saved_with_the_scene(self, running, scene):
        progress(running, objective=value(0))
        running.settle(2, until=lambda: running.ui.objectivePlotFrame.visible)
        kinds = ("vtkMRMLPlotViewNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode")
        nodes = [scene.GetNthNodeByClass(n, kind) for kind in kinds for n in range(scene.GetNumberOfNodesByClass(kind))]
        mine = [node for node in nodes if "GenReg" in node.GetName() or node.GetName() == "objective"]
        assert len(mine) == 4
        assert not any(node.GetSaveWithScene() for node in mine)

    def test_closing_the_scene_removes_the_view_of_the_objective_plot(self, running, scene):
        progress(running, objective=value(0))
        running.settle(2, until=lambda: running.ui.objectivePlotFrame.visible)
        scene.Clear(False)
        assert scene.GetSingletonNode("GenRegObjective", "vtkMRMLPlotViewNode") is None
        progress(running, objective=value(1))
        running.settle(0.4)
        assert running.texts() == []


class TestLog:
    def test_log_lines_are_shown(self, running):
        running.run.log("Level 1 of 4")
        running.settle(2, until=lambda: "Level 1" in running.ui.logText.plainText)
        assert "Level 1 of 4" in running.ui.logText.plainText

    def test_the_log_is_stored_only_if_selected(self, running, scene):
        running.run.log("a line")
        running.run.succeed()
        assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 0
        running.settle()
        running.ui.keepLogCheckBox.checked = True
        running.press("runButton")
        running.run.log("another line")
        running.run.succeed()
        assert scene.GetFirstNodeByName("GenReg transform log").GetText() == "another line"

    def test_undo_removes_a_stored_log(self, ready, scene):
        ready.ui.keepLogCheckBox.checked = True
        ready.press("runButton")
        ready.run.log("a line")
        ready.run.succeed()
        ready.settle()
        assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 1
        ready.press("undoButton")
        assert scene.GetNumberOfNodesByClass("vtkMRMLTextNode") == 0


class TestPreview:
    def test_the_preview_can_be_switched_during_a_run(self, running):
        running.ui.previewCheckBox.click()
        assert running.run.calls == [("preview", False)]
        assert running.parameters.preview is False

    def test_with_preview_the_views_show_both_volumes(self, ready, scene):
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        ready.press("runButton")
        assert composite.GetBackgroundVolumeID() == ready.fixed.GetID()
        assert composite.GetForegroundVolumeID() == ready.moving.GetID()

    def test_without_preview_the_views_are_not_changed(self, ready, scene):
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        ready.ui.previewCheckBox.checked = False
        ready.press("runButton")
        assert composite.GetBackgroundVolumeID() is None


class TestTheEndOfARun:
    def test_a_result_is_selected_and_shown(self, running):
        running.run.succeed()
        running.settle()
        ui = running.ui
        assert ui.transformSelector.currentNode().GetName() == "GenReg transform"
        assert not ui.resultCollapsibleButton.collapsed
        assert "trustworthy" in ui.verdictLabel.text
        assert ui.progressLabel.text == "Done."
        assert ui.runButton.visible
        assert not ui.progressBar.visible
        assert ui.fixedSelector.enabled

    def test_stop_and_keep_keeps_the_best_alignment(self, running):
        running.press("keepButton")
        assert running.run.calls == ["keep"]
        assert not running.ui.keepButton.enabled
        assert running.ui.cancelButton.enabled
        from ..conftest import REPORT

        running.run.succeed(REPORT | {"stopped_early": True})
        running.settle()
        assert "best alignment so far was kept" in running.ui.progressLabel.text

    def test_progress_does_not_overwrite_the_text_on_stopping(self, running):
        running.press("keepButton")
        progress(running)
        running.settle(0.4)
        assert running.ui.progressLabel.text.startswith("Stopping")

    def test_cancel_restores_the_views_without_a_message(self, ready, scene):
        composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        composite.SetBackgroundVolumeID(ready.moving.GetID())
        ready.press("runButton")
        ready.press("cancelButton")
        ready.settle(5, until=lambda: ready.ui.runButton.visible)
        assert ready.run.calls == ["cancel"]
        assert composite.GetBackgroundVolumeID() == ready.moving.GetID()
        assert composite.GetForegroundVolumeID() is None
        assert ready.texts() == []
        assert "given up" in ready.ui.progressLabel.text
        assert ready.ui.runButton.enabled

    def test_a_crash_shows_one_sentence_and_the_next_run_is_possible(self, running):
        from GenRegLogic.errors import WorkerError

        running.run.end(WorkerError("The process that registers ended; run again."))
        running.settle()
        assert running.texts() == ["The process that registers ended; run again."]
        assert running.host.messages[0].detailedText == ""
        assert running.ui.progressLabel.text == "The process that registers ended; run again."
        running.press("runButton")
        assert len(running.fakes.runs) == 2

    def test_an_error_in_showing_the_result_leaves_the_panel_usable(self, running, monkeypatch):
        monkeypatch.setattr(running.panel.result, "show", lambda: 1 / 0)
        running.run.succeed()
        running.settle()
        assert "unexpected" in running.texts()[0]
        assert running.ui.runButton.visible

    def test_the_time_of_a_run_is_stored(self, running):
        running.run.succeed()
        assert "GenReg/Speed/cpu" in running.settings

    def test_the_time_of_a_stopped_run_is_not_stored(self, running):
        from ..conftest import REPORT

        running.run.succeed(REPORT | {"stopped_early": True})
        assert running.settings == {}


class TestTheSceneIsClosed:
    def test_closing_during_a_run_shows_no_error(self, running, scene):
        scene.Clear(False)
        running.settle()
        from GenRegLogic.errors import Cancelled

        running.run.end(Cancelled("The scene was closed during the registration, so it was given up."))
        running.settle()
        assert running.texts() == []
        assert running.ui.runButton.visible
        assert running.ui.runButton.text == "Select the fixed and moving volumes"

    def test_progress_after_closing_is_ignored(self, running, scene):
        scene.Clear(False)
        progress(running, objective=value(1))
        running.run.log("late")
        running.settle(0.4)
        assert running.texts() == []

    def test_a_result_after_closing_shows_no_error(self, running, scene, addVolume):
        from ..conftest import makeResult

        scene.Clear(False)
        running.run.end(makeResult(scene, addVolume("a"), addVolume("b")))
        running.settle()
        assert running.texts() == []

    def test_closing_between_click_and_start_starts_nothing(self, ready, scene):
        ready.settle(5, until=lambda: ready.fakes.worker.submitted)
        ready.ui.runButton.click()
        scene.Clear(False)
        ready.settle(0.3)
        assert ready.fakes.runs == []
        assert ready.ui.runButton.visible
