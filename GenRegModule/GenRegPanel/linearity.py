"""GenReg's fields stay linear when they come back from files, whether or not the module has been opened."""

import slicer

from .bootstrap import makeEngineImportable

__all__ = ["keepFieldsLinear"]

KEEPER = "genRegLinearKeeper"
"""Attribute of slicer.modules: one for the application, which a reload of the module leaves in place."""


def keepFieldsLinear():
    """Watch the scene for transforms that are loaded, from now to the end of the application."""
    makeEngineImportable()
    from GenRegLogic.mrml.nodes.keeplinear import LinearKeeper

    if not hasattr(slicer.modules, KEEPER):
        setattr(slicer.modules, KEEPER, LinearKeeper(slicer.mrmlScene))
