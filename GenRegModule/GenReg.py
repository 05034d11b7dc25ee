"""The Slicer module GenReg: module, widget, logic and self-test, thin wrappers of GenRegPanel and GenRegLogic.

At file scope only Python's standard library and Slicer are imported, so that the module loads, and can tell the user
what to do, if torch or the PyTorch extension is missing. The logic class is called GenRegLogic, as Slicer requires; the
engine, a package of the same name, is only imported by GenRegPanel.
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
    """The description of the module that Slicer shows."""

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
        """Build the panel; nothing is installed and no process is started."""
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
        """End the panel and the logic, when the application or the module ends, possibly during a run."""
        self.removeObservers()
        try:
            if self.logic is not None:
                self.logic.cleanup()  # first, while the panel can still restore the views
        finally:
            if self.panel is not None:
                self.panel.cleanup()
                self.panel = None

    def enter(self):
        """Connect the parameter node, when the module is opened."""
        self.initializeParameterNode()

    def onSceneStartClose(self, caller=None, event=None):
        """Disconnect the parameter node before the scene closes and removes it."""
        self.panel.setParameters(None)

    def onSceneEndClose(self, caller=None, event=None):
        """Connect a new parameter node after the scene has closed, if the module is open."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller=None, event=None):
        """Connect the parameter node of a loaded scene, which may hold another state of the panel."""
        if self.panel.parameters is not None or self.parent.isEntered:
            self.initializeParameterNode()

    def onReload(self):
        """Reload the module with the panel's parts, which Slicer alone would not reload."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "GenRegPanel"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def initializeParameterNode(self):
        """Connect the panel to the parameter node, which is created if needed."""
        self.panel.setParameters(self.logic.getParameterNode())


class GenRegLogic(InspectLogic, ScriptedLoadableModuleLogic):
    """Registers volume nodes, with or without a panel; methods for a result are in `InspectLogic`.

    `process` waits for the result, `start` returns at once. Both take

        fixedNode, movingNode: scalar volume nodes.
        outputTransformNode: node for the result, fixed -> moving; None makes a new node.
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
        # Ends the worker process of a script's logic; at the end of Python, Qt may be gone already.
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
        """Register, wait, and return the `RunResult` (transformNode, warpedNode, inverseNode, report, undo)."""
        from GenRegPanel.inputs.parameters import makeRequest

        inputs, outputs, rest = makeRequest(fixedNode, movingNode, outputTransformNode, options)
        return self.runner.wait("register", inputs, outputs, **rest)

    def start(self, fixedNode, movingNode, outputTransformNode=None, *, onEnded=None, **options):
        """Start a registration and return the run; `onEnded` is called once with the `RunResult` or the error."""
        from GenRegPanel.inputs.parameters import makeRequest

        inputs, outputs, rest = makeRequest(fixedNode, movingNode, outputTransformNode, options)
        return self.runner.begin("register", inputs, outputs, onEnded=onEnded, **rest)

    def cancel(self):
        """Cancel the present run; the scene is restored."""
        self.runner.cancel()

    def stopAndKeep(self):
        """End the present run with the best alignment so far."""
        self.runner.stopAndKeep()

    def cleanup(self):
        """End the present run and the worker process; a later run starts a new one."""
        self.runner.cleanup()


class GenRegTest(tests.SelfTests):
    """The self-tests, under the name that Slicer expects."""

    def newLogic(self):
        """A new logic, as in a script."""
        return GenRegLogic()
