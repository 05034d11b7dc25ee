"""Finds the engine: the package GenRegLogic beside the installed module, or above it in a checkout of the sources.

Slicer adds only folders with module files to its search path. Only `makeEngineImportable` adds another one.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

__all__ = ["ENGINE", "makeEngineImportable"]

ENGINE = "GenRegLogic"


def makeEngineImportable(moduleFolder=None, searchPath=None):
    """Make `import GenRegLogic` work.

    Args:
        moduleFolder: Folder of GenReg.py; the folder above this package if None.
        searchPath: The list to extend; `sys.path` if None.

    Returns:
        The folder that contains the package.

    Raises:
        ImportError: The package is in neither place; the message tells what to do.
    """
    moduleFolder = Path(moduleFolder or Path(__file__).parent.parent).resolve()
    searchPath = sys.path if searchPath is None else searchPath
    for folder in (moduleFolder, moduleFolder.parent):
        if (folder / ENGINE / "__init__.py").is_file():
            if str(folder) not in searchPath:
                # First, so that the module's own copy takes precedence over one installed by pip.
                searchPath.insert(0, str(folder))
                importlib.invalidate_caches()
            return folder
    raise ImportError(
        "GenReg's engine is missing: the folder GenRegLogic belongs beside the module, so install the extension again."
    )
