"""A module for the host's own tests, written as Slicer's template is."""

import enum
from typing import Annotated, Optional

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

STARTED = []


class Toy(ScriptedLoadableModule):
    """The module's description."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Toy")
        parent.categories = ["Examples"]
        slicer.app.connect("startupCompleted()", lambda: STARTED.append(True))


class Mood(enum.Enum):
    """A parameter of a few values."""

    CALM = 1
    WILD = 2


@parameterNodeWrapper
class ToyParameters:
    """A parameter of every kind."""

    fixed: slicer.vtkMRMLScalarVolumeNode
    initial: Optional[slicer.vtkMRMLTransformNode]  # noqa: UP045 - both spellings are tested
    number: float | str
    names: list[str]
    mood: Mood
    iterations: Annotated[int, WithinRange(1, 200)] = 40
    smoothness: Annotated[float, WithinRange(0, 5)] = 1.5
    device: Annotated[str, Choice(["auto", "cpu"])] = "auto"
    apply: bool = True


class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.entered = 0
        self.cleaned = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Toy.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ToyLogic()
        self.parameters = ToyParameters(self.logic.getParameterNode())
        self.tag = self.parameters.connectGui(self.ui)
        self.ui.runButton.connect("clicked(bool)", self.onRun)

    def enter(self):
        self.entered += 1

    def cleanup(self):
        self.cleaned += 1
        self.parameters.disconnectGui(self.tag)

    def onRun(self):
        with slicer.util.tryWithErrorDisplay("The run failed."):
            raise ValueError("nothing to run")


class ToyLogic(ScriptedLoadableModuleLogic):
    """The logic."""


class ToyTest(ScriptedLoadableModuleTest):
    """A self-test."""

    def test_something(self):
        STARTED.append("tested")
