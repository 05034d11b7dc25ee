"""Checks of masks and label maps (scans are checked in `space.volume`, landmarks in `files.points`)."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..space.field import AffineTransform
from ..space.volume import Volume, as_labels
from ..space.warp import warp_labels

__all__ = ["check_mask", "on_grid_of"]


def check_mask(mask: Volume, image: Volume, role: str) -> Volume:
    """A mask as 0 and 1 on the grid of its image.

    Args:
        mask: Nonzero where the image counts; on any grid.
        image: The scan to which the mask belongs.
        role: "fixed" or "moving"; only names the mask in messages.

    Returns:
        uint8 volume, 0 or 1, on the image's grid. A mask of another geometry is resampled (nearest neighbor), and its
        warnings mention it.

    Raises:
        InputError: The mask is empty, has NaN, does not overlap the image, or covers only background, where all voxels
            have the same value.
    """
    if mask.array.dtype.kind == "f" and not np.isfinite(mask.array).all():
        raise InputError(f"The {role} mask holds NaN or infinite values; save it as whole numbers, 0 outside.")
    array = (mask.array != 0).astype(np.uint8)
    if not array.any():
        raise InputError(f"The {role} mask is empty; draw it again or leave it out.")
    binary = Volume(array, mask.geometry, mask.warnings)
    if mask.geometry.is_close(image.geometry):
        binary = Volume(array, image.geometry, mask.warnings)
    else:
        sentence = f"The {role} mask has another geometry than the {role} image and was resampled to it."
        resampled = warp_labels(binary, AffineTransform.identity(), image.geometry)
        binary = Volume(resampled.array, image.geometry, (*mask.warnings, sentence))
        if not binary.array.any():
            raise InputError(f"The {role} mask does not lie over the {role} image; check that it belongs to this scan.")
    values = image.array[binary.array != 0]
    if values.min() == values.max():
        raise InputError(f"The {role} mask covers only background of the {role} image; check that it lies on the body.")
    return binary


def on_grid_of(image: Volume, labels: Volume, what: str) -> Volume:
    """A label map on the grid of the scan to which it belongs.

    Args:
        image: The scan.
        labels: Whole numbers, 0 for none, on any grid.
        what: Names the label map in messages, with a capital letter, such as "The mask to keep rigid".

    Returns:
        int32 volume on the scan's grid; labels of another geometry are resampled (nearest neighbor), and the warnings
        mention it.

    Raises:
        InputError: The labels are not whole numbers, all 0, too large, or outside the scan.
    """
    array = as_labels(labels, what)
    if not array.any():
        raise InputError(f"{what} is empty; draw it again or leave it out.")
    if max(abs(int(array.min())), abs(int(array.max()))) >= 2**31:
        raise InputError(f"{what} holds values that are too large; number the labels from 1.")
    whole = Volume(array.astype(np.int32), labels.geometry, labels.warnings)
    if labels.geometry.is_close(image.geometry):
        return Volume(whole.array, image.geometry, labels.warnings)
    resampled = warp_labels(whole, AffineTransform.identity(), image.geometry)
    if not resampled.array.any():
        raise InputError(f"{what} does not lie over the fixed image; check that it belongs to it.")
    sentence = f"{what} has another geometry than the fixed image and was resampled to it."
    return Volume(resampled.array, image.geometry, (*labels.warnings, sentence))
