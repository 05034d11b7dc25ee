"""Refine here: a transform that is in the scene is refined where the user says that it is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import vtk

from ...errors import InputError
from ...settings import Settings
from ...space.geometry import Geometry
from ...space.margin import LPS_TO_RAS
from ...space.volume import Volume
from ..nodes.masks import maskFromNode
from ..nodes.pair import changeToken, fieldInWorld, pairOf
from ..nodes.parents import chain, worldMatrix
from ..nodes.volumes import matrixToNumpy
from .inputs import RunInputs, RunOutputs
from .registration import RegistrationRun

__all__ = ["RepairRun", "regionFromNode"]


def regionFromNode(node, fixed: Geometry) -> Volume:
    """A region in the world.

    Args:
        node: Markups ROI (a box, however it is turned), label map volume or segmentation (its visible segments).
        fixed: Grid of the fixed scan, LPS; a box is painted onto it.

    Returns:
        Nonzero inside; a box on the fixed grid, anything else on voxels of its own.

    Raises:
        InputError: None of these, empty, beside the scan, or under a non-linear transform.
    """
    if not node.IsA("vtkMRMLMarkupsROINode"):
        if node.IsA("vtkMRMLMarkupsNode"):
            raise InputError(f"'{node.GetName()}' is not a region; select an ROI, a label map or a segmentation.")
        return maskFromNode(node, "region")
    if node.GetNumberOfControlPoints() == 0 and not any(node.GetSize()):
        raise InputError(f"The ROI '{node.GetName()}' has not been placed yet; draw it where the alignment is wrong.")
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(node.GetObjectToNodeMatrix())
    toWorld = worldMatrix(node, "region") @ matrixToNumpy(matrix)
    half = np.array(node.GetSize()) / 2
    if half.min() <= 0:
        raise InputError(f"The ROI '{node.GetName()}' has no extent; draw it larger.")
    toObject = np.linalg.inv(toWorld) @ np.diag([*LPS_TO_RAS, 1.0]) @ fixed.index_to_world
    # Only the voxels around the box are looked at: a large scan has hundreds of millions of others.
    reach = np.abs(np.linalg.inv(toObject)[:3, :3]) @ half + 1
    center = np.linalg.inv(toObject)[:3, 3]
    low, high = (np.clip(np.rint(end), 0, fixed.size).astype(int) for end in (center - reach, center + reach + 1))
    painted = np.zeros(fixed.shape, np.uint8)
    inside = np.ones(np.maximum(high - low, 0)[::-1], bool)
    for axis in range(3):  # one coordinate of the box after another: no array of points is needed
        i, j, k = (toObject[axis, column] * np.arange(a, max(a, b)) for column, (a, b) in enumerate(zip(low, high)))
        along = k[:, None, None] + (j[:, None] + i) + toObject[axis, 3]
        inside &= np.abs(along) <= half[axis] * (1 + 1e-9)
    if not inside.any():
        raise InputError(
            f"The ROI '{node.GetName()}' does not lie over the fixed volume; draw it where the alignment is wrong."
        )
    painted[tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1]))] = inside
    return Volume(painted, fixed)


class RepairRun(RegistrationRun):
    """A local repair of a transform, which is overwritten at the end (Undo brings it back).

    Args:
        scene: The MRML scene.
        worker: As for `RegistrationRun`.
        transformNode: What is wrong, of a run in this scene or an earlier one: it refers to its two volumes.
        region: Where: markups ROI, label map volume or segmentation; None where landmarks say it.
        fixedLandmarks: Markups node; one point is enough.
        movingLandmarks: Markups node; matched by order.
        settings: The engine's knobs.
        preview, onProgress, onPreview, onLog, onEnded, keepWarm: As for `RegistrationRun`.
    """

    job = "repair"

    def __init__(
        self,
        scene,
        worker,
        transformNode,
        *,
        region=None,
        fixedLandmarks=None,
        movingLandmarks=None,
        settings: Settings | None = None,
        preview: bool = True,
        onProgress: Callable | None = None,
        onPreview: Callable | None = None,
        onLog: Callable | None = None,
        onEnded: Callable | None = None,
        keepWarm: bool = False,
    ) -> None:
        inputs = RunInputs(
            fixedLandmarks=fixedLandmarks, movingLandmarks=movingLandmarks, settings=settings or Settings()
        )
        super().__init__(
            scene,
            worker,
            inputs,
            None,
            preview=preview,
            onProgress=onProgress,
            onPreview=onPreview,
            onLog=onLog,
            onEnded=onEnded,
            keepWarm=keepWarm,
        )
        self._transformNode, self._region = transformNode, region

    def start(self) -> None:
        """Check everything and hand the work to the worker.

        Raises:
            InputError: Something can't be used; the scene is as it was.
        """
        pair = pairOf(self._transformNode)
        if self._region is None and self._inputs.fixedLandmarks is None and self._inputs.movingLandmarks is None:
            raise InputError("Nothing says where to refine; select a region, or landmarks of both volumes.")
        self._inputs = dataclasses.replace(self._inputs, fixed=pair.fixedNode, moving=pair.movingNode)
        shown = self._transformNode in chain(pair.movingNode)
        self._outputs = RunOutputs(transform=self._transformNode, applyToMoving=shown)
        self._token = changeToken(self._transformNode)
        super().start()

    def _initialNode(self):
        return None

    def request(self) -> tuple[dict, dict[str, np.ndarray]]:
        """As of a registration, with the transform to be repaired and the region."""
        parameters, arrays = super().request()
        field, grid = fieldInWorld(self._transformNode, self._fixedGeometry)
        parameters["field"], arrays["field"] = grid.to_dict(), field
        if self._region is not None:
            region = regionFromNode(self._region, self._fixedGeometry)
            parameters["region"], arrays["region"] = region.geometry.to_dict(), region.array
        return parameters, arrays

    def _apply(self, outcome: dict):
        if changeToken(self._transformNode) != self._token:
            raise InputError(f"The transform '{self._transformNode.GetName()}' was changed during the run; run again.")
        return super()._apply(outcome)
