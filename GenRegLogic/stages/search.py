"""Coupled-convex discrete search: finds large displacements without ending in local minima.

After Heinrich, Papiez, Schnabel, Handels, "Non-parametric discrete registration with convex optimisation" (WBIR 2014)
and Siebert, Hansen, Heinrich, "Fast 3D registration with accurate optimisation and little learning for Learn2Reg 2021"
(ConvexAdam): the mismatch of every control voxel at every displacement of a dense cube is computed once; then
point-wise minimization and smoothing alternate under a growing coupling, which approximates the global solution of the
regularized problem. Done in both directions; the two fields are then made inverse-consistent.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F

from ..space.grid import sample_quickly

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Coupling between the point-wise choice and the smooth field in each round, in units of a chance match per squared
control spacing; the values of ConvexAdam."""

INVERSE_STEPS = 15
"""Iterations that make two fields inverse-consistent."""

CACHED_ROWS = 256
"""Voxels whose coupled costs are computed at a time on the CPU, so that they stay in its cache."""

STAYING = 1e-4
"""Cost of a displacement by one control voxel, in chance matches, where nothing else says where a voxel belongs."""

LEAST_WEIGHT = 0.05
"""Of a control voxel outside the body or the scan when fields are smoothed."""


def displacement_cube(radius: int, device: torch.device) -> torch.Tensor:
    """All integer displacements ``(K, 3)`` (z, y, x) of a cube of side 2 r + 1."""
    line = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)


def mismatch_volume(
    fixed: torch.Tensor, moving: torch.Tensor, valid: torch.Tensor, radius: int, chance: float
) -> torch.Tensor:
    """Mean squared descriptor difference between each fixed voxel and the displaced moving voxels.

    Args:
        fixed: Descriptors ``(C, D, H, W)``.
        moving: Descriptors ``(C, D, H, W)`` on the same grid.
        valid: ``(D, H, W)`` share of each moving voxel that is inside its scan.
        radius: Of the displacement cube, voxels.
        chance: Mismatch of unrelated voxels, by which the differences are divided.

    Returns:
        ``(K, D, H, W)`` for the K displacements of `displacement_cube`; 1, a chance match, outside the moving scan.
    """
    channels, d, h, w = fixed.shape
    side = 2 * radius + 1
    padded = F.pad(moving[None], [radius] * 6, mode="replicate")[0]
    inside = F.pad(valid, [radius] * 6)
    out = fixed.new_empty((side, side, side, d, h, w))
    difference = torch.empty_like(fixed)
    for z, y, x in itertools.product(range(side), repeat=3):  # all voxels and channels at once: fits the cache
        here = (slice(z, z + d), slice(y, y + h), slice(x, x + w))
        torch.sub(padded[(slice(None), *here)], fixed, out=difference)
        cost = torch.sum(difference.mul_(difference), dim=0, out=out[z, y, x])
        cost.mul_(1 / (channels * chance)).sub_(1).mul_(inside[here]).add_(1)
    return out.reshape(side**3, d, h, w)


def coupled_convex(cost: torch.Tensor, radius: int, weight: torch.Tensor, smoothing: int = 1) -> torch.Tensor:
    """A smooth field of low mismatch.

    Args:
        cost: ``(K, D, H, W)`` from `mismatch_volume`.
        radius: Of the displacement cube, voxels.
        weight: ``(D, H, W)`` in (0, 1]: weight of each voxel's own choice in the smoothing.
        smoothing: Passes of the mean over 3x3x3 voxels.

    Returns:
        ``(3, D, H, W)`` voxels, components (x, y, z), fixed -> moving.
    """
    cube = displacement_cube(radius, cost.device)
    shape = cost.shape[1:]
    cost = cost.reshape(cost.shape[0], -1).T.contiguous()  # (N, K): a voxel's choices side by side
    field = torch.zeros((3, *shape), dtype=cost.dtype, device=cost.device)
    for coupling in (0.0, *COUPLING):
        field = _soften(cube[_cheapest(cost, field, cube, coupling)].T.reshape(3, *shape), weight, smoothing)
    return field.flip(0)


def _cheapest(cost: torch.Tensor, field: torch.Tensor, cube: torch.Tensor, coupling: float) -> torch.Tensor:
    """For each voxel the number of the displacement d that minimizes ``cost + coupling |d - u|^2``, ``(N,)``.

    Args:
        cost: ``(N, K)``.
        field: u, ``(3, D, H, W)`` with N voxels.
        cube: ``(K, 3)``.
        coupling: 0 or more.
    """
    ones = torch.ones_like(field[:1])
    here = torch.cat([field, ones]).reshape(4, -1).T  # |d - u|^2 without |u|^2, which does not depend on d
    there = torch.cat([cube * (-2 * coupling), cube.square().sum(dim=1, keepdim=True) * coupling], dim=1).T
    rows = CACHED_ROWS if cost.device.type == "cpu" else len(cost)
    parts = zip(cost.split(rows), here.split(rows))
    return torch.cat([torch.addmm(part, u, there).min(dim=1).indices for part, u in parts])


def _soften(field: torch.Tensor, weight: torch.Tensor, passes: int) -> torch.Tensor:
    top, bottom = (field * weight)[None], weight[None, None]
    for _ in range(passes):
        top = F.avg_pool3d(F.pad(top, [1] * 6, mode="replicate"), 3, stride=1)
        bottom = F.avg_pool3d(F.pad(bottom, [1] * 6, mode="replicate"), 3, stride=1)
    return (top / bottom)[0]


def inverse_consistent(forward: torch.Tensor, backward: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two fields with a lower inverse consistency error.

    Args:
        forward: ``(3, D, H, W)`` voxels, fixed -> moving.
        backward: ``(3, D, H, W)`` voxels on the same grid, moving -> fixed.

    Returns:
        Both fields, each the mean of itself and of the other one's inverse as far as the iterations reach it.
    """
    identity, scale = _identity(forward)
    for _ in range(INVERSE_STEPS):
        backward_there = sample_quickly(backward, identity + forward * scale)
        forward_there = sample_quickly(forward, identity + backward * scale)
        forward, backward = (forward - backward_there) / 2, (backward - forward_there) / 2
    return forward, backward


def _identity(field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalized coordinates of the voxels, and the factor from voxels to normalized coordinates."""
    lines = [torch.linspace(-1, 1, n, device=field.device) for n in field.shape[1:]]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    scale = torch.tensor([2 / max(n - 1, 1) for n in reversed(field.shape[1:])], device=field.device)
    return torch.stack([x, y, z]), scale.reshape(3, 1, 1, 1)


def search(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    valid: torch.Tensor,
    fixed_weight: torch.Tensor,
    radius: int,
    chance: float,
    smoothing: int = 1,
    seen: torch.Tensor | None = None,
) -> torch.Tensor:
    """The inverse-consistent field of the coupled-convex search in both directions.

    Args:
        fixed: Descriptors ``(C, D, H, W)``.
        moving: Descriptors ``(C, D, H, W)`` on the same grid.
        valid: ``(D, H, W)`` share of each moving voxel that is inside its scan.
        fixed_weight: ``(D, H, W)`` weight of each fixed voxel in the smoothing.
        radius: Largest displacement along each axis, voxels.
        chance: Mismatch of unrelated voxels.
        smoothing: Passes of the mean over 3x3x3 voxels.
        seen: ``(D, H, W)`` share of each fixed voxel that has a counterpart at all; the rest follows its neighbors.
            None: all of them.

    Returns:
        ``(3, D, H, W)`` voxels, components (x, y, z), fixed -> moving.
    """
    weight = fixed_weight.clamp(min=LEAST_WEIGHT)
    cost = mismatch_volume(fixed, moving, valid, radius, chance)
    if seen is not None:
        cost.sub_(1).mul_(seen).add_(1)
        cost += STAYING * displacement_cube(radius, cost.device).square().sum(dim=1).view(-1, 1, 1, 1)
    forward = coupled_convex(cost, radius, weight, smoothing)
    ones = torch.ones_like(valid)
    moving_weight = valid.clamp(min=LEAST_WEIGHT)
    backward = coupled_convex(mismatch_volume(moving, fixed, ones, radius, chance), radius, moving_weight, smoothing)
    return inverse_consistent(forward, backward)[0]
