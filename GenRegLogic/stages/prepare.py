"""Stage 1, prepare: robust intensities, the body's mask, and the grids the later stages work on.

All on canonical axes (see `grid`). Nothing here assumes a size of body or a modality.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..space.geometry import Geometry
from ..space.grid import Image, Sampler, canonical_image, grid_over, resample, sample, subgrid
from ..space.volume import Volume

# 0.5 % clamps flatten CBCT; no clamp lets one hot voxel ruin a descriptor.
CLAMP_PERCENTILES = (0.01, 99.99)
# Voxels of the coarse grid on which masks are found.
MASK_VOXELS = 200_000
# Background: below the dark end by less than this share of the intensity range, and connected to the border.
BACKGROUND_SHARE = 0.05
# A mask that leaves less, or takes more, of the scan than this says nothing.
MASK_LIMITS = (0.02, 0.97)
# Axes closer than this (sines of the angles, half a degree) count as the same: no interpolation is spent on them.
SAME_AXES = 0.009
# Of the moving scan at any level: its descriptors take 48 bytes each.
MAX_MOVING_VOXELS = 12_000_000
# A scan that is interpolated onto turned axes is kept a little finer before, against the blur.
FINER_BEFORE_TURNING = 0.75


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A scan ready for registration.

    Attributes:
        image: intensities ``(D, H, W)`` clamped and scaled to [0, 1], canonical axes.
        mask: bool ``(D, H, W)`` on a coarse grid of its own: where the body is.
        box: index box (low, high; x, y, z) of the body in the image's grid.
        automatic: True if the mask was found here, False if it was given.
    """

    image: Image
    mask: Image
    box: tuple[np.ndarray, np.ndarray]
    automatic: bool

    @property
    def body_volume(self) -> float:
        """Volume of the mask, mm^3."""
        return float(self.mask.tensor.sum()) * float(np.prod(self.mask.geometry.spacing))


def prepare(volume: Volume, *, mask: Volume | None, device: torch.device, role: str = "fixed") -> Prepared:
    """Clamp, scale and mask one scan.

    Args:
        volume: the scan.
        mask: the region to register (nonzero), on the scan's grid; None finds the body.
        device: where the tensors go.
        role: "fixed" or "moving", for sentences.

    Raises:
        InputError: The given mask lies beside the body.
    """
    image = canonical_image(volume, device)
    low, high = _robust_range(image.tensor)
    if high <= low:  # almost all voxels have one value
        low, high = float(image.tensor.min()), float(image.tensor.max())
    image = Image(image.tensor.clamp_(low, high).sub_(low).div_(max(high - low, 1e-20)), image.geometry)
    coarse = _coarse_geometry(image.geometry, MASK_VOXELS)
    if mask is None:
        found = _body(resample(image, coarse))
    else:
        given = canonical_image(mask, device)
        binary = Image((given.tensor != 0).float(), given.geometry)
        share = resample(binary, coarse).tensor
        found = share > min(0.25, 0.5 * float(share.max()))  # thin masks are less than a coarse voxel
        if not bool((found & _body(resample(image, coarse))).any()):
            raise InputError(
                f"The {role} mask does not lie over the body in the {role} image; check that it belongs to this scan."
            )
    return Prepared(image, Image(found, coarse), _box(found, coarse, image.geometry), mask is None)


def _robust_range(x: torch.Tensor) -> tuple[float, float]:
    """The clamp percentiles, from a regular subsample of at most a million voxels."""
    step = max(1, x.numel() // 1_000_000) | 1  # odd, so as not to keep step with the rows
    values = torch.sort(x.reshape(-1)[::step]).values
    last = values.numel() - 1
    return tuple(float(values[round(p / 100 * last)]) for p in CLAMP_PERCENTILES)


def _coarse_geometry(geometry: Geometry, voxels: int) -> Geometry:
    """A grid over the scan with about this many voxels, as nearly isotropic as the scan's own spacing lets it be."""
    extent = (np.array(geometry.size) - 1) * np.array(geometry.spacing)
    step = max((np.prod(np.maximum(extent, 1e-9)) / voxels) ** (1 / 3), 1e-9)
    spacing = tuple(float(max(step, s)) for s in geometry.spacing)
    return grid_over(geometry, spacing)


def _body(coarse: Image) -> torch.Tensor:
    """Everything but the dark background that is connected to the border."""
    x = coarse.tensor.cpu().numpy()
    dark, bright = np.percentile(x, [1, 99])
    background = sitk.GetImageFromArray((x <= dark + BACKGROUND_SHARE * (bright - dark)).astype(np.uint8))
    padded = sitk.ConstantPad(background, [1, 1, 1], [1, 1, 1], 1)
    outside = sitk.ConnectedThreshold(padded, [(0, 0, 0)], 1, 1)
    body = sitk.BinaryMorphologicalOpening(sitk.Equal(outside, 0), [1, 1, 1])
    body = sitk.BinaryDilate(body, [1, 1, 1])
    mask = sitk.GetArrayFromImage(body)[1:-1, 1:-1, 1:-1] > 0
    if not MASK_LIMITS[0] <= mask.mean() <= MASK_LIMITS[1]:
        mask = np.ones_like(mask)
    return torch.from_numpy(mask).to(coarse.tensor.device)


def _box(mask: torch.Tensor, coarse: Geometry, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.zeros(3), np.array(geometry.size, float) - 1
    if not bool(mask.any()):
        return low, high
    offset = geometry.direction.T @ (np.array(coarse.origin) - np.array(geometry.origin))
    for axis in range(3):
        dims = tuple(d for d in range(3) if d != 2 - axis)
        used = torch.nonzero(mask.any(dim=dims[1]).any(dim=dims[0])).reshape(-1)
        ends = np.array([float(used[0]) - 1, float(used[-1]) + 1])
        ends = (ends * coarse.spacing[axis] + offset[axis]) / geometry.spacing[axis]
        low[axis], high[axis] = max(ends[0], 0), min(ends[1], geometry.size[axis] - 1)
    return low, high


def working_grid(prepared: Prepared, spacing: float, *, margin_voxels: float = 4) -> Geometry:
    """An isotropic grid of `spacing` mm over the body's box, with a margin inside the scan."""
    geometry = prepared.image.geometry
    margin = margin_voxels * spacing / np.array(geometry.spacing)
    low = np.maximum(prepared.box[0] - margin, 0)
    high = np.minimum(prepared.box[1] + margin, np.array(geometry.size) - 1)
    return subgrid(geometry, low, high, (spacing, spacing, spacing))


@dataclasses.dataclass(frozen=True, eq=False)
class MovingLevel:
    """The moving scan at one scale.

    Attributes:
        image: intensities ``(D, H, W)`` on the grid that is sampled.
        weight: its mask on that grid, 0 or 1.
        extent: geometry of the voxels there are; the image's own, or, where the grid has other axes, what it was
            made from.
    """

    image: Image
    weight: torch.Tensor
    extent: Geometry


def moving_level(
    prepared: Prepared, spacing: float, *, axes: np.ndarray | None = None, margin_voxels: float = 12
) -> MovingLevel:
    """The moving scan around its body at `spacing` mm, or at its own spacing where that is coarser.

    Args:
        prepared: the scan.
        spacing: mm.
        axes: 3x3, columns are the LPS unit vectors of the wanted grid's axes. Descriptors compare directions, so both
            scans must be described along the same ones, however either was scanned. None: the scan's own.
        margin_voxels: around the body.
    """
    geometry = prepared.image.geometry
    turned = axes is not None and not np.allclose(axes, geometry.direction, atol=SAME_AXES)
    margin = margin_voxels * spacing / np.array(geometry.spacing)
    low = np.maximum(prepared.box[0] - margin, 0)
    high = np.minimum(prepared.box[1] + margin, np.array(geometry.size) - 1)
    step = spacing * FINER_BEFORE_TURNING if turned else spacing
    own = subgrid(geometry, low, high, tuple(float(max(step, s)) for s in geometry.spacing))
    while np.prod(own.size, dtype=float) > MAX_MOVING_VOXELS:  # a small fixed scan within a much larger one
        step *= 1.1
        own = subgrid(geometry, low, high, tuple(float(max(step, s)) for s in geometry.spacing))
    spacing = max(spacing, step)
    image, weight = resample(prepared.image, own), mask_on(prepared, own)
    if not turned:
        return MovingLevel(image, weight, own)
    corners = own.corners() @ axes
    size = np.maximum(np.ceil((corners.max(0) - corners.min(0)) / spacing).astype(int) + 1, 2)
    middle = (corners.max(0) + corners.min(0)) / 2
    origin = axes @ (middle - (size - 1) / 2 * spacing)
    target = Geometry(
        size=tuple(int(n) for n in size), spacing=(spacing,) * 3, origin=tuple(float(v) for v in origin), direction=axes
    )
    sampler = Sampler(target, own, np.eye(4), image.tensor.device)
    coordinates = sampler.coordinates(None)
    both = sample(torch.stack([image.tensor, weight]), coordinates)
    return MovingLevel(Image(both[0], target), (both[1] > 0.5) * sampler.inside(coordinates).float(), own)


def turned_axes(linear: np.ndarray, fixed: Geometry) -> np.ndarray:
    """The fixed grid's axes as the rotation in a linear mapping (4x4, LPS mm) turns them into the moving scan."""
    u, _, vt = np.linalg.svd(linear[:3, :3])
    return u @ vt @ fixed.direction


def mask_on(prepared: Prepared, geometry: Geometry) -> torch.Tensor:
    """The mask as float ``(D, H, W)`` on a grid with the scan's canonical axes."""
    coarse = Image(prepared.mask.tensor.float(), prepared.mask.geometry)
    return (resample(coarse, geometry, smooth=False).tensor > 0.5).float()
