"""Each operation of the engine, and a whole run, on a GPU gives what it gives on the CPU.

The device is the GPU that PyTorch finds, or the one named by GENREG_TEST_DEVICE; `scripts/gpu` sets that.
"""

import os

import numpy as np
import pytest
import torch

from GenRegLogic import Settings, register
from GenRegLogic.guidance.sliding import SlidingRegions
from GenRegLogic.machine.device import device_name
from GenRegLogic.network.apply import shipped
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, Sampler, resample, sample
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.smoothing import conductances, smooth, smooth_within
from GenRegLogic.space.split import inverse_of
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.alignment import align
from GenRegLogic.stages.describe import mind_ssc
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.propose import search_proposal
from GenRegLogic.stages.refine import Refiner
from GenRegLogic.stages.schedule import DESCRIPTOR, INTENSITY, schedule
from GenRegLogic.stages.similarity import DescriptorDistance, Lncc

CPU = torch.device("cpu")


def found() -> str | None:
    """The GPU of this machine, or None."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


DEVICE = os.environ.get("GENREG_TEST_DEVICE") or found()
pytestmark = pytest.mark.skipif(DEVICE is None, reason="there is no GPU that PyTorch can use")

SHAPE = (40, 44, 48)
GRID = Geometry(SHAPE[::-1], (2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def scans():
    """Two volumes: smooth texture, and the same moved by up to some 4 mm."""
    random = torch.Generator().manual_seed(0)
    texture = sum(smooth(torch.randn(SHAPE, generator=random), s) * s**1.5 for s in (1.2, 2.5))[None]
    u = 40 * smooth(torch.randn((3, *SHAPE), generator=random), 5.0)
    moved = sample(texture, Sampler(GRID, GRID, np.eye(4), CPU).coordinates(u))
    return tuple(Volume(x[0].numpy() * 100 + 300, GRID) for x in (texture, moved))


def on_both(make):
    """What a function of the device gives on the device and on the CPU, on the CPU."""
    with torch.inference_mode():
        return [make(torch.device(name)).cpu() for name in (DEVICE, "cpu")]


def prepared(scans, device):
    return tuple(prepare(scan, mask=None, device=device) for scan in scans)


def noise(device, *shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def close(pair, tolerance=1e-3):
    return float((pair[0] - pair[1]).abs().max()) <= tolerance * float(pair[1].abs().max())


OPERATIONS = {
    "smooth": lambda device: smooth(noise(device, 3, *SHAPE), 2.3),
    "smooth up to jumps": lambda device: smooth_within(
        noise(device, 3, *SHAPE), 2.3, conductances(noise(device, 3, *SHAPE), 2.0)
    ),
    "smooth in regions": lambda device: smooth_within(
        noise(device, 3, *SHAPE),
        2.3,
        borders=SlidingRegions(Volume(np.indices(SHAPE)[2] // 20, GRID), device).borders(GRID),
    ),
    "sample": lambda device: sample(noise(device, 2, *SHAPE), noise(device, 3, 500).clamp(-1.2, 1.2)),
    "resample": lambda device: (
        resample(Image(noise(device, *SHAPE), GRID), Geometry((20, 20, 20), (4.0, 3.5, 3.0), (1.0, 2.0, 0.5))).tensor
    ),
    "describe": lambda device: mind_ssc(smooth(noise(device, *SHAPE), 1.0)),
    "compare intensities": lambda device: Lncc(
        smooth(noise(device, *SHAPE), 1.0), 2, torch.ones(SHAPE, device=device), 1e-4
    ).pull(smooth(noise(device, 1, *SHAPE, seed=2), 1.0), None)[1],
    "compare descriptors": lambda device: DescriptorDistance(
        mind_ssc, smooth(noise(device, *SHAPE), 1.0), torch.ones(SHAPE, device=device)
    ).pull(mind_ssc(smooth(noise(device, *SHAPE, seed=2), 1.0)), None)[1],
    "network": lambda device: shipped(device).describe(smooth(noise(device, *SHAPE), 1.0)),
    "inverse": lambda device: (
        inverse_of(
            np.eye(4),
            Image(20 * smooth(noise(device, 3, *SHAPE), 4.0), GRID),
            Image(torch.zeros(3, *SHAPE, device=device), GRID),
        ).tensor
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_what_it_gives_on_the_cpu(name):
    assert close(on_both(OPERATIONS[name]), 1e-2 if name == "network" else 1e-3)


class TestStages:
    def test_the_linear_alignment_is_the_same(self, scans):
        with torch.inference_mode():
            found, expected = (align(*prepared(scans, torch.device(name)))[0].matrix for name in (DEVICE, "cpu"))
        corners = np.c_[GRID.corners(), np.ones(8)]
        assert np.abs(corners @ (found - expected).T).max() < 0.2

    def test_the_search_finds_the_same_field(self, scans):
        def make(device):
            linear, level = align(*prepared(scans, device))
            return search_proposal(level, linear.matrix).field.tensor

        one, other = on_both(make)
        assert float((one - other).norm(dim=0).mean()) < 0.2  # mm

    @pytest.mark.parametrize("measure", [INTENSITY, DESCRIPTOR])
    @pytest.mark.parametrize("sliding", [False, True], ids=["smooth", "sliding"])
    def test_the_refinement_ends_in_the_same_field(self, scans, measure, sliding):
        def make(device):
            refiner = Refiner(*prepared(scans, device), np.eye(4), sliding=sliding)
            zero = Image(torch.zeros(3, *SHAPE, device=device), GRID)
            return refiner.run(schedule(measure, 2.0, 12), zero).tensor

        one, other = on_both(make)
        assert float((one - other).norm(dim=0).mean()) < 0.05  # mm


class TestWholeRun:
    @pytest.fixture(scope="class")
    @staticmethod
    def results(scans):
        return [register(*scans, Settings(device=name)) for name in (DEVICE, "cpu")]

    def test_the_fields_lie_close_together(self, results):
        apart = np.linalg.norm(results[0].forward.array - results[1].forward.array, axis=-1)
        assert apart.mean() < 0.1
        assert np.percentile(apart, 99) < 1.0

    def test_nothing_folds(self, results):
        assert jacobian_figures(results[0].forward)["folds_pct"] == 0

    def test_the_verdict_is_the_same(self, results):
        assert results[0].report["verdict"]["status"] == results[1].report["verdict"]["status"]

    def test_the_report_names_the_device(self, results):
        assert results[0].report["device"] == device_name(torch.device(DEVICE))
