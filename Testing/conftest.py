"""Makes `host` and `robustness` importable without putting Testing/ on sys.path, where it would shadow packages."""

import importlib.util
import sys
from pathlib import Path

for name in ("host", "robustness"):
    if name not in sys.modules:
        folder = Path(__file__).parent / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
