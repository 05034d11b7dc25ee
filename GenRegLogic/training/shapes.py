"""Label maps of random shapes: smoothed noise, ellipsoids, tubes, shells and sheets, on the device."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F

__all__ = ["label_map", "noise_field", "uniform"]

LABELS = (6, 27)
SCALES = (4, 8, 16, 32)
"""Voxels between the noise's control points."""

AXIS_DEVIATION = (2 / 3) ** 0.5
"""Of the noise, for every axis: 0.54 in all."""


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """A random number."""
    return low + (high - low) * float(torch.rand((), generator=generator, device=generator.device))


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A random whole number in [low, high)."""
    return int(torch.randint(low, high, (), generator=generator, device=generator.device))


def noise_field(shape: tuple[int, ...], channels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """(channels, D, H, W) smooth normal noise whose control points are `scale` voxels apart, equally strong everywhere.

    Cubic splines: linear interpolation would leave borders along the axes.
    """
    coarse = [max(2, round(n / scale) + 2) for n in shape]
    x = torch.randn((channels, *coarse), generator=generator, device=generator.device)
    for m, n in zip(coarse, shape):
        x = torch.tensordot(x, _spline(m, n, generator.device), dims=([1], [1]))  # the new axis comes last: z, y, x
    return x


@functools.lru_cache(maxsize=64)
def _spline(points: int, voxels: int, device: torch.device) -> torch.Tensor:
    """(voxels, points) weights of control points at evenly spread voxels, of one length."""
    t = torch.linspace(0, points - 1, voxels, device=device)[:, None] - torch.arange(points, device=device)
    near, far = t.abs().clamp(max=1), t.abs().clamp(min=1, max=2)
    weights = torch.where(t.abs() < 1, 4 - 6 * near**2 + 3 * near**3, (2 - far) ** 3)
    return weights * (AXIS_DEVIATION / weights.norm(dim=1, keepdim=True))


def label_map(shape: tuple[int, ...], generator: torch.Generator) -> tuple[torch.Tensor, int]:
    """(D, H, W) int64 labels and their number; label 0 is the background around a body, if there is one."""
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
    """(3, D, H, W) in [-1, 1]."""
    return torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n, device=device) for n in shape), indexing="ij"))


def _direction(generator: torch.Generator) -> torch.Tensor:
    return F.normalize(torch.randn(3, generator=generator, device=generator.device), dim=0)


def _ellipsoid(places: torch.Tensor, generator: torch.Generator, low: float, high: float, shift: float):
    """Negative inside."""
    center = (torch.rand(3, generator=generator, device=places.device) * 2 - 1) * shift
    radii = torch.rand(3, generator=generator, device=places.device) * (high - low) + low
    return ((places - center.view(3, 1, 1, 1)) / radii.view(3, 1, 1, 1)).square().sum(dim=0).sqrt() - 1


def _painted(labels: torch.Tensor, places: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """One more organ, tube, shell or sheet over what is there."""
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
