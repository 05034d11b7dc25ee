"""Scripted modules, the application, message boxes and files."""

import sys
from pathlib import Path

import numpy as np
import pytest

TOY = Path(__file__).parent / "toy" / "Toy.py"


class TestModule:
    def test_unknown_attributes_of_the_description_are_refused(self, host):
        import slicer

        module = host.loadModule(str(TOY))
        assert (module.title, module.categories, slicer.util.modulePath("Toy")) == ("Toy", ("Examples",), str(TOY))
        with pytest.raises(AttributeError):
            module.titel = "Toy"
        with pytest.raises(AttributeError):
            module.categories = "Examples"

    def test_startup_is_signaled_once(self, host):
        host.loadModule(str(TOY))
        host.completeStartup()
        started = list(sys.modules["Toy"].STARTED)
        host.completeStartup()
        assert started == sys.modules["Toy"].STARTED

    def test_slicer_finds_widget_and_logic(self, panel):
        import slicer

        assert slicer.util.getModuleWidget("Toy") is panel
        assert slicer.util.getModuleLogic("Toy") is panel.logic
        assert slicer.modules.ToyWidget is panel
        assert panel.parent.isEntered
        assert panel.entered == 1

    def test_it_can_be_reloaded(self, panel):
        import slicer

        panel.onReload()
        assert panel.cleaned == 1
        assert slicer.modules.ToyWidget is not panel
        assert slicer.modules.ToyWidget.ui.runButton.text == "Run"

    def test_closing_cleans_up(self, host):
        module = host.loadModule(str(TOY))
        widget = host.openWidget(module)
        host.closeWidget(module)
        assert widget.cleaned == 1

    def test_its_self_tests_run(self, host):
        host.loadModule(str(TOY)).self().runTest()
        assert "tested" in sys.modules["Toy"].STARTED

    def test_a_picture_can_be_taken(self, panel, host, tmp_path):
        path = tmp_path / "panel.png"
        assert host.boot().window.grab().save(str(path))
        assert path.stat().st_size > 1000


class TestMessages:
    def test_an_error_is_shown_and_recorded(self, host, panel):
        panel.ui.runButton.click()
        assert [(m.kind, m.text) for m in host.messages] == [("error", "The run failed.\n\nnothing to run")]
        with pytest.raises(ValueError, match="nothing to run"):
            host.raiseErrors()

    def test_questions_are_answered(self, host):
        import slicer

        host.answers.extend(["No", "Cancel"])
        assert not slicer.util.confirmYesNoDisplay("Harden?")
        assert not slicer.util.confirmOkCancelDisplay("Harden?")
        assert slicer.util.confirmYesNoDisplay("Harden?")
        assert [m.kind for m in host.messages] == ["question"] * 3

    def test_an_answer_without_a_button_is_an_error(self, host):
        import slicer

        host.answers.append("Retry")
        with pytest.raises(AssertionError, match="no button"):
            slicer.util.confirmYesNoDisplay("Harden?")

    def test_error_warning_and_information_are_recorded(self, host):
        import slicer

        slicer.util.errorDisplay("a", detailedText="b")
        slicer.util.warningDisplay("c")
        slicer.util.infoDisplay("d")
        assert [(m.kind, m.text, m.detailedText) for m in host.messages] == [
            ("error", "a", "b"),
            ("warning", "c", ""),
            ("information", "d", ""),
        ]


class TestApplication:
    def test_settings_are_separate_from_the_user_s(self, host):
        import qt
        import slicer

        assert slicer.util.settingsValue("GenReg/Nothing", 3, converter=int) == 3
        qt.QSettings().setValue("GenReg/Speed", 2)
        assert slicer.util.settingsValue("GenReg/Speed", 1, converter=int) == 2
        assert slicer.app.temporaryPath in slicer.app.settings().fileName()
        slicer.app.settings().remove("GenReg/Speed")

    def test_nothing_is_installed(self, host):
        import slicer

        with pytest.raises(RuntimeError, match="does not run"):
            slicer.util.pip_install("torch")

    def test_the_layout_has_slicer_s_slice_views(self, host, addVolume):
        import slicer

        layout = slicer.app.layoutManager()
        assert layout.sliceViewNames() == ("Red", "Green", "Yellow")
        volume = addVolume()
        slicer.util.setSliceViewerLayers(background=volume, fit=True)
        logic = layout.sliceWidget("Red").sliceLogic()
        assert logic.GetBackgroundLayer().GetVolumeNode() is volume
        assert logic.GetSliceNode().GetSliceOffset() == pytest.approx(10, abs=1)
        slicer.util.forceRenderAllViews()

    def test_the_layout_can_be_changed_and_restored(self, host):
        import slicer

        layout = slicer.app.layoutManager()
        before = layout.layout
        layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
        assert (layout.layout, layout.plotViewCount) == (slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView, 1)
        layout.setLayout(before)

    def test_the_views_remain_after_the_scene_is_closed(self, host, addVolume):
        import slicer

        slicer.util.setSliceViewerLayers(background=addVolume())
        host.resetScene()
        widget = slicer.app.layoutManager().sliceWidget("Red")
        assert widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() is None
        assert widget.mrmlSliceNode().GetScene() is slicer.mrmlScene


class TestFiles:
    @pytest.mark.parametrize("name", ["scene.mrb", "scene.mrml"])
    def test_a_saved_scene_can_be_loaded(self, host, addVolume, tmp_path, name):
        import slicer

        volume = addVolume("Kept")
        if name.endswith(".mrml"):  # holds no data: they need a file of their own
            assert slicer.util.saveNode(volume, str(tmp_path / "Kept.nrrd"))
        assert slicer.util.saveScene(str(tmp_path / name))
        host.resetScene()
        slicer.util.loadScene(str(tmp_path / name))
        assert slicer.util.arrayFromVolume(slicer.util.getNode("Kept")).sum() == 10 * 12 * 14 * 100

    def test_a_saved_volume_and_transform_can_be_loaded(self, host, addVolume, tmp_path):
        import slicer

        assert slicer.util.saveNode(addVolume(), str(tmp_path / "v.nrrd"))
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = np.eye(4)
        matrix[0, 3] = 5.0
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        assert slicer.util.saveNode(transform, str(tmp_path / "t.h5"))
        assert slicer.util.loadVolume(str(tmp_path / "v.nrrd")).GetName() == "v"
        loaded = slicer.util.loadTransform(str(tmp_path / "t.h5"))
        assert slicer.util.arrayFromTransformMatrix(loaded)[0, 3] == 5.0

    def test_a_missing_file_is_an_error(self, host, tmp_path):
        import slicer

        with pytest.raises(RuntimeError):
            slicer.util.loadVolume(str(tmp_path / "missing.nrrd"))
