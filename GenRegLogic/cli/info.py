"""`genreg info`: what is installed, and what it can run on."""

from __future__ import annotations

import argparse

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
    from ..device import list_devices
    from ..report import versions

    found = versions()
    print(f"GenReg {found.pop('genreg')}")
    print("\nDevices")
    for device in list_devices():
        free = "unknown" if device.free_bytes is None else f"{device.free_bytes / 2**30:.1f} GiB"
        print(f"  {device.name:<8} {device.description}, {free} free")
    print("\nWeights\n  none: this version proposes by search, without a trained network")
    print("\nDependencies")
    for name, version in found.items():
        print(f"  {name:<10} {version}")
    return DONE
