"""Stand-in for slicer.parameterNodeWrapper, which the slicer-core wheel lacks.

It keeps the same values, under the same names and in the same strings, in a genuine vtkMRMLScriptedModuleNode, and
takes the same annotations. What it doesn't have (parameterPack, GUI creation, tuples and dicts) raises when it is used.
It is stricter in one way: an attribute that isn't a parameter can't be set.
"""

from .connectors import Decimals, SingleStep
from .kinds import Default
from .validators import Choice, Exclude, IsInstance, Maximum, Minimum, NotNone, Validator, WithinRange
from .wrapper import (
    SlicerParameterNamePropertyName,
    findChildWidgetForParameter,
    isParameterNodeWrapper,
    parameterNodeWrapper,
)

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "findChildWidgetForParameter",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]
