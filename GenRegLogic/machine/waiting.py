"""Keeps torch's idle threads from spinning where the caller loaded torch before GenReg could say so.

GNU's OpenMP library, which torch has on Linux, reads OMP_WAIT_POLICY once, when it is loaded. Without it a thread that
waits spins for milliseconds; beside other busy processes that costs several times the computation itself. The library
spins a three-hundredth as long while it has more threads than the machine has cores. So a second team of threads, all
asleep, is kept for as long as a registration runs. Intel's and LLVM's libraries take a call instead. No result depends
on any of this. Imports nothing that is large.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["note_what_is_loaded", "sleeping_threads"]

WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Where one of them is set, somebody has decided."""

_too_late = False


def note_what_is_loaded() -> None:
    """Remember whether torch was there before the runtime variables were set; call it before they are."""
    global _too_late
    _too_late = "torch" in sys.modules and not any(name in os.environ for name in WAIT_VARIABLES)


@contextlib.contextmanager
def sleeping_threads() -> Iterator[None]:
    """Within it, waiting threads sleep; does nothing where the variables came in time, or no OpenMP is found."""
    library = _openmp() if _too_late else None
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
    """A thread that has a team of one thread per core, and holds it."""
    ready, done = threading.Event(), threading.Event()
    nothing = ctypes.CDLL(None).free  # of NULL: the team has to run something that is C and does nothing

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


def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that this process has loaded, if it is one that can be told something."""
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
