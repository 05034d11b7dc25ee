"""The result that is selected in the panel: its transform and its two scans."""

import slicer

from GenRegLogic.mrml.nodes.parents import inScene
from GenRegLogic.mrml.nodes.transforms import reportOf

__all__ = ["pairOrNone", "scanOf", "selectedResult"]


def selectedResult(parameters):
    """The selected output transform if it holds a result, else None.

    Args:
        parameters: The parameter node, or None.
    """
    node = inScene(parameters.outputTransform) if parameters is not None else None
    return node if reportOf(node) is not None else None


def scanOf(transformNode, role):
    """The "fixed" or "moving" volume of a transform, if it is still in the scene; else None."""
    if transformNode is None:
        return None
    kind = slicer.vtkMRMLTransformNode
    name = kind.GetFixedNodeReferenceRole() if role == "fixed" else kind.GetMovingNodeReferenceRole()
    return inScene(transformNode.GetNodeReference(name))


def pairOrNone(transformNode):
    """The `Pair` of a transform; None if the transform or one of its scans is missing."""
    from GenRegLogic.errors import InputError
    from GenRegLogic.mrml.nodes.pair import pairOf

    try:
        return pairOf(transformNode)
    except InputError:
        return None
