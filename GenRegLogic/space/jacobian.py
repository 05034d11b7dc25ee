"""Jacobian determinants of a displacement field: where it folds, and by how much it changes volumes.

Derivatives are differences of neighboring voxels along the grid's axes, mm per mm, of the whole mapping from fixed to
moving points. A determinant of 1 is no change of volume, 2 a doubling, 0 or less a fold.

Key functions: `jacobian_figures`, `determinants`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch

from .field import DisplacementField
from .volume import Volume, as_mask

__all__ = ["MIN_DETERMINANT_FOR_LOG", "determinants", "jacobian_figures"]

SLAB_VOXELS = 2**17
"""Voxels per slab, few enough that its about thirty temporary arrays stay in the processor's cache."""

MIN_DETERMINANT_FOR_LOG = 1e-3
"""Determinants are clamped to this before the logarithm, so that a fold counts as a large but finite value."""


def jacobian_figures(field: DisplacementField, *, mask: Volume | np.ndarray | None = None) -> dict[str, float]:
    """Percent of folded voxels, and spread and extremes of the Jacobian determinant, over the field's grid.

    Central differences, one-sided at the edges of the grid.

    Args:
        field: Fixed -> moving, any direction matrix.
        mask: (k, j, i), nonzero where ``sdlogj`` is computed; everywhere by default. The other figures are always of
            the whole grid.

    Returns:
        folds_pct: Percent of voxels with det J <= 0, central differences.
        ndv_pct: Percent of voxels where any of the eight determinants of one-sided differences is <= 0
            (non-diffeomorphic volume; Liu et al., "On finite difference Jacobian computation in deformable image
            registration", IJCV 2024); it finds folds that central differences miss.
        sdlogj: Standard deviation of log det J.
        min_det, max_det: Minimum and maximum of det J, central differences.

    Raises:
        InputError: The mask does not fit the field's grid.

    Example:
        A field that halves every distance along x does not fold:

        >>> from GenRegLogic.space.field import AffineTransform, sample_transform
        >>> from GenRegLogic.space.geometry import Geometry
        >>> grid = Geometry((8, 8, 8))
        >>> half = AffineTransform(np.diag([0.5, 1, 1, 1]))
        >>> figures = jacobian_figures(sample_transform(half, grid))
        >>> figures["folds_pct"], figures["ndv_pct"], figures["min_det"]
        (0.0, 0.0, 0.5)
    """
    inside = None if mask is None else as_mask(mask, field.geometry)
    folds = bad = count = 0
    total = squares = 0.0
    low, high = math.inf, -math.inf
    for start, central, least in determinants(field):
        folds += int((central <= 0).sum())
        bad += int((least <= 0).sum())
        low, high = min(low, float(central.min())), max(high, float(central.max()))
        if inside is not None:  # from here on, for `sdlogj` only
            central = central[torch.from_numpy(inside[start : start + len(central)])]
        log = central.clamp(min=MIN_DETERMINANT_FOR_LOG).log_()
        count += log.numel()
        total += float(log.sum(dtype=torch.float64))
        squares += float(log.square_().sum(dtype=torch.float64))
    voxels = math.prod(field.geometry.size)
    variance = max(0.0, squares / count - (total / count) ** 2) if count else 0.0
    return {
        "folds_pct": 100.0 * folds / voxels,
        "ndv_pct": 100.0 * bad / voxels,
        "sdlogj": math.sqrt(variance),
        "min_det": low,
        "max_det": high,
    }


def determinants(field: DisplacementField) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """The Jacobian determinants at every voxel, slab by slab, so that a large field needs little memory.

    Args:
        field: Fixed -> moving, any direction matrix.

    Yields:
        Per slab along k: the index of its first plane, the determinants of central differences and the smallest of
        the eight determinants of one-sided differences, both (k, j, i) float32.

    Example:
        >>> from GenRegLogic.space.geometry import Geometry
        >>> shift = DisplacementField(np.full((4, 4, 4, 3), 2.5), Geometry((4, 4, 4)))
        >>> for start, central, least in determinants(shift):
        ...     print(start, tuple(central.shape), float(central.min()), float(least.min()))
        0 (4, 4, 4) 1.0 1.0
    """
    n_k, n_j, n_i = field.geometry.shape
    array = torch.from_numpy(field.array)
    columns = torch.tensor(field.geometry.direction, dtype=torch.float32)
    sign = 1.0 if float(torch.det(columns)) > 0 else -1.0
    step = max(1, SLAB_VOXELS // (n_j * n_i))
    for start in range(0, n_k, step):
        stop = min(start + step, n_k)
        first, last = max(start - 1, 0), min(stop + 1, n_k)
        slab = array[first:last].permute(3, 0, 1, 2).contiguous()
        sides = []  # per axis i, j, k: the backward and the forward derivative of the mapping, (3, k, j, i) each
        for axis in range(3):
            dim = 3 - axis
            slope = slab.diff(dim=dim).div_(field.geometry.spacing[axis])
            slope += columns[:, axis].view(3, 1, 1, 1)
            if axis == 2:  # the planes above and below the slab, repeated at the ends of the grid
                slope = torch.cat([slope[:, :1]] * (start == 0) + [slope] + [slope[:, -1:]] * (stop == n_k), dim=1)
            else:
                ends = slope.narrow(dim, 0, 1), slope.narrow(dim, slope.shape[dim] - 1, 1)
                slope = torch.cat([ends[0], slope, ends[1]], dim=dim)
                slope = slope[:, start - first : start - first + stop - start]
            length = slope.shape[dim] - 1
            sides.append((slope.narrow(dim, 0, length), slope.narrow(dim, 1, length)))
        yield start, *_central_and_least(sides, sign)


def _central_and_least(
    sides: list[tuple[torch.Tensor, torch.Tensor]], sign: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The eight one-sided determinants' mean and minimum.

    A determinant is linear in each column and a central difference is the mean of the two one-sided ones, so the
    mean of the eight *is* the determinant of the central differences.
    """
    mean = least = None
    for j, k in itertools.product(*sides[1:]):
        normal = (j[1] * k[2] - j[2] * k[1], j[2] * k[0] - j[0] * k[2], j[0] * k[1] - j[1] * k[0])
        for i in sides[0]:
            det = i[0] * normal[0]
            det.addcmul_(i[1], normal[1]).addcmul_(i[2], normal[2]).mul_(sign)
            mean = det.clone() if mean is None else mean.add_(det)
            least = det if least is None else torch.minimum(least, det, out=least)
    return mean.div_(8), least
