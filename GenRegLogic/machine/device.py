"""The device on which to compute, and its memory (see also `memory`, which does not import torch)."""

from __future__ import annotations

import dataclasses
import sys

import torch

from ..errors import InputError
from .estimate import MemoryPlan, plan_memory
from .memory import free_ram, tune_allocator

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = [
    "Listed",
    "MemoryPlan",
    "choose_device",
    "device_name",
    "free_memory",
    "has_context",
    "list_devices",
    "peak_memory_mb",
    "plan_memory",
    "tune_allocator",
]


def choose_device(name: str) -> torch.device:
    """The device with a name, if it is available.

    Args:
        name: "auto" (CUDA, else the CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        InputError: The device is not available.
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
    """A readable name of the device: "cpu", "cuda:0 (name of the card)" or "mps (Apple GPU)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return "mps (Apple GPU)" if device.type == "mps" else "cpu"


def free_memory(device: torch.device) -> int:
    """Bytes that can still be used on the device.

    On a CUDA device, blocks that torch keeps for reuse count as free. This creates a CUDA context where there is none,
    which takes a few hundred MB of the device, so call it only for the device that will compute.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return free_ram()


def has_context(number: int) -> bool:
    """Whether this process has a context, which takes memory, on the CUDA device with this index."""
    if not torch.cuda.is_initialized():
        return False
    asked = getattr(torch._C, "_cuda_hasPrimaryContext", None)  # torch has no public function for it
    return True if asked is None else bool(asked(number))


@dataclasses.dataclass(frozen=True)
class Listed:
    """A device that can be selected.

    Attributes:
        id: The value of --device: "cpu", "cuda:N" or "mps".
        name: A readable name.
        memory_bytes: Free or total memory, according to `memory_is`.
        memory_is: "free" (main memory, and CUDA devices that this process already uses) or "total".
    """

    id: str
    name: str
    memory_bytes: int
    memory_is: str


def list_devices() -> list[Listed]:
    """The devices of this computer, the CPU first.

    The free memory of a CUDA device can only be queried in a context, so a device that this process does not use yet
    is listed with its total memory. Listing takes no memory from any device.
    """
    listed = [Listed("cpu", f"CPU ({torch.get_num_threads()} threads)", free_ram(), "free")]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(number)
        if has_context(number):
            memory, kind = free_memory(torch.device("cuda", number)), "free"
        else:
            memory, kind = properties.total_memory, "total"
        listed.append(Listed(f"cuda:{number}", properties.name, memory, kind))
    if torch.backends.mps.is_available():
        listed.append(Listed("mps", "Apple GPU", free_ram(), "free"))
    return listed


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far of the process (CPU) or of torch on the device (GPU), MB; NaN where it is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
