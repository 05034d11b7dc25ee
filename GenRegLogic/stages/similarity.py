"""Similarity measures and their derivatives, without an autograd graph.

Local normalized cross-correlation (LNCC) over box windows, with its exact analytic gradient, and the squared difference
of descriptors. All images are ``(D, H, W)`` (one channel) or ``(C, D, H, W)``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MEDIAN_OF_NORMAL = 0.6745
"""Median of the absolute value of a normal variable of standard deviation 1."""

NOISE_SAMPLES, LEAST_DIFFERENCES = 200_000, 100
"""Differences from which the noise is estimated, about, and at least."""


def box_sum(x: torch.Tensor, radius: int, dims: tuple[int, ...] = (-3, -2, -1)) -> torch.Tensor:
    """Sums over windows of 2 r + 1 voxels per axis, zero outside the image.

    Sums of doubled width are added: a window costs about log2(width) additions per axis, a convolution one per voxel of
    its width.
    """
    for dim in dims:
        x = _window_sum(x, radius, dim)
    return x


def _window_sum(x: torch.Tensor, radius: int, dim: int) -> torch.Tensor:
    width, n = 2 * radius + 1, x.shape[dim]
    shape = list(x.shape)
    shape[dim] = n + 2 * radius
    padded = x.new_zeros(shape)
    padded.narrow(dim, radius, n).copy_(x)
    total, offset, length, power = None, 0, 1, padded
    while True:
        if width & length:
            part = power.narrow(dim, offset, n)
            total = part if total is None else total + part
            offset += length
        length *= 2
        if length > width:
            return total
        size = power.shape[dim] - length // 2
        power = power.narrow(dim, 0, size) + power.narrow(dim, length // 2, size)


def gradient(x: torch.Tensor) -> torch.Tensor:
    """Central differences of ``(D, H, W)``, per voxel: ``(3, D, H, W)``, components (x, y, z); zero at the border."""
    out = x.new_zeros((3, *x.shape))
    for component, dim in enumerate((2, 1, 0)):
        n = x.shape[dim]
        torch.sub(x.narrow(dim, 2, n - 2), x.narrow(dim, 0, n - 2), out=out[component].narrow(dim, 1, n - 2))
    return out.mul_(0.5)


class Lncc:
    """Squared local normalized cross-correlation of a warped moving image to a fixed one.

    ``cc = (|cov| + n)^2 / ((var_f + n_f) (var_m + n_m))`` per window, with the noise variances n_f and n_m and n the
    root of their product. It is 1 for equal images and nowhere greater, so that they do not move; without n above the
    fraction line it would grow with the variance, and noise would be sharpened. Windows that hold noise alone are alike
    and pull nothing. The fixed image's sums are computed once.

    Args:
        fixed: ``(D, H, W)``.
        radius: Of the windows, voxels; they are 2 r + 1 wide.
        weight: ``(D, H, W)`` weight of the window around each voxel (0 outside the mask).
        noise: Variance that counts as noise, in the fixed image.
        moving_noise: The same for the moving image; None where it is that of the fixed one.
    """

    def __init__(
        self,
        fixed: torch.Tensor,
        radius: int,
        weight: torch.Tensor,
        noise: float,
        moving_noise: float | None = None,
    ):
        self.radius, self.moving_noise = radius, noise if moving_noise is None else moving_noise
        self.shared_noise = (noise * self.moving_noise) ** 0.5
        self.fixed = fixed
        ones = torch.ones_like(fixed)
        self.inverse_count = 1.0 / box_sum(ones, radius)
        self.mean = box_sum(fixed, radius).mul_(self.inverse_count)
        self.variance = (
            box_sum(fixed * fixed, radius)
            .mul_(self.inverse_count)
            .addcmul_(self.mean, self.mean, value=-1)
            .clamp_(min=0)
            .add_(noise)
        )
        self.weight = weight
        self.total = float(weight.sum().clamp(min=1))

    def statistics(self, moving: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean and variance of the moving image in each window, and its covariance with the fixed image."""
        r, inv = self.radius, self.inverse_count
        mean = box_sum(moving, r).mul_(inv)
        variance = box_sum(moving * moving, r).mul_(inv).addcmul_(mean, mean, value=-1).clamp_(min=0)
        variance.add_(self.moving_noise)
        covariance = box_sum(self.fixed * moving, r).mul_(inv).addcmul_(self.mean, mean, value=-1)
        return mean, variance, covariance

    def force(self, moving: torch.Tensor, valid: torch.Tensor | None = None):
        """The objective and its derivative with respect to the warped image.

        The exact gradient of the sum over windows: with a = 2 cov / (vf vm) and b = a cov / vm, both divided by the
        window's number of voxels, dcc/dm = f box(a) - m box(b) - box(a mean_f - b mean_m), where cov is the one with n.

        Args:
            moving: The warped moving image ``(D, H, W)``.
            valid: ``(D, H, W)``, 0 outside the moving scan; None if all voxels are inside.

        Returns:
            The weighted mean of ``1 - cc``, and the derivative ``(D, H, W)`` of the weighted sum of ``1 - cc``.
        """
        mean, variance, covariance = self.statistics(moving)
        covariance.add_(torch.full_like(covariance, self.shared_noise).copysign_(covariance))
        weight = self.weight if valid is None else self.weight * valid
        product = self.variance * variance
        a = covariance / product
        cc = a * covariance
        total = weight.sum().clamp_(min=1) if valid is not None else self.total
        objective = 1 - (cc * weight).sum() / total
        a.mul_(weight).mul_(self.inverse_count).mul_(2)
        b = a * covariance / variance
        c = a * self.mean - b * mean
        r = self.radius
        derivative = self.fixed * box_sum(a, r)
        derivative.addcmul_(moving, box_sum(b, r), value=-1).sub_(box_sum(c, r))
        return objective, derivative.neg_()

    # `channels` and `pull` are what `refine` calls; `DescriptorDistance` has the same two.
    def channels(self, moving: torch.Tensor) -> torch.Tensor:
        """The channels ``(1, D, H, W)`` of the moving image ``(D, H, W)`` that are warped."""
        return moving[None]

    def pull(self, warped: torch.Tensor, valid: torch.Tensor | None) -> tuple[float, torch.Tensor]:
        """The objective, and the derivative of its weighted sum by each voxel's displacement.

        Args:
            warped: Warped channels ``(1, D, H, W)``.
            valid: ``(D, H, W)``, 0 outside the moving scan; None if all voxels are inside.

        Returns:
            The objective, and ``(3, D, H, W)`` per voxel of displacement, components (x, y, z).
        """
        objective, derivative = self.force(warped[0], valid)
        out = warped.new_zeros((3, *derivative.shape))
        _add_slopes(out, warped[0], derivative.mul_(0.5))
        return float(objective), out


def noise_variance(image: torch.Tensor, weight: torch.Tensor) -> float:
    """The variance of an image's noise, from the median second difference of neighbors within a mask.

    Structures disturb few of the differences, and of the three axes the smoothest one counts.

    Args:
        image: ``(D, H, W)``.
        weight: ``(D, H, W)``, at least 0.5 where the image is looked at.

    Returns:
        The variance; 0 where there are too few voxels to tell.

    Example:
        >>> noise = torch.randn(40, 40, 40, generator=torch.Generator().manual_seed(0))
        >>> ramp = torch.linspace(0, 50, 40)
        >>> round(noise_variance(ramp + 0.5 * noise, torch.ones(40, 40, 40)), 2)
        0.25
    """
    inside, medians = weight >= 0.5, []
    for dim in range(3):
        n = image.shape[dim] - 2
        if n < 1:
            continue
        neighbors = image.narrow(dim, 0, n) + image.narrow(dim, 2, n)
        differences = image.narrow(dim, 1, n).sub(neighbors, alpha=0.5)[inside.narrow(dim, 1, n)].abs()
        if differences.numel() >= LEAST_DIFFERENCES:
            medians.append(float(differences[:: max(1, differences.numel() // NOISE_SAMPLES)].median()))
    return (min(medians) / MEDIAN_OF_NORMAL) ** 2 / 1.5 if medians else 0.0


def local_correlation(a: torch.Tensor, b: torch.Tensor, radius: int, noise: float) -> torch.Tensor:
    """Signed correlation ``(D, H, W)`` of two images ``(D, H, W)`` in windows of 2 r + 1 voxels, -1 to 1."""
    measure = Lncc(a, radius, torch.ones_like(a), noise)
    _, variance, covariance = measure.statistics(b)
    return covariance / (measure.variance * variance).sqrt()


class DescriptorDistance:
    """Mean squared difference of descriptors, over the mask and the moving scan's extent.

    Args:
        describe: Computes the descriptors, ``(D, H, W) -> (C, D, H, W)``.
        fixed: ``(D, H, W)``.
        weight: ``(D, H, W)``, 0 outside the mask.
        channels: Number of principal components of the fixed descriptors to which all are reduced; None keeps all.
    """

    def __init__(
        self,
        describe: Callable[[torch.Tensor], torch.Tensor],
        fixed: torch.Tensor,
        weight: torch.Tensor,
        *,
        channels: int | None = None,
    ):
        self._describe, self._basis = describe, None
        self.fixed = describe(fixed)
        self.weight = weight
        if channels is not None and channels < len(self.fixed):
            self._basis = principal_components(self.fixed, weight, channels)
            self.fixed = self._reduced(self.fixed)

    def channels(self, moving: torch.Tensor) -> torch.Tensor:
        """The descriptors ``(C, D, H, W)`` of the moving image ``(D, H, W)``."""
        return self._reduced(self._describe(moving))

    def _reduced(self, descriptors: torch.Tensor) -> torch.Tensor:
        if self._basis is None:
            return descriptors
        return (self._basis @ descriptors.flatten(1)).reshape(-1, *descriptors.shape[1:])

    def pull(self, warped: torch.Tensor, valid: torch.Tensor | None) -> tuple[float, torch.Tensor]:
        """The objective, and the derivative of its weighted sum by each voxel's displacement; see `Lncc.pull`."""
        weight = self.weight if valid is None else self.weight * valid
        out = warped.new_zeros((3, *weight.shape))
        total = warped.new_zeros(())
        for channel, fixed in zip(warped, self.fixed):  # one by one, to stay in the processor's cache
            error = channel - fixed
            weighted = error * weight
            total += (error.mul_(weighted)).sum()
            _add_slopes(out, channel, weighted)
        channels = warped.shape[0]
        return float(total / channels / weight.sum().clamp(min=1)), out.mul_(1.0 / channels)


def principal_components(descriptors: torch.Tensor, weight: torch.Tensor, count: int) -> torch.Tensor:
    """``(count, C)``: the first principal components of descriptors over the voxels of a weight, orthonormal.

    No other projection on so few channels keeps distances between descriptors better, in the least-squares sense.
    """
    values, counted = descriptors.flatten(1), weight.flatten()
    total = counted.sum().clamp(min=1)
    middle = values @ counted / total
    covariance = (values * counted) @ values.T / total - torch.outer(middle, middle)
    _, directions = torch.linalg.eigh(covariance.cpu().double())  # ascending; MPS has no double precision
    return directions[:, -count:].T.float().to(values).contiguous()


def _add_slopes(out: torch.Tensor, image: torch.Tensor, factor: torch.Tensor) -> None:
    """out += factor * (twice the central differences of the image), components (x, y, z)."""
    for component, dim in enumerate((2, 1, 0)):
        n = image.shape[dim]
        slope = image.narrow(dim, 2, n - 2) - image.narrow(dim, 0, n - 2)
        out[component].narrow(dim, 1, n - 2).addcmul_(slope, factor.narrow(dim, 1, n - 2))
