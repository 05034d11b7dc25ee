"""`genreg warp` and `genreg warp-points`: apply transforms to an image, a label map or points."""

from __future__ import annotations

import argparse
from pathlib import Path

from .common import DONE, add_reading_options, add_transforms, help_end, read_scan
from .outputs import Output, check_outputs

__all__ = ["add_image_command", "add_points_command", "run_image", "run_points"]

CHAIN = """\
With several -t the transforms are applied in the order given, from the reference to the image: the first takes points
of the reference, each next one takes what the one before it gives, and the last leads into the image. --invert inverts
the whole chain (the last is undone first), so that the same list leads back.
"""

IMAGE_DESCRIPTION = f"""\
Resample IMAGE onto the grid of REFERENCE through transforms as `genreg register` writes them. After
`genreg register FIXED MOVING -o T`:

  genreg warp MOVING -t T -r FIXED -o OUT            the moving scan on the fixed grid
  genreg warp FIXED -t T --invert -r MOVING -o OUT   the fixed scan on the moving grid

{CHAIN}"""

POINTS_DESCRIPTION = f"""\
Carry points through transforms as `genreg register` writes them: points of the fixed scan become points of the moving
scan, and with --invert the other way round. Files: .csv (x,y,z in LPS mm), .fcsv or .mrk.json.

{CHAIN}"""

IMAGE_EXAMPLES = (
    "warp mr_labels.nii.gz -t t.nii.gz -r ct.nii.gz --labels -o labels_on_ct.nii.gz",
    "warp ct.nii.gz -t t.nii.gz --invert -r mr.nii.gz -o ct_on_mr.nii.gz",
)
POINTS_EXAMPLE = "warp-points points.csv -t t.nii.gz -o points_in_mr.csv"


def add_image_command(commands) -> None:
    """Add `warp` to the parser."""
    parser = _add(commands, "warp", "carry an image or labels through transforms", IMAGE_DESCRIPTION, *IMAGE_EXAMPLES)
    parser.set_defaults(run=run_image)
    parser.add_argument("image", metavar="IMAGE", type=Path, help="the image to be carried over")
    _add_chain(parser)
    parser.add_argument(
        "-r", "--reference", metavar="REFERENCE", type=Path, required=True, help="image whose grid the result gets"
    )
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help=".nii.gz, .nii, .nrrd or .mha")
    add_reading_options(parser, "image", "reference")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--labels", action="store_true", help="a label map: nearest neighbor, 0 outside")
    how.add_argument("--cubic", action="store_true", help="cubic instead of linear interpolation")


def add_points_command(commands) -> None:
    """Add `warp-points` to the parser."""
    parser = _add(commands, "warp-points", "carry points through transforms", POINTS_DESCRIPTION, POINTS_EXAMPLE)
    parser.set_defaults(run=run_points)
    parser.add_argument("points", metavar="POINTS", type=Path, help="the points")
    _add_chain(parser)
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="where the result goes")


def run_image(args: argparse.Namespace) -> int:
    """Run `warp`; returns the exit code."""
    check_outputs([Output(args.output, "image", "-o")], [args.image, args.reference, *args.transform])

    from ..files.images import write_volume
    from ..space.warp import warp_image, warp_labels
    from .transforms import read_chain, warn_of_voxels_outside

    image = read_scan(args.image, args, "image")
    reference = read_scan(args.reference, args, "reference").geometry
    transform = read_chain(args.transform, invert=args.invert)
    warn_of_voxels_outside(reference, transform)
    if args.labels:
        result = warp_labels(image, transform, reference)
    else:
        result = warp_image(image, transform, reference, interpolation="cubic" if args.cubic else "linear")
    write_volume(result, args.output)
    return DONE


def run_points(args: argparse.Namespace) -> int:
    """Run `warp-points`; returns the exit code."""
    check_outputs([Output(args.output, "points", "-o")], [args.points, *args.transform])

    from ..files.points import read_points, write_points
    from ..space.warp import warp_points
    from .transforms import read_chain, warn_of_points_outside

    points, transform = read_points(args.points), read_chain(args.transform, invert=args.invert)
    warn_of_points_outside(points, transform, args.points)
    write_points(warp_points(points, transform), args.output)
    return DONE


def _add(commands, name: str, summary: str, description: str, *examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=help_end(*examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_chain(parser: argparse.ArgumentParser) -> None:
    add_transforms(parser, "a transform file; may be given several times")
    parser.add_argument("--invert", action="store_true", help="use the inverse of the whole chain")
