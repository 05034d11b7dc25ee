"""The panel on the test host, with fakes of the worker and of runs."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

MODULE_FILE = Path(__file__).resolve().parents[2] / "GenRegModule" / "GenReg.py"

REPORT = {
    "device": "cpu",
    "seconds": 12.3,
    "similarity": {"before": {"nmi": 1.05, "lncc": 0.31}, "after": {"nmi": 1.21, "lncc": 0.64}},
    "jacobian": {"folds_pct": 0.0, "ndv_pct": 0.0, "sdlogj": 0.123, "min_det": 0.51, "max_det": 1.92},
    "inverse_error": {"mean_mm": 0.031, "max_mm": 0.42},
    "confidence": {"mean_mm": 0.7, "p95_mm": 1.3},
    "landmarks": {"count": 12, "tre_before_mm": 8.14, "tre_after_mm": 1.26},
    "stopped_early": False,
    "warnings": [],
    "verdict": {"status": "trustworthy", "reasons": ["The two scans match better than before."]},
}


@pytest.fixture(scope="session")
def host():
    """The test host, booted."""
    import host

    reason = host.available()
    if reason is not None:
        pytest.skip(reason)
    host.boot()
    return host


@pytest.fixture(scope="session")
def slicerModule(host):
    """The loaded module GenReg."""
    return host.loadModule(str(MODULE_FILE))


@pytest.fixture
def part(slicerModule):
    """Imports a part of the panel by its name."""
    return lambda name: importlib.import_module(f"GenRegPanel.{name}")


@pytest.fixture
def scene(host):
    """The scene, empty before and after."""
    import slicer

    host.resetScene()
    yield slicer.mrmlScene
    host.resetScene()


@pytest.fixture
def addVolume(scene):
    """Adds a small scalar volume (or label map) with noise."""
    import slicer

    def add(name="volume", *, shape=(12, 14, 16), spacing=(1.0, 1.5, 2.0), className="vtkMRMLScalarVolumeNode", seed=0):
        node = scene.AddNewNodeByClass(className, name)
        values = np.random.default_rng(seed).integers(0, 200, shape).astype(np.int16)
        slicer.util.updateVolumeFromArray(node, values)
        node.SetSpacing(*spacing)
        return node

    return add


class FakeWorker:
    """Records its calls, and answers when told to."""

    def __init__(self):
        self.submitted, self.answers, self.previews = [], [], []
        self.listener, self.closed, self.pending = None, 0, []

    @property
    def busy(self):
        return self.listener is not None

    def submit(self, job, parameters, arrays, listener):
        self.submitted.append((job, parameters, arrays))
        self.listener = listener

    def answer(self, word):
        self.answers.append(word)
        if word == "abort":
            from GenRegLogic.errors import Cancelled

            self.end(Cancelled("The registration was given up; nothing was changed."))

    def preview(self, wanted):
        self.previews.append(wanted)

    def end(self, outcome):
        """End the present job at the next poll."""
        self.pending.append(outcome)

    def poll(self, budget_s=0.02):
        if self.pending and self.listener is not None:
            listener, self.listener = self.listener, None
            listener.ended(self.pending.pop(0))
        return False

    def wait(self, timeout_s):
        pass

    def close(self):
        self.closed += 1
        self.listener = None


class FakeUndo:
    """Can be used once."""

    def __init__(self):
        self.valid, self.used = True, 0

    def undo(self):
        self.valid = False
        self.used += 1


class FakeRun:
    """A run that only does what the test tells it."""

    refusal = None  # an error for the next start

    def __init__(
        self,
        scene,
        worker,
        inputs,
        outputs,
        *,
        onEnded=None,
        preview=True,
        keepWarm=False,
        onProgress=None,
        onPreview=None,
        onLog=None,
    ):
        self.scene, self.worker, self.inputs, self.outputs = scene, worker, inputs, outputs
        self.preview, self.keepWarm = preview, keepWarm
        self.tell, self.log, self._onEnded = onProgress, onLog, onEnded
        self.calls, self.polls, self.coming, self.onCancel = [], 0, [], None
        self.outcome = None

    @property
    def finished(self):
        return self.outcome is not None

    def start(self):
        from GenRegLogic.mrml.views.layers import SliceViewState

        self.views = SliceViewState(self.scene)
        error, FakeRun.refusal = FakeRun.refusal, None
        if error is not None:
            raise error

    def poll(self):
        self.polls += 1
        if self.coming:
            self.coming.pop(0)()
        return bool(self.coming)

    def later(self, function, *arguments):
        """Call a function at the next poll."""
        self.coming.append(lambda: function(*arguments))

    def stopAndKeep(self):
        self.calls.append("keep")

    def cancel(self):
        from GenRegLogic.errors import Cancelled

        self.calls.append("cancel")
        self.later(self.end, Cancelled("The registration was given up; nothing was changed."))

    def setPreview(self, on):
        self.calls.append(("preview", on))

    def ended(self, outcome):
        if not self.finished:
            self.end(outcome)

    def end(self, outcome):
        self.outcome = outcome
        if self._onEnded is not None:
            self._onEnded(outcome)

    def succeed(self, report=REPORT, *, apply=True):
        """End with a result in the scene, as a real run would leave it."""
        self.end(makeResult(self.scene, self.inputs.fixed, self.inputs.moving, self.outputs.transform, report, apply))


def makeResult(scene, fixed, moving, transform=None, report=REPORT, apply=True):
    """A stand-in for `RunResult`, with an identity transform."""
    import slicer

    transform = transform or scene.AddNewNodeByClass("vtkMRMLTransformNode", "GenReg transform")
    transform.SetAttribute("GenReg.Report", json.dumps(report))
    transform.SetNodeReferenceID(slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole(), fixed.GetID())
    transform.SetNodeReferenceID(slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole(), moving.GetID())
    if apply:
        moving.SetAndObserveTransformNodeID(transform.GetID())
    array = slicer.util.arrayFromVolume(fixed).astype(np.float32)
    return SimpleNamespace(
        transformNode=transform,
        inverseNode=None,
        warpedNode=None,
        report=report,
        undo=FakeUndo(),
        warped=(array, None),
        showBefore=lambda: moving.SetAndObserveTransformNodeID(None),
        showAfter=lambda: moving.SetAndObserveTransformNodeID(transform.GetID()),
    )


class Settings(dict):
    """A stand-in for the application's settings."""

    def value(self, key):
        return self.get(key)

    setValue = dict.__setitem__


@pytest.fixture
def fakes(scene, slicerModule):
    """A runner with fakes: `fakes.runner`, `fakes.worker`, `fakes.runs`.

    `fakes.kinds` holds the factories of jobs by kind.
    """
    from GenRegPanel.run.runner import Runner

    made = SimpleNamespace(worker=FakeWorker(), runs=[])

    def makeRun(*arguments, **keywords):
        made.runs.append(FakeRun(*arguments, **keywords))
        return made.runs[-1]

    made.kinds = {"register": makeRun}
    made.runner = Runner(lambda kind, *what, **how: made.kinds[kind](*what, **how), lambda: made.worker)
    made.refuse = lambda error: setattr(FakeRun, "refusal", error)
    yield made
    made.runner.cleanup()


@pytest.fixture
def panel(host, scene, slicerModule, fakes):
    """The panel in its window on the fakes (`PanelDriver`)."""
    from GenRegPanel.panel import Panel

    host.closeWidget(slicerModule)
    widget = host.openWidget(slicerModule)
    widget.panel.cleanup()
    widget.logic.cleanup()
    widget.logic.runner = fakes.runner
    driver = PanelDriver(host, widget, fakes)
    widget.panel = Panel(
        widget.ui,
        fakes.runner,
        driver.settings,
        lambda: [need() for need in driver.needs],
        lambda: driver.torchInstalled,
    )
    widget.initializeParameterNode()
    host.processEvents()
    yield driver
    host.closeWidget(slicerModule)


class PanelDriver:
    """Operates the panel.

    Attributes:
        settings: The application's settings.
        needs: Functions that are called before a run, as `dependencies.ensureTorch` is.
        torchInstalled: Whether the panel may ask the worker.
    """

    def __init__(self, host, widget, fakes):
        self.host, self.widget, self.fakes = host, widget, fakes
        self.settings, self.needs, self.torchInstalled = Settings(), [], True

    @property
    def ui(self):
        return self.widget.ui

    @property
    def panel(self):
        return self.widget.panel

    @property
    def parameters(self):
        return self.panel.parameters

    @property
    def run(self):
        return self.fakes.runs[-1]

    def settle(self, seconds=0.0, until=None):
        return self.host.processEvents(seconds, until)

    def choose(self, fixed, moving):
        self.ui.fixedSelector.setCurrentNode(fixed)
        self.ui.movingSelector.setCurrentNode(moving)
        self.settle()

    def press(self, name):
        button = getattr(self.ui, name)
        assert button.visible, f"{name} is not visible"
        assert button.enabled, f"{name} is not enabled"
        button.click()
        self.settle()

    def texts(self):
        """Texts of the messages shown."""
        return [message.text for message in self.host.messages]


@pytest.fixture
def ready(panel, addVolume):
    """The panel with two volumes selected."""
    panel.fixed, panel.moving = addVolume("fixed"), addVolume("moving", seed=1)
    panel.choose(panel.fixed, panel.moving)
    return panel


@pytest.fixture
def running(ready):
    """The panel during a run."""
    ready.press("runButton")
    return ready
