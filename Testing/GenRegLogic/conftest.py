"""Grids and fields that the tests share."""

import numpy as np
import pytest

from GenRegLogic.field import AffineTransform, DisplacementField
from GenRegLogic.volume import Geometry, Volume


def rotation(*angles):
    """Rotation matrix from angles in radians about x, y and z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = matrix @ turn
    return matrix


OBLIQUE = rotation(0.3, -0.5, 0.8)
GRIDS = {
    "plain": Geometry((24, 20, 18)),
    "oblique and anisotropic": Geometry((24, 20, 16), (1.0, 1.5, 3.0), (-40.0, 25.0, 7.0), OBLIQUE),
    "left-handed": Geometry((21, 24, 18), (0.9, 1.1, 1.3), (5.0, -60.0, 30.0), OBLIQUE @ np.diag([1.0, 1.0, -1.0])),
    "in another axis order": Geometry((18, 22, 20), (2.0, 1.0, 1.5), (100.0, 0.0, -80.0), np.eye(3)[:, [2, 0, 1]]),
    "of a mouse": Geometry((24, 22, 20), (0.15, 0.15, 0.15), (-1.0, 2.0, 3.0), OBLIQUE),
}


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def grid(request):
    """Each of the grids that every geometric result must hold on."""
    return request.param


@pytest.fixture
def oblique_grid():
    return GRIDS["left-handed"]


@pytest.fixture
def make_field():
    """Smooth fields without folds; `amplitude` in units of the smallest extent / 20."""

    def make(geometry, amplitude=1.0, seed=0):
        random = np.random.default_rng(seed)
        k, j, i = (np.linspace(0.0, 2.0 * np.pi, n) for n in geometry.shape)
        phases = random.uniform(0.0, 2.0 * np.pi, (3, 3))
        waves = [
            np.sin(i + a)[None, None, :] * np.cos(j + b)[None, :, None] * np.sin(k + c)[:, None, None]
            for a, b, c in phases
        ]
        scale = amplitude * geometry.extent_mm.min() / 20.0
        return DisplacementField(scale * np.stack(waves, axis=-1), geometry)

    return make


@pytest.fixture
def affine():
    """A large linear mapping: turned, scaled, sheared and 80 mm away."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(0.2, 0.1, -0.3) @ (np.diag([1.1, 0.95, 1.05]) + [[0, 0.05, 0], [0, 0, 0], [0.02, 0, 0]])
    matrix[:3, 3] = (80.0, -60.0, 40.0)
    return AffineTransform(matrix)


@pytest.fixture
def make_volume():
    """A smooth image with noise on a grid, of any dtype."""

    def make(geometry, dtype=np.float32, seed=0):
        random = np.random.default_rng(seed)
        k, j, i = np.meshgrid(*(np.linspace(0.0, 3.0, n) for n in geometry.shape), indexing="ij")
        values = 100.0 * (np.sin(2 * i) + np.cos(j + k)) + 10.0 * random.normal(size=geometry.shape)
        return Volume((values - values.min()).astype(dtype), geometry)

    return make


@pytest.fixture
def make_points():
    """Points inside a grid, LPS mm, at least `margin` voxels from its outer voxel centers."""

    def make(geometry, count=200, margin=0.0, seed=0):
        index = np.random.default_rng(seed).uniform(margin, np.array(geometry.size) - 1 - margin, (count, 3))
        return geometry.to_world(index)

    return make
