"""Grids, fields and pairs of scans that the tests share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from GenRegLogic.phantom.scans import Flow
from GenRegLogic.quality.signs import Signs
from GenRegLogic.register import register
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, canonical_geometry, resample
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare


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
    """Each of the grids on which every geometric result must be correct."""
    return request.param


@pytest.fixture
def oblique_grid():
    return GRIDS["left-handed"]


@pytest.fixture
def make_field():
    """Makes smooth fields; `amplitude` is in units of the smallest extent / 20, and at 1 they do not fold."""

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
    """A large linear mapping: rotated, scaled, sheared and shifted by up to 80 mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(0.2, 0.1, -0.3) @ (np.diag([1.1, 0.95, 1.05]) + [[0, 0.05, 0], [0, 0, 0], [0.02, 0, 0]])
    matrix[:3, 3] = (80.0, -60.0, 40.0)
    return AffineTransform(matrix)


@pytest.fixture
def make_volume():
    """Makes smooth images with noise on a grid, of any dtype."""

    def make(geometry, dtype=np.float32, seed=0):
        random = np.random.default_rng(seed)
        k, j, i = np.meshgrid(*(np.linspace(0.0, 3.0, n) for n in geometry.shape), indexing="ij")
        values = 100.0 * (np.sin(2 * i) + np.cos(j + k)) + 10.0 * random.normal(size=geometry.shape)
        return Volume((values - values.min()).astype(dtype), geometry)

    return make


@pytest.fixture
def make_points():
    """Makes points inside a grid, LPS mm, at least `margin` voxels from its outer voxel centers."""

    def make(geometry, count=200, margin=0.0, seed=0):
        index = np.random.default_rng(seed).uniform(margin, np.array(geometry.size) - 1 - margin, (count, 3))
        return geometry.to_world(index)

    return make


class Scene:
    """A body with texture that is defined at every point of space, so that it can be scanned on any grid.

    Args:
        extent_mm: Longest axis of the body.
        seed: Seed of the texture.
    """

    BLOBS = 160

    def __init__(self, extent_mm=110.0, seed=0):
        random = np.random.default_rng(seed)
        self.radii = extent_mm / 2 * np.array([0.9, 0.75, 1.0])
        self._centers = random.uniform(-1, 1, (self.BLOBS, 3)) * self.radii
        self._widths = extent_mm * random.uniform(0.03, 0.09, self.BLOBS)
        self._heights = random.uniform(-1, 1, self.BLOBS)

    def __call__(self, points):
        """(n, 3) LPS mm to (n,) intensities: 0 in the air, about 100 in the body."""
        points = np.asarray(points, np.float32)
        texture = np.zeros(len(points), np.float32)
        for center, width, height in zip(self._centers, self._widths, self._heights):
            distance = ((points - center.astype(np.float32)) ** 2).sum(axis=1)
            texture += np.float32(height) * np.exp(distance * np.float32(-0.5 / width**2))
        depth = 1 - np.linalg.norm(points / self.radii, axis=1)
        return (100 + 60 * texture) / (1 + np.exp(-np.clip(depth / 0.03, -50, 50)))

    def inside(self, points, depth=0.1):
        """Which (n, 3) points lie in the body, at least a share `depth` of its radius below its surface."""
        return np.linalg.norm(points / self.radii, axis=1) < 1 - depth

    def points(self, count=200, depth=0.15, seed=0):
        """(count, 3) LPS mm inside the body."""
        candidates = np.random.default_rng(seed).uniform(-1, 1, (40 * count, 3)) * self.radii
        return candidates[self.inside(candidates, depth)][:count]

    def scan(self, geometry, placed=lambda points: points, look=lambda values: values, noise=0.5, seed=0):
        """A scan of the scene on a grid.

        Args:
            geometry: The grid.
            placed: Maps (n, 3) points of the scan, LPS mm, to points of the scene.
            look: Maps intensities to those of another modality.
            noise: Standard deviation of the noise.
            seed: Seed of the noise.
        """
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        points = geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
        values = look(self(placed(points))).reshape(geometry.shape)
        values = values + noise * np.random.default_rng(seed).normal(size=geometry.shape)
        return Volume(values, geometry)


def centered(size, spacing, direction=None, center=(0.0, 0.0, 0.0)):
    """A grid whose center is at `center`, LPS mm."""
    direction = np.eye(3) if direction is None else direction
    corner = np.array(center) - (direction * spacing) @ (np.array(size) - 1) / 2
    return Geometry(size, spacing, tuple(corner), direction)


def motion(extent_mm=110.0, largest_mm=8.0, seed=1, count=6):
    """A smooth diffeomorphism with a known inverse (a `phantom.Flow`)."""
    random = np.random.default_rng(seed)
    centers = random.uniform(-0.35, 0.35, (count, 3)) * extent_mm
    widths = extent_mm * random.uniform(0.18, 0.28, count)
    flow = Flow(centers, widths, random.normal(size=(count, 3)))
    line = np.linspace(-0.5, 0.5, 15) * extent_mm
    points = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
    return flow.scaled(largest_mm / np.linalg.norm(flow.velocity(points), axis=1).max())


def stored_otherwise(volume, order=(2, 0, 1), flips=(0,)):
    """The same voxels at the same places, in another axis order and with reversed axes."""
    geometry, array = volume.geometry, volume.array
    corner = np.zeros(3)
    direction = geometry.direction.copy()
    for axis in flips:
        corner[axis] = geometry.size[axis] - 1
        array = np.flip(array, 2 - axis)
        direction[:, axis] *= -1
    array = np.transpose(array, [2 - order[2 - n] for n in range(3)])
    order = list(order)
    other = Geometry(
        tuple(np.array(geometry.size)[order]),
        tuple(np.array(geometry.spacing)[order]),
        tuple(geometry.to_world(corner)),
        direction[:, order],
    )
    return Volume(np.ascontiguousarray(array), other)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans of one scene and the true mapping between them (a callable, fixed points to moving points)."""

    fixed: Volume
    moving: Volume
    truth: Callable
    scene: Scene

    @property
    def points(self):
        """(200, 3) LPS mm inside the fixed body."""
        return self.scene.points()

    def error(self, transform):
        """(200,) mm: the error of a transform inside the body."""
        return np.linalg.norm(transform(self.points) - self.truth(self.points), axis=1)

    @property
    def start(self):
        """(200,) mm: the error of the headers alone, the identity."""
        return np.linalg.norm(self.points - self.truth(self.points), axis=1)


FIXED_GRID = centered((44, 38, 46), (2.8, 2.8, 2.8))
MOVING_GRID = centered((40, 36, 38), (3.0, 3.1, 3.4), rotation(0.1, -0.05, 0.15))
STRAIGHT_GRID = centered(MOVING_GRID.size, MOVING_GRID.spacing)


def make_scene_pair(fixed=FIXED_GRID, moving=STRAIGHT_GRID, flow=None, look=lambda values: values, scene=None):
    """A pair whose moving scan shows the scene deformed by `flow`."""
    scene = scene or Scene()
    flow = flow or motion()
    return Pair(scene.scan(fixed), scene.scan(moving, flow.inverse(), look, seed=1), flow, scene)


@pytest.fixture(scope="session")
def pair():
    """Two scans of one contrast, up to 8 mm apart, on grids of different voxels."""
    return make_scene_pair()


@pytest.fixture(scope="session")
def small_pair():
    """The same with an eighth of the voxels, for runs whose accuracy is not tested: they take a quarter of the time."""
    return make_scene_pair(centered((24, 22, 26), (5.0, 5.0, 5.0)), centered((22, 20, 22), (5.5, 5.5, 6.0)))


@pytest.fixture(scope="session")
def oblique_pair():
    """The same with a moving scan on an oblique grid."""
    return make_scene_pair(moving=MOVING_GRID)


@pytest.fixture(scope="session")
def two_contrasts():
    """The pair with a moving scan of inverted, nonlinear contrast."""
    return make_scene_pair(look=lambda values: 200 * np.exp(-values / 80) * (values > 20))


@pytest.fixture(scope="session")
def registered(pair):
    """The registration of the pair with the default settings."""
    return register(pair.fixed, pair.moving)


@pytest.fixture(scope="session")
def exact_signs(pair):
    """The signs of a scan that is registered to itself exactly in both directions, without further registrations."""
    prepared = [prepare(scan, mask=None, device=torch.device("cpu")) for scan in (pair.fixed, pair.fixed)]
    level = LinearLevel(*prepared, 100_000)
    zero = torch.zeros(3, *level.fixed_geometry.shape)
    image = resample(prepared[0].image, level.fixed_geometry).tensor
    ones = torch.ones_like(image)
    return Signs(level.fixed_geometry, level.weight, ones, image, image.clone(), zero, zero, zero, 0 * ones, 1.0)


LINEAR = np.eye(4)
LINEAR[:3, :3] = rotation(0.1, -0.2, 0.3) @ np.diag([1.1, 0.9, 1.0])
LINEAR[:3, 3] = (30.0, -20.0, 50.0)
"""Rotated, stretched and shifted, LPS mm."""


@pytest.fixture(params=["as it is", "in another order", "left-handed"])
def stored(request, grid, make_volume):
    """Each grid with its axes stored in three ways."""
    volume = make_volume(grid)
    if request.param == "in another order":
        volume = stored_otherwise(volume, (2, 0, 1), (0, 1))
    if request.param == "left-handed":
        volume = stored_otherwise(volume, (0, 1, 2), (2,))
    return volume.geometry


def working_field(geometry, make_field, amplitude=1.0):
    """A smooth u along the canonical axes, on a grid coarser than the scan's."""
    grid = canonical_geometry(geometry)
    coarse = Geometry(
        tuple(n // 2 + 1 for n in grid.size), tuple(2 * s for s in grid.spacing), grid.origin, grid.direction
    )
    u = make_field(coarse, amplitude).array
    return Image(torch.from_numpy(np.ascontiguousarray(u.transpose(3, 0, 1, 2))), coarse)
