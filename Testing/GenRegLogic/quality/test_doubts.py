"""Left and right where a header leaves them open: told from the images, or said to be unclear."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Doubt
from GenRegLogic.quality.doubts import mirrored_ratio, pose_doubt, sides_doubt
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.alignment import align
from GenRegLogic.stages.linear import Candidate
from GenRegLogic.stages.prepare import prepare

from ..conftest import rotation

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


def mirrored(volume):
    return replace(volume, array=np.ascontiguousarray(volume.array[:, :, ::-1]))


def aligned(fixed, moving):
    scans = prepare(fixed, mask=None, device=CPU), prepare(moving, mask=None, device=CPU, role="moving")
    return *scans, align(*scans)[0]


def doubt_of(fixed, moving, **options):
    with torch.inference_mode():
        return sides_doubt(*aligned(fixed, moving), (*fixed.warnings, *moving.warnings), **options)


def clear(volume):
    return replace(volume, warnings=(Doubt("padding_ignored", "Padding."),))


def test_without_a_doubt_about_the_headers_nothing_is_said_where_the_images_tell_the_sides():
    assert doubt_of(clear(scan(True)), clear(scan(True, 1))) is None


def test_that_only_the_headers_tell_the_sides_of_a_symmetric_body_is_said_without_a_doubt():
    doubt = doubt_of(clear(scan(False)), clear(scan(False, 1)))
    assert doubt.name == "sides_alike"
    assert not doubt.guessed


def test_a_header_that_mirrors_is_found_out_without_a_doubt_about_it():
    doubt = doubt_of(clear(scan(True)), clear(mirrored(scan(True, 1))))
    assert doubt.name == "sides_mirrored"
    assert doubt.guessed


def test_nothing_is_looked_at_where_nobody_asks():
    assert doubt_of(clear(scan(True)), clear(mirrored(scan(True, 1))), asked=False) is None


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


def test_a_scan_that_is_turned_and_mirrored_is_found_out():
    fixed, turned = scan(True), mirrored(scan(True, 1))
    turned = replace(turned, geometry=replace(turned.geometry, direction=rotation(0.4, 2.5, -1.0)))
    with torch.inference_mode():
        assert mirrored_ratio(*aligned(fixed, turned)) > 1.1


def test_a_pose_is_a_guess_only_where_the_alignment_doubts_it():
    found = Candidate(np.eye(4), 0.5, "header")
    assert pose_doubt(found) is None
    doubt = pose_doubt(replace(found, doubted=True))
    assert doubt.name == "pose_unclear"
    assert doubt.guessed
