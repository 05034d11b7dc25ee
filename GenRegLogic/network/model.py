"""The network: describes tissue at four scales, and proposes a displacement field from coarse to fine.

Both scans pass through the same encoder (a feature pyramid), so that their features can be compared across contrasts.
From the coarsest scale to the finest, the moving features are warped by the current field and correlated with the fixed
ones in a window of one voxel; a small head, the same at every scale, turns the correlations into a further step, which
is integrated and composed with the field. The resulting field has half the input's resolution, and the finest features
also serve as a descriptor for the optimization.

Coarse voxel o of stride s lies on voxel s·o of the input. Fields are (N, 3, D, H, W), components (x, y, z), in voxels
of the input, from fixed to moving.

The ingredients are those of registration pyramids in the literature (PWC-Net, Sun et al., CVPR 2018; dual-stream
pyramids, Kang et al., Med Image Anal 2022); no code and no weights of others are used.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["STRIDES", "Network", "Output", "compose_voxels", "correlation_volume", "sample_at", "upsample_field"]

STRIDES = (2, 4, 8, 16)
"""Of the four scales, in voxels of the input, from the finest."""

WIDTHS = (16, 32, 48, 64)
"""Channels of the encoder at each stride."""

PYRAMID_WIDTH = 32
DESCRIPTOR_CHANNELS = 16
HEAD_WIDTH = 48
STEPS = (1, 2, 2, 2)
"""Number of steps of the head at each stride."""

WINDOW = list(itertools.product((-1, 0, 1), repeat=3))
"""Offsets (z, y, x) of the local correlation."""

LONGEST_STEP = 1.5
"""Longest component of one step, voxels of its scale."""

SQUARINGS = 3
"""Squarings in the integration of a step."""

SMALLEST_HALF = 8
"""Least number of voxels along each axis for convolutions in half precision: with fewer, the gradients that torch 2.13
computes on processors (oneDNN, bfloat16) contain uninitialized memory."""


class Output(NamedTuple):
    """Output of the network.

    Attributes:
        fields: From the coarsest scale to the finest, (N, 3, D, H, W) each, voxels of the input, fixed -> moving, on
            the grid of the scale.
        fixed: Features of the fixed scan, finest first, (N, C, D, H, W), of unit length.
        moving: The same of the moving scan.
    """

    fields: list[torch.Tensor]
    fixed: list[torch.Tensor]
    moving: list[torch.Tensor]


class _Convolution(nn.Conv3d):
    """A convolution, in half `precision` where that is safe; input and output have the precision of the weights."""

    precision: torch.dtype | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.precision is None or min(x.shape[2:]) < SMALLEST_HALF * self.stride[0]:
            return super().forward(x)
        with torch.autocast(x.device.type, dtype=self.precision):
            return super().forward(x).float()


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            _Convolution(inputs, outputs, 3, stride, 1, bias=False),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.1, inplace=True),
        )


class Encoder(nn.Module):
    """Maps scans (N, 1, D, H, W), zero mean and unit standard deviation, to features of unit length at every stride."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *WIDTHS)
        self.down = nn.ModuleList(nn.Sequential(_Block(a, b, 2), _Block(b, b)) for a, b in itertools.pairwise(widths))
        self.lateral = nn.ModuleList(_Convolution(width, PYRAMID_WIDTH, 1) for width in WIDTHS)
        self.blend = nn.ModuleList(_Block(PYRAMID_WIDTH, PYRAMID_WIDTH) for _ in WIDTHS)
        self.out = nn.ModuleList(_Convolution(PYRAMID_WIDTH, DESCRIPTOR_CHANNELS, 1) for _ in WIDTHS)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features (N, C, D, H, W) per stride, the finest first."""
        found = []
        for down in self.down:
            x = down(x)
            found.append(x)
        features, above = [], None
        for level in reversed(range(len(found))):
            here = self.lateral[level](found[level])
            if above is not None:
                here = here + double(above, here.shape[2:])
            above = self.blend[level](here)
            features.append(F.normalize(self.out[level](above), dim=1))
        return features[::-1]


class Head(nn.Module):
    """Maps correlations and fixed features to a step, in voxels of the scale."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.gain = nn.Parameter(torch.tensor(1.0))
        self.layers = nn.Sequential(
            _Block(len(WINDOW) + DESCRIPTOR_CHANNELS + 3, HEAD_WIDTH), _Block(HEAD_WIDTH, HEAD_WIDTH)
        )
        self.last = _Convolution(HEAD_WIDTH, 3, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        offsets = torch.tensor([offset[::-1] for offset in WINDOW], dtype=torch.float32)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, correlation: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        likely = torch.softmax(correlation * self.sharpness, dim=1)
        mean = torch.einsum("nkdhw,kc->ncdhw", likely, self.offsets.to(likely.dtype))
        step = self.gain * mean + self.last(self.layers(torch.cat([correlation, fixed, mean], dim=1)))
        return LONGEST_STEP * torch.tanh(step / LONGEST_STEP)


class Network(nn.Module):
    """Proposes the displacement field fixed -> moving, and describes both scans."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(), Head()

    def compute_in(self, precision: torch.dtype | None) -> Network:
        """Set the precision of the convolutions.

        Args:
            precision: torch.bfloat16 is several times as fast where the processor supports it; norms, features,
                correlations and fields stay in float32. None: everything in float32.

        Returns:
            The network itself.
        """
        for module in self.modules():
            if isinstance(module, _Convolution):
                module.precision = precision
        return self

    def describe(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of unit length of (N, 1, D, H, W) scans of zero mean and unit standard deviation, finest first."""
        return self.encoder(image)

    def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> Output:
        """Fields and features of (N, 1, D, H, W) scans on one grid, each of zero mean and unit standard deviation."""
        features = [self.describe(image) for image in (fixed, moving)]
        fields, u = [], None
        for level in reversed(range(len(STRIDES))):
            here, there = (each[level] for each in features)
            stride = STRIDES[level]
            u = here.new_zeros((len(here), 3, *here.shape[2:])) if u is None else upsample_field(u, here.shape[2:])
            for _ in range(STEPS[level]):
                correlation = correlation_volume(here, sample_at(there, u / stride))
                step = integrate(smooth3(self.head(correlation, here)))
                u = compose_voxels(u / stride, step) * stride
            fields.append(u)
        return Output(fields, *features)


def correlation_volume(fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """(N, 27, D, H, W): scalar products of (N, C, D, H, W) features with the neighbors of the same place in `moving`.

    The offsets are in the order of `WINDOW`; beyond the edge the edge is repeated.
    """
    d, h, w = fixed.shape[2:]
    padded = F.pad(moving, [1] * 6, mode="replicate")
    return torch.stack(
        [
            (fixed * padded[:, :, 1 + z : 1 + z + d, 1 + y : 1 + y + h, 1 + x : 1 + x + w]).sum(dim=1)
            for z, y, x in WINDOW
        ],
        dim=1,
    )


def sample_at(image: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """(N, C, D, H, W) sampled at every voxel plus a displacement (N, 3, d, h, w), voxels (x, y, z).

    Linear interpolation; beyond the edge the edge is repeated.
    """
    shape = displacement.shape[2:]
    lines = [torch.arange(n, device=image.device, dtype=torch.float32) for n in shape]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    place = torch.stack([x, y, z]) + displacement.float()
    return sample_places(image, place)


def sample_places(image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, C, D, H, W) sampled at voxel coordinates (N, 3, d, h, w), (x, y, z).

    Linear interpolation; beyond the edge the edge is repeated.
    """
    size = torch.tensor(image.shape[:1:-1], device=image.device, dtype=torch.float32).view(1, 3, 1, 1, 1)
    unit = places * (2 / (size - 1).clamp(min=1)) - 1
    return F.grid_sample(
        image, unit.permute(0, 2, 3, 4, 1).to(image.dtype), mode="bilinear", padding_mode="border", align_corners=True
    )


def compose_voxels(first: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """x -> first(x + step(x)) + step(x), both (N, 3, D, H, W) in voxels of the grid."""
    return sample_at(first, step) + step


def integrate(velocity: torch.Tensor) -> torch.Tensor:
    """The displacement of a stationary velocity, both in voxels, by scaling and squaring."""
    u = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        u = compose_voxels(u, u)
    return u


def smooth3(x: torch.Tensor) -> torch.Tensor:
    """A tensor smoothed by [1 2 1] / 4 along each axis, with the edge repeated."""
    for dim in (2, 3, 4):
        n = x.shape[dim]
        low = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)], dim)
        high = torch.cat([x.narrow(dim, 1, n - 1), x.narrow(dim, n - 1, 1)], dim)
        x = 0.5 * x + 0.25 * (low + high)
    return x


def double(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor on a grid of half the stride, with that grid's `shape`: voxel o is sampled at o / 2, linearly."""
    for dim, n in zip((2, 3, 4), shape):
        after = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, x.shape[dim] - 1, 1)], dim)
        x = torch.stack([x, (x + after) / 2], dim=dim + 1).flatten(dim, dim + 1).narrow(dim, 0, n)
    return x


def upsample_field(u: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A field on the grid of half the stride; its unit remains voxels of the input."""
    return double(u, shape)
