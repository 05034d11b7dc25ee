"""The network in the pipeline: descriptors on the grid of the image, and fields fixed -> moving."""

import copy

import numpy as np
import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.network import apply as module
from GenRegLogic.network.apply import BFLOAT16_SUPPORT, Learned, multiplies_bfloat16, shipped
from GenRegLogic.network.model import Network, Output
from GenRegLogic.network.weights import save_weights
from GenRegLogic.phantom.scans import make_pair
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image
from GenRegLogic.space.smoothing import smooth
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.propose import Proposal
from GenRegLogic.training.pairs import make_pair as training_pair

CPU = torch.device("cpu")
GRID = Geometry((30, 30, 4), (1.0, 1.0, 5.0), (0.0, 0.0, 0.0), np.eye(3))


@pytest.fixture(scope="module")
def untrained():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learned = Learned(Network(), CPU)
    learned.network.compute_in(None)  # on every processor
    return learned


@pytest.fixture(scope="module")
def trained():
    return shipped(CPU)


@pytest.fixture(scope="module")
def scans():
    """A CT-like and an MR-like scan that differ by a deformation only, and the prepared scans."""
    pair = make_pair(coarseness=2.0, max_displacement_mm=12.0)
    return pair, *(prepare(scan, mask=None, device=CPU) for scan in (pair.fixed, pair.moving))


def constant(learned, voxels, axis):
    """The same with a network whose field is a constant displacement along one axis, voxels."""

    def network(fixed, moving):
        field = torch.zeros(1, 3, *(-(-n // 2) for n in fixed.shape[2:]))
        field[:, axis] = voxels
        return Output([field], [], [])

    stand_in = copy.copy(learned)
    stand_in.network = network
    return stand_in


class TestDescribe:
    @pytest.mark.parametrize("shape", [(20, 24, 28), (5, 33, 40), (2, 17, 16)])
    def test_each_voxel_of_an_image_of_any_shape_has_a_unit_descriptor(self, untrained, shape):
        with torch.inference_mode():
            descriptors = untrained.describe(torch.randn(shape))
        assert descriptors.shape == (16, *shape)
        assert torch.allclose(descriptors.norm(dim=0), torch.ones(shape), atol=1e-4)

    def test_descriptors_do_not_depend_on_scale_and_offset(self, untrained):
        image = torch.randn(20, 24, 28)
        with torch.inference_mode():
            assert torch.allclose(untrained.describe(image), untrained.describe(300 * image - 50), atol=1e-3)

    def test_the_descriptors_of_a_uniform_image_are_finite(self, untrained):
        with torch.inference_mode():
            assert torch.isfinite(untrained.describe(torch.zeros(16, 16, 16))).all()

    def test_a_large_image_has_similar_descriptors_on_the_same_grid(self, trained, monkeypatch):
        image = smooth(torch.randn(48, 44, 52), 3.0)
        with torch.inference_mode():
            whole = trained.describe(image)
            monkeypatch.setattr(module, "LARGEST_DESCRIBED", image.numel() // 2)
            coarse = trained.describe(image)
        alike = float((coarse * whole).sum(dim=0).mean())
        elsewhere = float((coarse * whole.roll(8, dims=3)).sum(dim=0).mean())
        assert coarse.shape == whole.shape
        assert alike > elsewhere + 0.3

    def test_trained_descriptors_of_the_same_place_agree_across_contrasts(self, trained):
        inside = (slice(6, -6),) * 3
        with torch.inference_mode():
            pair = training_pair((48, 48, 48), 0.0, torch.Generator().manual_seed(3))
            fixed, moving = (trained.describe(scan[0, 0]) for scan in (pair.fixed, pair.moving))
            same = (fixed * moving).sum(dim=0)[inside].mean()
            beside = (fixed * moving.roll(6, dims=3)).sum(dim=0)[inside].mean()
        assert same > beside + 0.2


class TestPropose:
    def test_the_proposed_field_is_in_mm_on_every_second_voxel_of_the_level(self, scans, untrained):
        level = LinearLevel(*scans[1:], 20_000)
        with torch.inference_mode():
            proposal = constant(untrained, 2.0, axis=0).propose(level, np.eye(4))
        assert proposal.name == "network"
        assert proposal.field.tensor[0].eq(2 * level.spacing).all()
        assert proposal.field.tensor[1:].eq(0).all()
        assert proposal.field.geometry.shape == proposal.field.tensor.shape[1:]
        assert proposal.field.geometry.origin == level.fixed_geometry.origin
        assert proposal.field.geometry.spacing == tuple(2 * s for s in level.fixed_geometry.spacing)

    def test_the_trained_network_recovers_most_of_a_synthetic_deformation(self, trained):
        """The seeds of the pairs are larger than those of training and validation."""
        left, whole = 0.0, 0.0
        for seed in range(4):
            pair = training_pair((48, 48, 48), 0.6, torch.Generator().manual_seed(2 * 10**9 + seed))
            with torch.inference_mode():
                field = trained.network(pair.fixed, pair.moving).fields[-1]
            truth, weight = (x[:, :, ::2, ::2, ::2] for x in (pair.field, pair.weight))
            left += float(((field - truth).norm(dim=1, keepdim=True) * weight).sum())
            whole += float((truth.norm(dim=1, keepdim=True) * weight).sum())
        assert left < 0.6 * whole

    def test_an_improved_proposal_is_the_proposal_composed_with_the_networks_field(self, scans, untrained):
        level = LinearLevel(*scans[1:], 20_000)
        z = torch.arange(level.fixed_geometry.shape[0], dtype=torch.float32).view(-1, 1, 1)
        start = torch.zeros(3, *level.fixed_geometry.shape)
        start[1] += 0.1 * level.spacing * z
        with torch.inference_mode():
            better = constant(untrained, 1.0, axis=2).improve(
                level, np.eye(4), Proposal("search", Image(start, level.fixed_geometry))
            )
        assert better.name == "search+network"
        inner = (slice(None), slice(2, -3), slice(2, -2), slice(2, -2))
        moved = better.field.tensor[inner] / level.spacing
        assert torch.allclose(moved[2], torch.ones(()), atol=1e-4)
        assert torch.allclose(moved[1], (0.1 * (z + 1))[2:-3].expand_as(moved[1]), atol=1e-4)

    def test_a_scan_of_four_slices_gets_a_finite_field(self, untrained):
        pair = [
            prepare(
                Volume(np.random.default_rng(n).normal(size=(4, 30, 30)).astype(np.float32), GRID),
                mask=None,
                device=CPU,
            )
            for n in (1, 2)
        ]
        level = LinearLevel(*pair, 20_000)
        with torch.inference_mode():
            field = untrained.propose(level, np.eye(4)).field
        assert field.geometry.shape == field.tensor.shape[1:]
        assert torch.isfinite(field.tensor).all()


class TestShipped:
    def test_weights_with_another_checksum_are_refused(self, monkeypatch, tmp_path):
        other = tmp_path / "network.npz"
        save_weights(Network(), other)
        monkeypatch.setattr(module, "WEIGHTS", other)
        with pytest.raises(InputError, match="checksum differs"):
            shipped(CPU)

    def test_the_weight_file_is_at_most_8_megabytes(self):
        assert 0 < module.WEIGHTS.stat().st_size <= 8e6


class TestPrecision:
    @pytest.fixture
    def processor(self, monkeypatch):
        """Sets which instructions torch finds."""

        def set_instructions(*names):
            for name in BFLOAT16_SUPPORT:
                monkeypatch.setattr(torch.cpu, name, lambda name=name: name in names, raising=False)

        return set_instructions

    @pytest.mark.parametrize("name", BFLOAT16_SUPPORT)
    def test_a_processor_with_instructions_for_it_multiplies_bfloat16(self, processor, name):
        processor(name)
        assert multiplies_bfloat16(CPU)
        assert Learned(Network(), CPU).network.head.last.precision == torch.bfloat16

    def test_a_processor_without_them_computes_in_single_precision(self, processor):
        processor()
        assert not multiplies_bfloat16(CPU)
        assert Learned(Network(), CPU).network.head.last.precision is None

    def test_a_torch_that_cannot_tell_computes_in_single_precision(self, monkeypatch):
        for name in BFLOAT16_SUPPORT:
            monkeypatch.delattr(torch.cpu, name, raising=False)
        assert not multiplies_bfloat16(CPU)

    def test_an_apple_gpu_computes_in_single_precision(self):
        assert not multiplies_bfloat16(torch.device("mps"))
