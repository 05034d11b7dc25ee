"""What a script asks of the module's logic, as the run's inputs and outputs."""

import dataclasses

from slicer.i18n import tr as _

from GenRegLogic.errors import InputError
from GenRegLogic.settings import Settings

__all__ = ["makeRequest"]

INPUTS = (
    "fixedMask",
    "movingMask",
    "keepRigid",
    "fixedLandmarks",
    "movingLandmarks",
    "initialTransform",
    "nonLinearParents",
)
SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))
RUN = ("preview", "keepWarm", "onProgress", "onPreview", "onLog")


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
    knobs = {name: options.pop(name) for name in SETTINGS if name in options}
    if settings is not None and knobs:
        raise InputError(_("Give either settings or {name}, not both.").format(name=", ".join(knobs)))
    inputs = RunInputs(
        fixed=fixedNode,
        moving=movingNode,
        settings=settings or Settings(**knobs),
        **{name: options.pop(name) for name in INPUTS if name in options},
    )
    outputs = RunOutputs(
        transform=outputTransformNode,
        warpedVolume=options.pop("warpedVolumeNode", None) or None,
        inverseTransform=options.pop("inverseTransformNode", None) or None,
        applyToMoving=options.pop("applyToMoving", True),
    )
    rest = {"preview": False} | {name: options.pop(name) for name in RUN if name in options}
    if options:
        raise InputError(_("Unknown option: {name}.").format(name=", ".join(options)))
    return inputs, outputs, rest
