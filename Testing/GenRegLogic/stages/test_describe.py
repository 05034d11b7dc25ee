"""MIND-SSC: its definition, and the properties of an image on which it must not depend."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from GenRegLogic.stages.describe import CHANNELS, mind_ssc


@pytest.fixture
def image():
    noise = torch.randn(1, 1, 16, 18, 20, generator=torch.Generator().manual_seed(0))
    return F.avg_pool3d(noise, 3, 1, 1)[0, 0] + torch.linspace(0, 1, 20)


def test_there_are_twelve_channels_between_0_and_1(image):
    got = mind_ssc(image)
    assert got.shape == (CHANNELS, *image.shape) == (12, 16, 18, 20)
    assert float(got.min()) > 0
    assert float(got.max()) <= 1


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1000.0, 0.0), (1e-3, 0.0), (1.0, 5.0), (-1.0, 0.0), (-40.0, 7.0)],
    ids=["brighter", "darker", "offset", "inverted", "inverted and offset"],
)
def test_offset_and_scale_of_intensities_do_not_change_the_descriptors(image, scale, offset):
    torch.testing.assert_close(mind_ssc(scale * image + offset), mind_ssc(image), atol=2e-3, rtol=0)


def test_the_largest_channel_of_each_voxel_is_one(image):
    torch.testing.assert_close(mind_ssc(image).max(dim=0).values, torch.ones(image.shape))


def test_the_channels_compare_the_patches_of_neighbors_that_share_an_edge(image):
    """The definition, for one voxel in the interior of the image."""
    array = image.double().numpy()

    def patch(center):
        return array[tuple(slice(c - 1, c + 2) for c in center)]

    def distances(voxel):
        offsets = [np.array(o) for o in ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, -1), (0, -1, 0), (-1, 0, 0))]
        return np.array(
            [
                ((patch(voxel + a) - patch(voxel + b)) ** 2).sum()
                for n, a in enumerate(offsets)
                for b in offsets[n + 1 :]
                if np.abs(a + b).sum() > 0
            ]
        )

    voxel = np.array([8, 9, 10])
    found = distances(voxel)
    assert len(found) == 12
    found -= found.min()
    expected = np.exp(-np.minimum(found / found.mean(), 16))
    np.testing.assert_allclose(np.sort(mind_ssc(image)[:, 8, 9, 10].numpy()), np.sort(expected), atol=1e-4)


def test_the_descriptors_shift_with_the_image(image):
    moved = torch.roll(image, (2, -1, 3), (0, 1, 2))
    inner = (slice(None), *[slice(6, -6)] * 3)
    expected = torch.roll(mind_ssc(image), (2, -1, 3), (1, 2, 3))
    torch.testing.assert_close(mind_ssc(moved)[inner], expected[inner], atol=2e-3, rtol=0)


def test_a_constant_image_gives_finite_descriptors():
    assert bool(torch.isfinite(mind_ssc(torch.zeros(8, 8, 8))).all())


def test_the_image_is_not_modified(image):
    before = image.clone()
    mind_ssc(image, dilation=2)
    assert torch.equal(image, before)
