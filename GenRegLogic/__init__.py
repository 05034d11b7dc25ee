"""GenReg's engine: deformable registration of any pair of 3D scans, without Slicer and without Qt.

Import from the modules themselves, so that nothing heavy loads before it is needed:

    from GenRegLogic.space.volume import Volume
    from GenRegLogic.settings import Settings
    from GenRegLogic.register import register

    result = register(Volume.from_file("fixed.nii.gz"), Volume.from_file("moving.nii.gz"))

World frame everywhere: LPS, mm. Arrays are (k, j, i). Transforms map fixed points to moving points.
"""

from .version import __version__

__all__ = ["__version__"]
