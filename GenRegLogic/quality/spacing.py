"""How far a displacement field on a coarser grid is from the mapping that it was sampled from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from ..space.field import DisplacementField, voxel_centers
from ..space.geometry import Geometry
from ..space.grid import Image
from ..space.split import displacements_with_linear
from ..stages.prepare import Prepared, mask_on

__all__ = ["sampling_error", "transform_figures"]

SLAB_VOXELS = 2**22
"""Voxels of the scan handled at once: their vectors take 50 MB."""

MEASURED_VOXELS = 50_000_000
"""Voxels at which the error is measured at most: for each of them the transform is interpolated."""

BINS_PER_OCTAVE = 64
OCTAVES = (-20, 12)
"""Of the histogram of errors from which the percentile is read, within 0.6 %: from a millionth of 1 mm to 4 m."""


def transform_figures(
    scan: Geometry,
    fixed: Prepared,
    forward: DisplacementField,
    field: Image | None = None,
    linear: np.ndarray | None = None,
) -> dict:
    """Grid and error of a transform, for the key "transform" of a report.

    Args:
        scan: Grid of the fixed scan.
        fixed: The prepared fixed scan.
        forward: The transform, fixed -> moving, LPS mm.
        field: The displacement before the linear part that `forward` was sampled from, ``(3, D, H, W)`` mm along the
            canonical fixed axes; None where there is no such field.
        linear: Its linear part, 4x4, LPS mm, fixed -> moving.

    Returns:
        "spacing_mm" and "size" along (i, j, k); "error_mean_mm", "error_p95_mm" (95th percentile) and "error_max_mm",
        which are None where the grid is the scan's own or there is no `field`.
    """
    grid = forward.geometry
    figures = {"spacing_mm": list(grid.spacing), "size": list(grid.size)}
    if field is None or grid.is_close(scan):
        return figures | dict.fromkeys(("error_mean_mm", "error_p95_mm", "error_max_mm"))
    return figures | sampling_error(fixed, forward, field, linear)


def sampling_error(fixed: Prepared, forward: DisplacementField, field: Image, linear: np.ndarray) -> dict:
    """The distance between a transform and the mapping it was sampled from, at the fixed scan's voxels in the body.

    Slab by slab: the mapping is never held at all voxels of the scan. Of scans with more than `MEASURED_VOXELS`, every
    second plane is measured, or every third and so on.

    Args:
        fixed: The prepared fixed scan.
        forward: The transform, fixed -> moving, LPS mm.
        field: Displacement before the linear part, ``(3, D, H, W)`` mm along the canonical fixed axes.
        linear: The linear part, 4x4, LPS mm, fixed -> moving.

    Returns:
        "error_mean_mm", "error_p95_mm" (95th percentile) and "error_max_mm"; None where the body has no voxel.
    """
    total, count, worst = 0.0, 0, 0.0
    histogram = torch.zeros((OCTAVES[1] - OCTAVES[0]) * BINS_PER_OCTAVE, dtype=torch.int64)
    for slab in _slabs(fixed.image.geometry):
        inside = mask_on(fixed, slab).cpu() > 0
        if not bool(inside.any()):
            continue
        exact = displacements_with_linear(field, linear, slab).cpu()
        for part, points in voxel_centers(slab):
            difference = forward.displacements(points) - exact[:, part].reshape(3, -1)
            error = difference.square_().sum(dim=0).sqrt_()[inside[part].reshape(-1)]
            if error.numel():
                total, count = total + float(error.sum(dtype=torch.float64)), count + error.numel()
                worst = max(worst, float(error.max()))
                histogram += torch.bincount(_bins(error, len(histogram)), minlength=len(histogram))
    if not count:
        return dict.fromkeys(("error_mean_mm", "error_p95_mm", "error_max_mm"))
    return {
        "error_mean_mm": total / count,
        "error_p95_mm": min(_percentile(histogram, 0.95), worst),
        "error_max_mm": worst,
    }


def _slabs(geometry: Geometry) -> Iterator[Geometry]:
    """Parts of a grid along k, without the planes that are not measured."""
    n_i, n_j, n_k = geometry.size
    stride = math.ceil(n_i * n_j * n_k / MEASURED_VOXELS)
    geometry = Geometry(
        (n_i, n_j, -(-n_k // stride)),
        (*geometry.spacing[:2], stride * geometry.spacing[2]),
        geometry.origin,
        geometry.direction,
    )
    n_k = geometry.size[2]
    step = max(1, SLAB_VOXELS // (n_i * n_j))
    for start in range(0, n_k, step):
        origin = tuple(geometry.to_world((0, 0, start)))
        yield Geometry((n_i, n_j, min(step, n_k - start)), geometry.spacing, origin, geometry.direction)


def _bins(error: torch.Tensor, count: int) -> torch.Tensor:
    """Index of each error, mm, in the histogram."""
    octave = error.clamp(min=2.0 ** OCTAVES[0]).log2() - OCTAVES[0]
    return (octave * BINS_PER_OCTAVE).long().clamp_(max=count - 1)


def _percentile(histogram: torch.Tensor, share: float) -> float:
    """The error, mm, that a share of the counted ones does not exceed: the middle of its bin."""
    place = int((histogram.cumsum(0) < math.ceil(share * int(histogram.sum()))).sum())
    return 2.0 ** ((place + 0.5) / BINS_PER_OCTAVE + OCTAVES[0])
