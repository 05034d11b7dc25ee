"""The appearance of one anatomy in two scans: contrast, texture, noise, blur, bias, resolution, field of view."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .shapes import noise_field, uniform, whole

__all__ = ["contrasts", "degrade", "paint"]

SAME_CONTRAST, INVERTED_CONTRAST = 1 / 3, 0.1
"""Shares of the pairs whose two scans have the same and the inverted contrast."""


def contrasts(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean intensities of the labels in two scans.

    Args:
        count: Number of labels.
        generator: Source of the random numbers.

    Returns:
        Two tensors (count,) in [0, 1]: equal up to noise (a third of the pairs), inverted (a tenth) or independent.
    """
    first = torch.rand(count, generator=generator, device=generator.device)
    if uniform(generator, 0, 1) < 0.6:
        first[0] = 0.0  # air is dark in most scans
    kind = uniform(generator, 0, 1)
    jitter = 0.05 * torch.randn(count, generator=generator, device=generator.device)
    if kind < SAME_CONTRAST:
        return first, (first + jitter).clamp(0, 1)
    if kind < SAME_CONTRAST + INVERTED_CONTRAST:
        return first, (1 - first + jitter).clamp(0, 1)
    second = torch.rand(count, generator=generator, device=generator.device)
    if uniform(generator, 0, 1) < 0.6:
        second[0] = 0.0
    return first, second


def paint(labels: torch.Tensor, means: torch.Tensor, texture: torch.Tensor, strength: float) -> torch.Tensor:
    """Image of a label map.

    Args:
        labels: (D, H, W) int64.
        means: Mean intensity of each label.
        texture: (D, H, W), a part of the anatomy that is deformed with it.
        strength: Factor on the texture.

    Returns:
        (D, H, W).
    """
    return means[labels] + strength * texture * (labels > 0)


def degrade(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An image (D, H, W) with the artifacts of a scanner, of zero mean and unit standard deviation."""
    shape = image.shape
    if uniform(generator, 0, 1) < 0.5:
        image = image * torch.exp(uniform(generator, 0, 0.5) * noise_field(shape, 1, 48, generator)[0])  # bias field
    if uniform(generator, 0, 1) < 0.5:
        low = image.min()
        image = (image - low + 1e-3).pow(uniform(generator, 0.6, 1.6))
    if uniform(generator, 0, 1) < 0.4:
        image = _thick_slices(image, generator)
    if uniform(generator, 0, 1) < 0.4:
        image = _blurred(image, uniform(generator, 0.3, 1.2))
    if uniform(generator, 0, 1) < 0.2:
        image = _ringing(image, uniform(generator, 0.55, 0.9))
    scale = float(image.std()) + 1e-6
    white = torch.randn(shape, generator=generator, device=image.device)
    image = image + white * scale * uniform(generator, 0.0, 0.25)
    if uniform(generator, 0, 1) < 0.15:
        image = image * (1 + uniform(generator, 0, 0.4) * torch.randn(shape, generator=generator, device=image.device))
    if uniform(generator, 0, 1) < 0.35:
        image = _coarse(image, uniform(generator, 1.3, 2.2))  # in use, the network receives scans upsampled by two
    if uniform(generator, 0, 1) < 0.25:
        image = _cropped(image, generator)
    return (image - image.mean()) / (image.std() + 1e-6)


def _thick_slices(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    axis, factor = whole(generator, 0, 3), uniform(generator, 1.5, 4.0)
    size = list(image.shape)
    size[axis] = max(4, round(size[axis] / factor))
    thick = F.interpolate(image[None, None], size=size, mode="area")
    return F.interpolate(thick, size=image.shape, mode="trilinear")[0, 0]


def _coarse(image: torch.Tensor, factor: float) -> torch.Tensor:
    """The image resampled to larger voxels and interpolated back."""
    coarse = F.interpolate(image[None, None], size=[max(4, round(n / factor)) for n in image.shape], mode="area")
    return F.interpolate(coarse, size=image.shape, mode="trilinear")[0, 0]


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    line = torch.exp(-0.5 * (torch.arange(-4, 5, device=image.device) / sigma) ** 2)
    line = (line / line.sum()).view(1, 1, -1)
    for axis in range(3):
        moved = image.movedim(axis, -1)
        padded = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (4, 4), mode="replicate")
        image = F.conv1d(padded, line).reshape(moved.shape).movedim(-1, axis)
    return image


def _ringing(image: torch.Tensor, kept: float) -> torch.Tensor:
    """High frequencies cut off sharply, as by a short acquisition."""
    spectrum = torch.fft.rfftn(image)
    for axis, n in enumerate(image.shape):
        frequency = (torch.fft.rfftfreq(n) if axis == 2 else torch.fft.fftfreq(n)).to(image.device).abs()
        mask = (frequency <= 0.5 * kept).to(spectrum.dtype)
        spectrum = spectrum * mask.view([-1 if axis == other else 1 for other in range(3)])
    return torch.fft.irfftn(spectrum, s=image.shape)


def _cropped(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The image with a smaller field of view on one side."""
    axis = whole(generator, 0, 3)
    n = image.shape[axis]
    width = whole(generator, 1, max(2, n // 5))
    image = image.clone()
    part = image.narrow(axis, 0 if uniform(generator, 0, 1) < 0.5 else n - width, width)
    part.fill_(float(image.min()))
    return image
