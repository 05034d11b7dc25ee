"""GenReg's engine: deformable registration of any pair of 3D scans, without Slicer and without Qt.

    from GenRegLogic import read_volume, register

    result = register(read_volume("fixed.nii.gz"), read_volume("moving.nii.gz"))
    result.save("result")

Large libraries (torch, NumPy, SimpleITK) are loaded when one of these names is first used. The world frame is LPS, mm,
everywhere. Arrays are (k, j, i). Transforms map fixed points to moving points.

`register`, `repair` and `evaluate` are always functions here. Import from the modules of the same names with
`from GenRegLogic.register import ...` or `importlib.import_module("GenRegLogic.register")`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from ._lazy import lazy_names
from ._moved import install
from .machine.libraries import set_runtime_variables
from .machine.waiting import note_what_is_loaded
from .version import __version__

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` below loads these names
    from .errors import Cancelled, Doubt, GenRegError, InputError, ResourceError
    from .evaluate import evaluate
    from .files.images import read_volume, write_volume
    from .files.points import read_points, write_points
    from .files.transforms import read_transform, write_transform
    from .progress import Progress
    from .register import register
    from .registration import Registration
    from .repair import repair
    from .settings import Settings
    from .space.field import AffineTransform, CompositeTransform, DisplacementField
    from .space.geometry import Geometry
    from .space.volume import Volume
    from .space.warp import warp_image, warp_labels, warp_points

__all__ = [
    "AffineTransform",
    "Cancelled",
    "CompositeTransform",
    "DisplacementField",
    "Doubt",
    "GenRegError",
    "Geometry",
    "InputError",
    "Progress",
    "Registration",
    "ResourceError",
    "Settings",
    "Volume",
    "__version__",
    "evaluate",
    "read_points",
    "read_transform",
    "read_volume",
    "register",
    "repair",
    "warp_image",
    "warp_labels",
    "warp_points",
    "write_points",
    "write_transform",
    "write_volume",
]

_HOMES = {
    "AffineTransform": "space.field",
    "Cancelled": "errors",
    "CompositeTransform": "space.field",
    "DisplacementField": "space.field",
    "Doubt": "errors",
    "GenRegError": "errors",
    "Geometry": "space.geometry",
    "InputError": "errors",
    "Progress": "progress",
    "Registration": "registration",
    "ResourceError": "errors",
    "Settings": "settings",
    "Volume": "space.volume",
    "evaluate": "evaluate",
    "read_points": "files.points",
    "read_transform": "files.transforms",
    "read_volume": "files.images",
    "register": "register",
    "repair": "repair",
    "warp_image": "space.warp",
    "warp_labels": "space.warp",
    "warp_points": "space.warp",
    "write_points": "files.points",
    "write_transform": "files.transforms",
    "write_volume": "files.images",
}


class _Package(ModuleType):
    """Keeps `register`, `repair` and `evaluate` functions when the import system sets the modules of these names."""

    def __setattr__(self, name: str, value: object) -> None:
        if _HOMES.get(name) == name and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
sys.modules[__name__].__class__ = _Package
install()
note_what_is_loaded()
set_runtime_variables()  # must be set before torch is loaded
