"""The parameter node wrapper: values, strings in the node, and widgets."""

import sys

import pytest


@pytest.fixture
def node(panel):
    """The real node that holds the panel's parameters."""
    return panel.parameters.parameterNode


@pytest.fixture
def parameters(panel):
    """The panel's parameters."""
    return panel.parameters


class TestValues:
    def test_a_value_that_was_not_set_is_the_default(self, parameters):
        assert (parameters.iterations, parameters.device, parameters.apply) == (40, "auto", True)
        assert (parameters.fixed, parameters.initial, parameters.number, parameters.names) == (None, None, 0, [])

    def test_values_are_stored_as_slicer_s_strings(self, parameters, node, addVolume):
        volume = addVolume()
        parameters.fixed, parameters.initial = volume, None
        parameters.smoothness, parameters.apply, parameters.number = 2.25, False, "many"
        parameters.names, parameters.mood = ["a", "b"], type(parameters.mood).WILD
        assert node.GetClassName() == "vtkMRMLScriptedModuleNode"
        assert (node.GetSingletonTag(), node.GetAttribute("ModuleName")) == ("Toy", "Toy")
        assert node.GetNodeReferenceID("fixed") == volume.GetID()
        expected = {
            "fixed": "",
            "initial.1": "True",
            "smoothness": "2.25",
            "apply": "False",
            "number.1": "many",
            "names.len": "2",
            "names.0": "a",
            "mood": "WILD",
        }
        assert {name: node.GetParameter(name) for name in expected} == expected

    def test_a_changed_node_changes_the_value(self, parameters, node):
        node.SetParameter("iterations", "77")
        assert parameters.iterations == 77

    @pytest.mark.parametrize(
        ("name", "value", "error"),
        [
            ("iterations", 0, ValueError),
            ("iterations", 2.5, TypeError),
            ("device", "abacus", ValueError),
            ("apply", None, ValueError),
            ("fixed", "a name", TypeError),
            ("initial", 3, TypeError),
        ],
    )
    def test_an_invalid_value_is_refused(self, parameters, name, value, error):
        before = getattr(parameters, name)
        with pytest.raises(error):
            setattr(parameters, name, value)
        assert getattr(parameters, name) == before

    def test_an_unknown_parameter_can_not_be_set(self, parameters):
        with pytest.raises(AttributeError, match="iteration"):
            parameters.iteration = 3

    def test_a_removed_node_is_none(self, parameters, addVolume):
        import slicer

        parameters.fixed = addVolume()
        slicer.mrmlScene.RemoveNode(parameters.fixed)
        parameters.Modified()
        assert parameters.fixed is None

    def test_values_are_restored_with_the_scene(self, host, panel, parameters, addVolume, tmp_path):
        import slicer

        parameters.fixed, parameters.iterations, parameters.names = addVolume("Kept"), 12, ["x"]
        assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
        host.resetScene()
        slicer.util.loadScene(str(tmp_path / "scene.mrb"))
        again = sys.modules["Toy"].ToyParameters(panel.logic.getParameterNode())
        assert (again.fixed.GetName(), again.iterations, again.names) == ("Kept", 12, ["x"])
        assert slicer.util.arrayFromVolume(again.fixed).max() == 100


class TestWidgets:
    def test_widgets_show_the_values(self, panel, addVolume):
        parameters, ui = panel.parameters, panel.ui
        volume = addVolume()
        parameters.fixed, parameters.iterations, parameters.device, parameters.apply = volume, 7, "cpu", False
        assert ui.fixedSelector.currentNode() is volume
        assert (ui.iterationsSlider.value, ui.deviceComboBox.currentText, ui.applyCheckBox.checked) == (7, "cpu", False)

    def test_values_follow_the_widgets(self, panel, addVolume):
        parameters, ui = panel.parameters, panel.ui
        volume = addVolume()
        ui.fixedSelector.setCurrentNode(volume)
        ui.iterationsSlider.value = 9
        ui.smoothnessSpinBox.value = 3.5
        ui.moodComboBox.currentIndex = 1
        assert (parameters.fixed, parameters.iterations, parameters.smoothness) == (volume, 9, 3.5)
        assert parameters.mood.name == "WILD"

    def test_ranges_and_types_come_from_the_annotations(self, panel):
        assert (panel.ui.iterationsSlider.minimum, panel.ui.iterationsSlider.maximum) == (1, 200)
        assert panel.ui.iterationsSlider.decimals == 0
        assert panel.ui.fixedSelector.nodeTypes == ("vtkMRMLScalarVolumeNode",)

    def test_a_disconnected_widget_does_not_change_the_value(self, panel):
        panel.parameters.disconnectGui(panel.tag)
        panel.ui.iterationsSlider.value = 9
        assert panel.parameters.iterations == 40

    def test_an_unsupported_widget_is_refused(self, panel):
        import qt

        with pytest.raises(RuntimeError, match="can't be connected"):
            panel.parameters.connectParametersToGui({"iterations": qt.QPlainTextEdit()})
        with pytest.raises(ValueError, match="no parameter"):
            panel.parameters.connectParametersToGui({"nonsense": qt.QSpinBox()})
