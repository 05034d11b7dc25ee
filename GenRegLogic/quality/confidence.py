"""The expected error: where a registration is likely to be wrong, and by how much, without knowing the truth.

It is estimated from the inverse consistency error (a second registration, moving -> fixed, does not lead back to the
starting point), from how far away from its mapped place the surroundings of a voxel match best, and from the size of
the deformation. How these signs translate into mm was measured on real scans that were deformed by known fields
(`scripts/calibrate_confidence`, Resources/benchmark/calibration.md).

Key functions: `estimate_confidence` for a run, `confidence_of` for a transform made earlier. Both call `gather`, which
computes the signs, and `expected_error`, which converts them to mm.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import torch

from ..progress import SHARES, Monitor
from ..settings import Settings
from ..space.field import DisplacementField
from ..space.geometry import Geometry
from ..space.grid import Image, resample
from ..space.inverse import fit_affine
from ..space.registrable import check_registrable
from ..space.smoothing import smooth
from ..space.split import disagreement, without_linear
from ..space.volume import Volume
from ..stages.describe import mind_ssc
from ..stages.linear import LinearLevel, chance_mismatch
from ..stages.prepare import Prepared, prepare, working_grid
from ..stages.propose import identity, propose, search_proposal
from ..stages.refine import Refiner
from ..stages.schedule import INTENSITY, schedule

__all__ = [
    "Signs",
    "confidence_of",
    "disagreement",
    "error_voxels",
    "estimate_confidence",
    "evidence",
    "expected_error",
    "gather",
]

VOXELS = 100_000
"""Voxels of the moving scan's working grid in the backward registration; a coarse one suffices for the comparison."""

ITERATIONS_SHARE = 0.5
"""Iterations of the backward registration, as a share of those of the forward one."""

MIN_ITERATIONS = 20
"""Iterations that the backward registration has at least."""

COARSE_LEVELS = 2
"""Levels of the schedule that the backward registration runs, from the coarsest: those which compare descriptors in the
schedule for intensities, whatever the contrasts, for with them the constants below were fitted."""

NEAR_SIGMA, WIDE_SIGMA, PULL_SIGMA = 1.0, 4.0, 2.24
"""Standard deviations, voxels, of the Gaussian neighborhoods over which the signs are averaged."""

PULL_SHARPNESS = 40.0
"""Factor in the softmax over displacements, applied to their mismatch relative to that of unrelated places."""

UNKNOWN_PULL = 0.5
"""The pull, voxels, outside the moving scan, where there is no evidence for the mapped place."""

FLOOR = 0.05
"""Added to every sign, voxels: differences far below it carry no information."""

SCALE = 1.373
POWERS = {"near": 0.348, "wide": 0.198, "pull": 0.301, "motion": 0.199}
"""The expected error is a product of powers of the signs. `scripts/calibrate_confidence` fits and prints both; see
Resources/benchmark/calibration.md."""


@dataclasses.dataclass(frozen=True, eq=False)
class Signs:
    """What the expected error is computed from, on a coarse isotropic grid over the fixed body.

    Attributes:
        geometry: The grid, along the fixed scan's canonical axes.
        fixed, warped: Intensities ``(D, H, W)`` of the fixed scan and of the warped moving scan.
        inside: ``(D, H, W)``, 1 where the mapped place lies in the moving scan (and its mask), else 0.
        weight: ``(D, H, W)``, 1 in the fixed body, else 0.
        u: Displacement before the linear part ``(3, D, H, W)``, mm along the fixed axes.
        residual: The inverse consistency error as vectors, end minus start, ``(3, D, H, W)``, mm.
    """

    geometry: Geometry
    fixed: torch.Tensor
    warped: torch.Tensor
    inside: torch.Tensor
    weight: torch.Tensor
    u: torch.Tensor
    residual: torch.Tensor


def estimate_confidence(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, field: Image, settings: Settings, monitor: Monitor
) -> Volume:
    """The expected error of a registration, mm.

    Args:
        fixed, moving: The prepared scans.
        linear: (4, 4), LPS mm, fixed -> moving.
        field: The forward displacement before `linear`, ``(3, D, H, W)`` mm along the canonical fixed axes.
        settings: Those of the run.
        monitor: That of the run. After the answer "keep" the backward registration is not refined.

    Returns:
        A float32 volume on a coarse grid around the fixed body, canonical axes; 0 outside the body.
    """
    return expected_error(gather(fixed, moving, linear, field, settings, monitor))


def gather(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, field: Image, settings: Settings, monitor: Monitor
) -> Signs:
    """Register coarsely in the backward direction and compare; for the arguments see `estimate_confidence`."""
    forward, backward = inverse_consistency(fixed, moving, linear, field, settings, monitor)
    level = LinearLevel(fixed, moving, VOXELS, linear)
    geometry = level.fixed_geometry
    u = resample(forward, geometry, smooth=False)
    warped, inside = level.intensities(linear, u.tensor)
    return Signs(
        geometry,
        resample(fixed.image, geometry).tensor,
        warped,
        inside,
        level.weight,
        u.tensor,
        disagreement(linear, u, backward),
    )


def evidence(signs: Signs) -> dict[str, torch.Tensor]:
    """The signs as lengths in voxels of their grid, ``(D, H, W)`` each; larger values indicate a larger error.

    Returns:
        "near" and "wide": the inverse consistency error, averaged over a small and over a wide neighborhood. "pull":
        how far from its mapped place the surroundings of a voxel match best. "motion": the length of the displacement.
    """
    spacing = signs.geometry.spacing[0]
    missed = signs.residual.norm(dim=0) / spacing
    return {
        "near": smooth(missed, NEAR_SIGMA),
        "wide": smooth(missed, WIDE_SIGMA),
        "pull": _pull(signs),
        "motion": smooth(signs.u.norm(dim=0) / spacing, WIDE_SIGMA),
    }


def _pull(signs: Signs) -> torch.Tensor:
    """Length of the mean of the 27 displacements by at most a voxel per axis, weighted by how well they match.

    Outside the moving scan it is `UNKNOWN_PULL`.
    """
    fixed, moving = mind_ssc(signs.fixed), mind_ssc(signs.warped)
    chance = chance_mismatch(fixed, signs.weight, moving, signs.weight * signs.inside)
    d, h, w = signs.geometry.shape
    padded = torch.nn.functional.pad(moving[None], [1] * 6, mode="replicate")[0]
    offsets = list(itertools.product((-1, 0, 1), repeat=3))
    costs = []
    for z, y, x in offsets:
        beside = padded[:, 1 + z : 1 + z + d, 1 + y : 1 + y + h, 1 + x : 1 + x + w]
        mismatch = (beside - fixed).square_().mean(dim=0).div_(chance)
        costs.append(smooth(mismatch * signs.inside + (1 - signs.inside), PULL_SIGMA))
    likely = torch.softmax(torch.stack(costs).mul_(-PULL_SHARPNESS), dim=0)
    steps = torch.tensor(offsets, dtype=likely.dtype, device=likely.device)
    pull = torch.einsum("kdhw,kc->cdhw", likely, steps).norm(dim=0)
    return pull + UNKNOWN_PULL * (1 - smooth(signs.inside, PULL_SIGMA))


def expected_error(signs: Signs) -> Volume:
    """The signs converted to mm; see `estimate_confidence` for the volume."""
    voxels = error_voxels(evidence(signs)) * signs.weight
    return Volume((voxels * signs.geometry.spacing[0]).cpu().numpy(), signs.geometry)


def error_voxels(found: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Expected error in voxels of the signs' grid, computed from their `evidence`; it increases with each sign.

    It is at least half the inverse consistency error: one of the two registrations is wrong by that much.
    """
    error = SCALE * torch.ones_like(found["wide"])
    for name, power in POWERS.items():
        error = error * (found[name] + FLOOR) ** power
    return torch.maximum(error, found["wide"] / 2)


def inverse_consistency(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, field: Image, settings: Settings, monitor: Monitor
) -> tuple[Image, Image]:
    """The forward displacement on a coarse grid, and the backward displacement of a registration of its own.

    The arguments are those of `estimate_confidence`. The backward registration starts with the inverse of `linear`, and
    searches and refines even if the forward run did not: two runs that both did nothing would agree.
    """
    back = np.linalg.inv(linear)
    level = LinearLevel(moving, fixed, VOXELS, back)
    start = identity(level, back) if monitor.keep else propose(level, back, [identity, search_proposal])[0]
    monitor.tell(0.4)
    iterations = 0 if monitor.keep else max(MIN_ITERATIONS, round(settings.coarse_iterations * ITERATIONS_SHARE))
    levels = schedule(INTENSITY, level.spacing / 2, iterations, coarsest_only=COARSE_LEVELS)
    refiner = Refiner(moving, fixed, back, smoothness=settings.smoothness)
    backward = refiner.run(levels, start.field, monitor.within(0.4, 0.7))
    grid = working_grid(fixed, level.spacing)
    return resample(field, grid, smooth=False), backward


def confidence_of(
    fixed: Volume,
    moving: Volume,
    transform: DisplacementField,
    *,
    device: torch.device | None = None,
    tell: Callable[[float], None] = lambda fraction: None,
) -> Volume:
    """The expected error of a registration that was made before, or elsewhere.

    Args:
        fixed, moving: The scans.
        transform: Fixed -> moving, LPS mm, on any grid over the fixed scan.
        device: Where to compute; the CPU by default.
        tell: Called with the fraction done; it may raise `Cancelled`.

    Returns:
        The expected error, mm, as `estimate_confidence` returns it.

    Raises:
        InputError: A scan is unusable.
    """
    device = device or torch.device("cpu")
    scans = [
        prepare(check_registrable(scan, role), mask=None, device=device, role=role)
        for scan, role in ((fixed, "fixed"), (moving, "moving"))
    ]
    linear = fit_affine(transform).matrix
    grid = working_grid(scans[0], LinearLevel(*scans, VOXELS, linear).spacing)
    monitor = Monitor(device, lambda progress: tell(min(1.0, progress.fraction / SHARES["finish"])))
    with monitor.stage("finish"):
        field = without_linear(transform, linear, grid, device)
        return estimate_confidence(*scans, linear, field, Settings(), monitor)
