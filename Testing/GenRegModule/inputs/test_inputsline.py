"""The line under the inputs, the estimate, and what the Run button says."""

import pytest


class TestTheRunButton:
    def test_it_asks_for_both_volumes(self, panel):
        assert panel.ui.runButton.text == "Select the fixed and moving volumes"
        assert not panel.ui.runButton.enabled

    @pytest.mark.parametrize(
        ("selector", "missing"),
        [("fixedSelector", "Select the moving volume"), ("movingSelector", "Select the fixed volume")],
    )
    def test_it_says_which_one_is_missing(self, panel, addVolume, selector, missing):
        node = addVolume()
        getattr(panel.ui, selector).setCurrentNode(node)
        panel.settle()
        assert panel.ui.runButton.text == missing
        assert not panel.ui.runButton.enabled

    def test_with_both_it_says_run(self, ready):
        assert ready.ui.runButton.text == "Run"
        assert ready.ui.runButton.enabled

    def test_the_same_volume_twice_is_refused_with_the_reason_below(self, panel, addVolume):
        node = addVolume()
        panel.choose(node, node)
        assert not panel.ui.runButton.enabled
        assert "same" in panel.ui.inputsLabel.text

    def test_a_label_map_from_a_script_is_refused(self, panel, part, addVolume):
        from types import SimpleNamespace

        labels, moving = addVolume(className="vtkMRMLLabelMapVolumeNode"), addVolume()
        parameters = SimpleNamespace(
            **{
                name: getattr(panel.parameters, name)
                for name in part("inputs.parameters").GenRegParameterNode.allParameters
            }
        )
        parameters.fixedVolume, parameters.movingVolume = labels, moving
        inputs = panel.panel.inputs
        inputs._parameters = parameters
        inputs.update()
        assert not panel.ui.runButton.enabled
        assert "label" in panel.ui.inputsLabel.text

    def test_a_removed_volume_is_noticed_at_once(self, ready, scene):
        scene.RemoveNode(ready.moving)
        ready.settle()
        assert ready.ui.runButton.text == "Select the moving volume"

    def test_one_list_of_landmarks_is_not_enough(self, ready, scene):
        ready.ui.fixedLandmarksSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))
        ready.settle()
        assert not ready.ui.runButton.enabled
        assert "both" in ready.ui.inputsLabel.text

    def test_a_transform_above_the_fixed_volume_cannot_be_the_output(self, ready, scene):
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "above")
        ready.fixed.SetAndObserveTransformNodeID(parent.GetID())
        ready.ui.transformSelector.setCurrentNode(parent)
        ready.settle()
        assert not ready.ui.runButton.enabled
        assert "above the fixed volume" in ready.ui.inputsLabel.text


class TestWhatWasUnderstood:
    def test_sizes_spacing_and_overlap_are_told(self, ready):
        text = ready.ui.inputsLabel.text
        assert "16 × 14 × 12 voxels of 1 × 1.5 × 2 mm" in text
        assert "100 %" in text

    def test_a_volume_that_is_moved_is_looked_at_again(self, ready):
        ready.moving.SetOrigin(500, 0, 0)
        ready.settle()
        assert "do not overlap" in ready.ui.inputsLabel.text

    def test_without_volumes_there_is_no_empty_line(self, panel):
        assert not panel.ui.inputsLabel.visible
        assert not panel.ui.estimateLabel.visible


class TestContrasts:
    @pytest.mark.parametrize(("same", "said"), [(True, "contrasts are alike"), (False, "contrasts differ")])
    def test_the_worker_compares_them_and_the_line_tells(self, ready, same, said):
        worker = ready.fakes.worker
        ready.settle(5, until=lambda: worker.submitted)
        worker.end({"report": {"devices": []}})
        ready.settle(5, until=lambda: len(worker.submitted) == 2)
        job, parameters, arrays = worker.submitted[1]
        assert job == "inspect"
        assert set(parameters) == set(arrays) == {"fixed", "moving"}
        worker.end({"report": {"agreement": 0.9, "same_contrast": same}})
        ready.settle(5, until=lambda: said in ready.ui.inputsLabel.text)
        assert said in ready.ui.inputsLabel.text

    def test_a_pair_is_compared_once(self, ready):
        ready.panel.inputs._contrasts[ready.panel.inputs._pair()] = "Known."
        ready.panel.update()
        ready.settle(0.8)
        assert "Known." in ready.ui.inputsLabel.text
        assert [job for job, _, _ in ready.fakes.worker.submitted] == ["devices"]

    def test_other_voxels_are_another_pair(self, ready):
        before = ready.panel.inputs._pair()
        ready.moving.GetImageData().Modified()
        assert ready.panel.inputs._pair() != before


class TestTheEstimate:
    def test_time_memory_and_device_are_told(self, ready):
        assert ready.ui.estimateLabel.visible
        assert "GB on the CPU" in ready.ui.estimateLabel.text
        assert ready.ui.estimateLabel.text.startswith("About ")

    def test_it_follows_what_past_runs_took(self, ready):
        before = ready.ui.estimateLabel.text
        ready.settings["GenReg/Speed/cpu"] = "10"
        ready.panel.update()
        assert ready.ui.estimateLabel.text != before

    def test_of_a_gpu_without_a_run_only_the_memory_is_told(self, ready):
        ready.panel.devices._onFound({"devices": [{"id": "cuda:0", "name": "Card", "memory_bytes": 8_000_000_000}]})
        ready.panel.update()
        assert "GB on Card; the time is known after" in ready.ui.estimateLabel.text

    def test_too_little_memory_is_said_before_the_run(self, ready):
        ready.panel.devices._onFound({"devices": [{"id": "cuda:0", "name": "Card", "memory_bytes": 1_000}]})
        ready.panel.update()
        assert "memory" in ready.ui.estimateLabel.text
        assert "About" not in ready.ui.estimateLabel.text
