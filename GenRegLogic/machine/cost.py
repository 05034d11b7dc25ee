"""How long a registration will take and how much memory it will hold, told before it starts; loads nothing large.

The times are those of two threads of one processor: on another machine they are off by a factor, which the first runs
tell (`speed`). Of the benchmark's pairs nine in ten take 0.8 to 1.4 times what is said here, and hold 0.9 to 1.1 times.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..settings import DEFAULT_ITERATIONS, Settings
from ..space.geometry import Geometry
from .memory import LARGEST_PLAN, free_ram, plan_memory

__all__ = ["Estimate", "estimate", "working_voxels"]

# Printed by `scripts/fit_estimate` from Resources/benchmark/benchmark.json and iterations.json.
BASE_SECONDS, SECONDS_PER_SCAN_VOXEL = 6.1, 1.7e-07
SECONDS_PER_WORKING_VOXEL, ITERATIONS_EXPONENT = 3.8e-06, 0.76
BASE_BYTES, BYTES_PER_SCAN_VOXEL, BYTES_PER_WORKING_VOXEL = 6.82e8, 11, 132


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a registration is expected to take.

    Attributes:
        seconds: From the start to the result.
        bytes: Of the process that computes, at its largest.
    """

    seconds: float
    bytes: int


def estimate(
    fixed: Geometry,
    moving: Geometry,
    settings: Settings,
    device_memory_bytes: int | None = None,
    *,
    speed: float = 1.0,
) -> Estimate:
    """Time and memory of a run.

    Args:
        fixed: Grid of the fixed scan.
        moving: Grid of the moving scan.
        settings: Of the run.
        device_memory_bytes: Free memory of the GPU it will run on, or None for the main memory.
        speed: Seconds measured over seconds estimated, of earlier runs on this machine and device.

    Raises:
        ResourceError: Not even the smallest plan fits into the memory.
    """
    scans = int(np.prod(fixed.size) + np.prod(moving.size))
    wanted = working_voxels(fixed, moving, settings)
    free = free_ram() if device_memory_bytes is None else device_memory_bytes
    working = min(plan_memory(scans, max(int(wanted), 1), free).max_voxels, wanted)
    seconds = BASE_SECONDS + SECONDS_PER_SCAN_VOXEL * scans
    if not settings.linear_only:
        share = (settings.coarse_iterations / DEFAULT_ITERATIONS) ** ITERATIONS_EXPONENT
        seconds += SECONDS_PER_WORKING_VOXEL * working * share
    size = BASE_BYTES + BYTES_PER_SCAN_VOXEL * scans + BYTES_PER_WORKING_VOXEL * working
    return Estimate(float(seconds * speed), int(size))


def working_voxels(fixed: Geometry, moving: Geometry, settings: Settings) -> float:
    """Of the fixed scan at the finest voxel size worked at, the limit of all plans considered; how much of it the
    body fills is not known before the scans are seen."""
    spacing = settings.resolution_mm
    if spacing is None:
        spacing = max(grid.mean_spacing for grid in (fixed, moving))
    return float(min(np.prod(fixed.extent_mm) / spacing**3, LARGEST_PLAN))
