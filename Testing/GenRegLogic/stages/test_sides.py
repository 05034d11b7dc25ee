"""Left and right where a header leaves them open: told from the images, or said to be unclear."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Doubt
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.linear import align
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.sides import mirrored, sides_doubt

CPU = torch.device("cpu")
IN_DOUBT = Doubt("orientation_unknown", "The header doesn't say which side is left.", guessed=True)
SIZE = (36, 34, 32)


def scan(lopsided, noise=0):
    """A textured ball, symmetric about the middle plane along x but for an organ on one side."""
    random = np.random.default_rng(0)
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in SIZE[::-1]], indexing="ij")
    values = np.zeros(SIZE[::-1])
    for center, radius in zip(random.uniform(-0.6, 0.6, (14, 3)), random.uniform(0.15, 0.3, 14)):
        for side in (-1, 1):
            values += np.hypot(np.hypot(i - side * center[0], j - center[1]), k - center[2]) < radius
    body = np.hypot(np.hypot(i, j), k) < 0.85
    if lopsided:
        values += 5 * (
            (np.hypot(np.hypot(i - 0.4, j - 0.1), k) < 0.3) + (np.hypot(np.hypot(i - 0.2, j + 0.5), k - 0.3) < 0.2)
        )
    array = 100 * body * (1 + values) + np.random.default_rng(noise).normal(0, 5, body.shape)
    return Volume(array.astype(np.float32), Geometry(SIZE, (3.0, 3.0, 3.0)), (IN_DOUBT,))


def doubt_of(fixed, moving):
    with torch.inference_mode():
        prepared = prepare(fixed, mask=None, device=CPU)
        found, _ = align(prepared, prepare(moving, mask=None, device=CPU, role="moving"), init="header")
        return sides_doubt(prepared, (fixed, moving), found, moving_mask=None, device=CPU)


def test_without_a_doubt_about_the_headers_nothing_is_said():
    clear = replace(scan(True), warnings=(Doubt("padding_ignored", "Padding."),))
    assert doubt_of(clear, clear) is None


@pytest.mark.parametrize(
    ("lopsided", "flip", "name", "guessed"),
    [(True, False, "sides_clear", False), (True, True, "sides_mirrored", True), (False, False, "sides_unclear", True)],
)
def test_the_images_are_asked(lopsided, flip, name, guessed):
    fixed = scan(lopsided)
    moving = mirrored(scan(lopsided, 1)) if flip else scan(lopsided, 1)
    doubt = doubt_of(fixed, moving)
    assert doubt.name == name
    assert doubt.guessed == guessed


@pytest.mark.parametrize("direction", [np.eye(3), np.eye(3)[[1, 2, 0]], np.diag([-1, 1, -1])])
def test_mirroring_exchanges_left_and_right_whatever_the_axes(direction):
    volume = Volume(np.arange(24.0).reshape(2, 3, 4), Geometry((4, 3, 2), (1, 1, 1), (0, 0, 0), direction))
    flipped = mirrored(volume)
    index = np.argwhere(np.ones(volume.array.shape))[:, ::-1]
    places = volume.geometry.to_world(index)
    places[:, 0] = 2 * volume.geometry.center[0] - places[:, 0]
    there = np.rint(volume.geometry.to_index(places)).astype(int)
    i, j, k = there.T
    np.testing.assert_array_equal(flipped.array[tuple(index[:, ::-1].T)], volume.array[k, j, i])
