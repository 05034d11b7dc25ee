"""The coupled-convex search, against brute force and known displacements."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from GenRegLogic.stages.describe import mind_ssc
from GenRegLogic.stages.search import coupled_convex, displacement_cube, inverse_consistent, mismatch_volume, search

SHAPE = (16, 18, 20)


def texture(seed, shape=SHAPE):
    noise = torch.randn(1, 1, *(n + 8 for n in shape), generator=torch.Generator().manual_seed(seed))
    return F.avg_pool3d(noise, 3, 1)[0, 0, 3:-3, 3:-3, 3:-3]


def chance_of(features):
    return float(2 * features.var(dim=(1, 2, 3)).mean())


class TestMismatch:
    def test_the_cube_holds_every_displacement_once(self):
        cube = {tuple(row) for row in displacement_cube(2, torch.device("cpu")).int().tolist()}
        assert cube == set(itertools.product(range(-2, 3), repeat=3))

    def test_the_mismatch_is_the_difference_to_the_displaced_voxel(self):
        fixed, moving = torch.rand(3, 6, 7, 8), torch.rand(3, 6, 7, 8)
        cost = mismatch_volume(fixed, moving, torch.ones(6, 7, 8), 1, 0.5)
        for row, (z, y, x) in zip(cost, displacement_cube(1, torch.device("cpu")).int().tolist()):
            expected = (moving[:, 3 + z, 3 + y, 4 + x] - fixed[:, 3, 3, 4]).square().mean() / 0.5
            assert float(row[3, 3, 4]) == pytest.approx(float(expected), rel=1e-4)

    def test_the_mismatch_outside_the_moving_scan_is_a_chance_match(self):
        fixed, moving = torch.rand(3, 6, 7, 8), torch.rand(3, 6, 7, 8)
        valid = torch.ones(6, 7, 8)
        valid[:, :, 4:] = 0
        cost = mismatch_volume(fixed, moving, valid, 2, 0.5)[:, 3, 3, 3]
        outside = 3 + displacement_cube(2, torch.device("cpu"))[:, 2] >= 4
        assert int(outside.sum()) == 2 * 25
        torch.testing.assert_close(cost[outside], torch.ones(2 * 25))
        assert not bool((cost[~outside] == 1).any())


class TestDisplacement:
    @pytest.mark.parametrize("shift", [(0, 0, 0), (3, 0, 0), (-3, 2, 1), (2, -3, 3)])
    def test_a_known_displacement_is_found(self, shift):
        """The shift is (x, y, z), from a fixed voxel to the same tissue in the moving scan."""
        large = texture(0, tuple(n + 12 for n in SHAPE))
        x, y, z = shift
        fixed = large[6:-6, 6:-6, 6:-6]
        moving = large[6 - z : large.shape[0] - 6 - z, 6 - y : large.shape[1] - 6 - y, 6 - x : large.shape[2] - 6 - x]
        f, m = mind_ssc(fixed), mind_ssc(moving)
        ones = torch.ones(SHAPE)
        field = search(f, m, ones, ones, 4, chance_of(f))
        inner = field[:, 4:-4, 4:-4, 4:-4]
        expected = torch.tensor(shift, dtype=torch.float32).view(3, 1, 1, 1).expand_as(inner)
        assert float((inner - expected).norm(dim=0).mean()) < 0.3

    def test_noise_alone_causes_almost_no_displacement(self):
        f = mind_ssc(texture(0))
        m = mind_ssc(texture(0) + 0.05 * texture(5))
        ones = torch.ones(SHAPE)
        assert float(search(f, m, ones, ones, 3, chance_of(f)).norm(dim=0).mean()) < 0.3

    def test_the_coupled_field_is_smoother_than_the_point_wise_choice(self):
        f, m = mind_ssc(texture(0)), mind_ssc(texture(1))
        cost = mismatch_volume(f, m, torch.ones(SHAPE), 2, chance_of(f))
        choice = displacement_cube(2, f.device)[cost.reshape(125, -1).argmin(dim=0)].T.reshape(3, *SHAPE)
        field = coupled_convex(cost, 2, torch.ones(SHAPE))
        assert float(field.diff(dim=3).abs().mean()) < 0.3 * float(choice.diff(dim=3).abs().mean())


class TestInverseConsistency:
    def test_it_reduces_the_inverse_consistency_error_to_a_quarter(self):
        forward = 2 * torch.stack([F.avg_pool3d(texture(n)[None, None], 5, 1, 2)[0, 0] * 4 for n in range(3)])
        noise = torch.stack([F.avg_pool3d(texture(9 + n)[None, None], 5, 1, 2)[0, 0] for n in range(3)])
        backward = -forward + 0.5 * noise
        before = inverse_consistency_error(forward, backward)
        after = inverse_consistency_error(*inverse_consistent(forward, backward))
        assert after < 0.25 * before

    def test_a_field_and_its_exact_inverse_are_not_changed(self):
        shift = torch.full((3, *SHAPE), 1.5)
        forward, backward = inverse_consistent(shift, -shift)
        torch.testing.assert_close(forward, shift, atol=1e-4, rtol=0)
        torch.testing.assert_close(backward, -shift, atol=1e-4, rtol=0)

    def test_searches_in_both_directions_give_nearly_inverse_fields(self):
        large = texture(3, tuple(n + 8 for n in SHAPE))
        a, b = mind_ssc(large[4:-4, 4:-4, 4:-4]), mind_ssc(large[6:-2, 4:-4, 3:-5])
        ones = torch.ones(SHAPE)
        forward, backward = (search(f, m, ones, ones, 3, chance_of(a)) for f, m in ((a, b), (b, a)))
        assert inverse_consistency_error(forward, backward) < 0.2


def inverse_consistency_error(forward, backward):
    """Mean of |forward(x) + backward(x + forward(x))|, voxels, away from the border."""
    lines = [torch.arange(n, dtype=torch.float32) for n in SHAPE]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    positions = torch.stack([x, y, z]) + forward
    size = torch.tensor(SHAPE[::-1], dtype=torch.float32).view(3, 1, 1, 1)
    grid = (positions / (size - 1) * 2 - 1).permute(1, 2, 3, 0)[None]
    error = forward + F.grid_sample(backward[None], grid, padding_mode="border", align_corners=True)[0]
    return float(error.norm(dim=0)[4:-4, 4:-4, 4:-4].mean())
