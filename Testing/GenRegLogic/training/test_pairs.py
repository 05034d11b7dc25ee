"""Synthetic pairs: the field between them is exact, and they depend on the seed alone."""

import pytest
import torch

from GenRegLogic.network.model import sample_places
from GenRegLogic.training.appearance import contrasts, degrade
from GenRegLogic.training.motion import between, random_motion
from GenRegLogic.training.pairs import make_pair
from GenRegLogic.training.shapes import label_map, noise_field

SHAPE = (40, 44, 48)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def here(shape=SHAPE):
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return torch.stack([x, y, z])[None]


@pytest.fixture(scope="module", params=(0, 1, 4, 7))
def pair(request):
    return make_pair(SHAPE, 1.0, generator(request.param))


class TestPair:
    def test_the_field_maps_fixed_labels_to_the_same_moving_labels(self, pair):
        places = (here() + pair.field)[0].round().long()
        inside = pair.weight[0, 0] > 0.5
        x, y, z = (places[axis].clamp(0, SHAPE[2 - axis] - 1) for axis in range(3))
        same = (pair.moving_labels[z, y, x] == pair.fixed_labels)[inside].float().mean()
        still = (pair.moving_labels == pair.fixed_labels)[inside].float().mean()
        assert same > 0.75  # nearest voxels: thin sheets and borders may be off by one
        assert 1 - same < 0.6 * (1 - still) + 0.02  # in pairs with little motion only borders differ

    def test_scans_have_zero_mean_and_unit_deviation(self, pair):
        for scan in (pair.fixed, pair.moving):
            assert scan.mean().abs() < 1e-4
            assert scan.std() == pytest.approx(1.0, abs=1e-3)

    def test_scans_field_and_weight_are_finite(self, pair):
        for tensor in (pair.fixed, pair.moving, pair.field, pair.weight):
            assert torch.isfinite(tensor).all()

    def test_the_field_does_not_fold(self, pair):
        u = pair.field[0]
        slopes = torch.stack(
            [
                u.diff(dim=dim)[:, : -1 if dim != 1 else None, : -1 if dim != 2 else None, : -1 if dim != 3 else None]
                for dim in (3, 2, 1)
            ],
            dim=1,
        )
        determinants = torch.linalg.det((slopes + torch.eye(3).view(3, 3, 1, 1, 1)).permute(2, 3, 4, 0, 1))
        assert (determinants > 0).float().mean() > 0.999

    def test_the_same_seed_gives_the_same_pair(self):
        first, second = (make_pair(SHAPE, 0.7, generator(9)) for _ in range(2))
        assert torch.equal(first.moving, second.moving)
        assert torch.equal(first.field, second.field)

    def test_the_field_at_amplitude_zero_is_zero(self):
        assert make_pair(SHAPE, 0.0, generator(3)).field.abs().max() < 1e-3


class TestMotion:
    def test_a_motion_followed_by_its_inverse_is_the_identity(self):
        motion = random_motion(SHAPE, 1.0, generator(5))
        back = motion.inverse(motion(here()))
        middle = (slice(None), slice(None), slice(12, -12), slice(12, -12), slice(12, -12))
        assert (back - here())[middle].abs().max() < 0.3

    def test_the_field_between_a_motion_and_itself_is_zero(self):
        motion = random_motion(SHAPE, 1.0, generator(6))
        middle = (slice(None), slice(None), slice(12, -12), slice(12, -12), slice(12, -12))
        assert between(motion, motion, SHAPE)[middle].abs().max() < 0.3

    def test_warping_by_the_field_between_two_motions_aligns_the_scans(self):
        motions = [random_motion(SHAPE, 0.8, generator(seed)) for seed in (1, 2)]
        anatomy = torch.sin(here() / 4).sum(dim=1, keepdim=True)
        fixed, moving = (sample_places(anatomy, motion(here())) for motion in motions)
        field = between(*motions, SHAPE)
        middle = (slice(None), slice(None), slice(12, -12), slice(12, -12), slice(12, -12))
        error = (sample_places(moving, here() + field) - fixed)[middle].abs().mean()
        assert error < 0.2 * (moving - fixed)[middle].abs().mean()


class TestNoise:
    def test_noise_has_the_same_deviation_on_and_between_control_points(self):
        draw = generator(0)
        deviation = noise_field((33, 33, 33), 400, 8, draw).std(dim=0)
        assert deviation.min() > 0.45
        assert deviation.max() < 0.64

    def test_noise_is_curved_between_its_control_points(self):
        x = noise_field((24, 65, 25), 8, 8, generator(1))
        assert x.shape == (8, 24, 65, 25)
        for dim in (1, 2, 3):
            bends = x.diff(n=2, dim=dim).abs()
            assert bends.median() > 0.5 * bends.mean()


class TestShapesAndAppearance:
    def test_a_label_map_uses_several_of_its_labels(self):
        labels, count = label_map(SHAPE, generator(1))
        assert labels.min() >= 0
        assert labels.max() < count
        assert len(labels.unique()) >= 4

    def test_contrasts_are_the_same_in_about_a_third_of_the_pairs(self):
        draw = generator(0)
        same = sum(
            bool((first - second).abs().max() < 0.3) for first, second in (contrasts(12, draw) for _ in range(300))
        )
        assert 70 < same < 130

    def test_a_degraded_image_still_correlates_with_the_original(self):
        anatomy = torch.sin(here((32, 32, 32)) / 5).sum(dim=1)[0]
        draw = generator(2)
        flat = (anatomy - anatomy.mean()).flatten()
        for _ in range(20):
            degraded = degrade(anatomy.clone(), draw)
            assert torch.nn.functional.cosine_similarity(flat, degraded.flatten(), dim=0) > 0.5
