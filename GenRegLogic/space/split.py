"""A mapping as a displacement followed by a linear part: ``x -> A (x + R u(x))``.

The stages work on u, in mm along the axes R of a canonical grid; callers get the whole mapping as a displacement field
in LPS mm. `with_linear` converts u to the whole mapping, `without_linear` the whole mapping to u.
"""

from __future__ import annotations

import numpy as np
import torch

from .field import DisplacementField, Transform, sample_transform
from .geometry import Geometry
from .grid import Image, Sampler, canonical_geometry, resample, sample_quickly, stored_array

__all__ = ["disagreement", "displacements_with_linear", "inverse_of", "with_linear", "without_linear"]


def with_linear(field: Image, linear: np.ndarray, geometry: Geometry | None = None) -> DisplacementField:
    """The whole mapping ``x -> A (x + R u(x))`` as a displacement field, fixed -> moving.

    Args:
        field: u, ``(3, D, H, W)`` mm along the canonical axes R, fixed -> moving.
        linear: A, 4x4, LPS mm, fixed -> moving.
        geometry: A grid with the stored axes of the fixed scan; None gives the field's own (canonical) grid.

    Returns:
        The field on that grid, LPS mm.

    Example:
        >>> u = Image(torch.zeros(3, 4, 4, 4), Geometry((4, 4, 4)))
        >>> doubled = np.diag([2.0, 2.0, 2.0, 1.0])
        >>> with_linear(u, doubled).array[1, 2, 3]
        array([3., 2., 1.], dtype=float32)
    """
    target = field.geometry if geometry is None else canonical_geometry(geometry)
    array = displacements_with_linear(field, linear, target).permute(1, 2, 3, 0).cpu().numpy()
    if geometry is None:
        return DisplacementField(array, target)
    return DisplacementField(stored_array(array, geometry), geometry)


def displacements_with_linear(field: Image, linear: np.ndarray, target: Geometry) -> torch.Tensor:
    """The same mapping on a grid with the canonical axes, components first: ``(3, D, H, W)`` LPS mm.

    Args:
        field: u, ``(3, D, H, W)`` mm along the canonical axes R, fixed -> moving.
        linear: A, 4x4, LPS mm, fixed -> moving.
        target: The grid.
    """
    u = resample(field, target, smooth=False).tensor
    index = target.index_to_world
    matrix = torch.from_numpy(linear[:3, :3] @ target.direction).float().to(u.device)
    offset = (linear - np.eye(4)) @ index  # index -> displacement of A alone
    d, h, w = target.shape
    out = (matrix @ u.reshape(3, -1)).reshape(3, d, h, w)
    for column, (count, shape) in enumerate(((w, (1, 1, w)), (h, (1, h, 1)), (d, (d, 1, 1)))):
        line = torch.from_numpy(offset[:3, column])[:, None] * torch.arange(count, dtype=torch.float64)
        if column == 0:
            line = line + torch.from_numpy(offset[:3, 3])[:, None]
        out += line.float().to(u.device).reshape(3, *shape)
    return out


def without_linear(
    transform: Transform, linear: np.ndarray, grid: Geometry, device: torch.device | None = None
) -> Image:
    """The displacement before a mapping's linear part: the u for which the mapping is ``x -> A (x + R u(x))``.

    Args:
        transform: The whole mapping, fixed -> moving. A displacement field on this very grid is not interpolated.
        linear: A, 4x4, LPS mm, fixed -> moving.
        grid: Of u, in the fixed frame; its axes are R.
        device: Of u; the CPU by default.

    Returns:
        u on the grid, ``(3, D, H, W)`` float32 mm along its axes.

    Example:
        >>> from GenRegLogic.space.field import AffineTransform, CompositeTransform
        >>> grid, doubled = Geometry((4, 4, 4)), np.diag([2.0, 2.0, 2.0, 1.0])
        >>> u = without_linear(AffineTransform(doubled), doubled, grid)
        >>> float(u.tensor.abs().max())
        0.0
        >>> moved = CompositeTransform((DisplacementField(np.ones((4, 4, 4, 3)), grid), AffineTransform(doubled)))
        >>> float(without_linear(moved, doubled, grid).tensor.mean())
        1.0
    """
    whole = transform.resampled(grid) if isinstance(transform, DisplacementField) else sample_transform(transform, grid)
    back = np.linalg.inv(linear)
    turn = grid.direction.T
    u = np.moveaxis(whole.array @ (turn @ back[:3, :3]).T.astype(np.float32), -1, 0).astype(np.float32, order="C")
    slopes = turn @ ((back - np.eye(4)) @ grid.index_to_world)[:3]  # index -> displacement of the inverse alone
    for column, count in enumerate(grid.size):
        shape = [1, 1, 1]
        shape[2 - column] = count
        line = slopes[:, column].reshape(3, 1, 1, 1) * np.arange(count).reshape(shape)
        u += (line + (slopes[:, 3].reshape(3, 1, 1, 1) if column == 0 else 0)).astype(np.float32)
    return Image(torch.from_numpy(u).to(device), grid)


def disagreement(linear: np.ndarray, forward: Image, backward: Image) -> torch.Tensor:
    """The inverse consistency error as vectors, end minus start: ``(3, D, H, W)`` mm on the fixed axes.

    Args:
        linear: (4, 4), LPS mm, fixed -> moving.
        forward: Displacement ``(3, D, H, W)``, mm along the fixed axes, applied before `linear`.
        backward: Displacement ``(3, D, H, W)``, mm along the moving axes, applied before the inverse of `linear`.
    """
    geometry = forward.geometry
    u = forward.tensor
    sampler = Sampler(geometry, backward.geometry, linear, u.device)
    w = sample_quickly(backward.tensor, sampler.coordinates(u))  # mm along the moving axes
    # A^-1 (A (x + R u) + R' w) - x = R u + A^-1 R' w
    axes = torch.from_numpy(geometry.direction.T @ np.linalg.inv(linear[:3, :3]) @ backward.geometry.direction)
    return u + (axes.float().to(u.device) @ w.reshape(3, -1)).reshape(w.shape)


def inverse_of(linear: np.ndarray, backward: Image, start: Image, rounds: int = 10) -> Image:
    """The displacement before `linear` whose mapping undoes another one, by fixed-point iteration.

    Args:
        linear: (4, 4), LPS mm, fixed -> moving.
        backward: Displacement ``(3, D, H, W)``, mm along the moving axes, applied before the inverse of `linear`.
        start: A guess, ``(3, D, H, W)`` mm along the fixed axes, on the grid of the result.
        rounds: Of the iteration; it converges where the backward field's slope is below 1.
    """
    u = start
    for _ in range(rounds):
        u = Image(u.tensor - disagreement(linear, u, backward), u.geometry)
    return u
