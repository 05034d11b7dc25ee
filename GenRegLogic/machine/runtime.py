"""What torch and its thread library read from the environment when they are loaded; imports nothing that is large."""

from __future__ import annotations

import os

__all__ = ["RUNTIME_VARIABLES", "set_runtime_variables"]

RUNTIME_VARIABLES = {
    "OMP_WAIT_POLICY": "passive",  # threads that wait sleep: spinning ones starve each other on a busy machine
    "THP_MEM_ALLOC_ENABLE": "1",  # torch takes large pages, which are made a hundred times less often
}


def set_runtime_variables() -> None:
    """Set them where nobody has set them otherwise; call it before torch is imported."""
    for name, value in RUNTIME_VARIABLES.items():
        os.environ.setdefault(name, value)
