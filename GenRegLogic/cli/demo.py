"""`genreg demo`: a complete registration of a synthetic pair of scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import DONE, INTERRUPTED, NOT_TRUSTWORTHY, add_device_option, add_threads_option, help_end, print_last
from .progress import Interruption, Meter

__all__ = ["add_command", "run"]

DEFAULT_FOLDER = Path("genreg-demo")


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo",
        help="register a made-up CT and MR and show the result",
        description="Make a CT-like and an MR-like torso with a known deformation between them, register them, and "
        "compare the result with the truth.",
        epilog=help_end("demo --output my-demo", exit_codes=True),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=DEFAULT_FOLDER,
        help=f"folder for the results, made when missing (default: {DEFAULT_FOLDER})",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="another seed makes another pair")
    add_device_option(parser)
    add_threads_option(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from ..machine.device import tune_allocator
    from ..phantom.demo import make_folder, run_demo
    from ..settings import Settings

    settings = Settings(device=args.device, threads=args.threads, seed=args.seed)
    tune_allocator()
    folder = make_folder(args.output)
    with Interruption() as interruption, Meter(quiet=args.quiet) as meter:
        outcome = run_demo(folder, seed=args.seed, settings=settings, on_progress=meter, cancel=interruption)
    print_last(outcome.text)
    if interruption.answer is not None:
        return INTERRUPTED
    return NOT_TRUSTWORTHY if outcome.report["verdict"]["status"] == "failed" else DONE
