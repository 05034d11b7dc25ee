"""How long a registration takes, how much memory it needs, and how fine its grid may be with the available memory.

The same model of both costs serves the estimate that the user sees and the plan that a run follows. Imports no large
library.

The times were measured with two threads of one processor. Other machines differ by a factor (`speed`), which is known
after the first runs. Nine in ten pairs of the benchmark take 0.8 to 1.4 times the estimated time and 0.9 to 1.1 times
the estimated memory.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import ResourceError
from ..settings import DEFAULT_ITERATIONS, Settings
from ..space.geometry import Geometry
from .memory import free_ram

__all__ = ["Estimate", "MemoryPlan", "estimate", "plan_memory", "working_voxels"]

# Printed by `scripts/fit_estimate` from Resources/benchmark/benchmark.json and iterations.json.
BASE_SECONDS, SECONDS_PER_SCAN_VOXEL = 6.1, 1.7e-07
SECONDS_PER_WORKING_VOXEL, ITERATIONS_EXPONENT = 3.8e-06, 0.76
BASE_BYTES, BYTES_PER_SCAN_VOXEL, BYTES_PER_WORKING_VOXEL = 6.82e8, 11, 132

SAFETY_MARGIN = 2.5
"""Factor of a plan over the model: a pair of 256³ voxels, larger than those of the benchmark, needed 27 bytes per scan
voxel above the base (`Resources/benchmark/memory.json`), most of it after the refinement, when the results are
computed."""

USABLE_SHARE = 0.8
"""Share of the free memory that a run may use; the rest is left to other programs."""

SMALLEST_PLAN, LARGEST_PLAN = 50_000, 3_000_000
"""Limits of the finest working grid, voxels. Twice the larger one changed the tested pairs by at most 0.005 Dice, in
either direction, and took three times as long, because the arrays no longer fit into the processor's cache."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a registration is expected to take.

    Attributes:
        seconds: From the start to the result.
        bytes: Peak memory of the computing process.
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
        settings: Settings of the run.
        device_memory_bytes: Free memory of the GPU that will be used, or None for the main memory.
        speed: Measured over estimated seconds in earlier runs on this machine and device.

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
    return Estimate(float(seconds * speed), int(BASE_BYTES + _bytes_of_run(scans, working)))


def working_voxels(fixed: Geometry, moving: Geometry, settings: Settings) -> float:
    """Voxels of the fixed scan at the finest working resolution, at most `LARGEST_PLAN`.

    This is an upper bound: the working grid covers only the body, whose size is not known before the scans are read.

    Args:
        fixed: Grid of the fixed scan.
        moving: Grid of the moving scan.
        settings: Settings of the run.
    """
    if settings.resolution_mm is None:
        spacing = max(grid.mean_spacing for grid in (fixed, moving))
    else:
        spacing = fixed.possible_spacing(settings.resolution_mm)
    return float(min(np.prod(fixed.extent_mm) / spacing**3, LARGEST_PLAN))


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """How large the working grids may be.

    Attributes:
        max_voxels: Largest number of voxels of the finest working grid.
        needed_bytes: Memory that the run may need, including the scans and the safety margin.
        notes: Sentences for the report where too little memory made the plan smaller.
    """

    max_voxels: int
    needed_bytes: int
    notes: tuple[str, ...] = ()


def plan_memory(scan_voxels: int, wanted_voxels: int, free_bytes: int) -> MemoryPlan:
    """The largest working grid that fits into the memory, determined before the run.

    Args:
        scan_voxels: Voxels of both scans together.
        wanted_voxels: Voxels of the finest working grid that accuracy calls for.
        free_bytes: Free memory of the device.

    Raises:
        ResourceError: Not even the smallest plan fits.
    """
    usable = free_bytes * USABLE_SHARE
    fitting = int((usable - _planned_bytes(scan_voxels, 0)) / _planned_bytes(0, 1))
    if fitting < SMALLEST_PLAN:
        needed = _planned_bytes(scan_voxels, SMALLEST_PLAN) / USABLE_SHARE
        raise ResourceError(
            f"These scans need about {needed / 2**30:.1f} GB of free memory and {free_bytes / 2**30:.1f} GB are free; "
            "close other programs, crop the scans or resample them to larger voxels."
        )
    most = min(wanted_voxels, LARGEST_PLAN)
    notes = ()
    if fitting < most:
        notes = ("The memory that is free allowed only a coarser working grid; more free memory gives finer detail.",)
    voxels = min(most, fitting)
    return MemoryPlan(voxels, int(_planned_bytes(scan_voxels, voxels)), notes)


def _bytes_of_run(scan_voxels: float, working_voxels: float) -> float:
    """Memory of a run in addition to the base."""
    return BYTES_PER_SCAN_VOXEL * scan_voxels + BYTES_PER_WORKING_VOXEL * working_voxels


def _planned_bytes(scan_voxels: float, working_voxels: float) -> float:
    """Memory of a run with the safety margin, without the base.

    The base is that of the interpreter and the libraries. They are already loaded in the process that plans, so the
    free memory excludes them; on a GPU there is no base.
    """
    return SAFETY_MARGIN * _bytes_of_run(scan_voxels, working_voxels)
