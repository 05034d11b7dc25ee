"""How much main memory there is, how much a registration needs, and a plan that fits; loads nothing that is large.

Key names: `free_ram`, `plan_memory`, `is_out_of_memory`, `tune_allocator`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import platform
import sys

from ..errors import ResourceError

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["MemoryPlan", "free_ram", "is_out_of_memory", "plan_memory", "tune_allocator"]

USABLE_SHARE = 0.8
"""Of the free memory: the rest stays for whatever else runs."""

BYTES_PER_SCAN_VOXEL = 40
"""The scan as read and as float32 on canonical axes, the fields on the fixed and the moving grid, and a copy."""

BYTES_PER_WORKING_VOXEL = 200
"""Of the refinement: coordinates, field, force, their copies and the images' statistics, in float32."""

SMALLEST_PLAN, LARGEST_PLAN = 50_000, 3_000_000
"""Voxels of the finest working grid. Twice the larger changed the pairs tried by 0.005 Dice or less, in either
direction, and took three times as long: the arrays no longer fit into the processor's cache."""

OUT_OF_MEMORY_WORDS = ("allocate memory", "not enough memory", "out of memory", "alloc_failed", "bad_alloc")
"""In the messages of the CPU's allocators (Linux, Windows), CUDA and MPS, which raise a plain RuntimeError."""

# The largest that glibc accepts: blocks up to this size are kept instead of being returned to the system.
KEPT_BLOCK_BYTES = 32 * 2**20
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1


def free_ram() -> int:
    """Bytes of main memory that this process can still use, the limits of containers and of the process counted."""
    limits = [_available_ram()]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                limits.append(int(file.read()) - _resident_bytes())
        except (OSError, ValueError):
            continue
    if resource is not None:
        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            limits.append(soft - _virtual_bytes())
    return max(min(limits), 0)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page", ctypes.c_uint64),
        ("available_page", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended", ctypes.c_uint64),
    )


def _available_ram() -> int:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return status.available_physical
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30


def _statm(column: int) -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[column]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _resident_bytes() -> int:
    return _statm(1)


def _virtual_bytes() -> int:
    return _statm(0)


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """How large the working grids may be.

    Attributes:
        max_voxels: Most voxels of the finest working grid.
        needed_bytes: What the run is expected to need with it, the scans included.
        notes: Sentences for the report where memory made the plan smaller.
    """

    max_voxels: int
    needed_bytes: int
    notes: tuple[str, ...] = ()


def plan_memory(scan_voxels: int, wanted_voxels: int, free_bytes: int) -> MemoryPlan:
    """The largest working grid that fits, decided before the run.

    Args:
        scan_voxels: Of both scans together.
        wanted_voxels: Of the finest working grid that accuracy asks for.
        free_bytes: Free memory of the device.

    Raises:
        ResourceError: Not even the smallest plan fits.
    """
    usable = int(free_bytes * USABLE_SHARE) - scan_voxels * BYTES_PER_SCAN_VOXEL
    fitting = usable // BYTES_PER_WORKING_VOXEL
    if fitting < SMALLEST_PLAN:
        needed = (scan_voxels * BYTES_PER_SCAN_VOXEL + SMALLEST_PLAN * BYTES_PER_WORKING_VOXEL) / USABLE_SHARE
        raise ResourceError(
            f"These scans need about {needed / 2**30:.1f} GB of free memory and {free_bytes / 2**30:.1f} GB are free; "
            "close other programs, crop the scans or resample them to larger voxels."
        )
    voxels = min(wanted_voxels, LARGEST_PLAN, int(fitting))
    notes = ()
    if fitting < min(wanted_voxels, LARGEST_PLAN):
        notes = ("The memory that is free allowed only a coarser working grid; more free memory gives finer detail.",)
    needed = scan_voxels * BYTES_PER_SCAN_VOXEL + voxels * BYTES_PER_WORKING_VOXEL
    return MemoryPlan(voxels, needed, notes)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, or that of one of torch's devices; imports no torch."""
    kinds: tuple[type, ...] = (MemoryError,)
    if (torch := sys.modules.get("torch")) is not None:  # an error of torch's can't come from where it isn't loaded
        kinds += (torch.OutOfMemoryError,)
    text = str(error).lower()
    return isinstance(error, kinds) or any(words in text for words in OUT_OF_MEMORY_WORDS)


def tune_allocator() -> None:
    """Let glibc keep freed blocks: the engine makes and drops many arrays of equal size.

    Fresh pages from the system cost more than the arithmetic on them (a product of two 8 MB arrays: 2.0 ms with
    fresh pages, 0.2 ms without). No effect elsewhere than on Linux with glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        pass
