"""`genreg repair`: refine a transform further where it is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import Cancelled, InputError
from .common import (
    DONE,
    INTERRUPTED,
    NOT_TRUSTWORTHY,
    add_device_option,
    add_landmarks,
    add_quiet_option,
    add_reading_options,
    add_result_options,
    add_scans,
    add_threads_option,
    add_tolerance_option,
    add_transform_spacing_option,
    check_pair,
    help_end,
    read_scan,
)
from .outputs import Output, check_outputs, check_space, write_outputs
from .progress import Interruption, Meter
from .register import largest_result, print_summary

__all__ = ["add_command", "run"]

DESCRIPTION = """\
Refine a TRANSFORM of `genreg register` (or of any other program) where it is wrong, in seconds, and leave it as it is
everywhere else. Say where by a mask, by landmarks that belong together, or by both:

  genreg repair FIXED MOVING -t TRANSFORM --region MASK -o OUT
  genreg repair FIXED MOVING -t TRANSFORM --fixed-landmarks F.csv --moving-landmarks M.csv -o OUT
"""


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "repair",
        help="refine a transform in a region",
        description=DESCRIPTION,
        epilog=help_end(
            "repair ct.nii.gz mr.nii.gz -t t.nii.gz --region wrong_here.nii.gz -o better.nii.gz", exit_codes=True
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_scans(parser)
    parser.add_argument(
        "-t",
        "--transform",
        metavar="TRANSFORM",
        type=Path,
        required=True,
        help="what is to be refined, fixed to moving",
    )
    where = parser.add_argument_group("where it is wrong")
    where.add_argument("--region", metavar="MASK", type=Path, help="refine only where this is not zero")
    add_landmarks(where, "one point or more")
    results = parser.add_argument_group("results")
    add_result_options(results, "OUT")
    results.add_argument("--report", metavar="FILE.json", type=Path, help="every figure, and the verdict")
    _add_run(parser.add_argument_group("the run"))


def _add_run(group) -> None:
    group.add_argument("--iterations", metavar="N", type=int, help="as for `genreg register`")
    group.add_argument("--smoothness", metavar="X", type=float, default=1.0, help="0.25 to 4 (default: 1)")
    group.add_argument("--resolution", metavar="MM", type=float, help="finest voxel size to work at, mm")
    add_tolerance_option(group)
    add_transform_spacing_option(group)
    add_device_option(group)
    add_reading_options(group, "fixed", "moving")
    add_threads_option(group)
    add_quiet_option(group)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    check_pair(args, "landmarks")
    if args.region is None and args.fixed_landmarks is None:
        raise InputError("Nothing says where to refine; give --region, or --fixed-landmarks and --moving-landmarks.")
    wanted = [(args.output, "transform", "-o"), (args.warped, "image", "--warped"), (args.report, "report", "--report")]
    outputs = [Output(path, kind, option) for path, kind, option in wanted if path is not None]
    check_outputs(
        outputs, [args.fixed, args.moving, args.transform, args.region, args.fixed_landmarks, args.moving_landmarks]
    )
    settings = _settings(args)
    inputs = _read_inputs(args)
    fixed, moving, field = (inputs[name] for name in ("fixed", "moving", "field"))
    full = field.geometry.is_close(fixed.geometry)
    check_space(outputs, largest_result(fixed, moving, settings, every_voxel=full))

    from ..machine.device import tune_allocator
    from ..progress import WRITING
    from ..repair import repair

    tune_allocator()
    with Meter(quiet=args.quiet) as meter:
        with Interruption() as interruption:
            result = repair(**inputs, settings=settings, on_progress=meter, cancel=interruption)
            meter(WRITING)
            jobs = _jobs(args, result)
            if interruption.answer == "abort":
                raise Cancelled("The repair was given up; nothing was written.")
        write_outputs(jobs)
    if not args.quiet:
        print_summary(result.report, [output.path for output in outputs])
    if interruption.answer is not None:
        return INTERRUPTED
    return NOT_TRUSTWORTHY if result.report["verdict"]["status"] == "failed" else DONE


def _settings(args: argparse.Namespace):
    from ..settings import Settings

    return Settings(
        iterations=args.iterations,
        smoothness=args.smoothness,
        resolution_mm=args.resolution,
        transform_spacing_mm=args.transform_spacing,
        tolerance_mm=args.tolerance,
        device=args.device,
        threads=args.threads,
    )


def _read_inputs(args: argparse.Namespace) -> dict:
    """The arguments of `repair` that come from files; a transform that is no field is sampled over the fixed scan."""
    from ..files.points import read_points
    from ..space.field import DisplacementField, sample_transform
    from ..space.fieldgrid import field_grid
    from .transforms import read_transform

    fixed, transform = read_scan(args.fixed, args, "fixed"), read_transform(args.transform)
    if not isinstance(transform, DisplacementField):
        transform = sample_transform(transform, field_grid(fixed.geometry, args.transform_spacing))
    given = args.fixed_landmarks is not None
    return {
        "fixed": fixed,
        "moving": read_scan(args.moving, args, "moving"),
        "field": transform,
        "region": read_scan(args.region, args),
        "fixed_landmarks": read_points(args.fixed_landmarks) if given else None,
        "moving_landmarks": read_points(args.moving_landmarks) if given else None,
    }


def _jobs(args: argparse.Namespace, result) -> list:
    """Compute everything that is to be written; returns (path, function that writes it) in the order of writing."""
    from ..files.images import write_volume
    from ..files.transforms import write_transform
    from ..quality.report import write_report

    jobs = [(args.output, lambda path: write_transform(result.forward, path))]
    if args.warped is not None:
        warped = result.warped()
        jobs.append((args.warped, lambda path: write_volume(warped, path)))
    if args.report is not None:
        jobs.append((args.report, lambda path: write_report(result.report, path)))
    return jobs
