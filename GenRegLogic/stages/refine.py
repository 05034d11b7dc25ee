"""Stage 4, refine: test-time optimization of the displacement field on the pair itself.

The displacements themselves are optimized, without network weights and without an autograd graph. Each step composes
the field with a small, smooth, bounded one, ``u <- u o (id + v)``, and smooths the result: a composition of invertible
steps is invertible, so the field does not fold except where interpolation on the grid adds folds (`finish.full_field`
repairs them). Coarse to fine; each level ends when the objective no longer decreases, with its best field.

The update has the form of Vercauteren et al., "Diffeomorphic demons" (NeuroImage 2009), and Avants et al., "Symmetric
diffeomorphic image registration with cross-correlation" (Med Image Anal 2008).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from ..guidance.landmarks import LandmarkPull
from ..guidance.sliding import SlidingRegions
from ..progress import Monitor, MonitorPart
from ..space.geometry import Geometry
from ..space.grid import Image, Sampler, for_sampling, resample, sample_quickly
from ..space.smoothing import Borders, conductances, smooth, smooth_within
from ..space.split import disagreement, inverse_of
from .describe import mind_ssc
from .prepare import MovingLevel, Prepared, around, mask_on, moving_level, turned_axes, working_grid
from .schedule import BOTH, DESCRIPTOR, INTENSITY, NETWORK, Level
from .similarity import DescriptorDistance, Lncc, noise_variance

__all__ = ["Constraint", "Refiner"]

LNCC_RADIUS = 2
"""Of the windows of the local correlation, voxels."""

LEAST_NOISE, NOISE_FACTOR = 1e-4, 3.0
"""Variance that counts as noise in the local correlation: the first, of intensities scaled to [0, 1], and so many times
the noise that is measured. 3 and 8 were compared on the pairs of `scripts/benchmark` that share a contrast: 8 costs two
livers and a head, and gains on a mouse."""

EXTENT_EVERY = 4
"""Steps between two updates of which voxels lie within the moving scan, and of where the field jumps."""

CHANNELS = 12
"""Number of channels to which a network's descriptors are reduced, so that a step costs the same as with MIND-SSC."""

LEAST_DESCRIBED = 17
"""Least number of voxels along each axis of both scans for a network's descriptors; levels with fewer compare MIND-SSC.
Fewer voxels are padded for the network. Its receptive field is large, so the ends of two short scans get similar
descriptors, and one field of view would be stretched onto the other (seen on the spinal cord of the real pairs)."""

NETWORK_WEIGHT = 0.75
"""Factor on a network's channels when they are used together with those of MIND-SSC."""

STALL_STEPS, STALL_GAIN = 6, 2e-3
"""A level ends when so many steps lower the objective by less than this share of what the level has lowered it by."""


AGREEING = 0.7
"""Distance, voxels of the finest level, between the two directions at which their mean counts for half. It moves no
place by more than a quarter of this. 0.5, 0.7 and 1 were compared on a lung, a liver, a hippocampus, a head and an
abdomen: the first two gain more the larger it is, the last two lose."""

MOST_BESIDE = 2_000_000
"""Voxels of a level up to which descriptors are compared beside its intensities: they need 100 bytes for each."""

LARGER = 1.5
"""Voxels of the backward direction's finest grid, as a multiple of the forward one's, from which it is left out."""


class Describer(Protocol):
    """Computes descriptors by a network; `network.apply.Learned` does."""

    def describe(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptors ``(C, D, H, W)`` of an image ``(D, H, W)``."""


class Constraint(Protocol):
    """A condition on the field during the refinement: rigid bodies, or a region outside which nothing moves."""

    def enter(self, field: Image, geometry: Geometry) -> torch.Tensor:
        """A field resampled on a level's grid, ``(3, D, H, W)`` mm, so that it meets the condition."""

    def keep(self, u: torch.Tensor, before: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The field after a step, changed to meet the condition.

        Args:
            u: The field after the step, ``(3, D, H, W)`` mm.
            before: The field before the step.
            geometry: The level's grid.
        """


class Refiner:
    """Refines the displacement between two prepared scans under a linear mapping.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        linear: 4x4, LPS mm, fixed -> moving; applied after the displacement.
        smoothness: Factor on both smoothing widths.
        landmarks: Pull of corresponding points, or None.
        constraint: Condition that the field must meet after every step, or None.
        max_step: Longest displacement of one step, voxels of the level, where that allows more; None leaves it to the
            levels.
        describer: Computes the descriptors of levels whose measure is NETWORK or BOTH; only they need it.
        sliding: True smooths steps and field only up to the field's own jumps (`space.smoothing`).
        regions: Across whose borders they are smoothed in the normal direction only, or None.

    Attributes:
        history: For each step of each level a dictionary of "level", "iteration" and "objective".
        compared: The measure that each level compared; not always its own (see `LEAST_DESCRIBED`).
        apart: Distance of the two directions, mm, on the finest grid, after `run_both_ways` refined both; else None.
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
        max_step: float | None = None,
        describer: Describer | None = None,
        sliding: bool = False,
        regions: SlidingRegions | None = None,
    ):
        self.max_step, self.describer, self.sliding, self.regions = max_step, describer, sliding, regions
        self.constraint = constraint
        self.fixed, self.moving, self.linear = fixed, moving, linear
        self.smoothness, self.landmarks = smoothness, landmarks
        self.device = fixed.image.tensor.device
        self.history: list[dict] = []
        self.compared: list[str] = []
        self.apart: Image | None = None

    def run(
        self,
        levels: list[Level],
        start: Image,
        monitor: Monitor | MonitorPart | None = None,
        export: Callable[[Image], object] | None = None,
        first: int = 0,
    ) -> Image:
        """Refine a field on one level after the other.

        Args:
            levels: From coarse to fine.
            start: Displacement before the linear part, ``(3, D, H, W)`` mm along the canonical fixed axes.
            monitor: Receives the progress, and can end the refinement early.
            export: Converts the current field to what the monitor's caller gets.
            first: Number of the first level in the history.

        Returns:
            The refined displacement, on the grid of the last level; `start` itself without levels.
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

    def run_both_ways(
        self,
        levels: list[Level],
        start: Image,
        monitor: Monitor,
        export: Callable[[Image], object] | None = None,
    ) -> Image:
        """Refine a field, and the one from moving to fixed; where they nearly agree, their mean is more accurate.

        The errors of two directions are partly independent: images are interpolated in one of them only. Where the two
        are far apart, at least one of them is wrong, and the forward one remains. With a constraint or with regions,
        which only the fixed scan has, nothing is refined backward.

        Args:
            levels: As for `run`, as the rest.

        Returns:
            The refined displacement, on the grid of the last level.
        """
        one_way = not levels or self.constraint is not None or self.regions is not None
        if one_way:
            return self.run(levels, start, monitor, export)
        field = self.run(levels, start, monitor.within(0.0, 0.5, with_objective=True), export)
        moving = around(self.moving, field, self.linear)
        if monitor.keep or moving is None:
            return field
        grids = [working_grid(moving, level.spacing) for level in (levels[0], levels[-1])]
        if np.prod(grids[1].size) > LARGER * np.prod(field.geometry.size):
            return field
        back = self._reversed(moving)
        zero = Image(start.tensor.new_zeros(3, *grids[0].shape), grids[0])
        backward = back.run(levels, inverse_of(back.linear, start, zero), monitor.within(0.5, 1.0))
        if monitor.keep:
            return field
        field, self.apart = _between(self.linear, field, backward)
        return field

    def _reversed(self, moving: Prepared) -> Refiner:
        """The refiner from moving to fixed."""
        return Refiner(
            moving,
            self.fixed,
            np.linalg.inv(self.linear),
            smoothness=self.smoothness,
            landmarks=None if self.landmarks is None else self.landmarks.reversed(),
            max_step=self.max_step,
            describer=self.describer,
            sliding=self.sliding,
        )

    def _level(self, level: Level, number: int, geometry: Geometry, u: torch.Tensor, tell: Callable) -> torch.Tensor:
        axes = None if level.measure == INTENSITY else turned_axes(self.linear, geometry)
        anchor = (self.linear @ geometry.index_to_world[:, 3])[:3]
        moving = moving_level(self.moving, level.spacing, axes=axes, anchor=anchor)
        if level.measure in (NETWORK, BOTH) and min(*geometry.size, *moving.image.geometry.size) < LEAST_DESCRIBED:
            level = dataclasses.replace(level, measure=DESCRIPTOR)
        self.compared.append(level.measure)
        measure = self._measure(level, geometry, moving)
        channels = for_sampling(measure.channels(moving.image.tensor))
        sampler = Sampler(geometry, moving.image.geometry, self.linear, self.device, moving.extent)
        beside = self._beside(level, geometry, anchor)
        composer = Composer(geometry, self.device)
        borders = None if self.regions is None else self.regions.borders(geometry)
        step_sigma, field_sigma = (s * self.smoothness for s in (level.step_sigma, level.field_sigma))
        max_step = level.max_step if self.max_step is None else min(self.max_step, level.max_step)
        best, best_u, values = float("inf"), u, []
        for iteration in range(level.iterations + 1):
            coordinates = sampler.coordinates(u)
            if iteration % EXTENT_EVERY == 0:
                inside = sampler.inside(coordinates)
                if not self.moving.automatic:
                    inside &= sample_quickly(moving.weight[None], coordinates)[0] > 0.5
                valid = None if bool(inside.all()) else inside.float()
                smoother = self._smoother(u, geometry, borders)
            value, pull = measure.pull(sample_quickly(channels, coordinates), valid)
            if beside is not None:
                value, pull = beside.added(value, pull, u, valid)
            values.append(value)
            self.history.append({"level": number, "iteration": iteration, "objective": value})
            if value < best:
                best, best_u = value, u
            if iteration == level.iterations or _stalled(values) or tell(iteration / level.iterations, value, best_u):
                break
            step = smoother(pull, step_sigma)
            longest = float(step.square().sum(dim=0).max().sqrt())
            if longest > 0:
                step.mul_(-max_step / longest)
            if self.landmarks is not None:
                step = self.landmarks.blend(step, u, geometry)
            before, u = u, smoother(composer(u, step), field_sigma)
            if self.constraint is not None:
                u = self.constraint.keep(u, before, geometry)
        return best_u if self.landmarks is None else u

    def _beside(self, level: Level, geometry: Geometry, anchor: np.ndarray) -> _Beside | None:
        """The descriptors that a level compares beside intensities, or None."""
        if level.beside == 0 or np.prod(geometry.size) > MOST_BESIDE:
            return None
        axes = turned_axes(self.linear, geometry)
        moving = moving_level(self.moving, level.spacing, axes=axes, anchor=anchor)
        measure = self._measure(dataclasses.replace(level, measure=DESCRIPTOR), geometry, moving)
        sampler = Sampler(geometry, moving.image.geometry, self.linear, self.device, moving.extent)
        return _Beside(level.beside, measure, measure.channels(moving.image.tensor), sampler)

    def _smoother(
        self, u: torch.Tensor, geometry: Geometry, borders: Borders | None
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        if not self.sliding and borders is None:
            return smooth
        faces = conductances(u, geometry.spacing[0]) if self.sliding else None
        return lambda x, sigma: smooth_within(x, sigma, faces, borders)

    def _measure(self, level: Level, geometry: Geometry, moving: MovingLevel):
        fixed, weight = resample(self.fixed.image, geometry).tensor, mask_on(self.fixed, geometry)
        if level.measure == INTENSITY:
            scans = (fixed, weight), (moving.image.tensor, moving.weight)
            return Lncc(fixed, LNCC_RADIUS, weight, *(LEAST_NOISE + NOISE_FACTOR * noise_variance(*s) for s in scans))
        if level.measure == DESCRIPTOR:
            return DescriptorDistance(mind_ssc, fixed, weight)
        learned = self.describer.describe
        if level.measure == NETWORK:
            return DescriptorDistance(learned, fixed, weight, channels=CHANNELS)

        def both(image: torch.Tensor) -> torch.Tensor:
            return torch.cat([mind_ssc(image), learned(image).mul_(NETWORK_WEIGHT)])

        return DescriptorDistance(both, fixed, weight, channels=CHANNELS)


def _between(linear: np.ndarray, forward: Image, backward: Image) -> tuple[Image, Image]:
    """The forward field, moved toward the inverse of the backward one where they nearly agree; and how far it was, mm.

    See `AGREEING`.
    """
    geometry = forward.geometry
    undone = inverse_of(linear, backward, forward)
    missed = disagreement(linear, undone, backward)  # where the inverse does not exist, it is not looked at
    apart = undone.tensor - forward.tensor
    length = apart.norm(dim=0)
    distance = (length + missed.norm(dim=0)) / (AGREEING * geometry.spacing[0])
    sampler = Sampler(geometry, backward.geometry, linear, apart.device)
    inside = sampler.inside(sampler.coordinates(undone.tensor))
    share = inside * 0.5 / (1 + distance.square())
    return Image(torch.addcmul(forward.tensor, apart, share), geometry), Image(length, geometry)


def _stalled(values: list[float]) -> bool:
    if len(values) <= STALL_STEPS:
        return False
    gained = values[0] - min(values)
    return min(values[:-STALL_STEPS]) - min(values[-STALL_STEPS:]) < STALL_GAIN * gained


def _work(fixed: Prepared, level: Level) -> float:
    return float(np.prod(working_grid(fixed, level.spacing).size)) * level.iterations


class _Beside:
    """A measure compared beside another one.

    When first compared, its pull is scaled to the weight times the length of the other one's, and likewise its value.

    Args:
        weight: More than 0.
        measure: A similarity measure.
        channels: Of the moving image, ``(C, D, H, W)``.
        sampler: From the fixed grid to the grid of the channels.
    """

    def __init__(self, weight: float, measure: DescriptorDistance, channels: torch.Tensor, sampler: Sampler):
        self.weight, self.measure, self.sampler = weight, measure, sampler
        self.channels = for_sampling(channels)
        self._scales: tuple[float, float] | None = None

    def added(
        self, value: float, pull: torch.Tensor, u: torch.Tensor, valid: torch.Tensor | None
    ) -> tuple[float, torch.Tensor]:
        """The weighted mean of the two values, and the sum of the two pulls."""
        own, own_pull = self.measure.pull(sample_quickly(self.channels, self.sampler.coordinates(u)), valid)
        if self._scales is None:
            ratio = float(pull.norm() / own_pull.norm().clamp(min=1e-12))
            self._scales = self.weight * max(value, 0.0) / max(own, 1e-9), self.weight * ratio
        return (value + self._scales[0] * own) / (1 + self.weight), pull.add_(own_pull, alpha=self._scales[1])


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
        return sample_quickly(u, torch.addcmul(self._identity, v, self._scale)).add_(v, alpha=self._spacing)
