"""Figures that say how good a registration is.

Key functions: `jacobian_figures` (folds), `tre` (landmarks), `dice` (labels), `nmi` and `lncc` (similarity),
`inverse_error`. All are of the images or fields given; nothing here is used to optimize.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ..errors import InputError
from ..space.field import DisplacementField, Transform, as_points, voxel_centers
from ..space.inverse import InverseError
from ..space.volume import Geometry, Volume

__all__ = ["determinants", "dice", "foreground", "inverse_error", "jacobian_figures", "lncc", "nmi", "tre"]

SLAB_VOXELS = 2**17
"""Voxels per slab: its some thirty temporary arrays stay in the processor's cache."""

MIN_DETERMINANT_FOR_LOG = 1e-3
"""Determinants are clamped here before the logarithm, so that a fold counts as a large but finite value."""

FOREGROUND_PERCENTILE = 25
MAX_LABEL_TABLE = 2**22
INTENSITY_PERCENTILES = (0.01, 99.99)
MIN_RELATIVE_VARIANCE = 1e-5
"""Windows whose variance is below this share of the image's are flat; what correlates there is noise."""


def jacobian_figures(field: DisplacementField, *, mask: Volume | np.ndarray | None = None) -> dict[str, float]:
    """Folds and spread of the volume change, at every voxel of the field's grid.

    Derivatives are differences of neighboring voxels along the grid's axes, mm per mm; at the edges one-sided.

    Args:
        field: Fixed -> moving, any direction matrix.
        mask: (k, j, i), nonzero where ``sdlogj`` is taken; everywhere by default. The other figures are always of
            the whole grid.

    Returns:
        folds_pct: Percent of voxels with det J <= 0, central differences.
        ndv_pct: Percent of voxels where any of the eight determinants of one-sided differences is <= 0
            (non-diffeomorphic volume; Liu et al., "On finite difference Jacobian computation in deformable image
            registration", IJCV 2024): stricter.
        sdlogj: Standard deviation of log det J.
        min_det, max_det: Extremes of det J, central differences.
    """
    inside = None if mask is None else _mask_array(mask, field.geometry)
    folds = bad = count = 0
    total = squares = 0.0
    low, high = math.inf, -math.inf
    for start, central, least in determinants(field):
        folds += int((central <= 0).sum())
        bad += int((least <= 0).sum())
        low, high = min(low, float(central.min())), max(high, float(central.max()))
        if inside is not None:
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
    """Slabs along k: first index, central and least one-sided determinants, both (k, j, i) float32."""
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


def foreground(volume: Volume) -> np.ndarray:
    """(k, j, i) bool: voxels above the 25th percentile of the intensities (of every second voxel)."""
    return volume.array > np.percentile(volume.array[::2, ::2, ::2], FOREGROUND_PERCENTILE)


def tre(fixed_points: np.ndarray, moving_points: np.ndarray, transform: Transform) -> np.ndarray:
    """Target registration error: distances between transported fixed landmarks and moving landmarks.

    Args:
        fixed_points: (n, 3) LPS mm.
        moving_points: (n, 3) LPS mm, in the same order.
        transform: Fixed -> moving.

    Returns:
        (n,) mm.

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
    """How far ``inverse(forward(x))`` is from ``x``.

    Args:
        forward: Fixed -> moving.
        inverse: Moving -> fixed.
        points: (n, 3) LPS mm; or else
        geometry: a grid at whose voxel centers to measure,
        mask: restricted to where this is nonzero, (k, j, i) on that grid.

    Returns:
        Mean and largest distance, mm.
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
    inside = None if mask is None else torch.from_numpy(_mask_array(mask, geometry))
    for slab, centers in voxel_centers(geometry):
        yield centers if inside is None else centers[:, inside[slab].reshape(-1)]


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
    a, b = _label_array(fixed_labels), _label_array(warped_labels)
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


def _label_array(labels: Volume | np.ndarray) -> np.ndarray:
    array = labels.array if isinstance(labels, Volume) else np.asarray(labels)
    if array.dtype.kind == "f":
        rounded = np.rint(array)
        if not np.array_equal(rounded, array):
            raise InputError("A label map must hold whole numbers; this one has fractions, so it may be an image.")
        array = rounded.astype(np.int64)
    return array


def _counted(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct labels, each voxel's place among them (flat), and their counts; by table where labels are small."""
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

    Args:
        a, b: (k, j, i) on one grid.
        mask: Nonzero where it is measured; everywhere by default.
        bins: Histogram bins per image, between the 0.01 and 99.99 percentiles.

    Returns:
        1 (independent) to 2 (one determines the other).
    """
    a, b = _image_pair(a, b)
    if mask is not None:
        inside = _mask_array(mask, None)
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
    if not high > low:  # one value everywhere, as where nothing but the background of a scan was found
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
        mask: Nonzero at the window centers that count; everywhere by default.
        radius: Of the window, voxels; windows are cut off at the edge of the image.

    Returns:
        0 (unrelated) to 1 (linearly related in every window). Flat windows count as 0.
    """
    a, b = (_standardized(x) for x in _image_pair(a, b))
    inside = None if mask is None else torch.from_numpy(_mask_array(mask, None))
    n_k, n_j, n_i = a.shape
    step = max(2 * radius + 1, SLAB_VOXELS // (n_j * n_i))
    total, count = 0.0, 0
    for start in range(0, n_k, step):
        stop = min(start + step, n_k)
        first, last = max(start - radius, 0), min(stop + radius, n_k)
        squared = _local_correlation(a[first:last], b[first:last], radius)[start - first : stop - first]
        if inside is not None:
            squared = squared[inside[start:stop]]
        total, count = total + float(squared.sum(dtype=torch.float64)), count + squared.numel()
    return total / count if count else 0.0


def _local_correlation(a: torch.Tensor, b: torch.Tensor, radius: int) -> torch.Tensor:
    voxels = _box_sum(torch.ones(1, *a.shape), radius)[0]
    mean_a, mean_b, aa, bb, ab = _box_sum(torch.stack([a, b, a * a, b * b, a * b]), radius).div_(voxels)
    variance_a = aa.addcmul_(mean_a, mean_a, value=-1)
    variance_b = bb.addcmul_(mean_b, mean_b, value=-1)
    covariance = ab.addcmul_(mean_a, mean_b, value=-1)
    flat = (variance_a < MIN_RELATIVE_VARIANCE) | (variance_b < MIN_RELATIVE_VARIANCE)
    squared = covariance.square_().div_(variance_a.mul_(variance_b))
    return squared.masked_fill_(flat, 0.0).clamp_(max=1.0)


def _box_sum(x: torch.Tensor, radius: int) -> torch.Tensor:
    """(c, k, j, i) sums over cubes, zero outside; by doubling, log2(window) additions per axis."""
    width = 2 * radius + 1
    for dim in (1, 2, 3):
        padding = [0] * 6
        padding[2 * (3 - dim)] = padding[2 * (3 - dim) + 1] = radius
        x = torch.nn.functional.pad(x, padding)
        length = x.shape[dim] - width + 1
        result, taken, power, size = None, 0, x, 1  # power[n] = sum of `size` values from n on
        while True:
            if width & size:
                part = power.narrow(dim, taken, length)
                result = part.clone() if result is None else result.add_(part)
                taken += size
            if 2 * size > width:
                break
            power = power.narrow(dim, 0, power.shape[dim] - size) + power.narrow(dim, size, power.shape[dim] - size)
            size *= 2
        x = result
    return x


def _standardized(image: np.ndarray) -> torch.Tensor:
    """Zero mean and unit variance, so that single precision suffices for the windows' sums."""
    spread = float(image.std(dtype=np.float64)) or 1.0
    return torch.from_numpy((image - np.float32(image.mean(dtype=np.float64))) / np.float32(spread))


def _image_pair(a: Volume | np.ndarray, b: Volume | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(x.array if isinstance(x, Volume) else x, np.float32) for x in (a, b))
    if a.shape != b.shape:
        raise InputError(f"The images have different sizes, {a.shape} and {b.shape}; warp one onto the other.")
    return a, b


def _mask_array(mask: Volume | np.ndarray, geometry: Geometry | None) -> np.ndarray:
    array = np.asarray(mask.array if isinstance(mask, Volume) else mask)
    if geometry is not None and array.shape != geometry.shape:
        raise InputError(f"The mask has shape {array.shape}, but the image {geometry.shape}; resample the mask.")
    return array if array.dtype == bool else array != 0
