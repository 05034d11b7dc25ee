"""The whole panel with the real worker process, real runs and a known deformation, operated as by a user."""

import json
import os
import signal
import sys

import numpy as np
import pytest

LONG = 120
"""Longest wait for an event, seconds."""


@pytest.fixture
def user(host, scene, slicerModule):
    """The panel, with two scans in the scene and the layers of a slice view."""
    from GenRegPanel.selftest.scene import addScan

    host.closeWidget(slicerModule)
    widget = host.openWidget(slicerModule)
    widget.panel.devices.speed = lambda device: 1.0
    widget.panel.devices.learn = lambda measured, estimated: None
    yield User(host, widget, addScan("Fixed scan"), addScan("Moving scan", moving=True))
    host.closeWidget(slicerModule)


class User:
    """Operates the panel as a user does."""

    def __init__(self, host, widget, fixed, moving):
        self.host, self.widget, self.fixed, self.moving = host, widget, fixed, moving
        self.composite = fixed.GetScene().AddNewNodeByClass("vtkMRMLSliceCompositeNode")
        self.composite.SetBackgroundVolumeID(moving.GetID())

    @property
    def ui(self):
        return self.widget.ui

    @property
    def runner(self):
        return self.widget.logic.runner

    def choose(self, **parameters):
        self.ui.fixedSelector.setCurrentNode(self.fixed)
        self.ui.movingSelector.setCurrentNode(self.moving)
        for name, value in parameters.items():
            setattr(self.widget.panel.parameters, name, value)
        self.host.processEvents()

    def click(self, name):
        button = getattr(self.ui, name)
        assert button.visible, f"{name} is not visible"
        assert button.enabled, f"{name} is not enabled"
        button.click()
        self.host.processEvents()

    def waitFor(self, condition, what):
        assert self.host.processEvents(LONG, until=condition), f"waited in vain for {what}"

    def runAndWait(self):
        self.click("runButton")
        self.waitForTheEnd()

    def waitForTheEnd(self):
        self.waitFor(lambda: self.ui.runButton.visible, "the end of the run")

    def waitForStage(self, words):
        self.waitFor(lambda: words in self.ui.progressLabel.text, words)

    def texts(self):
        return [message.text for message in self.host.messages]

    def layers(self):
        return self.composite.GetBackgroundVolumeID(), self.composite.GetForegroundVolumeID()

    @staticmethod
    def transforms():
        """Names of all transform nodes, those of the slice views included."""
        import slicer

        return {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLTransformNode")}

    def error(self, transform):
        """Mean distance between a transform and the known deformation, mm."""
        from GenRegPanel.selftest.scene import bodyPoints, knownDeformation

        points = bodyPoints()
        mapped = np.array([transform.GetTransformFromParent().TransformPoint(point) for point in points])
        return float(np.linalg.norm(mapped - knownDeformation(points), axis=1).mean())


def drawnGrids(scene) -> list:
    """The models of the deformation grid that contain lines."""
    models = [
        scene.GetNthNodeByClass(number, "vtkMRMLModelNode")
        for number in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
    ]
    return [
        model
        for model in models
        if model.GetName().startswith("GenReg grid") and model.GetPolyData().GetNumberOfLines() > 0
    ]


class TestFromTheFirstClickToTheReloadedScene:
    def test_a_user_registers_stops_inspects_undoes_repeats_and_reloads(self, user, scene, tmp_path):
        layers = self.choose(user)
        self.runWithPreview(user)
        transform = self.stopAndKeep(user, scene)
        self.inspect(user, scene, transform)
        self.undo(user, transform, layers)
        self.repeatAndReload(user, scene, tmp_path)

    @staticmethod
    def choose(user):
        """Select the volumes; returns the layers of the views."""
        ui = user.ui
        assert ui.runButton.text == "Select the fixed and moving volumes"
        user.choose(iterations=200, keepLog=True)
        assert ui.runButton.text == "Run"
        assert "44 × 40 × 34 voxels" in ui.inputsLabel.text
        user.waitFor(lambda: "contrasts are alike" in ui.inputsLabel.text, "the comparison of contrasts")
        assert "GB on the CPU" in ui.estimateLabel.text
        return user.layers()

    @staticmethod
    def runWithPreview(user):
        """Start a run, and wait for progress, a preview and the objective plot."""
        import slicer

        ui, previews = user.ui, []
        tag = user.moving.AddObserver(
            slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
            lambda *_: previews.append(user.moving.GetParentTransformNode()),
        )
        user.click("runButton")
        user.waitFor(lambda: 0 < ui.progressBar.value < 100, "progress")
        assert ui.cancelButton.visible
        assert user.layers() == (user.fixed.GetID(), user.moving.GetID())
        user.waitFor(lambda: any(node is not None for node in previews), "a preview")
        user.moving.RemoveObserver(tag)
        user.waitFor(lambda: ui.objectivePlotFrame.visible, "the objective plot")
        assert "Refining" in ui.progressLabel.text

    @staticmethod
    def stopAndKeep(user, scene):
        """Stop the run; returns the resulting transform."""
        ui = user.ui
        user.click("keepButton")
        user.waitForTheEnd()
        assert user.texts() == []
        assert "best alignment so far was kept" in ui.progressLabel.text
        assert ui.logText.plainText != ""
        transform = ui.transformSelector.currentNode()
        assert user.moving.GetParentTransformNode() is transform
        assert user.error(transform) < 3.0
        assert "Folded voxels" in ui.figuresLabel.text
        assert "stopped before it had finished" in ui.verdictLabel.text
        assert scene.GetFirstNodeByName(f"{transform.GetName()} log").GetText() != ""
        assert scene.GetFirstNodeByName("GenReg preview") is None
        return transform

    @staticmethod
    def inspect(user, scene, transform):
        """Before and after, grid, checkerboard."""
        user.click("beforeAfterButton")
        assert user.moving.GetParentTransformNode() is None
        user.click("beforeAfterButton")
        assert user.moving.GetParentTransformNode() is transform
        user.click("showGridButton")
        user.waitFor(lambda: drawnGrids(scene) != [], "the grid in the slice views")
        user.click("checkerboardButton")
        assert scene.GetNodeByID(user.layers()[0]).GetName().startswith("GenReg checkerboard")
        user.click("checkerboardButton")
        assert user.layers() == (user.fixed.GetID(), user.moving.GetID())

    @staticmethod
    def undo(user, transform, layers):
        user.click("undoButton")
        assert user.moving.GetParentTransformNode() is None
        assert transform.GetScene() is None
        assert user.layers() == layers
        assert user.ui.verdictLabel.text == "Nothing registered yet."

    def repeatAndReload(self, user, scene, folder):
        """Run again to the end, save the scene and load it."""
        ui = user.ui
        user.choose(iterations=20)
        user.runAndWait()
        assert user.texts() == []
        assert ui.progressLabel.text == "Done."
        error = user.error(ui.transformSelector.currentNode())
        assert error < 1.2
        verdict, figures = ui.verdictLabel.text, ui.figuresLabel.text
        self.saveAndReload(scene, folder)
        user.host.processEvents()
        assert ui.fixedSelector.currentNode().GetName() == "Fixed scan"
        assert ui.movingSelector.currentNode().GetName() == "Moving scan"
        reloaded = ui.transformSelector.currentNode()
        assert user.error(reloaded) == pytest.approx(error, abs=1e-3)
        assert ui.movingSelector.currentNode().GetParentTransformNode() is reloaded
        assert (ui.verdictLabel.text, ui.figuresLabel.text) == (verdict, figures)
        assert ui.iterationsSlider.value == 20
        assert not ui.undoButton.enabled
        user.click("beforeAfterButton")
        assert ui.movingSelector.currentNode().GetParentTransformNode() is None

    @staticmethod
    def saveAndReload(scene, folder):
        import slicer

        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
            node = scene.GetNthNodeByClass(index, "vtkMRMLStorableNode")
            if node.GetSaveWithScene() and node.IsA("vtkMRMLVolumeNode"):
                assert slicer.util.saveNode(node, str(folder / f"{node.GetID()}.nrrd"))
            elif node.GetSaveWithScene() and node.IsA("vtkMRMLTransformNode"):
                assert slicer.util.saveNode(node, str(folder / f"{node.GetID()}.h5"))
        scene.SetURL(str(folder / "scene.mrml"))
        assert scene.Commit()
        scene.Clear(False)
        scene.SetURL(str(folder / "scene.mrml"))
        scene.Import()


class TestOutputs:
    def test_a_selected_warped_volume_and_inverse_are_computed(self, user, scene):
        warped = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "warped")
        inverse = scene.AddNewNodeByClass("vtkMRMLTransformNode", "inverse")
        user.choose(iterations=0, warpedVolume=warped, inverseTransform=inverse, applyToMoving=False)
        user.runAndWait()
        assert user.texts() == []
        assert warped.GetImageData().GetDimensions() == user.fixed.GetImageData().GetDimensions()
        assert json.loads(inverse.GetAttribute("GenReg.Report"))["jacobian"]["folds_pct"] == 0
        assert user.moving.GetParentTransformNode() is None
        assert user.ui.beforeAfterButton.text == "Show after"
        assert "Inverse error" in user.ui.figuresLabel.text


class TestFaults:
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
    def test_a_killed_worker_shows_one_message_and_leaves_the_scene_unchanged(self, user):
        user.choose(iterations=200)
        transforms, layers = user.transforms(), user.layers()
        user.click("runButton")
        user.waitForStage("Refining")
        os.kill(user.runner.worker.pid, signal.SIGKILL)
        user.waitForTheEnd()
        user.host.processEvents()
        assert len(user.texts()) == 1
        assert user.host.messages[0].detailedText == ""
        assert user.moving.GetParentTransformNode() is None
        assert user.transforms() == transforms
        assert user.layers() == layers
        user.host.messages.clear()
        user.choose(iterations=0)
        user.runAndWait()
        assert user.texts() == []

    def test_cancel_leaves_the_scene_unchanged(self, user):
        user.choose(iterations=200)
        layers, transforms = user.layers(), user.transforms()
        user.click("runButton")
        user.waitForStage("Refining")
        user.click("cancelButton")
        user.waitForTheEnd()
        assert user.texts() == []
        assert user.layers() == layers
        assert user.moving.GetParentTransformNode() is None
        assert user.transforms() == transforms

    def test_closing_the_scene_during_a_run_shows_no_error(self, user, scene):
        user.choose(iterations=200)
        transforms = user.transforms()
        user.click("runButton")
        user.waitForStage("Refining")
        scene.Clear(False)
        user.waitForTheEnd()
        assert user.texts() == []
        assert user.transforms() <= transforms
        assert user.ui.runButton.text == "Select the fixed and moving volumes"

    @pytest.mark.parametrize("role", ["fixed", "moving"])
    def test_removing_a_volume_during_a_run_shows_one_message(self, user, scene, role):
        user.choose(iterations=200)
        user.click("runButton")
        user.waitForStage("Refining")
        scene.RemoveNode(getattr(user, role))
        user.waitForTheEnd()
        user.host.processEvents()
        assert len(user.texts()) == 1
        assert "was removed" in user.texts()[0]
        assert not user.ui.runButton.enabled

    def test_closing_the_module_during_a_run_ends_the_worker(self, user, host, slicerModule):
        user.choose(iterations=200)
        user.click("runButton")
        user.waitForStage("Refining")
        worker = user.runner.worker
        layers, moving = user.composite.GetForegroundVolumeID(), user.moving
        assert layers == moving.GetID()
        host.closeWidget(slicerModule)
        assert not worker.running
        assert moving.GetParentTransformNode() is None
        assert user.composite.GetForegroundVolumeID() is None
        assert user.texts() == []

    def test_missing_torch_in_the_worker_shows_one_sentence(self, user, tmp_path, monkeypatch):
        (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        user.choose(iterations=0)
        user.runAndWait()
        user.host.processEvents()
        assert len(user.texts()) == 1
        assert "PyTorch" in user.texts()[0] or "torch" in user.texts()[0]


class TestScripts:
    def test_process_returns_a_result_without_a_panel(self, host, scene, slicerModule):
        import GenReg
        from GenRegPanel.selftest.scene import addScan

        logic = GenReg.GenRegLogic()
        heard = []
        result = logic.process(
            addScan("fixed"), addScan("moving", moving=True), iterations=0, onProgress=lambda *told: heard.append(told)
        )
        assert result.transformNode.GetScene() is scene
        assert result.report["verdict"]["status"] in ("trustworthy", "check")
        assert {told[0] for told in heard} >= {"prepare", "linear", "finish"}
        worker = logic.runner.worker
        logic.cleanup()
        assert not worker.running

    def test_start_reports_its_end_while_the_window_is_responsive(self, host, scene, slicerModule):
        import GenReg
        from GenRegPanel.selftest.scene import addScan

        logic, outcomes = GenReg.GenRegLogic(), []
        logic.start(addScan("fixed"), addScan("moving", moving=True), iterations=0, onEnded=outcomes.append)
        assert host.processEvents(LONG, until=lambda: outcomes)
        assert outcomes[0].report["settings"]["iterations"] == 0
        logic.cleanup()
