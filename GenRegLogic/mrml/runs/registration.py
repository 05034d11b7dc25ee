"""One registration from nodes to nodes: checked, computed in the worker process, previewed, and put into the scene.

The scene changes only at the end, when the complete result has arrived, or not at all (a preview puts the moving scan
below a temporary node that is removed again). Starting, polling and canceling are in `job`.
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
    """Restores the scene to its state before a run, once.

    Attributes:
        done: Whether the run has been undone.
        views: State of the slice views before the run.
    """

    def __init__(self, snapshot: Snapshot, placement: Placement, views: SliceViewState) -> None:
        self._snapshot, self._placement, self.views = snapshot, placement, views
        self.done = False

    @property
    def valid(self) -> bool:
        """Whether the run can still be undone: it was not undone before, and none of its nodes has been removed."""
        return not self.done and self._snapshot.intact and self._placement.intact

    def undo(self) -> None:
        """Restore content, parents, volumes and slice views, and remove the nodes that the run added.

        Raises:
            InputError: The run was undone before, or one of its nodes has been removed.
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
    """The result of a run in the scene.

    Attributes:
        transformNode: The mapping fixed -> moving (FromParent), a grid in the world.
        inverseNode: The mapping moving -> fixed, if requested.
        warpedNode: The moving scan on the fixed grid, if requested.
        report: The engine's report.
        undo: Undoes the run.
        warped: (k, j, i) array and LPS grid of the moving scan on the fixed grid, for a checkerboard.
        placement: Puts the moving scan below the transform and takes it off.
        confidence: (k, j, i) array (mm) and LPS grid of the expected error, so that its map need not be computed again.
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
        """Take the moving scan off the transform, even if it was below that node before the run."""
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
        worker: As `Job`'s.
        inputs: The nodes to be registered, and the settings.
        outputs: Where the result goes.
        preview: Show the intermediate transform on the moving scan.
        onPreview: Called with the temporary transform node after each preview.
        keepWarm: Keep the worker process after a run on a GPU, and with it the GPU's memory.
        options: `Job`'s: onProgress, onLog, onEnded.

    Attributes:
        outcome: RunResult or GenRegError; None until the run has ended.
        views: State of the slice views before the run.
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
        onPreview: Callable | None = None,
        keepWarm: bool = False,
        **options,
    ) -> None:
        super().__init__(scene, worker, **options)
        self._inputs, self._outputs = inputs, outputs or RunOutputs()
        self._preview, self._keepWarm, self._onPreview = preview, keepWarm, onPreview
        self._previewNodeID: str | None = None
        self.views: SliceViewState | None = None

    def start(self) -> None:
        """Check the nodes, harden non-linear parents if requested, and send the job to the worker.

        Raises:
            InputError: A node cannot be used; the scene is unchanged.
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
        """Stop as soon as possible, and keep the best alignment so far."""
        self._worker.answer("keep")

    def setPreview(self, on: bool) -> None:
        """Switch the preview on or off."""
        self._preview = on
        self._worker.preview(on)
        if not on:
            self.closePreview()

    def preview(self, field: np.ndarray, geometry: Geometry) -> None:
        """Put the moving scan below a temporary transform with the intermediate displacement field."""
        if not self._preview or self._sceneError is not None or not self._placement.intact:
            return
        node = self._previewNode()
        setField(node, *withMargin(field, geometry))
        self._placement.put(node)
        if self._onPreview is not None:
            self._onPreview(node)

    def failed(self, error: GenRegError) -> GenRegError:
        """Restore the scene."""
        self._placement.takeOff()
        self._snapshot.restore()
        return error

    # From nodes to the worker.

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The scans, masks, landmarks and initial transform, in the world (LPS, mm)."""
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
        """The chosen initial transform; or a linear output above the moving scan, whose effect must be kept."""
        initial, replaced = self._inputs.initialTransform, self._outputs.transform
        if initial is not None and initial in chain(self._inputs.moving, ignoring=replaced):
            return None  # it is applied already, as a parent
        if initial is None and replaced is not None and replaced in chain(self._inputs.moving) and replaced.IsLinear():
            return replaced
        return initial

    def _placesNow(self) -> np.ndarray:
        """(2, 4, 4) voxel indices to RAS of the fixed scan in the world and of the moving scan without parents."""
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
        """Put the worker's answer into the scene, completely or not at all; `ended` passes the result to `onEnded`."""
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
        if shown is not None:  # before the voxels are set: computing a window would read all of them
            node.CreateDefaultDisplayNodes()
            showAlike(node.GetDisplayNode(), shown)
        setVolume(node, *warped)
        node.CreateDefaultDisplayNodes()
        return node

    def _output(self, wanted, className: str, name: str):
        """The chosen node, with its state stored for Undo, or a new one."""
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
            # Saved with the scene: a scene saved during a run must not refer to a transform that it does not contain.
            node = self._scene.AddNode(node)
            self._previewNodeID = node.GetID()
        return node

    def closePreview(self) -> None:
        """Take the moving scan off the preview node, and remove that node."""
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
