"""`genreg info`: what is installed, and what it can run on."""

from __future__ import annotations

import argparse
import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path

from .common import DONE, help_end

__all__ = ["add_command", "run"]


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "info",
        help="show version, devices, weights and dependencies",
        description="Show the version, the devices with their memory, the network's weights and the dependencies.",
        epilog=help_end("info"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from ..quality.report import versions

    found = versions()
    print(f"GenReg {found.pop('genreg')}")
    print("\nDevices")
    for name, description, memory in _devices():
        print(f"  {name:<8} {description}, {memory}")
    print(f"\nWeights\n  {_weights()}")
    print("\nDependencies")
    for name, version in found.items():
        print(f"  {name:<10} {version}")
    return DONE


def _weights() -> str:
    """File name, size and checksum of the network's weights, or what is wrong with them."""
    from ..errors import InputError
    from ..network.apply import SHA256, SHOWN_DIGITS, WEIGHTS
    from ..network.weights import load_weights

    try:
        load_weights(WEIGHTS, SHA256)
    except InputError as error:
        return str(error)
    return f"{WEIGHTS.name}, {WEIGHTS.stat().st_size / 1e6:.1f} MB, SHA-256 {SHA256[:SHOWN_DIGITS]}"


def _devices() -> Iterator[tuple[str, str, str]]:
    """(name as --device takes it, description, memory in words) of every device; the CPU last."""
    import torch

    from ..machine.device import list_devices

    for device in sorted(list_devices(), key=lambda device: device.id == "cpu"):
        is_cpu = device.id == "cpu"
        description = f"{_processor()}, {torch.get_num_threads()} threads" if is_cpu else device.name
        size = f"{device.memory_bytes / 2**30:.1f} GiB"
        yield device.id, description, f"{size} free" if device.memory_is == "free" else f"{size} in total"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
