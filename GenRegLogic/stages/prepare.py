"""Stage 1, prepare: robust intensities, the body's mask, and the grids on which the later stages work.

All on canonical axes (see `space.grid`). Nothing here assumes a size of the body or a modality.
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

CLAMP_PERCENTILES = (0.01, 99.99)
"""Clamping at 0.5 % flattens CBCT; without a clamp one very bright voxel compresses all other intensities."""

BULK_PERCENTILES, OUTLIER_REACH = (0.5, 99.5), 1.0
"""Values farther from the bulk than this multiple of its own range, as those of metal, are clamped even where they fill
more than 0.01 % of the scan: beside an electrode of 30,000 HU everything else would keep a tenth of the range. With it
metal costs a phantom nothing (Resources/benchmark/traps.md)."""

LARGEST_VALUE = 1e18
"""Intensities beyond this, or below its reciprocal, are scaled: the range of single precision ends at about 1e38, and
squares are computed."""

CLAMP_SAMPLES = 1_000_000
"""Voxels from which the percentiles are computed."""

MASK_VOXELS = 200_000
"""Of the coarse grid on which masks are found."""

BACKGROUND_SHARE = 0.05
"""Background is less than this share of the intensity range above the dark end, and connected to the border."""

RANGE_PERCENTILES = (1, 99)
"""Dark and bright end of the intensity range from which the threshold of the background is computed."""

MASK_LIMITS = (0.02, 0.97)
"""A found mask that covers less or more of the scan than these shares is replaced by the whole scan."""

MASK_SHARE, THIN_MASK_SHARE = 0.25, 0.5
"""A coarse voxel belongs to a given mask if the mask covers more of it than the first, or than the second times the
largest share that it covers of any coarse voxel: thin masks fill no coarse voxel."""

CUT_OUT_SHARE, WHOLE = 0.999, 1.5
"""A body is cut out of its surroundings, as a skull-stripped brain is, if so many of the voxels outside have one value;
it is a part of the other scan's body if that is so many times as large and not cut out itself."""

CUT_MARGIN = 2
"""Voxels of its coarse grid by which the mask of a part is narrowed: one by which masks are found too wide, and one in
which descriptors would compare the cut with what lies there in the other scan."""

SAME_AXES = 0.009
"""Axes closer than this (sine of the angle, half a degree) count as the same, and nothing is interpolated."""

SAME_PLACE = 1e-6
"""Voxel centers closer than this, voxels, count as the same."""

MAX_MOVING_VOXELS = 12_000_000
"""Of the moving scan at any level; each takes 48 bytes for its descriptors."""

FINER_BEFORE_TURNING = 0.75
"""Factor on the spacing of a scan that is then interpolated onto rotated axes, which blurs it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A scan ready for registration.

    Attributes:
        image: Intensities ``(D, H, W)`` clamped and scaled to [0, 1], canonical axes.
        mask: The body, bool ``(D, H, W)`` on a coarse grid of its own.
        box: Lower and upper corner of the body's bounding box, (3,) indices (x, y, z) of the image's grid each.
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
        volume: The scan.
        mask: The region to register (nonzero), on the scan's grid; None finds the body.
        device: Of the tensors.
        role: "fixed" or "moving": how messages name the scan.

    Raises:
        InputError: The given mask does not overlap with the body.
    """
    image = canonical_image(_in_single_precision(volume), device)
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
        found = share > min(MASK_SHARE, THIN_MASK_SHARE * float(share.max()))
        if not bool((found & _body(resample(image, coarse))).any()):
            raise InputError(
                f"The {role} mask does not lie over the body in the {role} image; check that it belongs to this scan."
            )
    return Prepared(image, Image(found, coarse), _box(found, coarse, image.geometry), mask is None)


def part_of(prepared: Prepared, other: Prepared) -> Prepared | None:
    """The scan with its inner part as a mask, if its body is cut out of what the other scan shows whole; else None.

    The edge of the cut is no anatomy: compared, it is pulled to the other body's skin.
    """
    smaller = prepared.automatic and other.body_volume >= WHOLE * prepared.body_volume
    if not smaller or not _cut_out(prepared) or _cut_out(other):
        return None
    mask = sitk.GetImageFromArray(prepared.mask.tensor.cpu().numpy().astype(np.uint8))
    inner = torch.from_numpy(sitk.GetArrayFromImage(sitk.BinaryErode(mask, [CUT_MARGIN] * 3)) > 0)
    if not bool(inner.any()):
        return None
    inner = Image(inner.to(prepared.mask.tensor.device), prepared.mask.geometry)
    return dataclasses.replace(prepared, mask=inner, automatic=False)


def _cut_out(prepared: Prepared) -> bool:
    outside = prepared.image.tensor[mask_on(prepared, prepared.image.geometry) == 0]
    if outside.numel() == 0:
        return False
    value = outside.median()
    return float((outside == value).float().mean()) >= CUT_OUT_SHARE


def _in_single_precision(volume: Volume) -> Volume:
    """The volume, divided by its largest value where that or its square cannot be told in single precision."""
    array = volume.array
    if array.dtype.kind != "f":
        return volume
    largest = max(abs(float(array.max())), abs(float(array.min())))
    if largest == 0 or 1 / LARGEST_VALUE <= largest <= LARGEST_VALUE:
        return volume
    return dataclasses.replace(volume, array=array.astype(np.float64) / largest)


def _robust_range(x: torch.Tensor) -> tuple[float, float]:
    """The clamp percentiles, from a regular subsample of about `CLAMP_SAMPLES` voxels, but no far outliers."""
    step = max(1, x.numel() // CLAMP_SAMPLES) | 1  # odd: rows of even length are not sampled at the same columns only
    values = torch.sort(x.reshape(-1)[::step]).values
    last = values.numel() - 1

    def at(percentile: float) -> float:
        return float(values[round(percentile / 100 * last)])

    low, high = (at(p) for p in CLAMP_PERCENTILES)
    bulk_low, bulk_high = (at(p) for p in BULK_PERCENTILES)
    if bulk_high > bulk_low:
        low = max(low, bulk_low - OUTLIER_REACH * (bulk_high - bulk_low))
        high = min(high, bulk_high + OUTLIER_REACH * (bulk_high - bulk_low))
    return low, high


def _coarse_geometry(geometry: Geometry, voxels: int) -> Geometry:
    """A grid over the scan with about this many voxels, isotropic except where the scan's own spacing is coarser."""
    extent = (np.array(geometry.size) - 1) * np.array(geometry.spacing)
    step = max((np.prod(np.maximum(extent, 1e-9)) / voxels) ** (1 / 3), 1e-9)
    spacing = tuple(float(max(step, s)) for s in geometry.spacing)
    return grid_over(geometry, spacing)


def _body(coarse: Image) -> torch.Tensor:
    """Everything except the dark background that is connected to the border."""
    x = coarse.tensor.cpu().numpy()
    dark, bright = np.percentile(x, RANGE_PERCENTILES)
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
    """An isotropic grid over the body's bounding box, on the scan's canonical axes.

    Args:
        prepared: The scan.
        spacing: Of the grid, mm.
        margin_voxels: Of the grid, around the box; it ends where the scan ends.
    """
    geometry = prepared.image.geometry
    margin = margin_voxels * spacing / np.array(geometry.spacing)
    low = np.maximum(prepared.box[0] - margin, 0)
    high = np.minimum(prepared.box[1] + margin, np.array(geometry.size) - 1)
    return subgrid(geometry, low, high, (spacing, spacing, spacing))


def around(moving: Prepared, u: Image, linear: np.ndarray) -> Prepared | None:
    """The moving scan with a box around that part of its body to which a fixed grid is mapped; None if there is none.

    Args:
        moving: The scan.
        u: Displacement on the grid, ``(3, D, H, W)`` mm along the fixed axes.
        linear: 4x4, LPS mm, fixed -> moving, applied after it.
    """
    geometry = moving.image.geometry
    ends = Sampler(u.geometry, geometry, linear, u.tensor.device).coordinates(u.tensor).reshape(3, -1)
    last = np.array(geometry.size) - 1
    low, high = ((each.cpu().numpy().astype(float) + 1) / 2 * last for each in (ends.amin(dim=1), ends.amax(dim=1)))
    low, high = np.maximum(low, moving.box[0]), np.minimum(high, moving.box[1])
    return dataclasses.replace(moving, box=(low, high)) if bool((low < high).all()) else None


@dataclasses.dataclass(frozen=True, eq=False)
class MovingLevel:
    """The moving scan at one scale.

    Attributes:
        image: Intensities ``(D, H, W)`` on the grid that is sampled.
        weight: Its mask on that grid, 0 or 1.
        extent: Geometry of the region that the scan covers: the image's own or, where the image was interpolated onto
            other axes or another voxel center, that of the grid before.
    """

    image: Image
    weight: torch.Tensor
    extent: Geometry


def moving_level(
    prepared: Prepared,
    spacing: float,
    *,
    axes: np.ndarray | None = None,
    margin_voxels: float = 12,
    anchor: np.ndarray | None = None,
) -> MovingLevel:
    """The moving scan around its body at a given spacing, or at its own where that is coarser.

    Args:
        prepared: The scan.
        spacing: Of the grid, mm.
        axes: 3x3, columns are the LPS unit vectors of the grid's axes; None takes the scan's own. Descriptors depend on
            directions and distances, so both scans must be described along the same axes and, where axes are given, at
            the same spacing along all of them: thick slices are interpolated.
        margin_voxels: Of the grid, around the body's bounding box; it ends where the scan ends.
        anchor: (3,) LPS mm: a voxel center of the grid along the axes on which it hasn't the scan's own spacing. Where
            it is the mapped center of a fixed voxel, a mapping that only shifts is not blurred by interpolation, so
            that nothing seems to be gained by moving to where less is blurred.
    """
    geometry = prepared.image.geometry
    if axes is not None:
        signs = np.sign(np.diag(geometry.direction.T @ axes))
        if (signs < 0).any() and np.allclose(axes * signs, geometry.direction, atol=SAME_AXES):  # no interpolation
            along = moving_level(prepared, spacing, axes=axes * signs, margin_voxels=margin_voxels, anchor=anchor)
            return _reversed(along, signs)
    turned = axes is not None and not np.allclose(axes, geometry.direction, atol=SAME_AXES)
    margin = margin_voxels * spacing / np.array(geometry.spacing)
    low = np.maximum(prepared.box[0] - margin, 0)
    high = np.minimum(prepared.box[1] + margin, np.array(geometry.size) - 1)
    step = spacing * FINER_BEFORE_TURNING if turned else spacing
    cubic = axes is not None and not turned

    def around_body() -> Geometry:
        return subgrid(geometry, low, high, tuple(float(step if cubic else max(step, s)) for s in geometry.spacing))

    own = around_body()
    while np.prod(own.size, dtype=float) > MAX_MOVING_VOXELS:  # a small fixed scan inside a much larger moving one
        step *= 1.1
        own = around_body()
    spacing = max(spacing, step)
    if not turned:
        grid = own if anchor is None else _anchored(own, geometry, anchor)
        return MovingLevel(resample(prepared.image, grid), mask_on(prepared, grid), own)
    image, weight = resample(prepared.image, own), mask_on(prepared, own)
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


def _reversed(level: MovingLevel, signs: np.ndarray) -> MovingLevel:
    """The same voxels in the opposite order along the axes (x, y, z) whose sign is -1."""
    geometry = level.image.geometry
    back = signs < 0
    last = (np.array(geometry.size) - 1) * np.array(geometry.spacing) * back
    origin = np.array(geometry.origin) + geometry.direction @ last
    grid = dataclasses.replace(
        geometry, origin=tuple(float(v) for v in origin), direction=geometry.direction * signs[None]
    )
    dims = [2 - axis for axis in np.flatnonzero(back)]
    return MovingLevel(Image(level.image.tensor.flip(dims), grid), level.weight.flip(dims), level.extent)


def _anchored(grid: Geometry, scan: Geometry, anchor: np.ndarray) -> Geometry:
    """The grid moved by less than a voxel, so that the anchor is a voxel center on axes of another spacing."""
    offset = grid.direction.T @ (np.asarray(anchor) - np.array(grid.origin)) / np.array(grid.spacing)
    own = np.isclose(grid.spacing, scan.spacing, rtol=1e-6)
    # a grid that fits but for rounding stays: its first voxel must not depend on the last digit of the scan's axes
    shift = np.where(own, 0.0, offset - np.ceil(offset - SAME_PLACE))
    origin = np.array(grid.origin) + grid.direction @ (shift * np.array(grid.spacing))
    size = np.array(grid.size) + (shift < -SAME_PLACE)
    return dataclasses.replace(grid, origin=tuple(float(v) for v in origin), size=tuple(int(n) for n in size))


def turned_axes(linear: np.ndarray, fixed: Geometry) -> np.ndarray:
    """The fixed grid's axes, 3x3, rotated into the moving frame by the rotation in a linear mapping (4x4, LPS mm)."""
    return turn_of(linear) @ fixed.direction


def turn_of(linear: np.ndarray) -> np.ndarray:
    """The rotation, 3x3, in a linear mapping (4x4); where that mirrors space it is one with a mirror in it."""
    u, _, vt = np.linalg.svd(linear[:3, :3])
    return u @ vt


def mask_on(prepared: Prepared, geometry: Geometry) -> torch.Tensor:
    """The mask, 0.0 or 1.0 ``(D, H, W)``, on a grid with the scan's canonical axes."""
    coarse = Image(prepared.mask.tensor.float(), prepared.mask.geometry)
    return (resample(coarse, geometry, smooth=False).tensor > 0.5).float()
