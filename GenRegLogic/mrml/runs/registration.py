"""One registration from nodes to nodes: checked, computed in the worker process, shown while it runs, applied at once.

The scene changes only at the end, when everything has arrived, or not at all (a preview puts the moving scan below a
temporary node and takes it off again). How a run is started, polled and given up is in `job`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import slicer

from ...errors import GenRegError, InputError
from ...space.geometry import Geometry
from ...space.margin import withMargin
from ...space.volume import Volume
from ..nodes.masks import landmarkPairs, maskFromNode
from ..nodes.parents import Placement, chain, worldMatrix
from ..nodes.transforms import initialFromNode, setField, setProvenance
from ..nodes.undo import Snapshot, batch
from ..nodes.volumes import ijkToRas, setVolume, volumeFromNode
from ..views.layers import SliceViewState, showAlike
from .inputs import RunInputs, RunOutputs, checkNodes, nonLinearParents, placedNodes
from .job import Job

__all__ = ["RegistrationRun", "RunInputs", "RunOutputs", "RunResult", "Undo"]


class Undo:
    """Brings the scene back to where it was before a run, once.

    Attributes:
        done: It has been undone.
    """

    def __init__(self, snapshot: Snapshot, placement: Placement, views: SliceViewState) -> None:
        self._snapshot, self._placement, self.views = snapshot, placement, views
        self.done = False

    @property
    def valid(self) -> bool:
        """Whether it can still be undone: not undone before, and no node of it removed since."""
        return not self.done and self._snapshot.intact and self._placement.intact

    def undo(self) -> None:
        """Put content, parents, volumes and slice views back as they were, and remove what the run added.

        Raises:
            InputError: It was undone before, or a node has been removed since.
        """
        if not self.valid:
            raise InputError(
                "This run can't be undone any more: it was undone before, or a volume or transform of it "
                "has been removed since."
            )
        self.done = True
        self._placement.takeOff()
        self._snapshot.restore()
        self.views.restore()


@dataclasses.dataclass(eq=False)
class RunResult:
    """What a run has left in the scene.

    Attributes:
        transformNode: The mapping fixed -> moving (FromParent), a grid in the world.
        inverseNode: From moving to fixed points, if wanted.
        warpedNode: The moving scan on the fixed grid, if wanted.
        report: The engine's report.
        undo: Takes the run back.
        warped: (k, j, i) array and grid of the moving scan on the fixed grid, for a checkerboard.
        confidence: (k, j, i) array and grid of the expected error, mm, so that a map of it is made at once.
    """

    transformNode: object
    inverseNode: object
    warpedNode: object
    report: dict
    undo: Undo
    warped: tuple[np.ndarray, Geometry] | None
    placement: Placement
    confidence: tuple[np.ndarray, Geometry] | None = None

    def showBefore(self) -> None:
        """Take the moving scan off the transform, also where it lay below that node before the run."""
        if self._usable:
            self.placement.takeOff(replaced=self.transformNode)

    def showAfter(self) -> None:
        """Put the moving scan below the transform."""
        if self._usable and self.transformNode.GetScene() is not None:
            self.placement.put(self.transformNode)

    @property
    def _usable(self) -> bool:
        return not self.undo.done and self.placement.intact


class RegistrationRun(Job):
    """One registration.

    Args:
        scene: The MRML scene of all nodes.
        worker: `GenRegLogic.worker.client.Worker`, or anything with its submit, answer, preview, poll and wait.
        inputs: What is registered, and how.
        outputs: Where the result goes.
        preview: Show the transform on the moving scan while it is computed.
        onProgress: Called with (stage, fraction, seconds left or None, objective or None).
        onPreview: Called with the temporary transform node after each preview.
        onLog: Called with a line.
        onEnded: Called once, with the RunResult or a GenRegError.
        keepWarm: Keep the worker process after a run on a GPU, and with it the GPU's memory.

    Attributes:
        outcome: RunResult or GenRegError once the run has ended.
        views: What the slice views showed before the run.
    """

    job = "register"
    """The worker's name of the job."""

    def __init__(
        self,
        scene,
        worker,
        inputs: RunInputs,
        outputs: RunOutputs | None = None,
        *,
        preview: bool = True,
        onProgress: Callable | None = None,
        onPreview: Callable | None = None,
        onLog: Callable | None = None,
        onEnded: Callable | None = None,
        keepWarm: bool = False,
    ) -> None:
        super().__init__(scene, worker, onProgress=onProgress, onLog=onLog, onEnded=onEnded)
        self._inputs, self._outputs = inputs, outputs or RunOutputs()
        self._preview, self._keepWarm, self._onPreview = preview, keepWarm, onPreview
        self._previewNodeID: str | None = None
        self.views: SliceViewState | None = None

    def start(self) -> None:
        """Check everything and hand the work to the worker.

        Raises:
            InputError: Something can't be used; the scene is as it was.
        """
        checkNodes(self._inputs, self._outputs)
        hardened = nonLinearParents(self._inputs, self._outputs)
        self._snapshot = Snapshot(self._scene)
        self.views = SliceViewState(self._scene)
        try:
            if hardened and self._inputs.nonLinearParents == "harden":
                self._harden()
            self._placement = Placement(self._inputs.moving, ignoring=self._outputs.transform)
            self._places = self._placesNow()
            super().start()
        except BaseException:
            self._snapshot.restore()
            raise

    def stopAndKeep(self) -> None:
        """Stop as soon as possible, and keep the best so far."""
        self._worker.answer("keep")

    def setPreview(self, on: bool) -> None:
        """Switch the preview."""
        self._preview = on
        self._worker.preview(on)
        if not on:
            self.closePreview()

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:
        """Put the moving scan below the displacement so far."""
        if not self._preview or self._sceneError is not None or not self._placement.intact:
            return
        node = self._previewNode()
        setField(node, *withMargin(field, geometry))
        self._placement.put(node)
        if self._onPreview is not None:
            self._onPreview(node)

    def failed(self, error: GenRegError) -> GenRegError:
        """Put the scene back."""
        self._placement.takeOff()
        self._snapshot.restore()
        return error

    # From nodes to the worker.

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The scans, masks, landmarks and the start, where they lie in the world."""
        inputs, replaced = self._inputs, self._outputs.transform
        fixed = volumeFromNode(inputs.fixed, "fixed")
        moving = volumeFromNode(inputs.moving, "moving", ignoring=replaced)
        self._fixedGeometry = fixed.geometry
        volumes = {"fixed": fixed, "moving": moving}
        if inputs.fixedMask is not None:
            volumes["fixed_mask"] = maskFromNode(inputs.fixedMask, "fixed")
        if inputs.movingMask is not None:
            volumes["moving_mask"] = maskFromNode(inputs.movingMask, "moving", ignoring=replaced)
        if inputs.keepRigid is not None:
            volumes["keep_rigid"] = maskFromNode(inputs.keepRigid, "rigid", labels=True)
        parameters = {name: volume.geometry.to_dict() for name, volume in volumes.items()}
        arrays = {name: volume.array for name, volume in volumes.items()}
        if inputs.fixedLandmarks is not None:
            pairs = landmarkPairs(inputs.fixedLandmarks, inputs.movingLandmarks, ignoring=replaced)
            parameters["fixed_landmarks"], parameters["moving_landmarks"] = (points.tolist() for points in pairs)
        initial = self._initialNode()
        if initial is not None:
            parameters["initial"], field = initialFromNode(initial, fixed.geometry)
            if field is not None:
                arrays["initial"] = field
        self._warnings = _warnings(volumes)
        parameters |= {
            "settings": dataclasses.asdict(inputs.settings),
            "want_inverse": bool(self._outputs.inverseTransform),
            "want_warped": True,
            "preview": self._preview,
            "margin": True,
            "keep_warm": self._keepWarm,
            "log": self._onLog is not None,
        }
        return parameters, arrays

    def _initialNode(self):
        """The chosen start; or a linear output transform above the moving scan, whose effect must not be lost."""
        initial, replaced = self._inputs.initialTransform, self._outputs.transform
        if initial is not None and initial in chain(self._inputs.moving, ignoring=replaced):
            return None  # it counts already, as a parent
        if initial is None and replaced is not None and replaced in chain(self._inputs.moving) and replaced.IsLinear():
            return replaced
        return initial

    def _placesNow(self) -> np.ndarray:
        """Where the voxels of the two scans lie, without the transforms above the moving one (see `Placement`)."""
        fixed, moving = self._inputs.fixed, self._inputs.moving
        return np.stack([worldMatrix(fixed, "fixed") @ ijkToRas(fixed), ijkToRas(moving)])

    def _harden(self) -> None:
        logic = slicer.vtkSlicerTransformLogic()
        for node, ignoring in placedNodes(self._inputs, self._outputs):
            if any(not parent.IsLinear() for parent in chain(node, ignoring=ignoring)):
                self._snapshot.remember(node)
                logic.hardenTransform(node)

    # From the worker to nodes.

    def take(self, outcome: dict) -> RunResult:
        """Put the worker's answer into the scene, all of it or nothing; `ended` passes the result on to `onEnded`."""
        with batch(self._scene):
            return self._apply(outcome)

    def _apply(self, outcome: dict) -> RunResult:
        if self._placement.moved or not np.array_equal(self._placesNow(), self._places):
            raise InputError(
                "The position of the fixed or the moving volume was changed during the run, so the "
                "result no longer fits; run again."
            )
        arrays, geometries, report = outcome["arrays"], outcome["geometries"], outcome["report"]
        report["warnings"] = [*report.get("warnings", []), *self._warnings]
        warped = (arrays["warped"], geometries["warped"]) if "warped" in arrays else None
        node = self._output(self._outputs.transform, "vtkMRMLTransformNode", "GenReg transform")
        setField(node, arrays["forward"], geometries["forward"])
        setProvenance(node, report, self._inputs.fixed, self._inputs.moving)
        inverseNode = None
        if self._outputs.inverseTransform:
            inverseNode = self._output(
                self._outputs.inverseTransform, "vtkMRMLTransformNode", "GenReg inverse transform"
            )
            setField(inverseNode, arrays["inverse"], geometries["inverse"])
            setProvenance(inverseNode, report, self._inputs.moving, self._inputs.fixed)
        warpedNode = self._warpedNode(warped) if self._outputs.warpedVolume else None
        if self._outputs.applyToMoving:
            self._placement.put(node)
        undo = Undo(self._snapshot, self._placement, self.views)
        confidence = (arrays["confidence"], geometries["confidence"]) if "confidence" in arrays else None
        return RunResult(node, inverseNode, warpedNode, report, undo, warped, self._placement, confidence)

    def _warpedNode(self, warped):
        node = self._output(self._outputs.warpedVolume, "vtkMRMLScalarVolumeNode", "GenReg warped volume")
        shown = self._inputs.moving.GetDisplayNode()
        if shown is not None:  # before the voxels come: a window of its own would take all of them
            node.CreateDefaultDisplayNodes()
            showAlike(node.GetDisplayNode(), shown)
        setVolume(node, *warped)
        node.CreateDefaultDisplayNodes()
        return node

    def _output(self, wanted, className: str, name: str):
        """The chosen node, remembered for Undo, or a new one."""
        if wanted is None or wanted is True:
            node = self._scene.AddNewNodeByClass(className, self._scene.GenerateUniqueName(name))
            self._snapshot.added(node)
            return node
        self._snapshot.remember(wanted)
        return wanted

    # The preview.

    def _previewNode(self):
        node = self._scene.GetNodeByID(self._previewNodeID) if self._previewNodeID else None
        if node is None:
            node = self._scene.CreateNodeByClass("vtkMRMLTransformNode")
            node.UnRegister(None)  # CreateNodeByClass leaves a reference to its caller
            node.SetName("GenReg preview")
            # Saved and listed: a scene saved during a run must not refer to a transform that is not in it.
            node = self._scene.AddNode(node)
            self._previewNodeID = node.GetID()
        return node

    def closePreview(self) -> None:
        """Take the moving scan off the preview's node, and the node away."""
        if self._previewNodeID is None:
            return
        self._placement.takeOff()
        node = self._scene.GetNodeByID(self._previewNodeID)
        if node is not None:
            self._scene.RemoveNode(node)
        self._previewNodeID = None

    def watched(self) -> list:
        """Scans, outputs and the transforms above the scans."""
        inputs, outputs = self._inputs, self._outputs
        nodes = [
            inputs.fixed,
            inputs.moving,
            outputs.transform,
            outputs.inverseTransform,
            outputs.warpedVolume,
            *chain(inputs.fixed),
            *chain(inputs.moving, ignoring=outputs.transform),
        ]
        return [node for node in nodes if node is not None and node is not True and node is not False]


def _warnings(volumes: dict[str, Volume]) -> list[str]:
    return [sentence for volume in volumes.values() for sentence in volume.warnings]
