"""The Slicer module GenReg: module, panel, logic and self-test, each a few lines over GenRegPanel and GenRegLogic.

At file scope nothing is imported but Python's own library and Slicer: the module loads, and says what to do, where
torch or the PyTorch extension is missing. The logic class is called GenRegLogic, as Slicer wants it; the engine, a
package of the same name, is imported by GenRegPanel alone.
"""

import contextlib
import sys

import slicer
from GenRegPanel.inspect.scripting import InspectLogic
from GenRegPanel.selftest import tests
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class GenReg(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("General Registration (GenReg)")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["GenReg contributors"]
        parent.helpText = _(
            "Brings one 3D scan onto another, whatever the modality and the body region: choose a fixed and a moving "
            "volume and press Run. The result is a transform in the scene, with a verdict on whether to trust it. "
            "Scans stay on this computer."
        )
        parent.acknowledgementText = _(
            "After the idea of: Sneha Sree C., Shanbhag, Chatterjee, Test Time Optimized Generalized AI-based Medical "
            "Image Registration Method, arXiv 2512.14556. The design and the numbers are GenReg's own."
        )
        slicer.app.connect("startupCompleted()", _registerSampleData)
        slicer.app.connect("startupCompleted()", _keepFieldsLinear)


def _registerSampleData():
    from GenRegPanel.startup import registerSampleData

    registerSampleData()


def _keepFieldsLinear():
    from GenRegPanel.startup import keepFieldsLinear

    keepFieldsLinear()


class GenRegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel; its parts are in GenRegPanel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = self.panel = self._parameterNode = None

    def setup(self):
        """Build the panel. Nothing is installed or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/GenReg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = GenRegLogic()
        from GenRegPanel.panel import Panel

        self.panel = Panel(self.ui, self.logic.runner)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.initializeParameterNode()

    def cleanup(self):
        """The application or the module ends, possibly during a run."""
        self.removeObservers()
        try:
            if self.logic is not None:
                self.logic.cleanup()  # while the panel can still put the views back
        finally:
            if self.panel is not None:
                self.panel.cleanup()
                self.panel = None

    def enter(self):
        """The module is opened."""
        self.initializeParameterNode()

    def onSceneStartClose(self, caller=None, event=None):
        """The scene is about to close and to take the parameter node with it."""
        self.panel.setParameters(None)

    def onSceneEndClose(self, caller=None, event=None):
        """The scene has closed."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller=None, event=None):
        """A scene was loaded, possibly with another state of the panel."""
        if self.panel.parameters is not None or self.parent.isEntered:
            self.initializeParameterNode()

    def onReload(self):
        """Reload button: take the panel's parts from their files again too, which Slicer would not do."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "GenRegPanel"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self):
        """Make sure that there is a parameter node, and show it."""
        self.panel.setParameters(self.logic.getParameterNode())


class GenRegLogic(InspectLogic, ScriptedLoadableModuleLogic):
    """Registers volume nodes, with or without a panel; what can be done with a result is in `InspectLogic`.

    `process` waits for the result, `start` returns at once. Both take

        fixedNode, movingNode: scalar volume nodes.
        outputTransformNode: where the result goes; None makes a new node.
        warpedVolumeNode, inverseTransformNode: a node, True for a new one, None for none.
        applyToMoving: put the moving volume below the transform.
        fixedMask, movingMask: label map volume or segmentation nodes.
        keepRigid: the same; each label or segment of the fixed volume moves as a rigid body.
        fixedLandmarks, movingLandmarks: markups nodes, matched by order.
        initialTransform: any transform node to start from.
        nonLinearParents: "refuse", or "harden" those above the volumes.
        settings: `GenRegLogic.settings.Settings`, or its fields by name instead: iterations, smoothness, device, ...
        preview: show the transform while it is computed (False).
        keepWarm: keep a GPU's memory for the next run (False).
        onProgress: receives (stage, fraction, seconds left or None, objective or None).
        onLog: receives a line.

    Errors are `GenRegLogic.errors.GenRegError`s, each one sentence.
    """

    def __init__(self, runner=None):
        ScriptedLoadableModuleLogic.__init__(self)
        from GenRegPanel.bootstrap import makeEngineImportable

        makeEngineImportable()
        from GenRegPanel.run.runner import Runner
        from GenRegPanel.startup import keepFieldsLinear

        keepFieldsLinear()
        self.runner = runner or Runner()

    def __del__(self):
        # Of a script's logic, whose worker process is not to outlive it; when Python ends, Qt may be gone before.
        with contextlib.suppress(Exception):
            self.cleanup()

    @property
    def running(self):
        """Whether a run is under way."""
        return self.runner.running

    def getParameterNode(self):
        """The panel's state, saved with the scene."""
        from GenRegPanel.inputs.parameters import GenRegParameterNode

        return GenRegParameterNode(super().getParameterNode())

    def process(self, fixedNode, movingNode, outputTransformNode=None, **options):
        """Register and wait for it; returns the `RunResult` (transformNode, warpedNode, inverseNode, report, undo)."""
        from GenRegPanel.inputs.parameters import makeRequest

        inputs, outputs, rest = makeRequest(fixedNode, movingNode, outputTransformNode, options)
        return self.runner.wait("register", inputs, outputs, **rest)

    def start(self, fixedNode, movingNode, outputTransformNode=None, *, onEnded=None, **options):
        """Begin to register and return the run; `onEnded` receives the `RunResult` or the error, once."""
        from GenRegPanel.inputs.parameters import makeRequest

        inputs, outputs, rest = makeRequest(fixedNode, movingNode, outputTransformNode, options)
        return self.runner.begin("register", inputs, outputs, onEnded=onEnded, **rest)

    def cancel(self):
        """Give the present run up; the scene becomes what it was."""
        self.runner.cancel()

    def stopAndKeep(self):
        """End the present run with the best alignment so far."""
        self.runner.stopAndKeep()

    def cleanup(self):
        """End the present run and the worker process; a later run starts a new one."""
        self.runner.cleanup()


class GenRegTest(tests.SelfTests):
    """The self-tests, where Slicer looks for them."""

    def newLogic(self):
        """A logic of its own, as a script makes it."""
        return GenRegLogic()
