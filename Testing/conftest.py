"""Makes `host` and `robustness` importable, and sets how many processes and threads run the tests.

They are imported without putting Testing/ on sys.path, where it would shadow packages.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

for name in ("host", "robustness"):
    if name not in sys.modules:
        folder = Path(__file__).parent / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])

MAX_WORKERS = 4
"""More processes need more memory (about 1.5 GB each) than a small machine has."""

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "LP_NUM_THREADS",  # of Mesa, which draws the slice views
)
"""Variables that libraries read when they are loaded, in each worker of pytest-xdist and in the processes it starts."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """The number of processes of `-n auto`: one for each usable core, or 0 (no further process) for a few tests.

    A selection by name or by file runs in this process, because each further one needs seconds to import and collect.
    """
    selected = (
        config.option.keyword or config.option.markexpr or any(".py" in name for name in config.option.file_or_dir)
    )
    workers = min(usable_cores(), MAX_WORKERS)
    return 0 if selected or workers == 1 else workers


def usable_cores() -> int:
    """Number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def pytest_configure(config):
    """Limit each of several processes to one thread, unless the user's environment says otherwise.

    They share the cores: more threads would wait for each other. Workers inherit the environment.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # conftest files import torch before GenReg can set it
    if getattr(config.option, "numprocesses", None):
        for name in THREADS:
            os.environ.setdefault(name, "1")
