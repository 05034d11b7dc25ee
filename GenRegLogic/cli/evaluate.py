"""`genreg evaluate`: measures of a transform, from this program or any other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..errors import InputError
from .common import DONE, add_reading_options, add_transforms, check_pair, help_end, read_scan

__all__ = ["add_command", "run"]

DESCRIPTION = """\
Measure a transform as the report of a registration does, and print one JSON object:

  dice, dice_min, dice_per_label  overlap of the labels; the moving ones are carried over by nearest neighbor
  tre_mm, tre_p90_mm              distance of the landmarks after transport: mean, 90th percentile
  tre_before_mm                   the same before
  folds_pct                       voxels with det J <= 0, central differences, % of all voxels
  ndv_pct                         voxels where any of the eight one-sided determinants is <= 0, %
  sdlogj                          standard deviation of log det J over the fixed scan's foreground
  min_det, max_det                extremes of det J over all voxels
  inverse_mean_mm, inverse_max_mm inverse consistency error: distance after the transform and its computed inverse,
                                  at points of the body
  nmi_*, lncc_*                   similarity of the scans before and after, in the body

The body is found as a registration finds it, or given with --mask. docs/report.md says what each figure counts.
"""


def add_command(commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a transform",
        description=DESCRIPTION,
        epilog=help_end(
            "evaluate --fixed ct.nii.gz --moving mr.nii.gz -t t.nii.gz --fixed-labels a.nii.gz --moving-labels b.nii.gz"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--fixed", metavar="FILE", type=Path, required=True, help="the fixed scan")
    parser.add_argument("--moving", metavar="FILE", type=Path, required=True, help="the moving scan")
    add_transforms(parser)
    parser.add_argument(
        "--mask",
        metavar="FILE",
        type=Path,
        help="the body in the fixed scan, not zero where it counts: the --fixed-mask of the run, if it had one",
    )
    for what in ("labels", "points"):
        for role in ("fixed", "moving"):
            parser.add_argument(f"--{role}-{what}", metavar="FILE", type=Path, help=f"{what} of the {role} scan")
    add_reading_options(parser, "fixed", "moving")
    parser.add_argument(
        "--labels",
        metavar="LIST",
        type=_label_pairs,
        help="labels to compare, such as 1,2,5:7 (5 in fixed is 7 in moving); by default those that both maps have",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    for what in ("labels", "points"):
        check_pair(args, what)
    if args.labels is not None and args.fixed_labels is None:
        raise InputError("--labels needs --fixed-labels and --moving-labels.")

    from ..evaluate import evaluate
    from ..files.points import read_points
    from ..quality.report import plain
    from .transforms import read_chain, warn_of_points_outside

    def read(reader, path):
        return None if path is None else reader(path)

    fixed, moving = read_scan(args.fixed, args, "fixed"), read_scan(args.moving, args, "moving")
    transform, fixed_points = read_chain(args.transform), read(read_points, args.fixed_points)
    if fixed_points is not None:
        warn_of_points_outside(fixed_points, transform, args.fixed_points)
    figures = evaluate(
        fixed,
        moving,
        transform,
        mask=read_scan(args.mask, args),
        fixed_labels=read_scan(args.fixed_labels, args),
        moving_labels=read_scan(args.moving_labels, args),
        pairs=args.labels,
        fixed_points=fixed_points,
        moving_points=read(read_points, args.moving_points),
    )
    print(json.dumps(plain(figures), indent=1))
    return DONE


def _label_pairs(text: str) -> list[tuple[int, int]]:
    try:
        pairs = [[int(label) for label in part.split(":")] for part in text.split(",")]
        if any(len(pair) > 2 for pair in pairs):
            raise ValueError
        return [(pair[0], pair[-1]) for pair in pairs]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of labels such as 1,2,5:7") from None
