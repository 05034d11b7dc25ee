"""The free main memory, and how to recognize that memory ran out; imports no large library.

Key functions: `free_ram`, `is_out_of_memory`, `tune_allocator`, `return_kept_memory`. What a run needs is in
`estimate`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["free_ram", "is_out_of_memory", "return_kept_memory", "tune_allocator"]

OUT_OF_MEMORY_WORDS = ("allocate memory", "not enough memory", "out of memory", "alloc_failed", "bad_alloc")
"""Words in the messages of the allocators of the CPU (Linux, Windows), CUDA and MPS, which raise a RuntimeError."""

KEPT_BLOCK_BYTES = 32 * 2**20
"""Freed blocks up to this size are kept instead of being returned to the system; glibc accepts no larger value."""

KEPT_TOTAL_BYTES = 2**31 - 1
"""Freed memory that is kept altogether: the largest value that glibc's interface can express."""

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
"""Numbers of the two parameters in glibc's malloc.h."""


def free_ram() -> int:
    """Bytes of main memory that this process can still use, given the limits of its container and its own limits."""
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that main memory or memory of one of torch's devices ran out; does not import torch."""
    kinds: tuple[type, ...] = (MemoryError,)
    if (torch := sys.modules.get("torch")) is not None:  # while torch is not loaded it cannot raise
        kinds += (torch.OutOfMemoryError,)
    text = str(error).lower()
    return isinstance(error, kinds) or any(words in text for words in OUT_OF_MEMORY_WORDS)


def tune_allocator() -> None:
    """Make glibc keep freed blocks, because the engine allocates and frees many arrays of equal size.

    New pages from the system cost more than the arithmetic on them (a product of two 8 MB arrays: 2.0 ms with new
    pages, 0.2 ms without). Has an effect only on Linux with glibc.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_TOTAL_BYTES)


def return_kept_memory() -> None:
    """Return the freed blocks that glibc keeps to the system, before a stage that needs arrays of other sizes.

    After a refinement these are about 0.7 GB. Has an effect only on Linux with glibc.
    """
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
