"""`genreg register`: register two scans and write the transform."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Cancelled
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
    print_last,
    read_scan,
)
from .outputs import Output, check_outputs, check_space, write_outputs
from .progress import Interruption, Meter

if TYPE_CHECKING:
    from ..settings import Settings
    from ..space.volume import Volume

__all__ = ["add_command", "run"]

DESCRIPTION = """\
Register the MOVING scan to the FIXED scan and write the transform that maps fixed points to moving points (LPS, mm),
which is what Slicer, SimpleITK and ITK need to show the moving scan on the fixed one. No option is needed for any
modality or body region.

Scans are NIfTI, NRRD, MHA/MHD, or the folder of a DICOM series.
"""

ITK_TRANSFORM_ENDINGS = (".h5", ".tfm")
BYTES_PER_ERROR = 4
"""Of a voxel of the map of the expected error, float32."""


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "register",
        help="register two scans",
        description=DESCRIPTION,
        epilog=help_end(
            "register ct.nii.gz mr.nii.gz -o t.nii.gz --warped mr_on_ct.nii.gz --report page.html",
            "register followup/ baseline/ -o t.h5 --kind rigid",
            exit_codes=True,
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add_scans(parser)
    _add_outputs(parser.add_argument_group("results"))
    _add_guidance(parser.add_argument_group("guidance, none of it needed"))
    _add_run(parser.add_argument_group("the run"))


def _add_outputs(group) -> None:
    add_result_options(group, "TRANSFORM")
    group.add_argument("--inverse", metavar="FILE", type=Path, help="the transform from moving points to fixed points")
    group.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="every figure, and the verdict: .json for programs, .html for people, with pictures; may be given twice",
    )
    group.add_argument(
        "--expected-error",
        metavar="FILE",
        type=Path,
        help="map of the expected error, mm, on the fixed scan's grid; 0 where nothing was judged",
    )


def _add_guidance(group) -> None:
    group.add_argument(
        "--kind",
        choices=("deformable", "affine", "similarity", "rigid"),
        default="deformable",
        help="of the transform; all but deformable are linear: affine has 12 degrees of freedom, similarity 7, rigid 6 "
        "(default: deformable)",
    )
    group.add_argument("--linear-only", action="store_true", help="the same as --kind affine")
    group.add_argument("--initial", metavar="TRANSFORM", type=Path, help="start from this transform, fixed to moving")
    group.add_argument(
        "--init",
        choices=("auto", "any", "header", "center", "none"),
        default="auto",
        help="how to find the linear start: auto tries several and keeps the best; any also searches all rotations "
        "where that doesn't seem to be needed; header trusts the scans' positions; "
        "center puts the middles on one another; none skips linear alignment (default: auto)",
    )
    group.add_argument("--fixed-mask", metavar="FILE", type=Path, help="register only where this is not zero")
    group.add_argument("--moving-mask", metavar="FILE", type=Path, help="the same for the moving scan")
    group.add_argument(
        "--keep-rigid",
        metavar="FILE",
        type=Path,
        help="label map of the fixed scan: each label moves as one rigid body (bone, implant, a tumor whose volume "
        "must not change)",
    )
    group.add_argument(
        "--regions",
        metavar="FILE",
        type=Path,
        help="label map of the fixed scan: each value, 0 among them, is a region that may slide along the others, such "
        "as the lungs along the chest wall (default: sliding is looked for in the scans)",
    )
    add_landmarks(group, "points")


def _add_run(group) -> None:
    group.add_argument(
        "--iterations",
        metavar="N",
        type=int,
        help="iterations of the refinement on this pair, at its coarsest scale; 0 keeps the proposal (default: chosen "
        "by measurement)",
    )
    group.add_argument(
        "--smoothness",
        metavar="X",
        type=float,
        default=1.0,
        help="0.25 to 4: larger deforms more smoothly, smaller follows finer detail (default: 1)",
    )
    group.add_argument(
        "--resolution", metavar="MM", type=float, help="finest voxel size to work at, mm (default: from the scans)"
    )
    add_tolerance_option(group)
    group.add_argument(
        "--one-way",
        action="store_true",
        help="refine from fixed to moving only: half of the time, somewhat larger errors",
    )
    group.add_argument(
        "--network",
        choices=("auto", "off", "propose", "describe", "both"),
        default="auto",
        help="what the trained network does: propose a better start, describe tissue for the comparison, both, "
        "or nothing (default: auto, chosen by measurement)",
    )
    add_transform_spacing_option(group)
    add_device_option(group)
    add_reading_options(group, "fixed", "moving")
    group.add_argument(
        "--seed", metavar="N", type=int, default=0, help="recorded in the report; no random numbers are drawn"
    )
    add_threads_option(group)
    add_quiet_option(group)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    outputs = _outputs(args)
    check_outputs(outputs, _inputs(args))
    check_pair(args, "landmarks")
    settings = _settings(args)
    if settings.threads is not None:
        import SimpleITK as sitk

        from ..machine.waiting import possible_threads

        # for reading, warping and writing
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(possible_threads(settings.threads))
    scans = _read_inputs(args)
    largest = largest_result(
        scans["fixed"],
        scans["moving"],
        settings,
        every_voxel=scans["keep_rigid"] is not None,
        error_map=args.expected_error is not None,
    )
    check_space(outputs, largest)

    from ..machine.device import tune_allocator
    from ..progress import WRITING
    from ..register import register

    tune_allocator()
    with Meter(quiet=args.quiet) as meter:
        with Interruption() as interruption:
            result = register(**scans, settings=settings, on_progress=meter, cancel=interruption)
            meter(WRITING)
            report = result.report_with_inverse() if _samples_inverse(args) else result.report
            jobs = _jobs(args, scans, result, report)
            if interruption.answer == "abort":
                raise Cancelled("The registration was given up; nothing was written.")
        write_outputs(jobs)
    if not args.quiet:
        print_summary(report, [output.path for output in outputs])
    if interruption.answer is not None:
        return INTERRUPTED
    return NOT_TRUSTWORTHY if report["verdict"]["status"] == "failed" else DONE


def largest_result(
    fixed: Volume, moving: Volume, settings: Settings, *, every_voxel: bool = False, error_map: bool = False
) -> int:
    """Upper bound on the bytes of each result: the two displacement fields, the warped scan, the expected error.

    Args:
        fixed, moving: The scans.
        settings: Of the run.
        every_voxel: The fields have a vector for every voxel unless the settings name a spacing.
        error_map: The map of the expected error is among the results.
    """
    from ..space.fieldgrid import BYTES_PER_VECTOR, field_grid

    grids = [
        field_grid(scan.geometry, settings.transform_spacing_mm, limited=not every_voxel) for scan in (fixed, moving)
    ]
    fields = [BYTES_PER_VECTOR * grid.size[0] * grid.size[1] * grid.size[2] for grid in grids]
    bytes_per_voxel = max(moving.array.itemsize, BYTES_PER_ERROR if error_map else 0)
    return max(*fields, fixed.array.size * bytes_per_voxel)


def _outputs(args: argparse.Namespace) -> list[Output]:
    wanted = [
        (args.output, "transform", "-o"),
        (args.warped, "image", "--warped"),
        (args.inverse, "transform", "--inverse"),
        (args.expected_error, "image", "--expected-error"),
        *((path, "report or page", "--report") for path in args.report),
    ]
    return [Output(path, kind, option) for path, kind, option in wanted if path is not None]


def _inputs(args: argparse.Namespace) -> list[Path | None]:
    return [
        args.fixed,
        args.moving,
        args.initial,
        args.fixed_mask,
        args.moving_mask,
        args.keep_rigid,
        args.regions,
        args.fixed_landmarks,
        args.moving_landmarks,
    ]


def _settings(args: argparse.Namespace) -> Settings:
    from ..settings import Settings

    return Settings(
        iterations=args.iterations,
        init=args.init,
        linear_only=args.linear_only,
        kind=args.kind,
        smoothness=args.smoothness,
        resolution_mm=args.resolution,
        transform_spacing_mm=args.transform_spacing,
        tolerance_mm=args.tolerance,
        network=args.network,
        one_way=args.one_way,
        device=args.device,
        seed=args.seed,
        threads=args.threads,
    )


def _read_inputs(args: argparse.Namespace) -> dict:
    """The arguments of `register` that come from files."""
    from ..files.points import read_points
    from .transforms import read_transform

    def read(reader, path):
        return None if path is None else reader(path)

    return {
        "fixed": read_scan(args.fixed, args, "fixed"),
        "moving": read_scan(args.moving, args, "moving"),
        "initial": read_transform(args.initial),
        "fixed_mask": read_scan(args.fixed_mask, args),
        "moving_mask": read_scan(args.moving_mask, args),
        "keep_rigid": read_scan(args.keep_rigid, args),
        "regions": read_scan(args.regions, args),
        "fixed_landmarks": read(read_points, args.fixed_landmarks),
        "moving_landmarks": read(read_points, args.moving_landmarks),
    }


def _jobs(args: argparse.Namespace, scans: dict, result, report: dict) -> list:
    """Compute everything that is to be written; returns (path, function that writes it) in the order of writing."""
    from ..files.images import write_volume
    from ..files.transforms import write_transform
    from ..quality.report import write_report

    def exact(path: Path, linear, field) -> object:
        return linear() if _is_matrix(args, path) else field()

    forward = exact(args.output, lambda: result.linear, lambda: result.forward)
    jobs = [(args.output, lambda path: write_transform(forward, path))]
    if args.warped is not None:
        warped = result.warped()
        jobs.append((args.warped, lambda path: write_volume(warped, path)))
    if args.inverse is not None:
        inverse = exact(args.inverse, result.linear.inverse, result.inverse)
        jobs.append((args.inverse, lambda path: write_transform(inverse, path)))
    if args.expected_error is not None:
        error = result.expected_error()
        jobs.append((args.expected_error, lambda path: write_volume(error, path)))
    for path in args.report:
        if path.name.lower().endswith(".html"):
            jobs.append((path, _page_writer(scans, result, report)))
        else:
            jobs.append((path, lambda path: write_report(report, path)))
    return jobs


def _is_matrix(args: argparse.Namespace, path: Path) -> bool:
    """Whether a result is written as a matrix: a linear one, in a transform file, without rigid bodies in it."""
    return _settings(args).linear and args.keep_rigid is None and path.name.lower().endswith(ITK_TRANSFORM_ENDINGS)


def _samples_inverse(args: argparse.Namespace) -> bool:
    """Whether an inverse displacement field is written; the report then has its inverse consistency error."""
    return args.inverse is not None and not _is_matrix(args, args.inverse)


def _page_writer(scans: dict, result, report: dict) -> Callable[[Path], None]:
    """Make the page now, and return the function that writes it."""
    from ..htmlreport import build_html, write_html

    confidence = result.confidence
    page = build_html(scans["fixed"], scans["moving"], result.forward, report, confidence=confidence)
    return lambda path: write_html(page, path)


def print_summary(report: dict, written: list[Path]) -> None:
    """Print the verdict, its reasons, the warnings and notes, and the names of the files on standard output."""
    sentences = (*report["verdict"]["reasons"], *report["warnings"], *report["notes"])
    lines = [f"Verdict: {report['verdict']['status']}", *(f"  {sentence}" for sentence in sentences)]
    print_last("\n".join([*lines, f"Wrote {', '.join(str(path) for path in written)}"]))
