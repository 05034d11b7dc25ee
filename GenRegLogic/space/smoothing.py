"""Smoothing of images and fields: by a Gaussian, and up to the jumps of a field where organs slide along one another.

The latter is nonlinear diffusion after Perona and Malik, "Scale-space and edge detection using anisotropic diffusion"
(IEEE PAMI 1990): no smoothing across places where the field is strained by more than tissue is. Rotations are not
strain. It is used only for pairs whose coarse scales fit clearly better with it (`stages.hypotheses`).
"""

from __future__ import annotations

import dataclasses
import functools

import torch

__all__ = ["Borders", "conductances", "smooth", "smooth_within", "strain"]

MATRIX_SIZE = 50
"""Voxels of an axis, for each pass, up to which a product with one matrix is taken for faster than the passes."""

SLAB_VOXELS = 1_000_000
"""Voxels, about, for which conductances are computed at a time: a dozen derivatives of each are held."""

STRAIN = 0.3
"""Strain at which half of the smoothing across remains."""


def smooth(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing of the last three axes; border values are repeated outside.

    By passes of [1 2 1] / 4, which have variance 1/2, and one weaker pass for the rest of the variance: the larger
    sigma, the closer to a Gaussian. Along short axes all passes are one product with a matrix.

    Args:
        x: ``(..., D, H, W)``.
        sigma: Standard deviation, voxels.
    """
    if x.ndim > 3:  # one by one, to stay in the cache
        return torch.stack([smooth(part, sigma) for part in x])
    variance = sigma * sigma
    for dim in (-3, -2, -1):
        n = x.shape[dim]
        if n <= MATRIX_SIZE * 2 * variance:
            x = _along(x, _passes(n, variance, x.dtype, x.device), dim)
        else:
            for weight in _weights(variance):
                x = _three_taps(x, weight, dim)
    return x


def _weights(variance: float) -> list[float]:
    """Weight of each neighbor in passes that together have the variance."""
    weights = []
    while variance > 1e-6:
        weights.append(min(variance, 0.5) / 2)
        variance -= 0.5
    return weights


@functools.lru_cache(maxsize=32)  # on the device, so that nothing is copied there within a level
def _passes(n: int, variance: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """All passes along an axis of n voxels as a matrix (n, n)."""
    with torch.inference_mode(False):  # else it could not be used where gradients are computed
        matrix = torch.eye(n, dtype=torch.float64)
        for weight in _weights(variance):
            matrix = _three_taps(matrix, weight, 0)
        return matrix.to(dtype).to(device)  # first the type: not every device has double precision


def _along(x: torch.Tensor, matrix: torch.Tensor, dim: int) -> torch.Tensor:
    """The product of a matrix (n, n) with each line of ``(D, H, W)`` along an axis of n voxels."""
    if dim == -1:
        return x @ matrix.T
    if dim == -2:
        return matrix @ x
    return (matrix @ x.reshape(x.shape[0], -1)).reshape(x.shape)


def _three_taps(x: torch.Tensor, weight: float, dim: int) -> torch.Tensor:
    n = x.shape[dim]
    out = x * (1 - 2 * weight)
    out.narrow(dim, 1, n - 1).add_(x.narrow(dim, 0, n - 1), alpha=weight)
    out.narrow(dim, 0, n - 1).add_(x.narrow(dim, 1, n - 1), alpha=weight)
    out.narrow(dim, 0, 1).add_(x.narrow(dim, 0, 1), alpha=weight)
    out.narrow(dim, n - 1, 1).add_(x.narrow(dim, n - 1, 1), alpha=weight)
    return out


def conductances(u: torch.Tensor, spacing: float) -> tuple[torch.Tensor, ...]:
    """How much smoothing is allowed between neighbors.

    With J the field's derivatives, E their symmetric part: along an axis a, 1 / (1 + s^2), where s is 2 |E|^2 times the
    share of |J|^2 that is due to that axis, divided by the square of `STRAIN`. A body that slides by a voxel, or is
    compressed by one, along a plane has s at its largest across the plane and 0 along it.

    Args:
        u: Displacement, ``(3, D, H, W)`` mm along the grid's axes.
        spacing: Of the grid, mm.

    Returns:
        For the axes x, y and z: 0 to 1 for each pair of neighbors, ``(D, H, W - 1)``, ``(D, H - 1, W)`` and
        ``(D - 1, H, W)``.
    """
    depth, height, width = u.shape[1:]
    allowed = [torch.empty_like(u[0]) for _ in range(3)]
    rows = max(1, SLAB_VOXELS // (height * width))
    for start in range(0, depth, rows):
        stop, low = min(start + rows, depth), max(start - 1, 0)
        inner = slice(start - low, stop - low)
        for whole, part in zip(allowed, _allowed(u[:, low : stop + 1], spacing)):
            whole[start:stop] = part[inner]
    faces = []
    for whole, dim in zip(allowed, (2, 1, 0)):
        n = whole.shape[dim] - 1
        faces.append(torch.minimum(whole.narrow(dim, 0, n), whole.narrow(dim, 1, n)))
    return tuple(faces)


def _allowed(u: torch.Tensor, spacing: float) -> list[torch.Tensor]:
    """How much smoothing each voxel allows along x, y and z, ``(D, H, W)`` each; see `conductances`."""
    slopes = [_slopes(component, spacing) for component in u]
    along = [sum(slopes[c][a].square() for c in range(3)) for a in range(3)]
    share = _squared_strain(slopes).div_((along[0] + along[1] + along[2]).add_(1e-9)).div_(STRAIN**2)
    return [part.mul_(share).square_().add_(1).reciprocal_() for part in along]


def strain(u: torch.Tensor, spacing: float) -> torch.Tensor:
    """The strain ``(D, H, W)`` of a displacement ``(3, D, H, W)`` in mm: sqrt(2) |E|, 1 for a shear by 1 mm in 1 mm."""
    return _squared_strain([_slopes(component, spacing) for component in u]).sqrt_()


def _squared_strain(slopes: list[list[torch.Tensor]]) -> torch.Tensor:
    squared = sum(slopes[a][a].square() for a in range(3)).mul_(2)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        squared += (slopes[a][b] + slopes[b][a]).square_()
    return squared


def _slopes(x: torch.Tensor, spacing: float) -> list[torch.Tensor]:
    """Central differences of ``(D, H, W)`` along x, y, z by mm; zero at the border."""
    out = []
    for dim in (2, 1, 0):
        slope, n = torch.zeros_like(x), x.shape[dim] - 2
        if n > 0:
            torch.sub(x.narrow(dim, 2, n), x.narrow(dim, 0, n), out=slope.narrow(dim, 1, n))
        out.append(slope.mul_(0.5 / spacing))
    return out


@dataclasses.dataclass(frozen=True)
class Borders:
    """Faces between the voxels of regions that may slide along one another.

    Attributes:
        places: For the axes x, y and z: flat indices ``(n,)`` of the faces, in the shapes of `conductances`.
        normals: For the same: unit vectors ``(3, n)``, components (x, y, z), across the border.
    """

    places: tuple[torch.Tensor, ...]
    normals: tuple[torch.Tensor, ...]

    @classmethod
    def between(cls, region: torch.Tensor, inward: torch.Tensor) -> Borders:
        """The borders of the regions numbered in ``(D, H, W)``.

        Args:
            region: A number for each voxel.
            inward: ``(3, D, H, W)``, near the borders a vector of any length that points into the voxel's own region.
        """
        places, normals = [], []
        for axis, dim in enumerate((2, 1, 0)):
            n = region.shape[dim] - 1
            place = (region.narrow(dim, 0, n) != region.narrow(dim, 1, n)).flatten().nonzero()[:, 0]
            across = (inward.narrow(dim + 1, 1, n) - inward.narrow(dim + 1, 0, n)).flatten(1)[:, place]
            length = across.norm(dim=0)
            straight = torch.zeros_like(across)
            straight[axis] = 1
            places.append(place)
            normals.append(torch.where(length > 1e-6, across / length.clamp(min=1e-6), straight))
        return cls(tuple(places), tuple(normals))


def smooth_within(
    x: torch.Tensor, sigma: float, faces: tuple[torch.Tensor, ...] | None = None, borders: Borders | None = None
) -> torch.Tensor:
    """Smoothing that is a Gaussian's where all is allowed (`smooth`); keeps the sum of all values.

    Args:
        x: ``(C, D, H, W)``; with borders a vector field, C = 3.
        sigma: Standard deviation, voxels, where all smoothing is allowed.
        faces: From `conductances`; None allows all.
        borders: Across which only the component in the direction of their normals is smoothed.
    """
    if borders is None and faces is not None:
        return torch.stack([_diffused(channel.clone(), sigma * sigma, faces) for channel in x])
    x = x.clone()
    for weight in _weights(sigma * sigma):
        for axis, dim in enumerate((3, 2, 1)):
            n = x.shape[dim] - 1
            flow = x.narrow(dim, 1, n) - x.narrow(dim, 0, n)
            if faces is not None:
                flow.mul_(faces[axis])
            if borders is not None:
                place, normal = borders.places[axis], borders.normals[axis]
                flat = flow.view(3, -1)
                flat[:, place] = normal * (normal * flat[:, place]).sum(dim=0)
            x.narrow(dim, 0, n).add_(flow, alpha=weight)
            x.narrow(dim, 1, n).sub_(flow, alpha=weight)
    return x


def _diffused(x: torch.Tensor, variance: float, faces: tuple[torch.Tensor, ...]) -> torch.Tensor:
    for weight in _weights(variance):
        for face, dim in zip(faces, (2, 1, 0)):
            n = x.shape[dim] - 1
            flow = (x.narrow(dim, 1, n) - x.narrow(dim, 0, n)).mul_(face)
            x.narrow(dim, 0, n).add_(flow, alpha=weight)
            x.narrow(dim, 1, n).sub_(flow, alpha=weight)
    return x
