"""Descriptors with which scans of different modalities can be compared: MIND-SSC.

MIND-SSC is the self-similarity context of Heinrich et al., "Towards Realtime Multimodal Fusion for Image-Guided
Interventions Using Self-Similarities" (MICCAI 2013): 12 squared differences between the patches around a voxel,
normalized by their mean. It depends on where a voxel's neighborhood changes and not on how bright it is, so that CT and
MR of the same anatomy have similar descriptors.
"""

from __future__ import annotations

import itertools

import torch

from .similarity import box_sum

CHANNELS = 12
VARIANCE_BOUNDS = (1e-3, 1e3)
"""Bounds of the local noise estimate, as multiples of its mean over the image; those of Heinrich's reference code."""

LARGEST_EXPONENT = 16.0
"""Descriptors are at least exp(-16): smaller ones would become denormal numbers, which are a hundred times slower."""

_NEIGHBORS = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
_PAIRS = [(a, b) for a, b in itertools.combinations(_NEIGHBORS, 2) if sum((p - q) ** 2 for p, q in zip(a, b)) == 2]


def _shifted(x: torch.Tensor, offset: tuple[int, int, int], dilation: int) -> torch.Tensor:
    """Shifted view of an edge-padded tensor; the padding is `dilation` on each side."""
    shape = [n - 2 * dilation for n in x.shape]
    for dim, step in enumerate(offset):
        x = x.narrow(dim, dilation + step * dilation, shape[dim])
    return x


def mind_ssc(image: torch.Tensor, *, radius: int = 1, dilation: int = 1) -> torch.Tensor:
    """MIND-SSC descriptors of an image.

    Args:
        image: Intensities ``(D, H, W)``; their scale and offset do not matter.
        radius: Of the patches, voxels.
        dilation: Distance of the patches from the voxel, voxels.

    Returns:
        ``(12, D, H, W)`` in (0, 1].
    """
    padded = torch.nn.functional.pad(image[None, None], [dilation] * 6, mode="replicate")[0, 0]
    out = image.new_empty((CHANNELS, *image.shape))
    for channel, (a, b) in enumerate(_PAIRS):
        difference = _shifted(padded, a, dilation) - _shifted(padded, b, dilation)
        out[channel] = box_sum(difference.mul_(difference), radius)
    out -= out.min(dim=0).values
    variance = out.mean(dim=0)
    mean = variance.mean().clamp_(min=1e-20)
    variance.clamp_(VARIANCE_BOUNDS[0] * float(mean), VARIANCE_BOUNDS[1] * float(mean))
    return out.div_(variance).clamp_(max=LARGEST_EXPONENT).neg_().exp_()
