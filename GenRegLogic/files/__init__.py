"""Reading and writing: images, landmarks and transforms; every file is written whole or not at all.

Nothing here registers or measures.
"""

from .._lazy import lazy_names

_HOMES = {
    "check_writable": "atomic",
    "read_transform": "transforms",
    "read_volume": "images",
    "replacing": "atomic",
    "write_transform": "transforms",
    "write_volume": "images",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
