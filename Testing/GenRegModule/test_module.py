"""The module file: its description, its logic for scripts, and the lifetime of its panel."""

import ast
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "GenRegModule"
SLICERS = {"slicer", "vtk", "qt", "ctk", "GenRegPanel"}


@pytest.fixture
def logic(slicerModule, fakes):
    import GenReg

    return GenReg.GenRegLogic(fakes.runner)


class TestTheFile:
    def test_at_file_scope_only_slicer_is_imported(self):
        tree = ast.parse((FOLDER / "GenReg.py").read_text(encoding="utf-8"))
        names = set()
        for node in tree.body:
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module.partition(".")[0])
        assert names <= SLICERS | set(sys.stdlib_module_names)

    def test_title_category_and_texts_are_set(self, slicerModule):
        assert slicerModule.title == "General Registration (GenReg)"
        assert tuple(slicerModule.categories) == ("Registration",)
        assert "Run" in slicerModule.helpText
        assert "2512.14556" in slicerModule.acknowledgementText

    def test_the_panel_opens_in_a_process_that_cannot_import_torch(self, panel):
        code = (
            "import sys; sys.modules['torch'] = None\n"
            f"sys.path.insert(0, {str(FOLDER.parents[0] / 'Testing')!r}); import host; host.boot()\n"
            f"widget = host.openWidget(host.loadModule({str(FOLDER / 'GenReg.py')!r})); host.processEvents(0.2)\n"
            "print(widget.ui.runButton.text)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert "Select the fixed and moving volumes" in done.stdout


class TestTheUiFile:
    @pytest.fixture
    def widgets(self):
        tree = ElementTree.parse(FOLDER / "Resources" / "UI" / "GenReg.ui")
        return list(tree.getroot().iter("widget"))

    def test_every_input_widget_has_a_tool_tip(self, widgets):
        kinds = {"qMRMLNodeComboBox", "ctkSliderWidget", "QCheckBox", "QComboBox", "QSpinBox", "QDoubleSpinBox"}
        kinds.add("QPushButton")
        silent = [
            widget.get("name")
            for widget in widgets
            if widget.get("class") in kinds and widget.find("property[@name='toolTip']") is None
        ]
        assert silent == []

    def test_every_selector_gets_the_scene(self, widgets):
        tree = ElementTree.parse(FOLDER / "Resources" / "UI" / "GenReg.ui")
        connected = {connection.findtext("receiver") for connection in tree.getroot().iter("connection")}
        assert connected == {widget.get("name") for widget in widgets if widget.get("class") == "qMRMLNodeComboBox"}

    def test_every_parameter_but_the_device_has_a_widget(self, widgets, part):
        bound = {
            widget.findtext("property[@name='SlicerParameterName']/string")
            for widget in widgets
            if widget.find("property[@name='SlicerParameterName']") is not None
        }
        assert bound == set(part("inputs.parameters").GenRegParameterNode.allParameters) - {"device"}

    def test_names_of_widgets_are_unique(self, widgets):
        names = [widget.get("name") for widget in widgets]
        assert len(names) == len(set(names))


class TestTheLogicForScripts:
    def test_start_returns_a_run_and_reports_its_end(self, host, logic, addVolume):
        outcomes = []
        run = logic.start(addVolume("fixed"), addVolume("moving"), onEnded=outcomes.append, iterations=3)
        assert logic.running
        assert run.inputs.settings.iterations == 3
        assert run.preview is False
        run.later(run.end, "the result")
        host.processEvents(5, until=lambda: outcomes)
        assert outcomes == ["the result"]

    def test_every_option_is_passed_on(self, logic, scene, addVolume):
        transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        mask = addVolume(className="vtkMRMLLabelMapVolumeNode")
        run = logic.start(
            addVolume(),
            addVolume(),
            transform,
            warpedVolumeNode=True,
            inverseTransformNode=True,
            applyToMoving=False,
            fixedMask=mask,
            smoothness=2.0,
            preview=True,
            keepWarm=True,
            nonLinearParents="harden",
        )
        assert run.outputs.transform is transform
        assert run.outputs.warpedVolume is True
        assert run.outputs.inverseTransform is True
        assert run.outputs.applyToMoving is False
        assert run.inputs.fixedMask is mask
        assert run.inputs.nonLinearParents == "harden"
        assert run.inputs.settings.smoothness == 2.0
        assert (run.preview, run.keepWarm) == (True, True)

    @pytest.mark.parametrize(
        ("options", "said"),
        [({"iterationz": 3}, "Unknown option: iterationz"), ({"smoothness": 99.0}, "smoothness")],
    )
    def test_an_invalid_option_is_refused(self, logic, addVolume, options, said):
        from GenRegLogic.errors import InputError

        with pytest.raises(InputError, match=said):
            logic.start(addVolume(), addVolume(), **options)
        assert not logic.running

    def test_settings_and_single_settings_together_are_refused(self, logic, addVolume):
        from GenRegLogic.errors import InputError
        from GenRegLogic.settings import Settings

        with pytest.raises(InputError, match="not both"):
            logic.start(addVolume(), addVolume(), settings=Settings(), iterations=3)

    def test_a_missing_volume_is_refused(self, logic, addVolume):
        from GenRegLogic.errors import InputError

        with pytest.raises(InputError, match="needed"):
            logic.process(addVolume(), None)

    def test_two_runs_at_once_are_refused(self, logic, addVolume):
        from GenRegLogic.errors import InputError

        logic.start(addVolume(), addVolume())
        with pytest.raises(InputError, match="under way"):
            logic.process(addVolume(), addVolume())

    def test_cancel_and_keep_are_passed_to_the_run(self, logic, addVolume):
        run = logic.start(addVolume(), addVolume())
        logic.stopAndKeep()
        logic.cancel()
        assert run.calls == ["keep", "cancel"]

    def test_a_deleted_logic_closes_its_worker(self, slicerModule, fakes, addVolume):
        import GenReg

        logic = GenReg.GenRegLogic(fakes.runner)
        logic.start(addVolume(), addVolume())
        del logic
        assert fakes.worker.closed


class TestThePanelsLifetime:
    def test_closing_the_panel_during_a_run_cancels_it_and_closes_the_worker(self, running, host, slicerModule):
        run = running.run
        host.closeWidget(slicerModule)
        assert run.calls == ["cancel"]
        assert running.fakes.worker.closed
        assert running.texts() == []

    def test_the_panel_can_be_opened_again(self, running, host, slicerModule):
        host.closeWidget(slicerModule)
        widget = host.openWidget(slicerModule)
        assert widget.ui.fixedSelector.currentNode() is running.fixed
        host.closeWidget(slicerModule)

    def test_a_closed_panel_does_not_observe_the_volumes(self, ready, host, scene, slicerModule, addVolume):
        events = ("ModifiedEvent", ready.moving.TransformModifiedEvent, ready.moving.ImageDataModifiedEvent)
        assert all(ready.moving.HasObserver(event) for event in events)
        host.closeWidget(slicerModule)
        assert not any(ready.moving.HasObserver(event) for event in events)
        ready.moving.Modified()
        addVolume()
        scene.Clear(False)
        host.processEvents(0.1)  # raises errors of observers that were left behind

    def test_a_run_continues_while_another_module_is_open(self, running):
        running.widget.parent.exit()
        running.run.succeed()
        running.settle()
        running.widget.parent.enter()
        running.settle()
        assert "trustworthy" in running.ui.verdictLabel.text

    def test_the_parameters_of_a_loaded_scene_are_connected(self, panel, scene):
        before = panel.parameters
        scene.InvokeEvent(scene.EndImportEvent)
        panel.settle()
        assert panel.parameters is not before
        assert panel.parameters.parameterNode is before.parameterNode

    def test_sample_data_are_registered_after_the_start_of_slicer(self, slicerModule, monkeypatch):
        import GenReg

        called = []
        sampledata = __import__("GenRegPanel.startup", fromlist=["registerSampleData"])
        monkeypatch.setattr(sampledata, "registerSampleData", lambda: called.append(True))
        GenReg._registerSampleData()
        assert called == [True]

    def test_reloading_the_module_reloads_the_panels_parts(self, panel, host, slicerModule, monkeypatch):
        import GenReg

        reloaded = []
        base = GenReg.ScriptedLoadableModuleWidget
        monkeypatch.setattr(base, "onReload", lambda self: reloaded.append(True), raising=False)
        kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "GenRegPanel"}
        try:
            panel.widget.onReload()
            assert reloaded == [True]
            assert not any(name.partition(".")[0] == "GenRegPanel" for name in sys.modules)
        finally:
            sys.modules.update(kept)
