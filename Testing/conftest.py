"""Makes the test host importable as `host` without putting Testing/ on sys.path, where it would shadow packages."""

import importlib.util
import sys
from pathlib import Path

if "host" not in sys.modules:
    folder = Path(__file__).parent / "host"
    spec = importlib.util.spec_from_file_location(
        "host", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["host"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["host"])
