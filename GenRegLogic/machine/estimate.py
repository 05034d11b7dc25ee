"""How long a registration takes, how much memory it needs, and how fine its grid may be with the available memory.

The same model of both costs serves the estimate that the user sees and the plan that a run follows. Imports no large
library.

The times were measured with two threads of one processor. Other machines differ by a factor (`speed`), which is known
after the first runs. Nine in ten pairs of the benchmark take 0.8 to 1.4 times the estimated time. The estimated memory
of pairs from 64³ to 512 x 512 x 600 voxels is 0.96 to 1.09 times what they take (Resources/benchmark/memory.md). No
GPU's memory has been measured: a run is taken to need as much of it as of the main memory, without the base and the
scans as they were read.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import ResourceError
from ..settings import DEFAULT_ITERATIONS, Settings
from ..space.fieldgrid import field_grid
from ..space.geometry import Geometry
from .memory import free_ram

__all__ = ["Estimate", "MemoryPlan", "Sizes", "estimate", "plan_memory", "working_voxels"]

# Printed by `scripts/fit_estimate` from Resources/benchmark/benchmark.json and iterations.json.
BASE_SECONDS, SECONDS_PER_SCAN_VOXEL = 4.6, 3.7e-07
SECONDS_PER_WORKING_VOXEL, ITERATIONS_EXPONENT = 4.8e-06, 0.76

# Printed by `scripts/fit_estimate` from Resources/benchmark/memory.json.
BASE_BYTES, BYTES_PER_WORKING_VOXEL = 5.36e8, 225

PREPARED_BYTES = 4.5
"""Per voxel of a scan while it is registered: its float32 intensities, and part of them on a coarser grid."""

FINISHED_BYTES = 40
"""Per vector of the field while it is made: up to three copies of it at a time, and masks."""

RESULT_BYTES = 24
"""Per vector of the larger field when the results are written: the field and its inverse."""

WARPED_BYTES, SLAB_BYTES, SLAB_VOXELS = 4, 60, 2**23
"""Per voxel of the moving scan, and of a slab of the fixed one, while the moving scan is warped (`space.warp`)."""

STORED_BYTES = 2
"""Per voxel of a scan as it was read: int16, as CT and most MR are stored."""

SAFETY_MARGIN = 1.5
"""Factor of a plan over the model, for all but the scans themselves. The model is within 15 % of what pairs of one
contrast need; descriptors, landmarks and a moving scan much larger than the fixed one need more."""

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
    scan_bytes: int = STORED_BYTES,
) -> Estimate:
    """Time and memory of a run.

    Args:
        fixed: Grid of the fixed scan.
        moving: Grid of the moving scan.
        settings: Settings of the run.
        device_memory_bytes: Free memory of the GPU that will be used, or None for the main memory.
        speed: Measured over estimated seconds in earlier runs on this machine and device.
        scan_bytes: Bytes per voxel of the scans as they are stored.

    Raises:
        ResourceError: Not even the smallest plan fits into the memory.
    """
    sizes = Sizes.of(fixed, moving, settings)
    wanted = working_voxels(fixed, moving, settings)
    free = free_ram() if device_memory_bytes is None else device_memory_bytes
    working = min(plan_memory(sizes, max(int(wanted), 1), free).max_voxels, wanted)
    seconds = BASE_SECONDS + SECONDS_PER_SCAN_VOXEL * (sizes.fixed + sizes.moving)
    if not settings.linear:
        share = (settings.coarse_iterations / DEFAULT_ITERATIONS) ** ITERATIONS_EXPONENT
        share *= 0.5 if settings.one_way else 1.0
        seconds += SECONDS_PER_WORKING_VOXEL * working * share
    registering = _bytes_of_run(sizes, working) + scan_bytes * (sizes.fixed + sizes.moving)
    peak = max(registering, _bytes_of_writing(sizes, scan_bytes))
    return Estimate(float(seconds * speed), int(BASE_BYTES + peak))


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
class Sizes:
    """What the memory of a run depends on, besides its working grid.

    Attributes:
        fixed: Voxels of the fixed scan.
        moving: Voxels of the moving scan.
        field: Vectors of the larger of the resulting fields, forward and inverse.
    """

    fixed: int
    moving: int
    field: int

    @classmethod
    def of(cls, fixed: Geometry, moving: Geometry, settings: Settings, *, every_voxel: bool = False) -> Sizes:
        """The sizes of a run; `every_voxel` as `field_grid`'s `limited`, reversed: whether bodies are kept rigid."""
        spacing = settings.transform_spacing_mm
        grids = [field_grid(scan, spacing, limited=not every_voxel) for scan in (fixed, moving)]
        return cls(*(int(np.prod(scan.size)) for scan in (fixed, moving)), max(int(np.prod(g.size)) for g in grids))


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """How large the working grids may be.

    Attributes:
        max_voxels: Largest number of voxels of the finest working grid.
        needed_bytes: Memory that the run may need beside the scans as they were read, with the safety margin.
        notes: Sentences for the report where too little memory made the plan smaller.
    """

    max_voxels: int
    needed_bytes: int
    notes: tuple[str, ...] = ()


def plan_memory(sizes: Sizes, wanted_voxels: int, free_bytes: int) -> MemoryPlan:
    """The largest working grid that fits into the memory, determined before the run.

    Args:
        sizes: Of the scans, which have been read already, and of the result.
        wanted_voxels: Voxels of the finest working grid that accuracy calls for.
        free_bytes: Free memory of the device.

    Raises:
        ResourceError: Not even the smallest plan fits.
    """
    usable = free_bytes * USABLE_SHARE
    most = min(wanted_voxels, LARGEST_PLAN)
    held = PREPARED_BYTES * (sizes.fixed + sizes.moving)
    fitting = int((usable - held) / (SAFETY_MARGIN * BYTES_PER_WORKING_VOXEL))
    if fitting < SMALLEST_PLAN or _planned_bytes(sizes, 0) > usable:
        needed = _planned_bytes(sizes, SMALLEST_PLAN) / USABLE_SHARE
        raise ResourceError(
            f"These scans need about {needed / 2**30:.1f} GB of free memory and {free_bytes / 2**30:.1f} GB are free; "
            "close other programs, crop the scans or resample them to larger voxels."
        )
    notes = ()
    if fitting < most:
        notes = ("The memory that is free allowed only a coarser working grid; more free memory gives finer detail.",)
    voxels = min(most, fitting)
    return MemoryPlan(voxels, int(_planned_bytes(sizes, voxels)), notes)


def _bytes_of_run(sizes: Sizes, working_voxels: float, margin: float = 1.0) -> float:
    """Memory of a registration in addition to the base and the scans as they were read.

    The larger of what the refinement and what the field that is made afterward need. On a GPU this is the memory of the
    device.
    """
    later = max(BYTES_PER_WORKING_VOXEL * working_voxels, FINISHED_BYTES * sizes.field)
    return PREPARED_BYTES * (sizes.fixed + sizes.moving) + margin * later


def _bytes_of_writing(sizes: Sizes, scan_bytes: int) -> float:
    """Main memory, in addition to the base, when all results are made for writing, and the moving scan is warped."""
    warping = (WARPED_BYTES + scan_bytes) * sizes.moving + scan_bytes * sizes.fixed
    slab = SLAB_BYTES * min(sizes.fixed, SLAB_VOXELS)
    return scan_bytes * (sizes.fixed + sizes.moving) + RESULT_BYTES * sizes.field + warping + slab


def _planned_bytes(sizes: Sizes, working_voxels: float) -> float:
    """Memory of a registration with the safety margin, without the base and the scans as they were read.

    The base is that of the interpreter and the libraries. They and the scans are already there in the process that
    plans, so the free memory excludes them; a GPU holds neither.
    """
    return _bytes_of_run(sizes, working_voxels, SAFETY_MARGIN)
