"""Figures of the quality of a registration.

Key functions: `tre` (landmarks), `dice` (labels), `nmi` and `lncc` (similarity), `inverse_error`, `motion_over` (how
far a transform moves things). They evaluate the given images or fields and take no part in the optimization. Folds and
volume change are in `space.jacobian`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..space.field import DisplacementField, Transform, apply_matrix, as_points, voxel_centers
from ..space.geometry import Geometry
from ..space.inverse import InverseError
from ..space.volume import Volume, as_labels, as_mask
from ..stages.similarity import box_sum

STRUCTURE_SHARE = 0.25
"""Of the local variance that averages over 27 voxels must keep for it to be structure and not noise."""

__all__ = ["Motion", "dice", "foreground", "inverse_error", "lncc", "motion_over", "nmi", "tre"]

SLAB_VOXELS = 2**17
"""Voxels per slab, chosen so that its roughly thirty temporary arrays stay in the processor's cache."""

FOREGROUND_PERCENTILE = 25
"""Percentile of the intensities above which a voxel counts as foreground."""

MAX_LABEL_TABLE = 2**22
"""Range of label values up to which labels are counted with a table; beyond, they are sorted."""

INTENSITY_PERCENTILES = (0.01, 99.99)
"""Percentiles between which intensities are binned."""

MIN_RELATIVE_VARIANCE = 1e-5
"""Windows with a variance below this share of the image's count as flat: only noise could correlate there."""

MEAN_VOXELS = 4_000_000
"""Most points at which the mean is measured where the field has another grid than the scan."""


def foreground(volume: Volume) -> np.ndarray:
    """(k, j, i) bool: voxels above the 25th percentile of the intensities (computed from every second voxel)."""
    return volume.array > np.percentile(volume.array[::2, ::2, ::2], FOREGROUND_PERCENTILE)


def tre(fixed_points: np.ndarray, moving_points: np.ndarray, transform: Transform) -> np.ndarray:
    """Target registration error: distances between mapped fixed landmarks and moving landmarks.

    Args:
        fixed_points: (n, 3) LPS mm.
        moving_points: (n, 3) LPS mm, in the same order.
        transform: Fixed -> moving, LPS mm.

    Returns:
        (n,) distances, mm.

    Raises:
        InputError: Unequal counts.
    """
    fixed_points, moving_points = as_points(fixed_points), as_points(moving_points)
    if fixed_points.shape != moving_points.shape:
        raise InputError(f"There are {len(fixed_points)} fixed but {len(moving_points)} moving landmarks.")
    return np.linalg.norm(transform(fixed_points) - moving_points, axis=1)


def inverse_error(
    forward: Transform,
    inverse: Transform,
    *,
    points: np.ndarray | None = None,
    geometry: Geometry | None = None,
    mask: Volume | np.ndarray | None = None,
) -> InverseError:
    """Inverse consistency error: the distance from ``x`` to ``inverse(forward(x))``.

    Args:
        forward: Fixed -> moving, LPS mm.
        inverse: Moving -> fixed, LPS mm.
        points: (n, 3) LPS mm at which to measure; without them it is measured on `geometry`.
        geometry: A grid at whose voxel centers to measure.
        mask: (k, j, i) on that grid; only voxels where it is nonzero are measured.

    Returns:
        Mean and largest distance, mm; NaN where there is no point.

    Raises:
        ValueError: Neither points nor a geometry were given.
        InputError: The mask has another shape than the geometry.
    """
    total, count, worst = 0.0, 0, 0.0
    for part in _parts(points, geometry, mask):
        there = forward.displacements(part)
        error = (there + inverse.displacements(part + there)).norm(dim=0)
        if len(error):
            total, count = total + float(error.sum(dtype=torch.float64)), count + len(error)
            worst = max(worst, float(error.max()))
    return InverseError(total / count, worst) if count else InverseError(math.nan, math.nan)


def _parts(
    points: np.ndarray | None, geometry: Geometry | None, mask: Volume | np.ndarray | None
) -> Iterator[torch.Tensor]:
    """The points, or the voxel centers within the mask, as (3, n) LPS mm."""
    if points is not None:
        yield torch.from_numpy(as_points(points).T.copy())
        return
    if geometry is None:
        raise ValueError("give points or a geometry")
    inside = None if mask is None else torch.from_numpy(as_mask(mask, geometry))
    for slab, centers in voxel_centers(geometry):
        yield centers if inside is None else centers[:, inside[slab].reshape(-1)]


def structured(image: torch.Tensor) -> torch.Tensor:
    """Where an image shows structures, as opposed to noise or nothing; no threshold on intensities is involved.

    Averages over 27 voxels keep the variance of structures, and 4 % of that of noise.

    Args:
        image: ``(D, H, W)``, on a coarse grid of isotropic voxels.

    Returns:
        ``(D, H, W)`` bool.

    Example:
        >>> plane = torch.zeros(8, 8, 8)
        >>> plane[4:] = 1
        >>> structured(plane).any(dim=2).any(dim=1).tolist()
        [False, False, True, True, True, True, False, False]
    """

    def mean(x: torch.Tensor, reach: int) -> torch.Tensor:
        return F.avg_pool3d(F.pad(x[None, None], (reach,) * 6, mode="replicate"), 2 * reach + 1, 1)[0, 0]

    x = image.double()
    x = x - x.mean()
    averages = mean(x, 1)
    variance = mean(x * x, 2) - mean(x, 2) ** 2
    kept = mean(averages * averages, 2) - mean(averages, 2) ** 2
    return (kept > STRUCTURE_SHARE * variance) & (variance > 1e-12 * float(x.abs().max()) ** 2)


def dice(
    fixed_labels: Volume | np.ndarray,
    warped_labels: Volume | np.ndarray,
    pairs: Iterable[int | tuple[int, int]] | None = None,
) -> dict[int, float]:
    """Dice overlap per label of two label maps on one grid.

    Args:
        fixed_labels: (k, j, i) whole numbers.
        warped_labels: The moving labels on the fixed grid (nearest neighbor).
        pairs: Labels, or pairs (fixed label, moving label) of the same structure; by default every label but 0 that
            is in either map.

    Returns:
        Fixed label -> Dice, 0 to 1; NaN where neither map has it.

    Raises:
        InputError: Different grids, or values that aren't whole numbers.
    """
    a, b = as_labels(fixed_labels), as_labels(warped_labels)
    if a.shape != b.shape:
        raise InputError(f"The label maps have different sizes, {a.shape} and {b.shape}; warp one onto the other.")
    values_a, index_a, count_a = _counted(a)
    values_b, index_b, count_b = _counted(b)
    joint = np.bincount(index_a * len(values_b) + index_b, minlength=len(values_a) * len(values_b))
    joint = joint.reshape(len(values_a), len(values_b))
    row = {int(v): n for n, v in enumerate(values_a)}
    column = {int(v): n for n, v in enumerate(values_b)}
    if pairs is None:
        pairs = sorted((row.keys() | column.keys()) - {0})
    scores = {}
    for pair in pairs:
        f, m = pair if isinstance(pair, (tuple, list)) else (pair, pair)
        total = (count_a[row[f]] if f in row else 0) + (count_b[column[m]] if m in column else 0)
        both = joint[row[f], column[m]] if f in row and m in column else 0
        scores[int(f)] = 2.0 * int(both) / int(total) if total else math.nan
    return scores


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct labels, each voxel's index among them (flat), and their counts."""
    flat = labels.ravel().astype(np.int64)
    low, high = int(flat.min()), int(flat.max())
    if high - low >= MAX_LABEL_TABLE:
        return np.unique(flat, return_inverse=True, return_counts=True)
    flat -= low
    table = np.bincount(flat)
    present = np.flatnonzero(table)
    place = np.zeros(len(table), np.int64)
    place[present] = np.arange(len(present))
    return present + low, place[flat], table[present]


def nmi(
    a: Volume | np.ndarray, b: Volume | np.ndarray, mask: Volume | np.ndarray | None = None, bins: int = 64
) -> float:
    """Normalized mutual information (H(a) + H(b)) / H(a, b) (Studholme et al., Pattern Recognition 1999).

    H are entropies of the joint histogram and its margins. Each image has `bins` bins of equal width from its 0.01 to
    its 99.99 percentile within the mask (of at most two million voxels of it, evenly taken); values beyond count in the
    outer bins. A voxel counts in one bin, without interpolation or smoothing of the histogram. The fewer voxels there
    are, the higher it is for unrelated images: compare only figures of the same voxels and bins.

    Args:
        a, b: (k, j, i) on one grid.
        mask: (k, j, i), nonzero where it is measured; everywhere by default.
        bins: Number of bins of each image.

    Returns:
        1 (independent) to 2 (one determines the other); 1 where nothing is measured.
    """
    a, b = _image_pair(a, b)
    if mask is not None:
        inside = as_mask(mask, None)
        a, b = a[inside], b[inside]
    if a.size == 0:
        return 1.0
    joint = np.bincount(_binned(a, bins) * bins + _binned(b, bins), minlength=bins * bins).reshape(bins, bins)
    together = _entropy(joint)
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / together if together > 0 else 1.0


def _binned(values: np.ndarray, bins: int) -> np.ndarray:
    values = values.ravel()
    stride = max(1, values.size // 2**20)  # a million voxels give the percentiles closely enough
    low, high = np.percentile(values[::stride], INTENSITY_PERCENTILES)
    if not high > low:  # one value everywhere, as where the region holds only background
        return np.zeros(values.size, np.int32)
    scale = bins / (high - low)
    return ((values - np.float32(low)) * np.float32(scale)).clip(0, bins - 1).astype(np.int32)


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def lncc(
    a: Volume | np.ndarray, b: Volume | np.ndarray, mask: Volume | np.ndarray | None = None, radius: int = 4
) -> float:
    """Mean squared local normalized cross-correlation in cubes of ``2 radius + 1`` voxels.

    Args:
        a, b: (k, j, i) on one grid.
        mask: (k, j, i), nonzero at the window centers that count; everywhere by default.
        radius: Radius of the window, voxels; windows are cut off at the edge of the image.

    Returns:
        0 (unrelated) to 1 (linearly related in every window). Flat windows count as 0.
    """
    a, b = (_standardized(x) for x in _image_pair(a, b))
    inside = None if mask is None else torch.from_numpy(as_mask(mask, None))
    n_k, n_j, n_i = a.shape
    step = max(2 * radius + 1, SLAB_VOXELS // (n_j * n_i))
    total, count = 0.0, 0
    for start in range(0, n_k, step):
        stop = min(start + step, n_k)
        first, last = max(start - radius, 0), min(stop + radius, n_k)
        squared = _squared_correlation(a[first:last], b[first:last], radius)[start - first : stop - first]
        if inside is not None:
            squared = squared[inside[start:stop]]
        total, count = total + float(squared.sum(dtype=torch.float64)), count + squared.numel()
    return total / count if count else 0.0


def _squared_correlation(a: torch.Tensor, b: torch.Tensor, radius: int) -> torch.Tensor:
    """Squared correlation in each window of two (k, j, i) images of unit variance, cut off at the edge; 0 if flat."""
    voxels = box_sum(torch.ones(1, *a.shape), radius)[0]
    mean_a, mean_b, aa, bb, ab = box_sum(torch.stack([a, b, a * a, b * b, a * b]), radius).div_(voxels)
    variance_a = aa.addcmul_(mean_a, mean_a, value=-1)
    variance_b = bb.addcmul_(mean_b, mean_b, value=-1)
    covariance = ab.addcmul_(mean_a, mean_b, value=-1)
    flat = (variance_a < MIN_RELATIVE_VARIANCE) | (variance_b < MIN_RELATIVE_VARIANCE)
    squared = covariance.square_().div_(variance_a.mul_(variance_b))
    return squared.masked_fill_(flat, 0.0).clamp_(max=1.0)


def _standardized(image: np.ndarray) -> torch.Tensor:
    """The image with zero mean and unit variance, so that single precision is enough for the sums over windows."""
    spread = float(image.std(dtype=np.float64)) or 1.0
    return torch.from_numpy((image - np.float32(image.mean(dtype=np.float64))) / np.float32(spread))


def _image_pair(a: Volume | np.ndarray, b: Volume | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(x.array if isinstance(x, Volume) else x, np.float32) for x in (a, b))
    if a.shape != b.shape:
        raise InputError(f"The images have different sizes, {a.shape} and {b.shape}; warp one onto the other.")
    return a, b


class Motion(NamedTuple):
    """Lengths of displacements over a scan.

    Attributes:
        mean_mm: Their mean, mm.
        max_mm: The largest, mm.
    """

    mean_mm: float
    max_mm: float


def motion_over(scan: Geometry, field: DisplacementField, linear: np.ndarray | None = None) -> Motion:
    """How far a transform moves the points of a scan, or how far beyond its linear part.

    The largest displacement is exact: between its vectors a field is interpolated, so that no point is moved farther
    than some vector says. All of those that lie in the scan are looked at, slab by slab, so that a large field needs
    little memory. The mean is exact where the field has a vector at every voxel of the scan; on other grids it is
    measured at 4 million points that are spread evenly, or at all voxels if there are fewer.

    Args:
        scan: Grid of the fixed scan.
        field: Fixed -> moving, LPS mm, on any grid in the fixed frame.
        linear: (4, 4), LPS mm, fixed -> moving: what is not counted. None counts the displacement as a whole.

    Returns:
        Mean and maximum over the scan, mm.

    Example:
        A shift by 5 mm along x but at one voxel, where it is 9 mm:

        >>> array = np.zeros((4, 4, 4, 3), np.float32)
        >>> array[..., 0] = 5
        >>> array[1, 2, 3, 0] = 9
        >>> grid = Geometry((4, 4, 4))
        >>> motion_over(grid, DisplacementField(array, grid))
        Motion(mean_mm=5.0625, max_mm=9.0)
    """
    matrix = np.eye(4) if linear is None else np.asarray(linear, np.float64)
    own = _mean_and_max(_vector_lengths(field, matrix, scan))
    if own is not None and field.geometry.is_close(scan):
        return own
    spread = _mean_and_max(_point_lengths(field, matrix, _spread_over(scan)))
    return Motion(spread.mean_mm, spread.max_mm if own is None else max(own.max_mm, spread.max_mm))


def _mean_and_max(parts: Iterator[torch.Tensor]) -> Motion | None:
    total, count, worst = 0.0, 0, 0.0
    for lengths in parts:
        if lengths.numel():
            total, count = total + float(lengths.sum(dtype=torch.float64)), count + lengths.numel()
            worst = max(worst, float(lengths.max()))
    return Motion(total / count, worst) if count else None


def _vector_lengths(field: DisplacementField, matrix: np.ndarray, scan: Geometry) -> Iterator[torch.Tensor]:
    """Lengths at the field's own grid points in the scan."""
    whole = bool(scan.contains(field.geometry.corners()).all())
    for slab, points in voxel_centers(field.geometry):
        vectors = torch.from_numpy(field.array[slab].reshape(-1, 3).T)
        lengths = _lengths(vectors, points, matrix)
        yield lengths if whole else lengths[torch.from_numpy(scan.contains(points.numpy().T))]


def _point_lengths(field: DisplacementField, matrix: np.ndarray, grid: Geometry) -> Iterator[torch.Tensor]:
    for _, points in voxel_centers(grid):
        yield _lengths(field.displacements(points), points, matrix)


def _lengths(vectors: torch.Tensor, points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Lengths (n,) of displacements (3, n) at points (3, n), without those of a linear mapping."""
    return (vectors - apply_matrix(matrix - np.eye(4), points.double())).norm(dim=0)


def _spread_over(scan: Geometry) -> Geometry:
    """The scan's grid, or one that fills the same space with fewer voxels: all of them then count alike."""
    factor = max(1.0, (np.prod(scan.size, dtype=float) / MEAN_VOXELS) ** (1 / 3))
    size = tuple(max(1, int(n / factor)) for n in scan.size)
    stretch = np.array(scan.size) / size
    origin = scan.to_world((stretch - 1) / 2)
    return Geometry(size, tuple(stretch * scan.spacing), tuple(origin), scan.direction)
