"""The loss of the training: the endpoint error of the field at every scale, and a contrastive loss of the features."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..network.model import STRIDES, WINDOW, Output, sample_at
from .pairs import Pair

__all__ = ["losses"]

TEMPERATURE = 0.1
"""Divisor of the similarities in the contrastive loss."""

DISTANCES = (1, 3)
"""Distances of the negative examples, voxels of the scale: near ones train precision, far ones distinctiveness."""

CONTRAST_WEIGHT, SMOOTHNESS_WEIGHT = 1.0, 0.02


def at_stride(x: torch.Tensor, stride: int) -> torch.Tensor:
    """A tensor (N, C, D, H, W) at the voxels of a coarser scale."""
    return x[:, :, ::stride, ::stride, ::stride]


def losses(output: Output, pair: Pair) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a pair.

    Args:
        output: The network's output for the pair.
        pair: The pair with its true field.

    Returns:
        The loss, and figures for the log: "loss"; "error", the mean endpoint error of the finest field in voxels of the
        input; "still", that of no field; "right_2" to "right_16", per stride the share of places whose features match
        the true place better than its neighbors.
    """
    error, contrast, right = 0.0, 0.0, []
    for level, stride in enumerate(STRIDES):
        truth, weight = at_stride(pair.field, stride), at_stride(pair.weight, stride)
        field = output.fields[len(STRIDES) - 1 - level]
        distance = ((field - truth) / stride).square().sum(dim=1, keepdim=True).add(1e-3).sqrt()
        error = error + _mean(distance, weight)
        part, share = _contrast(output.fixed[level], output.moving[level], truth / stride, weight)
        contrast = contrast + part
        right.append(share)
    finest = output.fields[-1] / STRIDES[0]
    smoothness = sum(finest.diff(dim=dim).square().mean() for dim in (2, 3, 4))
    loss = error + CONTRAST_WEIGHT * contrast + SMOOTHNESS_WEIGHT * smoothness
    truth, weight = at_stride(pair.field, STRIDES[0]), at_stride(pair.weight, STRIDES[0])
    figures = {
        "loss": float(loss.detach()),
        "error": float(_mean((output.fields[-1].detach() - truth).norm(dim=1, keepdim=True), weight)),
        "still": float(_mean(truth.norm(dim=1, keepdim=True), weight)),
        **{f"right_{stride}": share for stride, share in zip(STRIDES, right)},
    }
    return loss, figures


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)


def _contrast(fixed: torch.Tensor, moving: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor):
    """Cross-entropy of the true place among its neighbors at several distances, and the share that matches best there.

    The moving features are warped onto the fixed grid by the true field, and neighbors are those on that grid.
    """
    there = sample_at(moving, truth)
    right_place = (fixed * there).sum(dim=1)
    candidates = [right_place]
    d, h, w = fixed.shape[2:]
    for distance in DISTANCES:
        padded = F.pad(there, [distance] * 6, mode="replicate")
        for offset in WINDOW:
            if offset == (0, 0, 0):
                continue
            z, y, x = (distance * (1 + step) for step in offset)
            candidates.append((fixed * padded[:, :, z : z + d, y : y + h, x : x + w]).sum(dim=1))
    scores = torch.stack(candidates, dim=1)
    target = torch.zeros_like(scores[:, 0], dtype=torch.long)
    entropy = F.cross_entropy(scores / TEMPERATURE, target, reduction="none")[:, None]
    near = scores[:, : len(WINDOW)].detach()
    right = (near.argmax(dim=1) == 0).float()[:, None]
    return _mean(entropy, weight), float(_mean(right, weight))
