"""`genreg report`: one HTML page about a registration, to be viewed, printed and filed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .common import (
    DONE,
    NOT_TRUSTWORTHY,
    add_device_option,
    add_quiet_option,
    add_reading_options,
    add_scans,
    add_tolerance_option,
    add_transforms,
    help_end,
    print_last,
    read_scan,
)
from .outputs import Output, check_outputs
from .progress import Meter

__all__ = ["add_command", "run"]

DESCRIPTION = """\
Write one self-contained HTML page about a registration: verdict and reasons, figures, three planes before and after
with the deformation grid, the places to look at first, settings and provenance. It loads nothing from anywhere, prints
to A4 or US Letter, and names no patient and no file unless --names asks for it.

After `genreg register FIXED MOVING -o T --report R.json`:

  genreg report FIXED MOVING -t T --json R.json -o page.html

Without --json the figures are measured anew from the scans and the transform, which may come from any program.
"""

STAGE = "places"
"""Shown as the stage while the expected error is computed."""


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="write a page about a registration",
        description=DESCRIPTION,
        epilog=help_end("report ct.nii.gz mr.nii.gz -t t.nii.gz --json report.json -o page.html", exit_codes=True),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_scans(parser, tense="past")
    add_transforms(parser)
    parser.add_argument("-o", "--output", metavar="FILE.html", type=Path, required=True, help="where the page goes")
    parser.add_argument("--json", metavar="FILE.json", type=Path, help="the report that genreg register wrote")
    parser.add_argument(
        "--names", action="store_true", help="print the files' names on the page, which may identify the patient"
    )
    parser.add_argument(
        "--no-places",
        action="store_true",
        help="don't look for the least certain places, which takes a coarse registration the other way round",
    )
    add_tolerance_option(parser)
    add_reading_options(parser, "fixed", "moving")
    add_device_option(parser)
    add_quiet_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    check_outputs([Output(args.output, "page", "-o")], [args.fixed, args.moving, *args.transform, args.json])

    from ..htmlreport import build_html, check_report, measured_report, read_report, write_html
    from ..machine.device import choose_device
    from ..settings import Settings
    from ..space.field import DisplacementField, sample_transform
    from ..space.registrable import check_registrable
    from .transforms import read_chain

    settings = Settings(device=args.device, tolerance_mm=args.tolerance)
    if args.json is not None and args.tolerance is not None:
        raise InputError("The verdict of a report has its own tolerance; leave out --json to judge by another one.")
    device = choose_device(settings.device)
    report = None if args.json is None else read_report(args.json)
    fixed, moving = (
        check_registrable(read_scan(args.fixed, args, "fixed"), "fixed"),
        read_scan(args.moving, args, "moving"),
    )
    moving = check_registrable(moving, "moving")
    if report is not None:
        check_report(report, fixed.geometry, moving.geometry)
    transform = read_chain(args.transform)
    if not isinstance(transform, DisplacementField):
        transform = sample_transform(transform, fixed.geometry)

    confidence = None if args.no_places else _confidence(args, device, fixed, moving, transform)
    if report is None:
        report = measured_report(fixed, moving, transform, confidence=confidence, tolerance_mm=args.tolerance)
    names = (args.fixed.name, args.moving.name) if args.names else None
    write_html(build_html(fixed, moving, transform, report, confidence=confidence, names=names), args.output)
    status = report["verdict"]["status"]
    if not args.quiet:
        print_last(f"Verdict: {status}\nWrote {args.output}")
    return NOT_TRUSTWORTHY if status == "failed" else DONE


def _confidence(args: argparse.Namespace, device, fixed, moving, transform):
    """Map of the expected error in mm, from a coarse registration in the opposite direction."""
    import torch

    from ..progress import Progress
    from ..quality.confidence import confidence_of

    with Meter(quiet=args.quiet) as meter, torch.inference_mode():
        return confidence_of(
            fixed,
            moving,
            transform,
            device=device,
            tell=lambda fraction: meter(Progress(STAGE, fraction, None)),
        )
