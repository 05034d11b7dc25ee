"""Where to compute, and how much memory there is (see also `memory`, which needs no torch)."""

from __future__ import annotations

import sys

import torch

from ..errors import InputError
from .memory import MemoryPlan, free_ram, plan_memory, tune_allocator

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = [
    "MemoryPlan",
    "choose_device",
    "device_name",
    "free_memory",
    "peak_memory_mb",
    "plan_memory",
    "tune_allocator",
]


def choose_device(name: str) -> torch.device:
    """The device of a name, checked to be there.

    Args:
        name: "auto" (CUDA, else the CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: The device is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("No Apple GPU (mps) is available here; use --device cpu or auto.")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InputError("No CUDA GPU is available here; use --device cpu or auto.")
        index = int(name.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise InputError(f"There is no GPU {name}; there are {torch.cuda.device_count()}, counted from 0.")
        return torch.device("cuda", index)
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The device as a person knows it: "cpu" or "cuda:0 (name of the card)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return "mps (Apple GPU)" if device.type == "mps" else "cpu"


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_ram()


def peak_memory_mb(device: torch.device) -> float:
    """The most memory the process (CPU) or torch (GPU) has held so far, MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
