"""What the user chose (the parameter node, saved with the scene) or a script asked for, as inputs and outputs."""

import dataclasses
from typing import Annotated, Union

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTransformNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.parents import inScene  # a parameter node may refer to a node that was just removed
from GenRegLogic.settings import DEFAULT_ITERATIONS, SMOOTHNESS_RANGE, Settings

__all__ = ["MAX_ITERATIONS", "GenRegParameterNode", "inputsOf", "makeRequest", "outputsOf", "settingsOf"]

MAX_ITERATIONS = 200
"""Upper end of the slider: five times the default; more iterations improve nothing. Scripts may ask for more."""

MAX_RESOLUTION_MM = 20.0
BOARD_FIELDS, FLICKER_RATES = (2, 40), (0.5, 8.0)
MAX_SEED = 2**31 - 1
"""The largest that a spin box holds."""

SCRIPT_INPUTS = (
    "fixedMask",
    "movingMask",
    "keepRigid",
    "fixedLandmarks",
    "movingLandmarks",
    "initialTransform",
    "nonLinearParents",
)
SCRIPT_SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))
SCRIPT_RUN = ("preview", "keepWarm", "onProgress", "onPreview", "onLog")
"""The options of `GenRegLogic.process` and `start`, by what takes them."""


@parameterNodeWrapper
class GenRegParameterNode:
    """The panel's state.

    Attributes:
        fixedVolume: The scan that stays.
        movingVolume: The scan that is brought onto it.
        iterations: Of the test-time optimization; 0 keeps the first proposal.
        outputTransform: Where the result goes; None makes a new node.
        warpedVolume: Where the resampled moving scan goes; None: not wanted.
        inverseTransform: Where the way back goes; None: not wanted.
        applyToMoving: The moving volume is put below the result.
        fixedMask: Where the fixed scan counts; None: everywhere.
        movingMask: The same for the moving scan.
        keepRigid: Segments of the fixed scan, each of which moves as a rigid body; None: everything bends.
        fixedLandmarks: Points in the fixed scan, row by row the same places as the moving ones.
        movingLandmarks: Points in the moving scan.
        initialTransform: Where to start from.
        smoothness: Factor, 1 is the default.
        resolution: Finest voxel size, mm; 0 leaves it to the engine.
        device: "auto", "cpu", "mps" or "cuda:N".
        seed: Noted with the result.
        useNetwork: The trained network takes part.
        keepWarm: The worker keeps the GPU's memory between runs.
        keepLog: The log becomes a text node.
        preview: The alignment is shown while it comes in.
        boardFields: Of the checkerboard, along the longest edge.
        flickerRate: Changes per second.
        flickerFixed: Flicker between after and the fixed volume, instead of before.
        mapOpacity: Of a map over the fixed volume.
        saveMaps: Maps go with the scene.
        measureFixedLandmarks: To measure with, not to be guided by.
        measureMovingLandmarks: The same in the moving scan.
        fixedSegmentation: Whose segments are measured.
        movingSegmentation: The same organs in the moving scan; None: volumes only.
        repairRegion: Where the alignment is to be refined.
        repairFixedLandmarks: Points that are to come together, in the fixed scan.
        repairMovingLandmarks: The same in the moving scan.
        nameVolumes: The report names the two volumes.
    """

    fixedVolume: vtkMRMLScalarVolumeNode
    movingVolume: vtkMRMLScalarVolumeNode
    iterations: Annotated[int, WithinRange(0, MAX_ITERATIONS)] = DEFAULT_ITERATIONS
    outputTransform: vtkMRMLTransformNode
    warpedVolume: vtkMRMLScalarVolumeNode
    inverseTransform: vtkMRMLTransformNode
    applyToMoving: bool = True
    fixedMask: Union[vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode, None]  # noqa: UP007  what Slicer documents
    movingMask: Union[vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode, None]  # noqa: UP007
    keepRigid: Union[vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode, None]  # noqa: UP007
    fixedLandmarks: vtkMRMLMarkupsFiducialNode
    movingLandmarks: vtkMRMLMarkupsFiducialNode
    initialTransform: vtkMRMLTransformNode
    smoothness: Annotated[float, WithinRange(*SMOOTHNESS_RANGE)] = 1.0
    resolution: Annotated[float, WithinRange(0.0, MAX_RESOLUTION_MM)] = 0.0
    device: str = "auto"
    seed: Annotated[int, WithinRange(0, MAX_SEED)] = 0
    useNetwork: bool = True
    keepWarm: bool = False
    keepLog: bool = False
    preview: bool = True
    boardFields: Annotated[int, WithinRange(*BOARD_FIELDS)] = 8
    flickerRate: Annotated[float, WithinRange(*FLICKER_RATES)] = 2.0
    flickerFixed: bool = False
    mapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.7
    saveMaps: bool = False
    measureFixedLandmarks: vtkMRMLMarkupsFiducialNode
    measureMovingLandmarks: vtkMRMLMarkupsFiducialNode
    fixedSegmentation: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    movingSegmentation: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    repairRegion: Union[vtkMRMLMarkupsROINode, vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    repairFixedLandmarks: vtkMRMLMarkupsFiducialNode
    repairMovingLandmarks: vtkMRMLMarkupsFiducialNode
    nameVolumes: bool = False


def settingsOf(parameters):
    """The engine's settings.

    Raises:
        InputError: A value is out of its range, as a scene from elsewhere may hold it.
    """
    return Settings(
        iterations=parameters.iterations,
        smoothness=parameters.smoothness,
        resolution_mm=parameters.resolution or None,
        network="auto" if parameters.useNetwork else "off",
        device=parameters.device or "auto",
        seed=parameters.seed,
    )


def inputsOf(parameters):
    """The run's inputs (`GenRegLogic.mrml.runs.inputs.RunInputs`).

    Raises:
        InputError: As `settingsOf`.
    """
    from GenRegLogic.mrml.runs.inputs import RunInputs

    return RunInputs(
        fixed=inScene(parameters.fixedVolume),
        moving=inScene(parameters.movingVolume),
        fixedMask=inScene(parameters.fixedMask),
        movingMask=inScene(parameters.movingMask),
        keepRigid=inScene(parameters.keepRigid),
        fixedLandmarks=inScene(parameters.fixedLandmarks),
        movingLandmarks=inScene(parameters.movingLandmarks),
        initialTransform=inScene(parameters.initialTransform),
        settings=settingsOf(parameters),
    )


def outputsOf(parameters):
    """The run's outputs (`GenRegLogic.mrml.runs.inputs.RunOutputs`)."""
    from GenRegLogic.mrml.runs.inputs import RunOutputs

    return RunOutputs(
        transform=inScene(parameters.outputTransform),
        warpedVolume=inScene(parameters.warpedVolume),
        inverseTransform=inScene(parameters.inverseTransform),
        applyToMoving=parameters.applyToMoving,
    )


def makeRequest(fixedNode, movingNode, outputTransformNode, options):
    """Sort the keyword options of `GenRegLogic.process` and `start`.

    Args:
        fixedNode: Scalar volume node.
        movingNode: Scalar volume node.
        outputTransformNode: Transform node, or None for a new one.
        options: By name, as the logic's class lists them.

    Returns:
        `RunInputs`, `RunOutputs` and what remains for the run.

    Raises:
        InputError: A volume is missing, an option is unknown, or a setting is out of its range.
    """
    from GenRegLogic.mrml.runs.inputs import RunInputs, RunOutputs

    if fixedNode is None or movingNode is None:
        raise InputError(_("Both a fixed and a moving volume node are needed."))
    options = dict(options)
    settings = options.pop("settings", None)
    knobs = {name: options.pop(name) for name in SCRIPT_SETTINGS if name in options}
    if settings is not None and knobs:
        raise InputError(_("Give either settings or {name}, not both.").format(name=", ".join(knobs)))
    inputs = RunInputs(
        fixed=fixedNode,
        moving=movingNode,
        settings=settings or Settings(**knobs),
        **{name: options.pop(name) for name in SCRIPT_INPUTS if name in options},
    )
    outputs = RunOutputs(
        transform=outputTransformNode,
        warpedVolume=options.pop("warpedVolumeNode", None) or None,
        inverseTransform=options.pop("inverseTransformNode", None) or None,
        applyToMoving=options.pop("applyToMoving", True),
    )
    rest = {"preview": False} | {name: options.pop(name) for name in SCRIPT_RUN if name in options}
    if options:
        raise InputError(_("Unknown option: {name}.").format(name=", ".join(options)))
    return inputs, outputs, rest
