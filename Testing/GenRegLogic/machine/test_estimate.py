"""Estimates of time and memory before a run, and plans that fit into the free memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from GenRegLogic.errors import ResourceError
from GenRegLogic.machine.estimate import (
    BASE_BYTES,
    LARGEST_PLAN,
    SMALLEST_PLAN,
    STORED_BYTES,
    USABLE_SHARE,
    Sizes,
    estimate,
    plan_memory,
    working_voxels,
)
from GenRegLogic.settings import Settings
from GenRegLogic.space.fieldgrid import MAX_FIELD_VOXELS
from GenRegLogic.space.geometry import Geometry

BENCHMARK = Path(__file__).parents[3] / "Resources" / "benchmark" / "benchmark.json"
GB = 2**30
PLENTY = 64 * GB
SMALL, LARGE = Geometry((60, 60, 60), (2.0, 2.0, 2.0)), Geometry((256, 256, 180))
DEFAULTS = Settings()
BASE_SPREAD_BYTES = 5e7
"""Half the range of what a pair of 64³ voxels, which is nearly the base alone, took in several runs."""

MEASURED = json.loads((BENCHMARK.parent / "memory.json").read_text())["runs"]


def sizes(scan_voxels):
    """Of two scans of one size, and a field with a vector for every voxel as far as the limit allows."""
    return Sizes(scan_voxels // 2, scan_voxels // 2, min(scan_voxels // 2, MAX_FIELD_VOXELS))


def estimated(fixed=LARGE, moving=LARGE, settings=DEFAULTS, memory=PLENTY, **options):
    return estimate(fixed, moving, settings, memory, **options)


class TestSeconds:
    def test_larger_scans_take_longer(self):
        assert estimated(SMALL, SMALL).seconds < estimated(LARGE, SMALL).seconds < estimated().seconds

    def test_more_iterations_take_longer(self):
        seconds = [estimated(settings=Settings(iterations=n)).seconds for n in (0, 10, 40, 160)]
        assert seconds == sorted(set(seconds))

    def test_no_iterations_given_means_the_default_number(self):
        assert estimated(settings=Settings(iterations=DEFAULTS.coarse_iterations)) == estimated()

    def test_a_linear_alignment_takes_as_long_as_a_run_without_iterations(self):
        linear = estimated(settings=Settings(linear_only=True)).seconds
        assert linear == estimated(settings=Settings(iterations=0)).seconds
        assert linear < estimated(settings=Settings(iterations=1)).seconds

    def test_one_direction_is_quicker_than_two(self):
        assert estimated(settings=Settings(one_way=True)).seconds < estimated().seconds

    def test_a_coarser_resolution_is_quicker(self):
        assert estimated(settings=Settings(resolution_mm=3.0)).seconds < estimated().seconds

    def test_less_memory_means_a_coarser_grid_and_less_time(self):
        assert estimated(memory=GB).seconds < estimated().seconds

    def test_a_slower_machine_takes_longer(self):
        assert estimated(speed=2.5).seconds == pytest.approx(2.5 * estimated().seconds)

    @pytest.mark.parametrize(
        ("pair", "fixed", "moving"),
        [
            ("spine_cord_t1_t2", ((60, 80, 52), 1.0), ((60, 70, 40), 1.0)),
            ("lung_h1_0004_0006", ((96, 96, 80), 2.0), ((96, 96, 80), 2.0)),
            ("brain_malf_1000_1001", ((168, 206, 167), 1.0), ((160, 190, 163), 1.0)),
        ],
    )
    def test_a_measured_run_agrees_with_its_estimate(self, pair, fixed, moving):
        """Grids of about the measured pairs' sizes."""
        run = json.loads(BENCHMARK.read_text())["cases"][pair]["methods"]["genreg"]
        seconds = sum(stage["seconds"] for stage in run["stages"])
        expected = estimated(*(Geometry(size, (mm,) * 3) for size, mm in (fixed, moving)))
        assert 0.5 < seconds / expected.seconds < 2
        assert 0.7 < run["peak_mb"] * 1e6 / expected.bytes < 1.4


class TestMemory:
    @pytest.mark.parametrize("run", MEASURED, ids=lambda run: repr(run["size"]))
    def test_the_measured_peaks_are_predicted_within_15_percent(self, run):
        grid = Geometry(run["size"])
        assert estimated(grid, grid).bytes == pytest.approx(run["peak_mb"] * 1e6, rel=0.15)

    def test_scans_that_are_stored_with_more_bytes_take_more(self):
        assert estimated(scan_bytes=4).bytes > estimated().bytes

    def test_larger_scans_take_more(self):
        assert estimated(SMALL, SMALL).bytes < estimated().bytes

    def test_scans_that_cannot_fit_are_refused_with_one_sentence(self):
        huge = Geometry((900, 900, 900))
        with pytest.raises(ResourceError, match=r"need about .* are free"):
            estimated(huge, huge, memory=4 * GB)

    def test_without_a_gpu_the_free_main_memory_limits_the_run(self, monkeypatch):
        monkeypatch.setattr("GenRegLogic.machine.estimate.free_ram", lambda: 2 * GB)
        assert estimated(memory=None) == estimated(memory=2 * GB)


class TestPlan:
    def test_with_enough_memory_the_plan_is_the_wanted_number_of_voxels(self):
        plan = plan_memory(sizes(2_000_000), 1_000_000, 100 * GB)
        assert plan.max_voxels == 1_000_000
        assert plan.notes == ()

    def test_no_plan_exceeds_the_largest_plan(self):
        plan = plan_memory(sizes(300_000_000), 150_000_000, 500 * GB)
        assert plan.max_voxels == LARGEST_PLAN
        assert plan.notes == ()

    def test_with_little_memory_the_plan_is_smaller_and_has_a_note(self):
        scans, wanted = sizes(4_000_000), 2_000_000
        free = int(plan_memory(scans, wanted // 3, PLENTY).needed_bytes / USABLE_SHARE)
        plan = plan_memory(scans, wanted, free)
        assert SMALLEST_PLAN < plan.max_voxels < wanted
        assert "coarser working grid" in plan.notes[0]

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
    def test_a_plan_needs_at_most_the_usable_share_of_the_memory(self, share):
        free = int(share * 4 * GB)
        assert plan_memory(sizes(4_000_000), 6_000_000, free).needed_bytes <= USABLE_SHARE * free

    def test_more_memory_never_gives_a_smaller_plan(self):
        memory = (0.4, 0.5, 0.8, 1, 2, 4, 8)
        plans = [plan_memory(sizes(4_000_000), 6_000_000, int(gb * GB)).max_voxels for gb in memory]
        assert plans == sorted(plans)

    def test_without_room_for_the_smallest_plan_it_is_refused_with_one_sentence(self):
        with pytest.raises(ResourceError, match=r"need about .* GB .* are free; close other programs") as caught:
            plan_memory(sizes(300_000_000), 6_000_000, 2 * GB)
        assert str(caught.value).endswith(".")

    def test_a_plan_covers_every_measured_run(self):
        assert len(MEASURED) >= 5
        for run in MEASURED:
            grid = Geometry(run["size"])
            scans = STORED_BYTES * 2 * int(np.prod(run["size"]))
            refined = {stage["name"]: stage["peak_memory_mb"] * 2**20 for stage in run["stages"]}["finish"]
            wanted = int(working_voxels(grid, grid, DEFAULTS))
            needed = plan_memory(Sizes.of(grid, grid, DEFAULTS), wanted, PLENTY).needed_bytes
            assert needed + BASE_SPREAD_BYTES > refined - BASE_BYTES - scans

    @pytest.mark.parametrize(("device", "free"), [("a GPU of 8 GB", 7.5), ("a computer of 6 GB", 3.5)])
    def test_scans_of_512_x_512_x_600_voxels_are_registered_at_full_resolution(self, device, free):
        """The free memory is that beside the driver on the GPU, and beside the system and the scans on the computer."""
        grid = Geometry((512, 512, 600), (0.7, 0.7, 0.7))
        plan = plan_memory(Sizes.of(grid, grid, DEFAULTS), int(np.prod(grid.size)), int(free * 1e9))
        assert (plan.max_voxels, plan.notes) == (LARGEST_PLAN, ())

    def test_a_vector_for_every_voxel_of_a_huge_scan_needs_more(self):
        grid = Geometry((512, 512, 600))
        full = Sizes.of(grid, grid, Settings(transform_spacing_mm=0.0))
        assert full.field == np.prod(grid.size)
        assert Sizes.of(grid, grid, DEFAULTS, every_voxel=True) == full
        with pytest.raises(ResourceError, match="need about"):
            plan_memory(full, LARGEST_PLAN, int(7.5e9))


class TestWorkingVoxels:
    def test_the_spacing_of_the_coarser_scan_is_the_finest(self):
        assert working_voxels(LARGE, SMALL, DEFAULTS) == pytest.approx(256 * 256 * 180 / 8)

    def test_large_scans_are_limited_to_the_largest_plan(self):
        assert working_voxels(LARGE, LARGE, DEFAULTS) == LARGEST_PLAN


def test_the_module_does_not_import_torch():
    script = "import sys, GenRegLogic.machine.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
