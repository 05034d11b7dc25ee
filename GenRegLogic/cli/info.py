"""`genreg info`: what is installed, and what it can run on."""

from __future__ import annotations

import argparse
import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path

from .exit_codes import DONE

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="show version, devices, weights and dependencies",
        description="Show the version, the devices with their free memory, the network's weights and the dependencies.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    from ..report import versions

    found = versions()
    print(f"GenReg {found.pop('genreg')}")
    print("\nDevices")
    for name, description, free_bytes in _devices():
        free = "free memory unknown" if free_bytes is None else f"{free_bytes / 2**30:.1f} GiB free"
        print(f"  {name:<8} {description}, {free}")
    print("\nWeights\n  none: this version proposes by search, without a trained network")
    print("\nDependencies")
    for name, version in found.items():
        print(f"  {name:<10} {version}")
    return DONE


def _devices() -> Iterator[tuple[str, str, int | None]]:
    """Name as --device takes it, description, and free memory in bytes (None where the system doesn't tell)."""
    import torch

    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        yield f"cuda:{number}", torch.cuda.get_device_name(number), torch.cuda.mem_get_info(number)[0]
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU, memory shared with the CPU", None
    yield "cpu", f"{_processor()}, {torch.get_num_threads()} threads", _available_memory()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _available_memory() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
