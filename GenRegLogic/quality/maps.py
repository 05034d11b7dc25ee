"""Maps that show where a registration can be trusted: one value per voxel, to be displayed over the fixed scan.

Key functions: `log_jacobian` (expansion and contraction), `displacement_magnitude`, `local_similarity`,
`confidence_on` (the expected error on another grid) and `worst_places` (where to look first).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..space.field import (
    DisplacementField,
    Transform,
    apply_matrix,
    as_slab,
    voxel_centers,
    world_to_unit,
)
from ..space.geometry import Geometry
from ..space.grid import Image, canonical_geometry, grid_over, resample, sample, stored_array
from ..space.jacobian import MIN_DETERMINANT_FOR_LOG, determinants
from ..space.smoothing import smooth
from ..space.volume import Volume
from ..stages.describe import mind_ssc
from ..stages.linear import chance_mismatch
from ..stages.prepare import Prepared, mask_on, prepare

__all__ = [
    "MAP_VOXELS",
    "Place",
    "confidence_on",
    "displacement_magnitude",
    "local_similarity",
    "log_jacobian",
    "map_grid",
    "worst_places",
]

MAP_VOXELS = 16_000_000
"""Largest number of voxels of a map; for a larger scan it is computed on a coarser grid, without visible loss."""

SIMILARITY_VOXELS = 1_000_000
"""Largest number of voxels of the grid on which descriptors are compared: 2 x 48 bytes per voxel (12 channels each)."""

SIMILARITY_SIGMA = 1.0
"""Standard deviation, in voxels of that grid, of the neighborhood over which the mismatch is averaged."""

APART_SHARE = 1 / 8
"""Share of the map's diagonal that is always enough distance between two of the worst places, for small bodies."""


@dataclass(frozen=True, eq=False)
class Place:
    """A place that should be inspected.

    Attributes:
        point: (3,) LPS mm, in the frame of the fixed scan.
        expected_error_mm: The expected error there.
        reason: One sentence for the user.
    """

    point: np.ndarray
    expected_error_mm: float
    reason: str


def map_grid(fixed: Geometry, max_voxels: int = MAP_VOXELS) -> Geometry:
    """The fixed scan's grid, or a coarser one between the same corners with at most `max_voxels` voxels."""
    return fixed.coarsened(max_voxels)


def log_jacobian(field: DisplacementField) -> Volume:
    """Natural logarithm of the local volume change, det J, of the whole mapping, its linear part included.

    Above 0 a piece of tissue is larger in the moving scan than in the fixed one, so warping compresses it; below 0 it
    is smaller, so warping expands it. Derivatives are central differences along the grid's axes, one-sided at its edge.

    Args:
        field: Fixed -> moving.

    Returns:
        (k, j, i) float32 on the field's grid. Where the mapping folds or nearly folds (det J under 0.001) it is
        ln 0.001 = -6.9, the lowest value, so that a map has no NaN and folds are conspicuous.
    """
    out = np.empty(field.geometry.shape, np.float32)
    for start, central, _ in determinants(field):
        out[start : start + len(central)] = central.clamp(min=MIN_DETERMINANT_FOR_LOG).log_().numpy()
    return Volume(out, field.geometry)


def displacement_magnitude(field: DisplacementField) -> Volume:
    """Length of the displacement, mm, (k, j, i) float32 on the field's grid; the linear part is included."""
    out = np.empty(field.geometry.shape, np.float32)
    for k, plane in enumerate(field.array):
        np.sqrt(np.einsum("jix,jix->ji", plane, plane), out=out[k])
    return Volume(out, field.geometry)


def local_similarity(fixed: Volume, moving: Volume, transform: Transform) -> Volume:
    """How similar the fixed and the warped moving scan are around each voxel, whatever their contrasts.

    It compares MIND-SSC descriptors, which describe where edges are and not which side is brighter. The mismatch in a
    neighborhood is divided by the mismatch of unrelated places of the two bodies.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        transform: Fixed -> moving, LPS mm.

    Returns:
        (k, j, i) float32 on the fixed grid (`map_grid`): 1 where the scans have the same structure, 0 where they are
        no more similar than unrelated places, and 0 outside the moving scan. It is low where there is only noise.
    """
    with torch.inference_mode():
        cpu = torch.device("cpu")
        prepared = [
            prepare(scan, mask=None, device=cpu, role=role) for scan, role in ((fixed, "fixed"), (moving, "moving"))
        ]
        similarity = _similarity(*prepared, transform)
        target = map_grid(fixed.geometry)
        array = resample(similarity, canonical_geometry(target), smooth=False).tensor.numpy()
    return Volume(np.ascontiguousarray(stored_array(array, target)), target)


def _similarity(fixed: Prepared, moving: Prepared, transform: Transform) -> Image:
    """On an isotropic grid over the fixed scan, canonical axes."""
    whole = fixed.image.geometry
    extent = (np.array(whole.size) - 1) * whole.spacing
    native = max(scan.image.geometry.mean_spacing for scan in (fixed, moving))
    spacing = max(native, float(np.prod(extent) / SIMILARITY_VOXELS) ** (1 / 3))
    grid = grid_over(whole, (spacing,) * 3)
    warped, inside = warped_on(moving, transform, grid)
    weight = mask_on(fixed, grid)
    a, b = mind_ssc(resample(fixed.image, grid).tensor), mind_ssc(warped)
    chance = chance_mismatch(a, weight, b, weight * inside)
    mismatch = (a - b).square_().mean(dim=0)
    # Only places in both scans contribute to the mean of their neighborhood.
    share = smooth(inside, SIMILARITY_SIGMA).clamp_(min=1e-3)
    mismatch = smooth(mismatch * inside, SIMILARITY_SIGMA) / share
    return Image((1 - mismatch / chance).clamp_(0, 1) * inside, grid)


def warped_on(moving: Prepared, transform: Transform, grid: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
    """The moving intensities on a grid in the fixed frame, smoothed according to its spacing, and where they exist.

    Args:
        moving: The prepared moving scan, on the CPU.
        transform: Fixed -> moving, LPS mm.
        grid: In the fixed frame.

    Returns:
        Two (k, j, i) tensors; the second is 1 inside the moving scan and 0 outside.
    """
    own = moving.image.geometry
    step = grid.mean_spacing
    coarse = grid_over(own, tuple(max(step, s) for s in own.spacing))
    image = resample(moving.image, coarse).tensor[None]
    values, inside = (torch.empty(grid.shape) for _ in range(2))
    half_voxel = 1.0 / (torch.tensor(own.size, dtype=torch.float32) - 1).clamp(min=1).view(3, 1)
    for slab, points in voxel_centers(grid):
        there = points + transform.displacements(points)
        shape = values[slab].shape
        values[slab] = sample(image, apply_matrix(world_to_unit(coarse), there)).reshape(shape)
        within = apply_matrix(world_to_unit(own), there).abs() <= 1 + half_voxel
        inside[slab] = within.all(dim=0).float().reshape(shape)
    return values, inside


def confidence_on(confidence: Volume, geometry: Geometry, *, inside_only: bool = False) -> Volume:
    """The expected error on another grid; outside the map the value of its nearest edge voxel is used.

    Args:
        confidence: Expected error, mm, as `register` returns it: on a coarse grid around the fixed body.
        geometry: A grid in the frame of the fixed scan.
        inside_only: 0 outside the map, and where its nearest voxel is 0: nothing was judged there.

    Returns:
        (k, j, i) float32 mm on `geometry`, interpolated linearly; with `inside_only` from judged voxels alone.
    """
    values = torch.from_numpy(np.ascontiguousarray(confidence.array, np.float32))
    source = torch.stack([values, (values > 0).float()])
    to_unit = world_to_unit(confidence.geometry)
    out = np.empty(geometry.shape, np.float32)
    for slab, points in voxel_centers(geometry):
        error, judged = sample(source, apply_matrix(to_unit, points))
        if inside_only:
            within = torch.from_numpy(confidence.geometry.contains(points.numpy().T)) & (judged >= 0.5)
            error = error / judged.clamp(min=0.5) * within
        out[slab] = as_slab(error.expand(3, -1), geometry)[..., 0]
    return Volume(out, geometry)


def worst_places(
    confidence: Volume, *, count: int = 10, apart_mm: float = 15.0, similarity: Volume | None = None
) -> list[Place]:
    """The places where the expected error is largest, the worst first.

    Args:
        confidence: Expected error, mm. Voxels where it is 0, as outside the body, are never returned.
        count: Largest number of places.
        apart_mm: Least distance between two places; in a small body an eighth of the map's diagonal is enough.
        similarity: Local similarity after the registration (`local_similarity`), which is mentioned in the reasons.

    Returns:
        The places; fewer than `count` where no more are that far apart.
    """
    left = np.array(confidence.array, np.float32)
    geometry = confidence.geometry
    apart_mm = min(apart_mm, APART_SHARE * float(np.linalg.norm(geometry.extent_mm)))
    places: list[Place] = []
    while len(places) < count:
        at = np.unravel_index(int(np.argmax(left)), left.shape)
        if not left[at] > 0:
            break
        point = geometry.to_world(np.array(at[::-1], float))
        places.append(Place(point, float(left[at]), _reason(float(left[at]), point, similarity)))
        _clear_ball(left, at, apart_mm / np.array(geometry.spacing[::-1]))
    return places


UNLIKE_BELOW = 0.1
"""Local similarity below which two places look unrelated."""


def _reason(error_mm: float, point: np.ndarray, similarity: Volume | None) -> str:
    unlike = False
    if similarity is not None:
        index = np.rint(similarity.geometry.to_index(point)).astype(int)
        index = index.clip(0, np.array(similarity.geometry.size) - 1)
        unlike = similarity.array[tuple(index[::-1])] < UNLIKE_BELOW
    size = f"{error_mm:.1f}" if error_mm >= 1 else f"{error_mm:.2g}"
    if unlike:
        return f"The two scans look unlike each other here, and the alignment may be off by {size} mm."
    return f"The alignment may be off by {size} mm here."


def _clear_ball(array: np.ndarray, center: tuple[int, ...], radii: np.ndarray) -> None:
    """Set an ellipsoid with these radii (voxels, k j i) around a voxel, and the voxel itself, to -inf."""
    low = [max(0, math.floor(c - r)) for c, r in zip(center, radii)]
    high = [min(n, math.ceil(c + r) + 1) for c, r, n in zip(center, radii, array.shape)]
    lines = [((np.arange(a, b) - c) / max(r, 1e-6)) ** 2 for a, b, c, r in zip(low, high, center, radii)]
    inside = lines[0][:, None, None] + lines[1][:, None] + lines[2] <= 1
    array[tuple(slice(a, b) for a, b in zip(low, high))][inside] = -np.inf
