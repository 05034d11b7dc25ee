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
    from ..quality.report import versions

    found = versions()
    print(f"GenReg {found.pop('genreg')}")
    print("\nDevices")
    for name, description, free_bytes in _devices():
        print(f"  {name:<8} {description}, {free_bytes / 2**30:.1f} GiB free")
    print(f"\nWeights\n  {_weights()}")
    print("\nDependencies")
    for name, version in found.items():
        print(f"  {name:<10} {version}")
    return DONE


def _weights() -> str:
    """The network's weights, and whether they are those of this version."""
    from ..errors import InputError
    from ..network.learned import SHA256, SHOWN_DIGITS, WEIGHTS
    from ..network.weights import load_weights

    try:
        load_weights(WEIGHTS, SHA256)
    except InputError as error:
        return str(error)
    return f"{WEIGHTS.name}, {WEIGHTS.stat().st_size / 1e6:.1f} MB, SHA-256 {SHA256[:SHOWN_DIGITS]}"


def _devices() -> Iterator[tuple[str, str, int]]:
    """Name as --device takes it, description, and free memory in bytes."""
    import torch

    from ..machine.device import free_memory

    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        yield f"cuda:{number}", torch.cuda.get_device_name(number), free_memory(torch.device("cuda", number))
    if torch.backends.mps.is_available():
        yield "mps", "Apple GPU", free_memory(torch.device("mps"))
    yield "cpu", f"{_processor()}, {torch.get_num_threads()} threads", free_memory(torch.device("cpu"))


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
