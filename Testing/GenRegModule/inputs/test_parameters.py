"""The parameter node: defaults, ranges, conversion to a run, and the widgets."""

import re

import pytest


@pytest.fixture
def parameters(part, scene, slicerModule):
    import GenReg

    return GenReg.GenRegLogic().getParameterNode()


class TestDefaults:
    def test_the_settings_are_the_engines_defaults(self, parameters, part):
        from GenRegLogic.settings import DEFAULT_ITERATIONS, Settings

        assert part("inputs.parameters").settingsOf(parameters) == Settings(iterations=DEFAULT_ITERATIONS)

    def test_by_default_the_result_is_applied_and_previewed(self, parameters):
        assert parameters.applyToMoving
        assert parameters.preview
        assert not parameters.keepLog
        assert not parameters.keepWarm

    @pytest.mark.parametrize(
        "name",
        [
            "fixedVolume",
            "movingVolume",
            "outputTransform",
            "warpedVolume",
            "inverseTransform",
            "fixedMask",
            "movingMask",
            "fixedLandmarks",
            "movingLandmarks",
            "initialTransform",
        ],
    )
    def test_by_default_no_node_is_selected(self, parameters, name):
        assert getattr(parameters, name) is None


class TestRanges:
    @pytest.mark.parametrize(
        ("name", "value"),
        [("iterations", -1), ("smoothness", 9.0), ("resolution", -1.0), ("tolerance", -1.0), ("seed", -1)],
    )
    def test_a_value_out_of_range_is_refused(self, parameters, name, value):
        with pytest.raises(ValueError, match=re.escape(str(value))):
            setattr(parameters, name, value)


class TestFromParametersToARun:
    def test_every_input_is_passed_to_the_run(self, parameters, part, scene, addVolume):
        parameters.fixedVolume, parameters.movingVolume = addVolume("fixed"), addVolume("moving")
        parameters.fixedMask = addVolume("mask", className="vtkMRMLLabelMapVolumeNode")
        parameters.movingMask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        parameters.fixedLandmarks = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        parameters.movingLandmarks = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        parameters.initialTransform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        inputs = part("inputs.parameters").inputsOf(parameters)
        assert inputs.fixed is parameters.fixedVolume
        assert inputs.moving is parameters.movingVolume
        assert inputs.fixedMask is parameters.fixedMask
        assert inputs.movingMask is parameters.movingMask
        assert inputs.fixedLandmarks is parameters.fixedLandmarks
        assert inputs.movingLandmarks is parameters.movingLandmarks
        assert inputs.initialTransform is parameters.initialTransform
        assert inputs.nonLinearParents == "refuse"

    def test_every_output_is_passed_to_the_run(self, parameters, part, scene, addVolume):
        parameters.outputTransform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        parameters.inverseTransform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        parameters.warpedVolume = addVolume("warped")
        parameters.applyToMoving = False
        outputs = part("inputs.parameters").outputsOf(parameters)
        assert outputs.transform is parameters.outputTransform
        assert outputs.inverseTransform is parameters.inverseTransform
        assert outputs.warpedVolume is parameters.warpedVolume
        assert outputs.applyToMoving is False

    def test_every_setting_is_passed_to_the_engine(self, parameters, part):
        parameters.iterations, parameters.smoothness, parameters.resolution = 7, 2.0, 1.5
        parameters.tolerance = 3.0
        parameters.device, parameters.seed = "cuda:1", 3
        settings = part("inputs.parameters").settingsOf(parameters)
        assert (settings.iterations, settings.smoothness, settings.resolution_mm) == (7, 2.0, 1.5)
        assert settings.tolerance_mm == 3.0
        assert (settings.device, settings.seed) == ("cuda:1", 3)
        assert (settings.proposes, settings.describes) == (True, True)
        parameters.useNetwork = False
        assert part("inputs.parameters").settingsOf(parameters).network == "off"

    def test_an_unknown_device_is_refused_in_one_sentence(self, parameters, part):
        from GenRegLogic.errors import InputError

        parameters.device = "abacus"
        with pytest.raises(InputError, match="Unknown device"):
            part("inputs.parameters").settingsOf(parameters)

    def test_a_removed_node_is_not_selected(self, parameters, part, scene, addVolume):
        node = addVolume()
        parameters.fixedVolume = node
        scene.RemoveNode(node)
        assert part("inputs.parameters").inputsOf(parameters).fixed is None


class TestThePanel:
    def test_every_widget_shows_its_parameter(self, panel):
        parameters, ui = panel.parameters, panel.ui
        parameters.iterations, parameters.smoothness, parameters.resolution, parameters.seed = 12, 2.5, 1.25, 9
        parameters.tolerance = 4.5
        parameters.applyToMoving, parameters.keepLog, parameters.keepWarm, parameters.preview = False, True, True, False
        panel.settle()
        assert (ui.iterationsSlider.value, ui.smoothnessSlider.value) == (12, 2.5)
        assert (ui.resolutionSpinBox.value, ui.toleranceSpinBox.value, ui.seedSpinBox.value) == (1.25, 4.5, 9)
        assert not ui.applyCheckBox.checked
        assert ui.keepLogCheckBox.checked
        assert ui.keepWarmCheckBox.checked
        assert ui.networkCheckBox.checked
        assert not ui.previewCheckBox.checked

    def test_every_widget_sets_its_parameter(self, panel, scene, addVolume):
        ui, parameters = panel.ui, panel.parameters
        volume = addVolume()
        mask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        transform = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
        for selector, node in (
            ("fixedSelector", volume),
            ("movingSelector", volume),
            ("warpedSelector", volume),
            ("fixedMaskSelector", mask),
            ("movingMaskSelector", mask),
            ("fixedLandmarksSelector", points),
            ("movingLandmarksSelector", points),
            ("transformSelector", transform),
            ("inverseSelector", transform),
            ("initialSelector", transform),
        ):
            getattr(ui, selector).setCurrentNode(node)
        ui.iterationsSlider.value, ui.smoothnessSlider.value = 3, 0.5
        ui.resolutionSpinBox.value, ui.seedSpinBox.value = 2.0, 5
        ui.toleranceSpinBox.value = 3.5
        ui.applyCheckBox.checked, ui.previewCheckBox.checked = False, False
        ui.keepLogCheckBox.checked, ui.keepWarmCheckBox.checked = True, True
        ui.networkCheckBox.checked = False
        panel.settle()
        assert parameters.useNetwork is False
        assert parameters.fixedVolume is parameters.movingVolume is parameters.warpedVolume is volume
        assert parameters.fixedMask is parameters.movingMask is mask
        assert parameters.fixedLandmarks is parameters.movingLandmarks is points
        assert parameters.outputTransform is parameters.inverseTransform is parameters.initialTransform is transform
        assert (parameters.iterations, parameters.smoothness) == (3, 0.5)
        assert (parameters.resolution, parameters.tolerance, parameters.seed) == (2.0, 3.5, 5)
        assert (parameters.applyToMoving, parameters.preview) == (False, False)
        assert (parameters.keepLog, parameters.keepWarm) == (True, True)

    def test_without_a_value_the_tolerance_is_automatic(self, panel):
        panel.settle()
        assert panel.ui.toleranceSpinBox.value == 0
        assert panel.ui.toleranceSpinBox.text == "Automatic"

    def test_label_maps_are_not_offered_as_scans(self, panel, addVolume):
        labels = addVolume("labels", className="vtkMRMLLabelMapVolumeNode")
        scan = addVolume("scan")
        offered = [panel.ui.fixedSelector.nodeFromIndex(n) for n in range(panel.ui.fixedSelector.nodeCount())]
        assert scan in offered
        assert labels not in offered

    def test_a_saved_scene_restores_the_panel(self, panel, host, scene, addVolume, tmp_path):
        fixed, moving = addVolume("the fixed one"), addVolume("the moving one")
        panel.choose(fixed, moving)
        panel.ui.fixedMaskSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "the mask"))
        panel.ui.iterationsSlider.value, panel.ui.smoothnessSlider.value = 17, 1.5
        panel.parameters.device = "cuda:3"
        panel.settle()
        import slicer

        scene.SetURL(str(tmp_path / "scene.mrml"))
        for node in (fixed, moving):
            assert slicer.util.saveNode(node, str(tmp_path / f"{node.GetName()}.nrrd"))
        assert scene.Commit()
        scene.Clear(False)
        panel.settle()
        assert panel.ui.fixedSelector.currentNode() is None
        assert panel.ui.iterationsSlider.value == 40
        scene.SetURL(str(tmp_path / "scene.mrml"))
        scene.Import()
        panel.settle()
        assert panel.ui.fixedSelector.currentNode().GetName() == "the fixed one"
        assert panel.ui.movingSelector.currentNode().GetName() == "the moving one"
        assert panel.ui.fixedMaskSelector.currentNode().GetName() == "the mask"
        assert (panel.ui.iterationsSlider.value, panel.ui.smoothnessSlider.value) == (17, 1.5)
        assert panel.ui.deviceComboBox.currentText == "cuda:3"
        assert panel.parameters.movingVolume.GetName() == "the moving one"
