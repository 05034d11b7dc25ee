"""Stage 5, refine: test-time optimization of the displacement field on the pair itself.

The field is moved directly, no network weights and no autograd graph. Each step composes the field with a small,
smooth, bounded one, ``u <- u o (id + v)``, and smooths the result: a composition of invertible steps is invertible, so
the field doesn't fold, up to what interpolation on the grid adds (`finish.full_field` repairs that). Coarse to fine;
each level ends when it no longer gains, with the best field met.

After Vercauteren et al., "Diffeomorphic demons" (NeuroImage 2009), and Avants et al., "Symmetric diffeomorphic image
registration with cross-correlation" (Med Image Anal 2008), for the form of the update.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from ..guidance.landmarks import LandmarkPull
from ..progress import Monitor, MonitorPart
from ..space.geometry import Geometry
from ..space.grid import Image, Sampler, resample, sample
from .describe import mind_ssc
from .prepare import Prepared, mask_on, moving_level, turned_axes, working_grid
from .schedule import BOTH, DESCRIPTOR, INTENSITY, NETWORK, Level
from .similarity import DescriptorDistance, Lncc, smooth

__all__ = ["Constraint", "Refiner"]

MAX_STEP = 1.0
"""Longest displacement of one step, voxels of the level."""

LNCC_RADIUS = 2
LNCC_NOISE = 1e-4
"""Variance that counts as noise, of intensities scaled to [0, 1]."""

EXTENT_EVERY = 4
"""Steps between two looks at which voxels lie within the moving scan: it changes at the rim only."""

CHANNELS = 12
"""That a network's descriptors are reduced to, so that a step costs what one with MIND-SSC does."""

LEAST_DESCRIBED = 17
"""Voxels along each axis of both scans that a network describes at least: fewer have to be padded for it. It sees far,
and scans that end within its sight look alike at their ends: it would stretch one field of view onto the other (the
spinal cord of the real pairs). Smaller scales compare MIND-SSC."""

NETWORK_WEIGHT = 0.75
"""Of a network's channels beside those of MIND-SSC."""

STALL_STEPS, STALL_GAIN = 6, 2e-3
"""A level ends when this many steps gain less than this share of what the level has gained."""


class Describer(Protocol):
    """A network at work (`network.apply.Learned`)."""

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptors ``(C, D, H, W)`` of an image ``(D, H, W)``."""


class Constraint(Protocol):
    """What a field must obey while it is refined: bodies that stay rigid, or a region outside which nothing moves."""

    def enter(self, field: Image, geometry: Geometry) -> torch.Tensor:
        """A field brought onto a level's grid, mm ``(3, D, H, W)``, so that it obeys."""

    def keep(self, u: torch.Tensor, before: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The field after a step, on the level's grid, so that it obeys; `before` is the field before that step."""


class Refiner:
    """Refines the displacement between two prepared scans under a linear mapping.

    Args:
        fixed, moving: the scans.
        linear: 4x4, LPS mm, fixed -> moving; applied after the displacement.
        smoothness: factor on both smoothing widths.
        landmarks: pull of corresponding points, or None.
        constraint: what the field must obey at every step, or None.
        max_step: longest displacement of one step, voxels of the level.
        describer: describes where levels ask for NETWORK or BOTH.

    Attributes:
        compared: What each level did compare; not always what it asked for (LEAST_DESCRIBED).
    """

    def __init__(
        self,
        fixed: Prepared,
        moving: Prepared,
        linear: np.ndarray,
        *,
        smoothness: float = 1.0,
        landmarks: LandmarkPull | None = None,
        constraint: Constraint | None = None,
        max_step: float = MAX_STEP,
        describer: Describer | None = None,
    ):
        self.max_step, self.describer = max_step, describer
        self.constraint = constraint
        self.fixed, self.moving, self.linear = fixed, moving, linear
        self.smoothness, self.landmarks = smoothness, landmarks
        self.device = fixed.image.tensor.device
        self.history: list[dict] = []
        self.compared: list[str] = []

    def run(
        self,
        levels: list[Level],
        start: Image,
        monitor: Monitor | MonitorPart | None = None,
        export: Callable[[Image], object] | None = None,
        first: int = 0,
    ) -> Image:
        """Refine `start` (displacement in mm on canonical fixed axes, ``(3, D, H, W)``) through all levels.

        The history counts them from `first`.
        """
        field = start
        work = [_work(self.fixed, level) for level in levels]
        done = 0.0
        for number, level in enumerate(levels):
            geometry = working_grid(self.fixed, level.spacing)
            u = (
                resample(field, geometry, smooth=False).tensor
                if self.constraint is None
                else self.constraint.enter(field, geometry)
            )
            share = work[number] / sum(work)

            def tell(fraction, objective, u, geometry=geometry, base=done, share=share):
                if monitor is not None:
                    current = Image(u, geometry)
                    monitor.tell(
                        base + share * fraction,
                        objective,
                        (lambda: export(current)) if export else None,
                        level=self.history[-1]["level"],
                        iteration=self.history[-1]["iteration"],
                    )
                    return monitor.keep
                return False

            u = self._level(level, first + number, geometry, u, tell)
            field = Image(u, geometry)
            done += share
            if monitor is not None and monitor.keep:
                break
        return field

    def _level(self, level: Level, number: int, geometry: Geometry, u: torch.Tensor, tell: Callable) -> torch.Tensor:
        axes = None if level.measure == INTENSITY else turned_axes(self.linear, geometry)
        moving = moving_level(self.moving, level.spacing, axes=axes)
        if level.measure in (NETWORK, BOTH) and min(*geometry.size, *moving.image.geometry.size) < LEAST_DESCRIBED:
            level = dataclasses.replace(level, measure=DESCRIPTOR)
        self.compared.append(level.measure)
        measure = self._measure(level, resample(self.fixed.image, geometry).tensor, mask_on(self.fixed, geometry))
        channels = measure.channels(moving.image.tensor)
        sampler = Sampler(geometry, moving.image.geometry, self.linear, self.device, moving.extent)
        composer = Composer(geometry, self.device)
        step_sigma, field_sigma = (s * self.smoothness for s in (level.step_sigma, level.field_sigma))
        best, best_u, values = float("inf"), u, []
        for iteration in range(level.iterations + 1):
            coordinates = sampler.coordinates(u)
            if iteration % EXTENT_EVERY == 0:
                inside = sampler.inside(coordinates)
                if not self.moving.automatic:
                    inside &= sample(moving.weight[None], coordinates)[0] > 0.5
                valid = None if bool(inside.all()) else inside.float()
            value, pull = measure.pull(sample(channels, coordinates), valid)
            values.append(value)
            self.history.append({"level": number, "iteration": iteration, "objective": value})
            if value < best:
                best, best_u = value, u
            if iteration == level.iterations or _stalled(values) or tell(iteration / level.iterations, value, best_u):
                break
            step = smooth(pull, step_sigma)
            longest = float(step.square().sum(dim=0).max().sqrt())
            if longest > 0:
                step.mul_(-self.max_step / longest)
            if self.landmarks is not None:
                step = self.landmarks.blend(step, u, geometry)
            before, u = u, smooth(composer(u, step), field_sigma)
            if self.constraint is not None:
                u = self.constraint.keep(u, before, geometry)
        return best_u if self.landmarks is None else u

    def _measure(self, level: Level, fixed: torch.Tensor, weight: torch.Tensor):
        if level.measure == INTENSITY:
            return Lncc(fixed, LNCC_RADIUS, weight, LNCC_NOISE)
        if level.measure == DESCRIPTOR:
            return DescriptorDistance(mind_ssc, fixed, weight)
        learned = self.describer.describe
        if level.measure == NETWORK:
            return DescriptorDistance(learned, fixed, weight, channels=CHANNELS)

        def both(image: torch.Tensor) -> torch.Tensor:
            return torch.cat([mind_ssc(image), learned(image).mul_(NETWORK_WEIGHT)])

        return DescriptorDistance(both, fixed, weight, channels=CHANNELS)


def _stalled(values: list[float]) -> bool:
    if len(values) <= STALL_STEPS:
        return False
    gained = values[0] - min(values)
    return min(values[:-STALL_STEPS]) - min(values[-STALL_STEPS:]) < STALL_GAIN * gained


def _work(fixed: Prepared, level: Level) -> float:
    return float(np.prod(working_grid(fixed, level.spacing).size)) * level.iterations


class Composer:
    """``(u, v) -> u o (id + v) + v`` on one grid: u in mm, v in voxels, both ``(3, D, H, W)``."""

    def __init__(self, geometry: Geometry, device: torch.device):
        d, h, w = geometry.shape
        lines = [torch.linspace(-1, 1, n, device=device) for n in (d, h, w)]
        z, y, x = torch.meshgrid(*lines, indexing="ij")
        self._identity = torch.stack([x, y, z])
        self._scale = torch.tensor([2 / (w - 1), 2 / (h - 1), 2 / (d - 1)], device=device).view(3, 1, 1, 1)
        self._spacing = geometry.spacing[0]

    def __call__(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return sample(u, torch.addcmul(self._identity, v, self._scale)).add_(v, alpha=self._spacing)
