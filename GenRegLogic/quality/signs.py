"""The signs of an error: what can be measured on a registration without knowing the truth, and tells right from wrong.

Two further registrations are made on coarse scales: one from moving to fixed, and one from fixed to the moving scan
after its header was rotated, shifted and scaled. A registration should follow such a change exactly, and there and back
should lead to where it began; where they don't, the result isn't sure. Their proposals are found anew, and they deform
even where the run did not: runs that all did nothing would agree. The other signs are how far beside its mapped place a
voxel's surroundings match best, how far apart the refinement's two directions were, and how much the field moves and
strains. What each of them is worth: Resources/benchmark/calibration.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch

from ..progress import Monitor
from ..settings import Settings
from ..space.geometry import Geometry
from ..space.grid import Image, resample
from ..space.smoothing import smooth, strain
from ..space.split import disagreement
from ..stages.describe import mind_ssc
from ..stages.linear import AFFINE, RIGID, LinearLevel, chance_mismatch
from ..stages.prepare import Prepared
from ..stages.propose import identity, propose, search_proposal
from ..stages.refine import Refiner
from ..stages.schedule import INTENSITY, Level, schedule

__all__ = ["VOXELS", "Signs", "changed_header", "evidence", "gather"]

VOXELS = 100_000
"""Voxels of the working grid on which the signs are computed; a coarse one suffices for the comparisons."""

ITERATIONS_SHARE = 0.5
"""Iterations of the further registrations, as a share of those of the run."""

MIN_ITERATIONS = 20
"""Iterations that the further registrations have at least."""

COARSE_LEVELS = 2
"""Levels of the schedule that they run, from the coarsest: those which compare descriptors in the schedule for
intensities, whatever the contrasts, for with them the calibration was made."""

TURN, TURN_AXIS = math.radians(6.0), (0.48, 0.60, -0.64)
SHIFT, SHIFT_SIGNS, GROWTH = 0.04, (1, -1, 1), 1.03
"""How the moving scan's header is changed: a rotation about an axis, a shift as a share of the scan's extent along each
of its axes, and a factor on its size. Fixed numbers, so that two runs agree; of the size that poses differ by."""

CHANGED_STEPS = 12
"""Gauss-Newton steps, rigid and affine, that the linear part of the changed scan has at most."""

NEAR, WIDE = 1.0, 4.0
"""Standard deviations, voxels of the signs' grid, of the neighborhoods over which the signs are averaged."""

STRAIN_SIGMA = 1.5
"""The same for the strain."""

PULL_SIGMA, PULL_SHARPNESS = 2.24, 40.0
"""Standard deviation, voxels, of the surroundings that are matched; factor in the softmax over displacements, applied
to their mismatch as a share of that of unrelated places."""


@dataclasses.dataclass(frozen=True, eq=False)
class Signs:
    """What the expected error is computed from, on a coarse isotropic grid over the fixed body.

    Attributes:
        geometry: The grid, along the fixed scan's canonical axes.
        weight: ``(D, H, W)``, 1 in the fixed body, else 0.
        inside: ``(D, H, W)``, 1 where the mapped place lies in the moving scan (and its mask), else 0.
        fixed, warped: Intensities ``(D, H, W)`` of the fixed scan and of the warped moving scan.
        u: Displacement before the linear part ``(3, D, H, W)``, mm along the fixed axes.
        back: Where going to the moving scan and back leads, minus the place itself, ``(3, D, H, W)`` mm.
        followed: Where the registration to the changed scan leads, with the change undone, minus where the result
            leads, ``(3, D, H, W)`` mm along the fixed axes.
        apart: Distance of the two directions of the refinement ``(D, H, W)``, mm; None where it had one only.
        voxel_mm: Mean spacing of the coarser of the two scans.
    """

    geometry: Geometry
    weight: torch.Tensor
    inside: torch.Tensor
    fixed: torch.Tensor
    warped: torch.Tensor
    u: torch.Tensor
    back: torch.Tensor
    followed: torch.Tensor
    apart: torch.Tensor | None
    voxel_mm: float


def gather(
    fixed: Prepared,
    moving: Prepared,
    linear: np.ndarray,
    field: Image,
    settings: Settings,
    monitor: Monitor,
    apart: Image | None = None,
) -> Signs:
    """Register coarsely twice more, and compare.

    Args:
        fixed, moving: The prepared scans.
        linear: (4, 4), LPS mm, fixed -> moving.
        field: The forward displacement before `linear`, ``(3, D, H, W)`` mm along the canonical fixed axes.
        settings: Those of the run.
        monitor: That of the run. After the answer "keep" the further registrations are not refined.
        apart: Distance of the refinement's two directions ``(D, H, W)``, mm, on any grid along the fixed axes.
    """
    level = LinearLevel(fixed, moving, VOXELS, linear, described=False)
    geometry = level.fixed_geometry
    u = resample(field, geometry, smooth=False)
    backward = _backward(fixed, moving, linear, settings, monitor)
    monitor.tell(0.45)
    followed = _followed(fixed, moving, linear, u, settings, monitor)
    monitor.tell(0.6)
    warped, inside = level.intensities(linear, u.tensor)
    return Signs(
        geometry,
        level.weight,
        inside,
        resample(fixed.image, geometry).tensor,
        warped,
        u.tensor,
        disagreement(linear, u, backward),
        followed,
        None if apart is None else resample(apart, geometry).tensor,
        max(scan.image.geometry.mean_spacing for scan in (fixed, moving)),
    )


def evidence(signs: Signs) -> dict[str, torch.Tensor]:
    """The signs as one number per place, ``(D, H, W)`` each; larger values indicate a larger error.

    Returns:
        In mm: "back_near" and "back_wide", the inverse consistency error, averaged over a small and over a wide
        neighborhood; "followed_near" and "followed_wide", the same of the changed scan; "apart_near" and "apart_wide",
        the same of the refinement's two directions, where it had two; "pull", how far from its mapped place the
        surroundings of a voxel match best; "motion", the length of the displacement. As a share: "strain" of the field.
    """
    found = {}
    for name, vectors in (("back", signs.back), ("followed", signs.followed)):
        length = vectors.norm(dim=0)
        found |= {f"{name}_near": smooth(length, NEAR), f"{name}_wide": smooth(length, WIDE)}
    if signs.apart is not None:
        found |= {"apart_near": smooth(signs.apart, NEAR), "apart_wide": smooth(signs.apart, WIDE)}
    spacing = signs.geometry.spacing[0]
    return found | {
        "pull": _pull(signs).mul_(spacing),
        "motion": smooth(signs.u.norm(dim=0), WIDE),
        "strain": smooth(strain(signs.u, spacing), STRAIN_SIGMA),
    }


def _pull(signs: Signs) -> torch.Tensor:
    """Length, voxels, of the mean of the 27 displacements by at most a voxel per axis, weighted by how well they match.

    Outside the moving scan nothing pulls.
    """
    fixed, moving = mind_ssc(signs.fixed), mind_ssc(signs.warped)
    chance = chance_mismatch(fixed, signs.weight, moving, signs.weight * signs.inside)
    d, h, w = signs.geometry.shape
    padded = torch.nn.functional.pad(moving[None], [1] * 6, mode="replicate")[0]
    offsets, costs = list(itertools.product((-1, 0, 1), repeat=3)), []
    for z, y, x in offsets:
        beside = padded[:, 1 + z : 1 + z + d, 1 + y : 1 + y + h, 1 + x : 1 + x + w]
        mismatch = (beside - fixed).square_().mean(dim=0).div_(chance)
        costs.append(smooth(mismatch * signs.inside + (1 - signs.inside), PULL_SIGMA))
    likely = torch.softmax(torch.stack(costs).mul_(-PULL_SHARPNESS), dim=0)
    steps = torch.tensor(offsets, dtype=likely.dtype, device=likely.device)
    return torch.einsum("kdhw,kc->cdhw", likely, steps).norm(dim=0)


def _levels(level: LinearLevel, settings: Settings, monitor: Monitor) -> list[Level]:
    iterations = 0 if monitor.keep else max(MIN_ITERATIONS, round(settings.coarse_iterations * ITERATIONS_SHARE))
    return schedule(INTENSITY, level.spacing / 2, iterations, coarsest_only=COARSE_LEVELS)


def _deformed(level: LinearLevel, linear: np.ndarray, settings: Settings, monitor: Monitor) -> Image:
    """The displacement of a coarse registration of its own, with a given linear part."""
    makers = [identity] if monitor.keep else [identity, search_proposal]
    start = propose(level, linear, makers)[0]
    refiner = Refiner(level.fixed_scan, level.moving_scan, linear, smoothness=settings.smoothness)
    return refiner.run(_levels(level, settings, monitor), start.field)


def _backward(fixed: Prepared, moving: Prepared, linear: np.ndarray, settings: Settings, monitor: Monitor) -> Image:
    back = np.linalg.inv(linear)
    return _deformed(LinearLevel(moving, fixed, VOXELS, back), back, settings, monitor)


def _followed(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, u: Image, settings: Settings, monitor: Monitor
) -> torch.Tensor:
    """`Signs.followed`, on the grid of u."""
    changed, change = changed_header(moving)
    level = LinearLevel(fixed, changed, VOXELS, linear)
    matrix, _ = level.refine(linear, freedom=RIGID, steps=CHANGED_STEPS)
    matrix, _ = level.turned(matrix).refine(matrix, freedom=AFFINE, steps=CHANGED_STEPS)
    field = _deformed(level.turned(matrix), matrix, settings, monitor)
    v = resample(field, u.geometry, smooth=False).tensor
    # x + R v, mapped to the changed scan, back to the scan as it is, and before the linear part: mm along the axes
    whole = np.linalg.inv(linear) @ np.linalg.inv(change) @ matrix
    axes, origin = u.geometry.direction, np.array(u.geometry.origin)
    turn = torch.from_numpy(axes.T @ whole[:3, :3] @ axes).to(v)
    shift = torch.from_numpy(axes.T @ (whole[:3, :3] @ origin + whole[:3, 3] - origin)).to(v)
    places = _places(u.geometry, v)
    there = (turn @ (places + v).reshape(3, -1)).reshape(v.shape) + shift.view(3, 1, 1, 1)
    return there - (places + u.tensor)


def _places(geometry: Geometry, like: torch.Tensor) -> torch.Tensor:
    """``(3, D, H, W)``: mm along the grid's axes from its first voxel."""
    lines = [torch.arange(n, dtype=like.dtype, device=like.device) * s for n, s in zip(geometry.size, geometry.spacing)]
    z, y, x = torch.meshgrid(lines[2], lines[1], lines[0], indexing="ij")
    return torch.stack([x, y, z])


def changed_header(moving: Prepared) -> tuple[Prepared, np.ndarray]:
    """The scan with a changed header and the same voxels, and the change: (4, 4), LPS mm, old -> new places."""
    geometry = moving.image.geometry
    turn = _rotation(np.array(TURN_AXIS), TURN)
    change = np.eye(4)
    change[:3, :3] = GROWTH * turn
    extent = (np.array(geometry.size) - 1) * geometry.spacing
    shift = geometry.direction @ (SHIFT * extent * np.array(SHIFT_SIGNS))
    change[:3, 3] = geometry.center + shift - change[:3, :3] @ geometry.center

    def moved(image: Image) -> Image:
        grid = image.geometry
        origin = (change @ np.append(grid.origin, 1))[:3]
        placed = dataclasses.replace(
            grid,
            origin=tuple(float(v) for v in origin),
            spacing=tuple(GROWTH * s for s in grid.spacing),
            direction=turn @ grid.direction,
        )
        return Image(image.tensor, placed)

    return dataclasses.replace(moving, image=moved(moving.image), mask=moved(moving.mask)), change


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """3x3, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
