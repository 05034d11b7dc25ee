"""Keeps torch's idle threads from spinning where the caller loaded torch before GenReg could set OMP_WAIT_POLICY.

GNU's OpenMP library, which torch uses on Linux, reads OMP_WAIT_POLICY once, when it is loaded. Without it a waiting
thread spins for milliseconds, which beside other busy processes costs several times the computation itself. The library
spins for a three-hundredth of that time while it has more threads than the machine has cores. Therefore a second team
of threads, all asleep, is kept while a registration runs. Intel's and LLVM's libraries offer a function instead. No
result depends on any of this. Imports no large library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["loaded_openmp", "note_what_is_loaded", "possible_threads", "sleeping_threads", "torch_was_loaded_too_early"]

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Environment variables that decide how OpenMP's threads wait; where one of them is set, it is respected."""

_loaded_too_early = False


def note_what_is_loaded() -> None:
    """Remember whether torch was loaded before the runtime variables are set; must be called before that."""
    global _loaded_too_early
    _loaded_too_early = "torch" in sys.modules and not any(name in os.environ for name in WAIT_VARIABLES)


def torch_was_loaded_too_early() -> bool:
    """Whether torch was loaded before the runtime variables were set, so that its idle threads spin."""
    return _loaded_too_early


def possible_threads(wanted: int) -> int:
    """As many threads as wanted, but no more than the machine has processors, beyond which they only cost memory."""
    return max(1, min(wanted, os.cpu_count() or 1))


@contextlib.contextmanager
def sleeping_threads(needed: bool | None = None) -> Iterator[None]:
    """Inside the block, waiting threads sleep.

    Args:
        needed: Whether the threads would spin otherwise; by default `torch_was_loaded_too_early`. If not, or if no
            OpenMP library is found, nothing is done.
    """
    library = loaded_openmp() if (torch_was_loaded_too_early() if needed is None else needed) else None
    if library is None:
        yield
    elif hasattr(library, "kmp_set_blocktime"):
        before = library.kmp_get_blocktime()
        library.kmp_set_blocktime(0)
        try:
            yield
        finally:
            library.kmp_set_blocktime(before)
    else:
        with _parked(library):
            yield


@contextlib.contextmanager
def _parked(library: ctypes.CDLL) -> Iterator[None]:
    """Inside the block, another thread keeps an idle team with one thread per core."""
    ready, done = threading.Event(), threading.Event()
    nothing = ctypes.CDLL(None).free  # called with NULL: the team has to run a C function that does nothing

    def hold() -> None:
        try:
            library.GOMP_parallel(nothing, None, os.cpu_count() or 1, 0)
        finally:
            ready.set()
            done.wait()

    thread = threading.Thread(target=hold, name="genreg-parked", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def loaded_openmp() -> ctypes.CDLL | None:
    """The OpenMP library that this process has loaded, if its waiting can be controlled; only known on Linux."""
    with contextlib.suppress(OSError):
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = dict.fromkeys(line.split(maxsplit=5)[-1].strip() for line in maps if ".so" in line)
        for path in paths:
            name = os.path.basename(path)
            if name.startswith(("libgomp", "libiomp5", "libomp")):
                library = ctypes.CDLL(path)
                if hasattr(library, "kmp_set_blocktime") or hasattr(library, "GOMP_parallel"):
                    return library
    return None
