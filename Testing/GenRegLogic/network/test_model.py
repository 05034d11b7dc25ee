"""The network: its grids, the directions of its fields, and the properties of an untrained one."""

import copy

import pytest
import torch

from GenRegLogic.network.model import STRIDES, Network, compose_voxels, correlation_volume, double, integrate, sample_at


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network().eval()


def places(shape):
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return torch.stack([x, y, z])[None]


class TestShapes:
    @pytest.mark.parametrize("shape", [(32, 32, 32), (40, 24, 56), (33, 47, 20), (17, 16, 19)])
    def test_fields_and_features_have_one_voxel_per_stride_for_scans_of_any_size(self, network, shape):
        with torch.inference_mode():
            output = network(torch.randn(1, 1, *shape), torch.randn(1, 1, *shape))
        for level, stride in enumerate(STRIDES):
            expected = tuple(-(-n // stride) for n in shape)
            assert tuple(output.fixed[level].shape[2:]) == expected
            assert tuple(output.fields[len(STRIDES) - 1 - level].shape[2:]) == expected

    def test_features_have_unit_length(self, network):
        with torch.inference_mode():
            features = network.describe(torch.randn(1, 1, 32, 32, 32))[0]
        assert torch.allclose(features.norm(dim=1), torch.ones(1), atol=1e-5)

    def test_features_in_half_precision_are_nearly_the_same(self, network):
        scan = torch.randn(1, 1, 32, 32, 32)
        half = copy.deepcopy(network).compute_in(torch.bfloat16)
        with torch.inference_mode():
            for whole, other in zip(network.describe(scan), half.describe(scan)):
                assert other.dtype == torch.float32
                assert float((whole * other).sum(dim=1).mean()) > 0.99

    def test_the_network_has_between_half_a_million_and_three_million_weights(self, network):
        count = sum(weight.numel() for weight in network.parameters())
        assert 0.5e6 <= count <= 3e6


class TestDeterminism:
    def test_the_same_scans_give_the_same_field_twice(self, network):
        scans = torch.randn(2, 1, 1, 32, 32, 32)
        with torch.inference_mode():
            assert torch.equal(network(*scans).fields[-1], network(*scans).fields[-1])


class TestSampling:
    def test_the_components_of_a_displacement_are_x_y_z(self):
        image = places((5, 6, 7))
        moved = sample_at(image, torch.tensor([1.0, 2.0, -1.0]).view(1, 3, 1, 1, 1).expand(1, 3, 5, 6, 7))
        assert moved[0, :, 2, 2, 2].tolist() == [3.0, 4.0, 1.0]

    def test_samples_beyond_the_edge_repeat_the_edge(self):
        image = places((4, 4, 4))
        moved = sample_at(image, torch.full((1, 3, 4, 4, 4), 10.0))
        assert torch.equal(moved, torch.full_like(moved, 3.0))

    def test_doubling_keeps_coarse_voxels_and_interpolates_between_them(self):
        coarse = torch.randn(1, 2, 3, 4, 5)
        fine = double(coarse, (6, 7, 9))
        assert torch.equal(fine[:, :, ::2, ::2, ::2], coarse)
        assert torch.allclose(fine[:, :, 1, 0, 0], (coarse[:, :, 0, 0, 0] + coarse[:, :, 1, 0, 0]) / 2)


class TestFields:
    def test_composition_applies_the_step_first_and_then_the_field(self):
        here = places((8, 8, 8))
        first = 0.1 * here
        step = torch.full((1, 3, 8, 8, 8), 2.0)
        assert compose_voxels(first, step)[0, :, 3, 3, 3].tolist() == pytest.approx([0.1 * 5 + 2.0] * 3)

    def test_the_integral_of_a_constant_velocity_is_that_velocity(self):
        assert torch.allclose(integrate(torch.full((1, 3, 8, 8, 8), 0.7)), torch.tensor(0.7))

    def test_the_integral_of_the_negative_velocity_is_the_inverse(self):
        here = places((24, 24, 24)) / 24 * 6.283
        velocity = 0.5 * torch.sin(here + here.roll(1, dims=1))
        there = compose_voxels(integrate(velocity), integrate(-velocity))
        assert there[:, :, 4:-4, 4:-4, 4:-4].abs().max() < 0.05


class TestCorrelation:
    def test_the_matching_neighbor_has_the_highest_correlation(self):
        torch.manual_seed(1)
        image = torch.nn.functional.normalize(torch.randn(1, 8, 6, 6, 6), dim=1)
        moved = image.roll(1, dims=4)  # the feature of x is now at x + 1
        best = correlation_volume(image, moved).argmax(dim=1)[0, 1:-1, 1:-1, 1:-2]
        assert (best == 14).float().mean() == 1.0  # (0, 0, +1) among the 27 offsets
