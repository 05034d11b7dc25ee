"""Behavior of the libraries in this process: how torch's threads wait, and that ITK does not write to the terminal.

Imports no large library.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["RUNTIME_VARIABLES", "SPINS", "quiet_itk", "set_runtime_variables"]

RUNTIME_VARIABLES = {
    "OMP_WAIT_POLICY": "passive",  # waiting threads sleep soon: spinning ones slow each other down on a busy machine
    "THP_MEM_ALLOC_ENABLE": "1",  # torch uses large pages, of which far fewer have to be allocated
}
"""Environment variables that torch and its libraries read when they are loaded."""

SPINS = "GOMP_SPINCOUNT", "3000"
"""Rounds that a thread of GNU's OpenMP library waits before it sleeps: about 0.1 ms, longer than the pauses between two
operations. Where threads sleep at once, waking them can cost more than the second core brings; where they spin for much
longer, they slow each other down beside other programs (`scripts/api_overhead --spins 0,3000,30000`)."""


def set_runtime_variables() -> None:
    """Set `RUNTIME_VARIABLES` and `SPINS` where they are not set yet; must be called before torch is imported.

    Where the caller has said how threads wait, `SPINS` is not set.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(*SPINS)
    for name, value in RUNTIME_VARIABLES.items():
        os.environ.setdefault(name, value)


STDERR = 2
_lock = threading.Lock()
_depth = 0
_restore = contextlib.ExitStack()


@contextlib.contextmanager
def quiet_itk() -> Iterator[None]:
    """Suppress ITK's warnings and the messages of its libraries on standard error inside the block.

    MetaIO, NrrdIO, VNL and HDF5 write to the file descriptor itself, so the descriptor is redirected. Blocks may be
    nested and may run in several threads at once; the last one to end restores everything.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _silence()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _restore.close()


def _silence() -> None:
    import SimpleITK as sitk

    warnings_shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    _restore.callback(sitk.ProcessObject.SetGlobalWarningDisplay, warnings_shown)
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
    try:
        saved = os.dup(STDERR)
    except OSError:
        return  # a program without standard error, such as a windowed one on Windows: nothing to suppress
    _restore.callback(os.close, saved)
    _restore.callback(os.dup2, saved, STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
