"""Whether a scan can be registered, and the repairs that make it so: values that are not finite, and padding.

Padding is what scanners and programs fill up the box of an image with, around a round field of view or after a
rotation. Its values are repeated exactly, reach the border, and may be anything: -2000 or 63536 among Hounsfield units,
NaN in a map of the brain. Taken for tissue, they spoil whatever is computed from the range of the intensities, such as
the mask of the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import SimpleITK as sitk

from ..errors import Doubt, InputError
from .volume import Volume

__all__ = ["check_registrable", "without_padding"]

MAX_NON_FINITE_SHARE = 0.01
"""A scan with less than this share of NaN and infinite voxels is repaired; one with more counts as damaged."""

MAX_ANISOTROPY = 1000.0
"""Longest edge of a voxel relative to its shortest. No scanner comes near it; a header with a wrong number does."""

MIN_SHARE = 0.01
"""Of the scan's voxels; a smaller patch of one value is left alone."""

MIN_BORDER_SHARE = 0.05
"""Of the voxels on the six faces: padding comes from outside."""

MIN_FLATNESS = 0.75
"""Noise of few gray levels repeats values too, but scattered (0.64 where a quarter of a scan has one value); in a wall
one voxel thick it is 0.82."""

MAX_VALUES = 3
"""Different values that padding may consist of."""

RANGE_PERCENTILES = (1, 99)
"""Dark and bright end of the other voxels."""

DARK_SHARE = 0.05
"""Of the range: what lies less than this above the dark end is dark, as air is."""

GAP_SHARE = 0.1
"""Of the range: a value that lies farther than this below the dark end doesn't belong to the scan's own background."""

OWN_BACKGROUND_SHARE = 0.1
"""Of the other voxels: with so many dark ones the scan has a background of its own. One without, such as a brain cut
out of its head, keeps the value around it, which is its background."""

SAMPLES = 500_000


def check_registrable(volume: Volume, role: str) -> Volume:
    """A volume that can be registered: its values are finite and not all the same.

    Args:
        volume: The scan as read.
        role: "fixed" or "moving": how messages name the scan.

    Returns:
        The same volume; or, where less than 1 % of the voxels are not finite, a copy with a sentence added to its
        warnings in which NaN and -inf are replaced by the smallest finite value and +inf by the largest.

    Raises:
        InputError: 1 % or more of the voxels are not finite, all have the same value, or they are so much longer than
            thin that the header must be wrong.

    Example:
        >>> array = np.zeros((10, 10, 10))
        >>> array[0, 0, :3] = 1, np.nan, np.inf
        >>> repaired = check_registrable(Volume.from_array(array, spacing=(1, 1, 1)), "fixed")
        >>> repaired.array[0, 0, :4].tolist()
        [1.0, 0.0, 1.0, 0.0]
        >>> repaired.warnings
        ('2 voxels (0.2 %) of the fixed image were NaN or infinite and were replaced.',)
    """
    shortest, longest = min(volume.geometry.spacing), max(volume.geometry.spacing)
    if longest > MAX_ANISOTROPY * shortest:
        raise InputError(
            f"The {role} image's voxels are {longest / shortest:.2g} times as long as they are thin ({shortest:g} and "
            f"{longest:g} mm); correct the image's header."
        )
    volume = _repair_non_finite(without_padding(volume, role), role)
    if volume.array.min() == volume.array.max():
        value = volume.array.flat[0]
        raise InputError(f"The {role} image is constant (every voxel is {value:g}); there is nothing to align.")
    return volume


def _repair_non_finite(volume: Volume, role: str) -> Volume:
    if volume.array.dtype.kind != "f":
        return volume
    finite = np.isfinite(volume.array)
    bad = finite.size - int(np.count_nonzero(finite))
    if bad == 0:
        return volume
    share = f"{100.0 * bad / finite.size:.3g} %"
    if bad >= MAX_NON_FINITE_SHARE * finite.size:
        raise InputError(f"{share} of the {role} image's voxels are NaN or infinite; repair or export the scan again.")
    values = volume.array[finite]
    repaired = np.nan_to_num(volume.array, nan=values.min(), posinf=values.max(), neginf=values.min())
    sentence = f"{bad} voxels ({share}) of the {role} image were NaN or infinite and were replaced."
    return replace(volume, array=repaired, warnings=(*volume.warnings, sentence))


def without_padding(volume: Volume, role: str) -> Volume:
    """The scan with its padding at the dark end of its own intensities, where background belongs.

    Args:
        volume: The scan. A value that its `padding` names needs no gap to the others.
        role: "fixed" or "moving"; it only names the scan in the warning.

    Returns:
        The same volume where there is no padding; else a copy, with a `Doubt` named "padding_ignored".
    """
    found = _padding_values(volume)
    masks = [(value, _connected_to_border(_equal(volume.array, value))) for value in found]
    masks = [(value, mask) for value, mask in masks if mask.mean() >= MIN_SHARE and _flatness(mask) >= MIN_FLATNESS]
    if not masks:
        return volume
    array = volume.array.copy()
    dark = np.percentile(_others(volume.array, found), RANGE_PERCENTILES[0])
    for _, mask in masks:
        array[mask] = dark
    listed = ", ".join(f"{value:g} ({100 * mask.mean():.2g} % of its voxels)" for value, mask in masks)
    sentence = f"The {role} image is padded with {listed}; these voxels were taken for background."
    return replace(volume, array=array, warnings=(*volume.warnings, Doubt("padding_ignored", sentence)))


def _padding_values(volume: Volume) -> list[float]:
    """The values that pad a scan; each is judged by what is left without those that were found before."""
    border = np.concatenate([volume.array[end].ravel() for axis in range(3) for end in _ends(axis)])
    values, counts = np.unique(border, return_counts=True)  # one entry for all NaN
    order = np.argsort(-counts, kind="stable")[:MAX_VALUES]
    candidates = [values[n] for n in order if counts[n] >= MIN_BORDER_SHARE * border.size and not np.isinf(values[n])]
    if volume.padding is not None and not _is_among(volume.padding, candidates):
        candidates.append(volume.padding)
    found: list[float] = []
    while new := [v for v in candidates if not _is_among(v, found) and _is_padding(v, volume, found)]:
        found.append(new[0])
    return found


def _ends(axis: int) -> Iterator[tuple]:
    """Indices of the two faces across an axis."""
    for end in (0, -1):
        index: list = [slice(None)] * 3
        index[axis] = end
        yield tuple(index)


def _is_among(value: float, values: list[float]) -> bool:
    return any(_equal(np.asarray(v), value) for v in values)


def _equal(array: np.ndarray, value: float) -> np.ndarray:
    return np.isnan(array) if np.isnan(value) else array == value


def _others(array: np.ndarray, excluded: list[float]) -> np.ndarray:
    """A sample of the finite values that are none of the excluded ones."""
    others = array.ravel()[:: max(1, array.size // SAMPLES) | 1]
    return others[np.isfinite(others) & ~np.isin(others, excluded)]


def _flatness(mask: np.ndarray) -> float:
    """How many of the six neighbors of its voxels a mask holds too, on average, as a share; the border's count."""
    padded = np.pad(mask, 1, constant_values=True)
    inner = padded[1:-1, 1:-1, 1:-1]
    counts = [
        np.count_nonzero(np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1] & inner) for axis in range(3) for step in (1, -1)
    ]
    return sum(counts) / (6 * max(1, np.count_nonzero(mask)))


def _is_padding(value: float, volume: Volume, found: list[float]) -> bool:
    """Whether a value of the border doesn't belong to the scan's other values."""
    others = _others(volume.array, [value, *found])
    if not others.size:
        return False
    low, high = (float(x) for x in np.percentile(others, RANGE_PERCENTILES))
    if high <= low:
        return False
    if not np.isfinite(value):
        return True
    reach = high - low
    if value > low + DARK_SHARE * reach:
        clipped = value >= others.max() and np.any(others > value - DARK_SHARE * reach)
        return not clipped
    own_background = np.mean(others <= low + DARK_SHARE * reach) >= OWN_BACKGROUND_SHARE
    known = value == volume.padding
    return bool((known or value < low - GAP_SHARE * reach) and own_background)


def _connected_to_border(same: np.ndarray) -> np.ndarray:
    """The part of a mask from which a way leads to the border without leaving it."""
    padded = sitk.ConstantPad(sitk.GetImageFromArray(same.astype(np.uint8)), [1, 1, 1], [1, 1, 1], 1)
    filled = sitk.GetArrayFromImage(sitk.ConnectedThreshold(padded, [(0, 0, 0)], 1, 1))
    return filled[1:-1, 1:-1, 1:-1] > 0
