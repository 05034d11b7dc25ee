"""Similarity measures and their derivatives, against definitions, automatic differentiation and finite differences."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from GenRegLogic.space.grid import sample
from GenRegLogic.stages.similarity import (
    DescriptorDistance,
    Lncc,
    box_sum,
    gradient,
    local_correlation,
    noise_variance,
)

SHAPE = (14, 16, 18)
RADIUS, NOISE = 2, 1e-3


def random_image(seed, shape=SHAPE):
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.avg_pool3d(noise[None, None], 3, 1, 1)[0, 0]


def ball(shape=SHAPE):
    """A soft mask of doubles, 0 outside."""
    lines = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    return (1.2 - (x * x + y * y + z * z)).clamp(0, 1)


def plain_lncc(fixed, moving, weight, radius=RADIUS, noise=NOISE, moving_noise=NOISE):
    """1 - the weighted mean of the squared local correlation, by the definition."""

    def mean(x):
        return F.avg_pool3d(x[None, None], 2 * radius + 1, 1, radius, count_include_pad=False)[0, 0]

    mean_f, mean_m = mean(fixed), mean(moving)
    var_f = mean(fixed**2) - mean_f**2 + noise
    var_m = mean(moving**2) - mean_m**2 + moving_noise
    cov = mean(fixed * moving) - mean_f * mean_m
    cov = cov.abs() + (noise * moving_noise) ** 0.5
    return 1 - (cov**2 / (var_f * var_m) * weight).sum() / weight.sum()


@pytest.mark.parametrize("radius", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_box_sums_equal_those_of_a_convolution(radius, channels):
    x = torch.randn(*channels, *SHAPE, dtype=torch.float64)
    kernel = torch.ones(1, 1, *[2 * radius + 1] * 3, dtype=torch.float64)
    expected = F.conv3d(x.reshape(-1, 1, *SHAPE), kernel, padding=radius).reshape(x.shape)
    torch.testing.assert_close(box_sum(x, radius), expected)


class TestGradient:
    def test_components_are_central_differences_along_x_y_z(self):
        x = random_image(0)
        z_slope, y_slope, x_slope = np.gradient(x.numpy())
        got = gradient(x).numpy()
        inner = (slice(1, -1),) * 3
        for component, slope in zip(got, (x_slope, y_slope, z_slope)):
            np.testing.assert_allclose(component[inner], slope[inner], atol=1e-12)

    def test_the_gradient_is_zero_at_the_border(self):
        got = gradient(random_image(0))
        assert float(got[0, :, :, [0, -1]].abs().max()) == 0
        assert float(got[1, :, [0, -1]].abs().max()) == 0
        assert float(got[2, [0, -1]].abs().max()) == 0


WEIGHTS = {
    "everywhere": (torch.ones(SHAPE, dtype=torch.float64), None),
    "in a mask": ((ball() > 0.4).double(), None),
    "in a soft mask": (ball(), None),
    "in a mask and the moving scan's extent": ((ball() > 0.4).double(), (random_image(9) > -0.1).double()),
}


@pytest.fixture(params=WEIGHTS.values(), ids=WEIGHTS.keys())
def weights(request):
    return request.param


class TestLncc:
    def test_the_objective_follows_the_definition(self, weights):
        weight, valid = weights
        fixed, moving = random_image(0), random_image(1) + 0.5 * random_image(0)
        objective, _ = Lncc(fixed, RADIUS, weight, NOISE, 4 * NOISE).force(moving, valid)
        total = weight if valid is None else weight * valid
        expected = plain_lncc(fixed, moving, total, moving_noise=4 * NOISE)
        assert float(objective) == pytest.approx(float(expected), rel=1e-9)

    def test_the_derivative_equals_that_of_automatic_differentiation(self, weights):
        weight, valid = weights
        fixed, moving = random_image(0), random_image(1) + 0.5 * random_image(0)
        _, force = Lncc(fixed, RADIUS, weight, NOISE, 4 * NOISE).force(moving, valid)
        moving.requires_grad_(True)
        total = weight if valid is None else weight * valid
        plain_lncc(fixed, moving, total, moving_noise=4 * NOISE).backward()
        torch.testing.assert_close(force, moving.grad * total.sum(), rtol=1e-8, atol=1e-10)

    def test_the_pull_is_the_derivative_by_displacement(self):
        fixed, moving = random_image(0), random_image(1) + 0.5 * random_image(0)
        measure = Lncc(fixed, RADIUS, ball(), NOISE)
        assert_pull_is_derivative(measure, measure.channels(moving), None, ball())

    def test_the_pull_within_the_extent_is_the_derivative_by_displacement(self):
        fixed, moving, valid = random_image(0), random_image(1), (random_image(9) > -0.1).double()
        measure = Lncc(fixed, RADIUS, ball(), NOISE)
        assert_pull_is_derivative(measure, measure.channels(moving), valid, ball() * valid)

    def test_offset_and_scale_of_intensities_do_not_change_the_objective(self):
        fixed, moving = random_image(0), random_image(1)
        measure = Lncc(fixed, RADIUS, ball(), 1e-12)
        assert float(measure.force(moving)[0]) == pytest.approx(float(measure.force(-7 * moving + 20)[0]), abs=1e-6)

    @pytest.mark.parametrize("noise", [1e-12, 1e-3, 1.0])
    def test_an_image_and_its_copy_have_the_objective_zero_and_pull_nowhere(self, noise):
        fixed = random_image(0)
        objective, force = Lncc(fixed, RADIUS, ball(), noise).force(fixed.clone())
        assert float(objective) == pytest.approx(0, abs=1e-6)
        assert float(force.abs().max()) < 1e-9 / noise**0.5

    def test_windows_of_noise_alone_count_as_alike(self):
        flat = torch.zeros(SHAPE, dtype=torch.float64)
        assert float(Lncc(flat, RADIUS, ball(), NOISE).force(1e-3 * random_image(1))[0]) < 1e-2

    def test_single_precision_gives_the_same_derivative(self):
        fixed, moving = random_image(0), random_image(1) + 0.5 * random_image(0)
        exact = Lncc(fixed, RADIUS, ball(), NOISE).force(moving)[1]
        single = Lncc(fixed.float(), RADIUS, ball().float(), NOISE).force(moving.float())[1]
        assert float((single - exact).abs().max()) < 1e-3 * float(exact.abs().max())


def assert_pull_is_derivative(measure, channels, valid, weight, step=1e-4):
    """Compares ``pull`` with the change of the objective under small displacements of all voxels."""
    _, pull = measure.pull(channels, valid)
    lines = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE]
    z, y, x = torch.meshgrid(*lines, indexing="ij")
    identity = torch.stack([x, y, z])
    scale = torch.tensor([2 / (n - 1) for n in reversed(SHAPE)], dtype=torch.float64).view(3, 1, 1, 1)
    for seed in range(3):
        direction = torch.stack([random_image(20 + 3 * seed + c) for c in range(3)])
        for dim in range(1, 4):  # no displacement at the border
            direction.index_fill_(dim, torch.tensor([0, direction.shape[dim] - 1]), 0)
        values = [
            measure.pull(sample(channels, identity + sign * step * scale * direction), valid)[0] for sign in (1, -1)
        ]
        measured = (values[0] - values[1]) / (2 * step) * float(weight.sum())
        assert float((pull * direction).sum()) == pytest.approx(measured, rel=2e-3, abs=1e-4)


def describe(image):
    """Two channels that depend on the intensity alone."""
    return torch.stack([torch.sin(2 * image), torch.cos(image)])


class TestDescriptorDistance:
    def test_the_objective_is_the_mean_squared_difference(self, weights):
        weight, valid = weights
        fixed, moving = random_image(0), random_image(1)
        measure = DescriptorDistance(describe, fixed, weight)
        objective, _ = measure.pull(measure.channels(moving), valid)
        total = weight if valid is None else weight * valid
        expected = ((describe(fixed) - describe(moving)).square().mean(dim=0) * total).sum() / total.sum()
        assert objective == pytest.approx(float(expected), rel=1e-6)

    def test_the_pull_is_the_derivative_by_displacement(self, weights):
        weight, valid = weights
        measure = DescriptorDistance(describe, random_image(0), weight)
        total = weight if valid is None else weight * valid
        assert_pull_is_derivative(measure, measure.channels(random_image(1)), valid, total)

    def test_the_pull_outside_the_mask_is_zero(self):
        weight = (ball() > 0.4).double()
        measure = DescriptorDistance(describe, random_image(0), weight)
        _, pull = measure.pull(measure.channels(random_image(1)), None)
        assert float((pull * (weight == 0)).abs().max()) == 0
        assert float(pull.abs().max()) > 0


class TestLocalCorrelation:
    def test_it_is_the_correlation_within_the_window(self):
        a, b = random_image(0), random_image(1)
        window = (slice(5, 10), slice(6, 11), slice(7, 12))
        expected = np.corrcoef(a[window].numpy().ravel(), b[window].numpy().ravel())[0, 1]
        assert float(local_correlation(a, b, 2, 1e-12)[7, 8, 9]) == pytest.approx(expected, abs=1e-6)

    def test_inverted_contrast_gives_a_correlation_of_minus_one(self):
        a = random_image(0)
        assert float(local_correlation(a, -a, 2, 1e-12).max()) == pytest.approx(-1, abs=1e-4)


class TestReducedDescriptors:
    def test_reduction_to_all_components_preserves_distances(self):
        fixed, moving = torch.randn(2, 9, 10, 11)
        weight = torch.ones_like(fixed)

        def describe(image):
            return torch.stack([image, image.roll(1, 0), image.roll(1, 1), 2 * image])  # three dimensions in four

        values = []
        for channels in (None, 3):
            measure = DescriptorDistance(describe, fixed, weight, channels=channels)
            descriptors = measure.channels(moving)
            values.append(len(descriptors) * measure.pull(descriptors, None)[0])
        assert values[0] == pytest.approx(values[1], rel=1e-4)

    def test_the_components_kept_are_those_that_vary_most_inside_the_mask(self):
        image = torch.randn(8, 9, 10)
        weight = torch.zeros_like(image)
        weight[:4] = 1
        loud = torch.where(weight > 0, 0.0, 100.0) * torch.randn_like(image)
        measure = DescriptorDistance(lambda x: torch.stack([loud, 3 * x]), image, weight, channels=1)
        assert measure.fixed[0].abs().allclose((3 * image).abs(), atol=1e-3)


class TestNoiseVariance:
    def test_structures_do_not_count_as_noise(self):
        lines = [torch.linspace(-1, 1, n) for n in (40, 50, 60)]
        z, y, x = torch.meshgrid(*lines, indexing="ij")
        organ = 5 * ((x * x + y * y + z * z) < 0.5).float()
        noise = 0.1 * torch.randn(organ.shape, generator=torch.Generator().manual_seed(3))
        assert noise_variance(organ + noise, torch.ones_like(organ)) == pytest.approx(0.01, rel=0.1)

    def test_only_voxels_of_the_mask_are_looked_at(self):
        noise = torch.randn((30, 30, 30), generator=torch.Generator().manual_seed(3))
        noise[:, :, 15:] = 0
        half = torch.zeros_like(noise)
        half[:, :, :15] = 1
        assert noise_variance(noise, half) == pytest.approx(1, rel=0.1)
        assert noise_variance(noise, 1 - half) < 1e-6

    def test_too_few_voxels_tell_nothing(self):
        assert noise_variance(torch.randn(2, 3, 4), torch.ones(2, 3, 4)) == 0
