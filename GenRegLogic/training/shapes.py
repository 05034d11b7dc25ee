"""Label maps of random shapes: smoothed noise, ellipsoids, tubes, shells and sheets."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

__all__ = ["label_map", "noise_field", "uniform"]

LABELS = (6, 27)
"""Range of the number of labels, the upper end excluded."""

SCALES = (4, 8, 16, 32)
"""Distances between the control points of the noise, voxels."""

AXIS_DEVIATION = (2 / 3) ** 0.5
"""Factor on the standard deviation of the noise for each of the three axes: 0.54 altogether."""


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """A random number in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A random whole number in [low, high)."""
    return int(torch.randint(low, high, (), generator=generator, device=generator.device))


def noise_field(shape: tuple[int, ...], channels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Smooth normal noise of the same standard deviation everywhere.

    It is interpolated by cubic splines; linear interpolation would leave visible edges along the axes.

    Args:
        shape: (D, H, W).
        channels: Number of independent channels.
        scale: Distance between the control points, voxels.
        generator: Source of the random numbers.

    Returns:
        (channels, D, H, W).
    """
    coarse = [max(2, round(n / scale) + 2) for n in shape]
    x = torch.randn((channels, *coarse), generator=generator, device=generator.device)
    for m, n in zip(coarse, shape):
        x = torch.tensordot(x, _spline(m, n, generator.device), dims=([1], [1]))  # the new axis comes last: z, y, x
    return x


@functools.lru_cache(maxsize=64)
def _spline(points: int, voxels: int, device: torch.device) -> torch.Tensor:
    """(voxels, points) spline weights of the control points at evenly spaced voxels; all rows have the same norm."""
    t = torch.linspace(0, points - 1, voxels, device=device)[:, None] - torch.arange(points, device=device)
    near, far = t.abs().clamp(max=1), t.abs().clamp(min=1, max=2)
    weights = torch.where(t.abs() < 1, 4 - 6 * near**2 + 3 * near**3, (2 - far) ** 3)
    return weights * (AXIS_DEVIATION / weights.norm(dim=1, keepdim=True))


def label_map(shape: tuple[int, ...], generator: torch.Generator) -> tuple[torch.Tensor, int]:
    """A random label map.

    Args:
        shape: (D, H, W).
        generator: Source of the random numbers.

    Returns:
        (D, H, W) int64 labels, and their number. In seven of ten maps label 0 is the background around a body.
    """
    count = whole(generator, *LABELS)
    scores = torch.zeros((count, *shape), device=generator.device)
    for _ in range(whole(generator, 1, 3)):
        scale = SCALES[whole(generator, 0, len(SCALES))]
        scores += noise_field(shape, count, scale, generator) * uniform(generator, 0.3, 1.0)
    labels = scores.argmax(dim=0)
    places = _places(shape, generator.device)
    for _ in range(whole(generator, 0, 5)):
        labels = _painted(labels, places, count, generator)
    if uniform(generator, 0, 1) < 0.7:
        body = _ellipsoid(places, generator, 0.6, 1.1, 0.15) + 0.15 * noise_field(shape, 1, 16, generator)[0]
        labels = torch.where(body < 0, labels.clamp(min=1), 0)
    return labels, count


def _places(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """(3, D, H, W) coordinates (z, y, x) in [-1, 1]."""
    return torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n, device=device) for n in shape), indexing="ij"))


def _direction(generator: torch.Generator) -> torch.Tensor:
    return F.normalize(torch.randn(3, generator=generator, device=generator.device), dim=0)


def _ellipsoid(places: torch.Tensor, generator: torch.Generator, low: float, high: float, shift: float):
    """A function that is negative inside a random ellipsoid."""
    center = (torch.rand(3, generator=generator, device=places.device) * 2 - 1) * shift
    radii = torch.rand(3, generator=generator, device=places.device) * (high - low) + low
    return ((places - center.view(3, 1, 1, 1)) / radii.view(3, 1, 1, 1)).square().sum(dim=0).sqrt() - 1


def _painted(labels: torch.Tensor, places: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """The label map with one more ellipsoid, tube, shell or sheet."""
    kind, label = whole(generator, 0, 4), whole(generator, 1, count)
    if kind == 0:
        inside = _ellipsoid(places, generator, 0.1, 0.5, 0.6) < 0
    elif kind == 1:
        direction = _direction(generator).view(3, 1, 1, 1)
        center = (torch.rand(3, generator=generator, device=places.device) - 0.5).view(3, 1, 1, 1)
        bend = 0.15 * torch.sin(4 * (places * _direction(generator).view(3, 1, 1, 1)).sum(dim=0))
        offset = places - center
        along = (offset * direction).sum(dim=0)
        distance = (offset.square().sum(dim=0) - along.square()).clamp(min=0).sqrt()
        inside = distance + bend < uniform(generator, 0.03, 0.2)
    elif kind == 2:
        inside = _ellipsoid(places, generator, 0.2, 0.8, 0.3).abs() < uniform(generator, 0.03, 0.12)
    else:
        distance = (places * _direction(generator).view(3, 1, 1, 1)).sum(dim=0) - uniform(generator, -0.5, 0.5)
        wave = 0.2 * noise_field(labels.shape, 1, 16, generator)[0]
        inside = (distance + wave).abs() < uniform(generator, 0.02, 0.08)
    return torch.where(inside, label, labels)
