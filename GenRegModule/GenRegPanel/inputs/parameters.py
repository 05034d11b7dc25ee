"""The choices of the user (the parameter node, saved with the scene) or of a script, as inputs and outputs of a run."""

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
"""Upper end of the slider: five times the default; more iterations improve nothing, but scripts may use more."""

MAX_RESOLUTION_MM, MAX_TOLERANCE_MM = 20.0, 50.0
BOARD_FIELDS, FLICKER_RATES = (2, 40), (0.5, 8.0)
MAX_SEED = 2**31 - 1
"""The largest value of a spin box."""

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
"""The options of `GenRegLogic.process` and `start`: of `RunInputs`, of `Settings`, and of the run."""


@parameterNodeWrapper
class GenRegParameterNode:
    """The panel's state.

    Attributes:
        fixedVolume: The fixed scan.
        movingVolume: The moving scan, which is aligned with the fixed one.
        iterations: Iterations of the test-time optimization; 0 keeps the first proposal.
        outputTransform: Node for the result, fixed -> moving; None makes a new node.
        warpedVolume: Node for the resampled moving scan; None: not computed.
        inverseTransform: Node for the mapping moving -> fixed; None: not computed.
        applyToMoving: Put the moving volume below the result.
        fixedMask: Region of the fixed scan that is used; None: all of it.
        movingMask: Region of the moving scan that is used; None: all of it.
        keepRigid: Segments of the fixed scan, each of which moves as a rigid body; None: none.
        fixedLandmarks: Landmarks in the fixed scan, matched to the moving ones by order.
        movingLandmarks: Landmarks in the moving scan.
        initialTransform: Initial transform, fixed -> moving.
        smoothness: Factor of the default smoothness.
        resolution: Finest voxel size, mm; 0: chosen by the engine.
        tolerance: Error that is small enough, mm, for the verdict; 0: chosen from the scans.
        device: "auto", "cpu", "mps" or "cuda:N".
        seed: Seed, stored with the result.
        useNetwork: Use the trained network.
        keepWarm: Keep the worker, and with it the GPU's memory, between runs.
        keepLog: Store the log as a text node.
        preview: Show the intermediate alignment.
        boardFields: Number of checkerboard squares along the longest edge.
        flickerRate: Changes per second.
        flickerFixed: Flicker between after and the fixed volume, instead of between after and before.
        mapOpacity: Opacity of a map over the fixed volume, 0 to 1.
        saveMaps: Save maps with the scene.
        measureFixedLandmarks: Landmarks in the fixed scan for measuring the error, not for guiding a run.
        measureMovingLandmarks: Landmarks in the moving scan for measuring the error.
        fixedSegmentation: Segments in the fixed scan that are measured.
        movingSegmentation: The same segments in the moving scan; None: only volumes are measured.
        repairRegion: Region of a local repair.
        repairFixedLandmarks: Landmarks of a local repair, in the fixed scan.
        repairMovingLandmarks: Landmarks of a local repair, in the moving scan.
        nameVolumes: Write the names of the two volumes in the report page.
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
    tolerance: Annotated[float, WithinRange(0.0, MAX_TOLERANCE_MM)] = 0.0
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
        InputError: A value is out of its range, which is possible in a scene from another version.
    """
    return Settings(
        iterations=parameters.iterations,
        smoothness=parameters.smoothness,
        resolution_mm=parameters.resolution or None,
        tolerance_mm=parameters.tolerance or None,
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
    """Convert the keyword options of `GenRegLogic.process` and `start`.

    Args:
        fixedNode: Scalar volume node.
        movingNode: Scalar volume node.
        outputTransformNode: Transform node, or None for a new one.
        options: Options by name, as listed in the logic's class.

    Returns:
        `RunInputs`, `RunOutputs`, and the options of the run.

    Raises:
        InputError: A volume is missing, an option is unknown, or a setting is out of its range.
    """
    from GenRegLogic.mrml.runs.inputs import RunInputs, RunOutputs

    if fixedNode is None or movingNode is None:
        raise InputError(_("Both a fixed and a moving volume node are needed."))
    options = dict(options)
    settings = options.pop("settings", None)
    single = {name: options.pop(name) for name in SCRIPT_SETTINGS if name in options}
    if settings is not None and single:
        raise InputError(_("Give either settings or {name}, not both.").format(name=", ".join(single)))
    inputs = RunInputs(
        fixed=fixedNode,
        moving=movingNode,
        settings=settings or Settings(**single),
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
