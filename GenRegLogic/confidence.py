"""The confidence map: where registering there and back again doesn't lead home."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .field import DisplacementField, sample_transform
from .grid import Image, Sampler, resample, sample
from .inverse import fit_affine
from .linear import LinearLevel
from .prepare import Prepared, prepare, working_grid
from .progress import SHARES, Monitor
from .propose import identity, propose, search_proposal
from .refine import DESCRIPTOR, Refiner, schedule
from .settings import Settings
from .similarity import smooth
from .volume import Geometry, Volume, check_registrable

__all__ = ["confidence_map", "confidence_of", "estimate_confidence"]

VOXELS = 100_000
"""Of the moving scan's working grid for the way back: a coarse registration is enough to disagree."""

ITERATIONS_SHARE = 0.5
"""Of the forward registration's iterations."""

MIN_ITERATIONS = 20

COARSE_LEVELS = 2


def estimate_confidence(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, field: Image, settings: Settings, monitor: Monitor
) -> Volume:
    """Register the other way round, coarsely and independently, and compare.

    Args:
        fixed, moving: the scans.
        linear: 4x4, LPS mm, fixed -> moving.
        field: the forward displacement before it, mm on the canonical fixed axes ``(3, D, H, W)``.
        settings: of the run.
        monitor: of the run; where it was told to stop and keep, the way back is not refined.

    Returns:
        See `confidence_map`.
    """
    ways = there_and_back(fixed, moving, linear, field, settings, monitor)
    return confidence_map(linear, *ways)


def there_and_back(
    fixed: Prepared, moving: Prepared, linear: np.ndarray, field: Image, settings: Settings, monitor: Monitor
) -> tuple[Image, Image]:
    """The forward displacement on a coarse grid, and the backward one of a registration of its own.

    The arguments are those of `estimate_confidence`. The way back starts under the inverse of `linear`, searches and
    refines whatever the forward run was allowed to do: a run that did nothing would agree with itself.
    """
    back = np.linalg.inv(linear)
    level = LinearLevel(moving, fixed, VOXELS, back)
    start = identity(level, back) if monitor.keep else propose(level, back, [identity, search_proposal])[0]
    monitor.tell(0.4)
    iterations = 0 if monitor.keep else max(MIN_ITERATIONS, round(settings.coarse_iterations * ITERATIONS_SHARE))
    levels = schedule(DESCRIPTOR, level.spacing / 2, iterations, coarsest_only=COARSE_LEVELS)
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
        tell: Receives the fraction done; it may raise `Cancelled`.

    Returns:
        See `confidence_map`.

    Raises:
        InputError: A scan is unusable.
    """
    device = device or torch.device("cpu")
    scans = [prepare(check_registrable(scan, role), mask=None, device=device, role=role)
             for scan, role in ((fixed, "fixed"), (moving, "moving"))]  # fmt: skip
    linear = fit_affine(transform).matrix
    grid = working_grid(scans[0], LinearLevel(*scans, VOXELS, linear).spacing)
    monitor = Monitor(device, lambda progress: tell(min(1.0, progress.fraction / SHARES["finish"])))
    with monitor.stage("finish"):
        field = _without_linear(transform, linear, grid, device)
        return estimate_confidence(*scans, linear, field, Settings(), monitor)


def _without_linear(transform: DisplacementField, linear: np.ndarray, grid: Geometry, device: torch.device) -> Image:
    """What a field does before its linear part, mm on the canonical axes of a grid ``(3, D, H, W)``."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    points = grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    there = points + sample_transform(transform, grid).array.reshape(-1, 3)
    before = there @ np.linalg.inv(linear)[:3, :3].T + np.linalg.inv(linear)[:3, 3]
    u = ((before - points) @ grid.direction).T.reshape(3, *grid.shape)
    return Image(torch.from_numpy(u).float().to(device), grid)


def confidence_map(linear: np.ndarray, forward: Image, backward: Image) -> Volume:
    """Expected error in mm: how far one comes back from where one started, there and back by separate registrations.

    Args:
        linear: 4x4, LPS mm, fixed -> moving; `backward` was found under its inverse.
        forward: displacement on the fixed axes, mm ``(3, D, H, W)``, applied before `linear`.
        backward: displacement on the moving axes, mm, applied before the inverse of `linear`.

    Returns:
        A float32 volume on the grid of `forward`, canonical axes.
    """
    error = smooth(disagreement(linear, forward, backward).norm(dim=0), 1.0)
    return Volume(error.cpu().numpy(), forward.geometry)


def disagreement(linear: np.ndarray, forward: Image, backward: Image) -> torch.Tensor:
    """Where one ends who goes there and back, relative to where one started: ``(3, D, H, W)`` mm on the fixed axes.

    The arguments are those of `confidence_map`.
    """
    geometry = forward.geometry
    u = forward.tensor
    sampler = Sampler(geometry, backward.geometry, linear, u.device)
    w = sample(backward.tensor, sampler.coordinates(u))                       # mm along the moving axes
    # A^-1 (A (x + R u) + R' w) - x = R u + A^-1 R' w
    axes = torch.from_numpy(geometry.direction.T @ np.linalg.inv(linear[:3, :3]) @ backward.geometry.direction)
    return u + (axes.float().to(u.device) @ w.reshape(3, -1)).reshape(w.shape)
