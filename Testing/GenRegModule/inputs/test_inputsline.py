"""The line below the inputs, the estimate, and the Run button."""

import pytest


class TestTheRunButton:
    def test_without_volumes_it_asks_for_both(self, panel):
        assert panel.ui.runButton.text == "Select the fixed and moving volumes"
        assert not panel.ui.runButton.enabled

    @pytest.mark.parametrize(
        ("selector", "missing"),
        [("fixedSelector", "Select the moving volume"), ("movingSelector", "Select the fixed volume")],
    )
    def test_with_one_volume_it_asks_for_the_other(self, panel, addVolume, selector, missing):
        node = addVolume()
        getattr(panel.ui, selector).setCurrentNode(node)
        panel.settle()
        assert panel.ui.runButton.text == missing
        assert not panel.ui.runButton.enabled

    def test_with_both_volumes_it_is_enabled(self, ready):
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
        panel.panel.inputs.setParameters(parameters)
        panel.settle()
        assert not panel.ui.runButton.enabled
        assert "label" in panel.ui.inputsLabel.text

    def test_a_removed_volume_is_missing(self, ready, scene):
        scene.RemoveNode(ready.moving)
        ready.settle()
        assert ready.ui.runButton.text == "Select the moving volume"

    def test_landmarks_of_one_scan_only_are_refused(self, ready, scene):
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


class TestDescription:
    def test_sizes_spacing_and_overlap_are_described(self, ready):
        text = ready.ui.inputsLabel.text
        assert "16 × 14 × 12 voxels of 1 × 1.5 × 2 mm" in text
        assert "100 %" in text

    def test_the_overlap_is_updated_when_a_volume_is_moved(self, ready):
        ready.moving.SetOrigin(500, 0, 0)
        ready.settle()
        assert "do not overlap" in ready.ui.inputsLabel.text

    def test_without_volumes_the_lines_are_hidden(self, panel):
        assert not panel.ui.inputsLabel.visible
        assert not panel.ui.estimateLabel.visible


class TestContrasts:
    def compare(self, ready, same, shown):
        """Have the worker answer, and wait for the text."""
        worker = ready.fakes.worker
        ready.settle(5, until=lambda: worker.submitted)
        worker.end({"report": {"devices": []}})
        ready.settle(5, until=lambda: len(worker.submitted) == 2)
        worker.end({"report": {"agreement": 0.9, "same_contrast": same}})
        ready.settle(5, until=lambda: shown in ready.ui.inputsLabel.text)

    @pytest.mark.parametrize(("same", "shown"), [(True, "contrasts are alike"), (False, "contrasts differ")])
    def test_the_worker_compares_them_and_the_result_is_shown(self, ready, same, shown):
        self.compare(ready, same, shown)
        job, parameters, arrays = ready.fakes.worker.submitted[1]
        assert job == "inspect"
        assert set(parameters) == set(arrays) == {"fixed", "moving"}
        assert shown in ready.ui.inputsLabel.text

    def test_a_pair_is_compared_once(self, ready):
        self.compare(ready, True, "alike")
        ready.panel.update()
        ready.settle(0.8)
        assert "alike" in ready.ui.inputsLabel.text
        assert [job for job, _, _ in ready.fakes.worker.submitted] == ["devices", "inspect"]

    def test_a_pair_with_changed_voxels_is_compared_again(self, ready):
        self.compare(ready, True, "alike")
        ready.moving.GetImageData().Modified()
        ready.panel.update()
        assert "alike" not in ready.ui.inputsLabel.text
        ready.settle(5, until=lambda: len(ready.fakes.worker.submitted) == 3)
        assert [job for job, _, _ in ready.fakes.worker.submitted] == ["devices", "inspect", "inspect"]

    def test_without_torch_the_worker_is_not_asked(self, panel, addVolume):
        panel.torchInstalled = False
        panel.choose(addVolume("fixed"), addVolume("moving", seed=1))
        panel.settle(0.8)
        assert panel.ui.runButton.enabled
        assert panel.fakes.worker.submitted == []


class TestTheEstimate:
    def test_time_memory_and_device_are_shown(self, ready):
        assert ready.ui.estimateLabel.visible
        assert "GB on the CPU" in ready.ui.estimateLabel.text
        assert ready.ui.estimateLabel.text.startswith("About ")

    def test_it_is_corrected_by_the_stored_speed(self, ready):
        before = ready.ui.estimateLabel.text
        ready.settings["GenReg/Speed/cpu"] = "10"
        ready.panel.update()
        assert ready.ui.estimateLabel.text != before

    def test_for_a_gpu_without_a_run_only_the_memory_is_shown(self, ready):
        ready.panel.devices.found({"devices": [{"id": "cuda:0", "name": "Card", "memory_bytes": 8_000_000_000}]})
        ready.panel.update()
        assert "GB on Card; the time is known after" in ready.ui.estimateLabel.text

    def test_too_little_memory_is_shown_before_the_run(self, ready):
        ready.panel.devices.found({"devices": [{"id": "cuda:0", "name": "Card", "memory_bytes": 1_000}]})
        ready.panel.update()
        assert "memory" in ready.ui.estimateLabel.text
        assert "About" not in ready.ui.estimateLabel.text
