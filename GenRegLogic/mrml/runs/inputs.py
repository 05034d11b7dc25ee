"""The nodes to be registered, and the checks that are made before a run starts."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import InputError
from ...settings import Settings
from ...space.geometry import ORTHONORMAL_TOLERANCE, Geometry
from ..i18n import tr as _
from ..nodes.parents import chain, nonLinearAbove, worldMatrix
from ..nodes.volumes import RAS_TO_LPS, geometryFromMatrix, ijkToRas, nodeArray, volumeFromNode

__all__ = [
    "RunInputs",
    "RunOutputs",
    "Understanding",
    "checkNodes",
    "coarsened",
    "nonLinearParents",
    "placedNodes",
    "understand",
]

INSPECTED_VOXELS = 300_000
"""Number of voxels of a scan whose contrast is compared before a run (`coarsened`)."""

LEAST_SAMPLES = 8
"""Samples that `coarsened` keeps along each axis, so that a thin scan keeps its structure."""

OVERLAP_POINTS = 16
"""Points along each axis of the fixed scan at which the overlap with the moving scan is sampled."""

NOT_SCALAR = ("vtkMRMLLabelMapVolumeNode", "vtkMRMLTensorVolumeNode")
"""Subclasses of the scalar volume that hold no intensities: labels, vectors, diffusion."""


@dataclasses.dataclass(eq=False)
class RunInputs:
    """The nodes to be registered, and the settings.

    Attributes:
        fixed: Scalar volume node of the fixed scan.
        moving: Scalar volume node of the moving scan, which is aligned with the fixed one.
        fixedMask: Label map volume or segmentation node: the region of the fixed scan that is used.
        movingMask: The same for the moving scan.
        keepRigid: Label map volume or segmentation of the fixed scan: each label or visible segment stays rigid.
        fixedLandmarks: Markups node.
        movingLandmarks: Markups node; matched by order.
        initialTransform: Any transform node, fixed -> moving (FromParent), to start from.
        nonLinearParents: "refuse" or "harden" non-linear transforms above the scans (Undo restores them).
        settings: The engine's settings.
    """

    fixed: object = None
    moving: object = None
    fixedMask: object = None
    movingMask: object = None
    fixedLandmarks: object = None
    movingLandmarks: object = None
    initialTransform: object = None
    nonLinearParents: str = "refuse"
    settings: Settings = dataclasses.field(default_factory=Settings)
    keepRigid: object = None


@dataclasses.dataclass(eq=False)
class RunOutputs:
    """Where the result goes.

    Attributes:
        transform: Transform node to be overwritten, or None for a new one.
        warpedVolume: Scalar volume node for the moving scan on the fixed grid, True for a new one, None for none.
        inverseTransform: Transform node for the mapping moving -> fixed, True for a new one, None for none.
        applyToMoving: Put the moving scan below the transform.
    """

    transform: object = None
    warpedVolume: object = None
    inverseTransform: object = None
    applyToMoving: bool = True


@dataclasses.dataclass(frozen=True)
class Understanding:
    """The result of `understand`.

    Attributes:
        ready: A run can start.
        missing: What to do first, short enough for a button; empty when ready.
        sentence: Sizes, spacing and overlap, or the reason why a run cannot start.
    """

    ready: bool
    missing: str
    sentence: str


def understand(inputs: RunInputs, outputs: RunOutputs | None = None) -> Understanding:
    """Describe the chosen nodes, or what is missing; no voxels are read, so that it is fast for volumes of any size."""
    outputs = outputs or RunOutputs()
    if inputs.fixed is None and inputs.moving is None:
        return Understanding(False, _("Select the fixed and moving volumes"), "")
    if inputs.fixed is None:
        return Understanding(False, _("Select the fixed volume"), "")
    if inputs.moving is None:
        return Understanding(False, _("Select the moving volume"), "")
    try:
        checkNodes(inputs, outputs)
        fixed, moving = (
            _geometry(node, role, outputs) for node, role in ((inputs.fixed, "fixed"), (inputs.moving, "moving"))
        )
    except InputError as error:
        return Understanding(False, _("Check the inputs"), str(error))
    if inputs.nonLinearParents == "harden" or not nonLinearParents(inputs, outputs):
        overlap = _overlap(fixed, moving) if fixed is not None and moving is not None else None
        return Understanding(True, "", _describe(inputs, overlap))
    names = ", ".join(f"'{node.GetName()}'" for node in nonLinearParents(inputs, outputs))
    return Understanding(
        True,
        "",
        _("Non-linear transforms above the volumes ({names}) have to be hardened first; you will be asked.").format(
            names=names
        ),
    )


def checkNodes(inputs: RunInputs, outputs: RunOutputs) -> None:
    """Check that every node can be used for its purpose.

    Raises:
        InputError: A node cannot be used as input or output; the message names it.
    """
    for node, role in ((inputs.fixed, "fixed"), (inputs.moving, "moving")):
        array = nodeArray(node, role)
        if min(array.shape) < 2:
            raise InputError(f"The {role} volume '{node.GetName()}' is a single slice; GenReg needs a 3D scan.")
    if inputs.fixed is inputs.moving:
        raise InputError("The fixed and the moving volume are the same; select two different ones.")
    if (inputs.fixedLandmarks is None) != (inputs.movingLandmarks is None):
        raise InputError("Landmarks of both scans are needed; select both lists, or neither.")
    if inputs.fixedLandmarks is not None and inputs.fixedLandmarks is inputs.movingLandmarks:
        raise InputError("The fixed and the moving landmarks are the same list; select two different ones.")
    _checkOutputs(inputs, outputs)


def _checkOutputs(inputs: RunInputs, outputs: RunOutputs) -> None:
    transform, inverse, warped = outputs.transform, _node(outputs.inverseTransform), _node(outputs.warpedVolume)
    for node in (transform, inverse):
        if node is None:
            continue
        if not node.IsA("vtkMRMLTransformNode"):
            raise InputError(f"'{node.GetName()}' is not a transform; select another output transform.")
        if node in chain(inputs.fixed):
            raise InputError(
                f"The output transform '{node.GetName()}' lies above the fixed volume, which must stay "
                "where it is; select another output transform."
            )
    if inverse is not None and inverse is transform:
        raise InputError("The output and the inverse transform are the same; select two different ones.")
    if inverse is not None and inverse in chain(inputs.moving):
        raise InputError(
            f"The inverse transform '{inverse.GetName()}' lies above the moving volume; select another one."
        )
    if warped is not None:
        if not warped.IsA("vtkMRMLScalarVolumeNode") or any(map(warped.IsA, NOT_SCALAR)):
            raise InputError(f"'{warped.GetName()}' is not a scalar volume; select another one for the warped volume.")
        if warped in (inputs.fixed, inputs.moving, inputs.fixedMask, inputs.movingMask):
            raise InputError(f"The warped volume would overwrite the input '{warped.GetName()}'; select another one.")


def nonLinearParents(inputs: RunInputs, outputs: RunOutputs | None = None) -> list:
    """The non-linear transform nodes above scans, label maps and landmarks, each once; a run has to harden them."""
    found = []
    for node, ignoring in placedNodes(inputs, outputs):
        found += [parent for parent in nonLinearAbove(node, ignoring=ignoring) if parent not in found]
    return found


def placedNodes(inputs: RunInputs, outputs: RunOutputs | None = None) -> list[tuple]:
    """Scans, label maps and landmarks, each as (node, the transform above it that the result replaces or None).

    Segmentations are left out: hardening changes segments in place, so Undo could not restore them reliably. A
    segmentation below a non-linear transform is refused.
    """
    output = outputs.transform if outputs is not None else None
    nodes = [
        (inputs.fixed, None),
        (inputs.fixedMask, None),
        (inputs.keepRigid, None),
        (inputs.fixedLandmarks, None),
        (inputs.moving, output),
        (inputs.movingMask, output),
        (inputs.movingLandmarks, output),
    ]
    segmentation = "vtkMRMLSegmentationNode"
    return [(node, ignoring) for node, ignoring in nodes if node is not None and not node.IsA(segmentation)]


def coarsened(node, *, ignoring=None) -> tuple[np.ndarray, Geometry]:
    """A scan subsampled to at most about `INSPECTED_VOXELS`, by taking every n-th voxel along each axis.

    Without interpolation, unlike a resampling on `Geometry.coarsened`: it runs in the window's thread.

    Args:
        node: Scalar volume node.
        ignoring: As in `volumes.volumeFromNode`.

    Returns:
        (k, j, i) array (a view) and its geometry, LPS, in the world.

    Raises:
        InputError: As `volumes.volumeFromNode`.
    """
    volume = volumeFromNode(node, "selected", ignoring=ignoring)
    geometry = volume.geometry
    pitch = (np.prod(geometry.extent_mm) / INSPECTED_VOXELS) ** (1 / 3)
    step = [max(1, min(round(pitch / s), n // LEAST_SAMPLES)) for s, n in zip(geometry.spacing, geometry.size)]
    array = volume.array[:: step[2], :: step[1], :: step[0]]
    spacing = tuple(s * n for s, n in zip(geometry.spacing, step))
    return array, Geometry(array.shape[::-1], spacing, geometry.origin, geometry.direction)


def _geometry(node, role: str, outputs: RunOutputs) -> Geometry | None:
    """Geometry of a scan in the world, LPS; None under a non-linear or shearing transform, which needs resampling."""
    ignoring = outputs.transform if role == "moving" else None
    if nonLinearAbove(node, ignoring=ignoring):
        return None
    matrix = RAS_TO_LPS @ worldMatrix(node, role, ignoring=ignoring) @ ijkToRas(node)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / np.where(spacing > 0, spacing, 1)
    if spacing.min() > 0 and np.abs(axes.T @ axes - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        return None
    return geometryFromMatrix(matrix, node.GetImageData().GetDimensions())


def _overlap(fixed: Geometry, moving: Geometry) -> float:
    """Fraction of the fixed scan's box that is inside the moving scan's, in the world."""
    steps = [np.linspace(-0.5, n - 0.5, 2 * OVERLAP_POINTS + 1)[1::2] for n in fixed.size]
    points = fixed.to_world(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3))
    return float(moving.contains(points).mean())


def _describe(inputs: RunInputs, overlap: float | None) -> str:
    texts = []
    for title, node in ((_("Fixed"), inputs.fixed), (_("Moving"), inputs.moving)):
        size = " × ".join(str(n) for n in node.GetImageData().GetDimensions())
        spacing = " × ".join(f"{s:.3g}" for s in node.GetSpacing())
        texts.append(_("{title}: {size} voxels of {spacing} mm").format(title=title, size=size, spacing=spacing))
    if overlap is None:
        return ".\n".join(texts) + "."
    if overlap == 0:
        texts.append(_("They do not overlap where they lie; GenReg will look for the shift"))
    else:
        texts.append(_("The moving volume covers {share:.0f} % of the fixed one").format(share=100 * overlap))
    return ".\n".join(texts) + "."


def _node(output):
    """The node of an output that may be a node, True (a new one), False or None."""
    return None if output is None or output is True or output is False else output
