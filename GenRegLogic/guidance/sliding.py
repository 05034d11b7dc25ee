"""Regions of the fixed scan that the user says slide along one another, such as lungs and chest wall.

Across the border of two regions the field is smoothed in the border's normal direction only, so that they may slide,
but neither gap nor overlap arises, after Schmidt-Richberg et al., "Estimation of slipping organ motion by registration
with direction-dependent regularization" (Medical Image Analysis 2012).
"""

from __future__ import annotations

import numpy as np
import torch

from ..errors import InputError
from ..space.geometry import Geometry
from ..space.grid import Image, canonical_array, canonical_geometry, resample
from ..space.smoothing import Borders, smooth
from ..space.volume import Volume
from ..stages.similarity import gradient
from .masks import on_grid_of

__all__ = ["MAX_REGIONS", "SlidingRegions", "check_regions"]

MAX_REGIONS = 50
"""Largest number of regions; with more, the volume is probably an image and not a label map."""

NORMAL_SIGMA = 2.0
"""Standard deviation, voxels of the level, by which a region is smoothed before its normals are computed."""


def check_regions(labels: Volume, image: Volume) -> Volume:
    """The regions that slide along one another, on the grid of the fixed scan.

    Args:
        labels: Whole numbers on any grid; each value is one region, 0 among them.
        image: The fixed scan.

    Returns:
        int32 volume on the scan's grid; labels of another geometry are resampled, and the warnings mention it.

    Raises:
        InputError: The labels are not whole numbers, too large, more than `MAX_REGIONS`, outside the scan, or one and
            the same everywhere.
    """
    regions = on_grid_of(image, labels, "The label map of sliding regions")
    count = len(np.unique(regions.array))
    if count > MAX_REGIONS:
        raise InputError(
            f"The label map of sliding regions holds {count} different values; it must have one value for each region, "
            f"{MAX_REGIONS} at most."
        )
    if count < 2:
        raise InputError(
            "The label map of sliding regions holds a single region over the fixed image; give a value of its own to "
            "each region that slides along others, or leave it out."
        )
    return regions


class SlidingRegions:
    """The borders of regions, on the grid of any level.

    Args:
        labels: As `check_regions` returns them.
        device: Device of the tensors.
    """

    def __init__(self, labels: Volume, device: torch.device):
        array = np.ascontiguousarray(canonical_array(labels.array, labels.geometry))
        self._labels = Image(torch.from_numpy(array).to(device), canonical_geometry(labels.geometry))
        self._values = [int(value) for value in np.unique(array)]

    def borders(self, geometry: Geometry) -> Borders:
        """The faces between voxels of different regions, on a grid along the fixed scan's canonical axes."""
        shares = torch.stack([self._share(value, geometry) for value in self._values])
        region = shares.argmax(dim=0)
        inward = torch.zeros((3, *geometry.shape), device=region.device)
        for number, share in enumerate(shares):
            here = region == number
            if bool(here.any()):
                inward += gradient(smooth(share, NORMAL_SIGMA)).mul_(here)
        return Borders.between(region, inward)

    def _share(self, value: int, geometry: Geometry) -> torch.Tensor:
        """``(D, H, W)``: how much of each voxel belongs to a region; beyond the labels' grid, what its end has."""
        return resample(Image((self._labels.tensor == value).float(), self._labels.geometry), geometry).tensor
