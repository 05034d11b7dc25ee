"""Time and memory, told before the run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from GenRegLogic.errors import ResourceError
from GenRegLogic.machine.cost import estimate, working_voxels
from GenRegLogic.machine.memory import LARGEST_PLAN
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry

BENCHMARK = Path(__file__).parents[3] / "Resources" / "benchmark" / "benchmark.json"
GB = 2**30
PLENTY = 64 * GB
SMALL, LARGE = Geometry((60, 60, 60), (2.0, 2.0, 2.0)), Geometry((256, 256, 180))
DEFAULTS = Settings()


def told(fixed=LARGE, moving=LARGE, settings=DEFAULTS, memory=PLENTY, **options):
    return estimate(fixed, moving, settings, memory, **options)


class TestSeconds:
    def test_larger_scans_take_longer(self):
        assert told(SMALL, SMALL).seconds < told(LARGE, SMALL).seconds < told().seconds

    def test_more_iterations_take_longer(self):
        seconds = [told(settings=Settings(iterations=n)).seconds for n in (0, 10, 40, 160)]
        assert seconds == sorted(set(seconds))

    def test_the_default_is_what_no_choice_means(self):
        assert told(settings=Settings(iterations=DEFAULTS.coarse_iterations)) == told()

    def test_a_linear_alignment_is_the_quickest(self):
        assert told(settings=Settings(linear_only=True)).seconds == told(settings=Settings(iterations=0)).seconds

    def test_a_coarser_resolution_is_quicker(self):
        assert told(settings=Settings(resolution_mm=3.0)).seconds < told().seconds

    def test_less_memory_means_a_coarser_grid_and_less_time(self):
        assert told(memory=int(1.4 * GB)).seconds < told().seconds

    def test_a_slower_machine_takes_longer(self):
        assert told(speed=2.5).seconds == pytest.approx(2.5 * told().seconds)

    @pytest.mark.parametrize(
        ("pair", "fixed", "moving"),
        [
            ("spine_cord_t1_t2", ((60, 80, 52), 1.0), ((60, 70, 40), 1.0)),
            ("lung_h1_0004_0006", ((96, 96, 80), 2.0), ((96, 96, 80), 2.0)),
            ("brain_malf_1000_1001", ((168, 206, 167), 1.0), ((160, 190, 163), 1.0)),
        ],
    )
    def test_a_measured_run_is_not_far_off(self, pair, fixed, moving):
        """Grids of about the measured pairs' sizes."""
        run = json.loads(BENCHMARK.read_text())["cases"][pair]["methods"]["genreg"]
        seconds = sum(stage["seconds"] for stage in run["stages"])
        expected = told(*(Geometry(size, (mm,) * 3) for size, mm in (fixed, moving)))
        assert 0.5 < seconds / expected.seconds < 2
        assert 0.7 < run["peak_mb"] * 1e6 / expected.bytes < 1.4


class TestMemory:
    def test_larger_scans_take_more(self):
        assert told(SMALL, SMALL).bytes < told().bytes

    def test_scans_that_cannot_fit_are_refused_with_one_sentence(self):
        huge = Geometry((900, 900, 900))
        with pytest.raises(ResourceError, match=r"need about .* are free"):
            told(huge, huge, memory=4 * GB)

    def test_without_a_gpu_the_main_memory_counts(self, monkeypatch):
        monkeypatch.setattr("GenRegLogic.machine.cost.free_ram", lambda: 2 * GB)
        assert told(memory=None) == told(memory=2 * GB)


class TestWorkingVoxels:
    def test_the_coarser_scan_says_how_fine_it_gets(self):
        assert working_voxels(LARGE, SMALL, DEFAULTS) == pytest.approx(256 * 256 * 180 / 8)

    def test_there_is_a_largest_plan(self):
        assert working_voxels(LARGE, LARGE, DEFAULTS) == LARGEST_PLAN


def test_it_can_be_told_without_torch():
    script = "import sys, GenRegLogic.machine.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
