"""The demonstration: generate a pair of scans, register it, compare with the truth, and save everything."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import Cancelled, InputError
from ..files.atomic import check_writable
from ..files.images import write_volume
from ..files.transforms import write_transform
from ..progress import WRITING
from ..quality.measure import tre
from ..quality.report import write_report
from ..register import register
from ..settings import Settings
from .overview import write_overview
from .scans import PhantomPair, make_pair

__all__ = ["DemoOutcome", "make_folder", "run_demo"]

FIXED, MOVING = "fixed-ct.nii.gz", "moving-mr.nii.gz"
TRANSFORM, WARPED, PICTURE, REPORT = "transform.nii.gz", "warped.nii.gz", "overview.png", "report.json"
KINDS = {FIXED: "image", MOVING: "image", TRANSFORM: "transform", WARPED: "image", PICTURE: "picture", REPORT: "report"}
"""The files that the demonstration writes, with the kind under which `files.check_writable` knows them."""


@dataclass(frozen=True)
class DemoOutcome:
    """Result of the demonstration.

    Attributes:
        tre_before_mm: Mean target registration error of the true landmarks before the registration.
        tre_after_mm: The same after the registration, which did not use the landmarks.
        report: The report of the registration.
        text: A summary for the terminal, with the command for scans of one's own.
    """

    tre_before_mm: float
    tre_after_mm: float
    report: dict
    text: str


def make_folder(path: str | Path) -> Path:
    """The folder for the results, created where it is missing.

    Raises:
        InputError: It cannot be created or written to.
        ResourceError: The disk is full.
    """
    folder = Path(path)
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise InputError(f"The folder {folder.parent} does not exist; create it first.") from None
    except FileExistsError:
        raise InputError(f"{folder} is a file; give the name of a folder.") from None
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}); choose another place.") from None
    for name, kind in KINDS.items():
        check_writable(folder / name, kind)
    return folder


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    settings: Settings | None = None,
    on_progress: Callable | None = None,
    cancel: Callable | None = None,
    pair: PhantomPair | None = None,
) -> DemoOutcome:
    """Register the phantom pair and write scans, transform, warped scan, picture and report.

    Args:
        folder: An existing folder (see `make_folder`).
        seed: Seed of the pair.
        settings: Settings of the registration; the defaults are those for every pair.
        on_progress: As in `register`; called with `progress.WRITING` at the end.
        cancel: As in `register`.
        pair: The pair to register, instead of a generated one.

    Raises:
        Cancelled: `cancel` returned "abort"; nothing was written.
        ResourceError: The disk is full.
    """
    pair = make_pair(seed) if pair is None else pair
    result = register(pair.fixed, pair.moving, settings, on_progress=on_progress, cancel=cancel)
    if callable(on_progress):
        on_progress(WRITING)
    warped = result.warped()
    if cancel is not None and cancel() == "abort":
        raise Cancelled("The demo was given up; nothing was written.")
    before = float(np.linalg.norm(pair.fixed_points - pair.moving_points, axis=1).mean())
    after = float(tre(pair.fixed_points, pair.moving_points, result.forward).mean())

    write_volume(pair.fixed, folder / FIXED)
    write_volume(pair.moving, folder / MOVING)
    write_transform(result.forward, folder / TRANSFORM)
    write_volume(warped, folder / WARPED)
    title = f"Landmarks {before:.1f} mm apart before, {after:.1f} mm after"
    write_overview(pair.fixed, pair.moving, result.forward, folder / PICTURE, title=title)
    write_report(result.report, folder / REPORT)
    text = _describe(folder, before, after, len(pair.fixed_points), result.report)
    return DemoOutcome(before, after, result.report, text)


def _describe(folder: Path, before: float, after: float, count: int, report: dict) -> str:
    verdict = report["verdict"]
    jacobian, error = report["jacobian"], report["inverse_error"]
    facts = [f"folded voxels {jacobian['folds_pct']:.4f} %", f"time {report['seconds']:.1f} s"]
    if error:
        facts.insert(1, f"inverse error {error['mean_mm']:.3f} mm")
    lines = [
        "",
        f"A made-up torso, CT to MR, {count} landmarks that the registration never saw:",
        f"  mean landmark error {before:.2f} mm before, {after:.2f} mm after",
        f"  {', '.join(facts)}",
        f"  verdict: {verdict['status']}",
        *(f"    {sentence}" for sentence in verdict["reasons"]),
        "",
        f"Written to {folder}{os.sep}",
        f"  {PICTURE}  fixed, moving before and after, checkerboard and deformation grid",
        f"  {TRANSFORM}, {WARPED}, {REPORT}, and the scans {FIXED}, {MOVING}",
        "",
        "On your own scans (NIfTI, NRRD, MHA, or a DICOM folder):",
        "  genreg register FIXED MOVING -o transform.nii.gz --warped warped.nii.gz --report report.json",
        "The command lives in .venv/bin when scripts/demo installed it; `genreg register --help` lists every option.",
    ]
    return "\n".join(lines)
