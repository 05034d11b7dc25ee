"""Local repair (Refine here): a transform in the scene is refined in a region that the user selects."""

from __future__ import annotations

import dataclasses

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
    """The region of a repair as a mask in the world.

    Args:
        node: Markups ROI (a box of any orientation), label map volume or segmentation (its visible segments).
        fixed: Grid of the fixed scan, LPS; a box is rasterized on it.

    Returns:
        Mask (LPS, nonzero inside); a box is on the fixed grid, anything else on its own grid.

    Raises:
        InputError: Another kind of node, or a region that is empty, outside the scan or under a non-linear transform.
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
    # Only the voxels around the box are tested: a large scan has hundreds of millions of others.
    reach = np.abs(np.linalg.inv(toObject)[:3, :3]) @ half + 1
    center = np.linalg.inv(toObject)[:3, 3]
    low, high = (np.clip(np.rint(end), 0, fixed.size).astype(int) for end in (center - reach, center + reach + 1))
    painted = np.zeros(fixed.shape, np.uint8)
    inside = np.ones(np.maximum(high - low, 0)[::-1], bool)
    for axis in range(3):  # one coordinate of the box at a time, so that no array of points is needed
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
    """A local repair of a transform, which is overwritten at the end (Undo restores it).

    Args:
        scene: The MRML scene.
        worker: As `Job`'s.
        transformNode: Result of a run, with references to its two volumes.
        region: Markups ROI, label map volume or segmentation; None if landmarks define the region.
        fixedLandmarks: Markups node; one point is enough.
        movingLandmarks: Markups node; matched by order.
        settings: The engine's settings.
        options: `RegistrationRun`'s: preview, onProgress, onPreview, onLog, onEnded, keepWarm.
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
        **options,
    ) -> None:
        inputs = RunInputs(
            fixedLandmarks=fixedLandmarks, movingLandmarks=movingLandmarks, settings=settings or Settings()
        )
        super().__init__(scene, worker, inputs, **options)
        self._transformNode, self._region = transformNode, region

    def start(self) -> None:
        """Check the nodes and send the job to the worker.

        Raises:
            InputError: A node cannot be used; the scene is unchanged.
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
        """The parameters and arrays of a registration, plus the transform to be repaired and the region."""
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
