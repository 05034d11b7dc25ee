"""Scans for the runs that measure trust: real ones, deformed by a known field, damaged, or brought into a wrong place.

Key functions: `part_of_scan` and `coarse_scan` (a real scan in a workable size), `synthetic_pair` (a scan and itself
after a known deformation and a change of appearance), `mirrored`, `shuffled`, `placed`, `end_of`.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from GenRegLogic.phantom.scans import Flow
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import canonical_image, grid_over, resample
from GenRegLogic.space.volume import Volume

PART_TRIES, FULL_PART = 30, 0.75
"""Boxes that are tried, and the share of bright voxels with which one is full enough."""


def coarse_scan(path: Path, voxels: int) -> Volume:
    """A scan resampled with smoothing to an isotropic grid of about `voxels` voxels along its canonical axes."""
    image = canonical_image(Volume.from_file(path), torch.device("cpu"))
    geometry = image.geometry
    extent = (np.array(geometry.size) - 1) * geometry.spacing
    spacing = max(float(np.prod(extent) / voxels) ** (1 / 3), geometry.mean_spacing)
    grid = grid_over(geometry, (spacing,) * 3)
    return Volume(resample(image, grid).tensor.numpy(), grid)


def part_of_scan(path: Path, voxels: int, random: np.random.Generator) -> Volume:
    """A box of at most `voxels` voxels of a scan, at its own resolution, where much of it is bright."""
    image = canonical_image(Volume.from_file(path), torch.device("cpu"))
    values, geometry = image.tensor, image.geometry
    if values.numel() <= voxels:
        return Volume(values.numpy(), geometry)
    share = (voxels / values.numel()) ** (1 / 3)
    size = np.maximum((np.array(geometry.size) * share).astype(int), np.minimum(geometry.size, 24))
    bright = values > torch.quantile(values.reshape(-1)[:: max(1, values.numel() // 100_000)], 0.5)
    best, first = -1.0, np.zeros(3, int)
    for _ in range(PART_TRIES):
        low = [int(random.integers(0, n - s + 1)) for n, s in zip(geometry.size, size)]
        box = tuple(slice(low[axis], low[axis] + size[axis], 4) for axis in (2, 1, 0))
        if (found := float(bright[box].float().mean())) > best:
            best, first = found, np.array(low)
        if best > FULL_PART:
            break
    box = tuple(slice(first[axis], first[axis] + size[axis]) for axis in (2, 1, 0))
    return _cut(Volume(values.numpy(), geometry), box)


def _cut(scan: Volume, box: tuple[slice, ...]) -> Volume:
    """The voxels in a box, (k, j, i) slices, where they lie."""
    first = np.array([part.indices(n)[0] for part, n in zip(box, scan.array.shape)][::-1], float)
    array = np.ascontiguousarray(scan.array[box])
    origin = tuple(float(v) for v in scan.geometry.to_world(first[None])[0])
    return Volume(array, dataclasses.replace(scan.geometry, size=array.shape[::-1], origin=origin))


def end_of(scan: Volume, share: float, *, first: bool) -> Volume:
    """The first or the last share of a scan along its longest axis."""
    axis = int(np.argmax(scan.geometry.extent_mm))
    n = scan.geometry.size[axis]
    kept = int(n * share)
    box = [slice(None)] * 3
    box[2 - axis] = slice(0, kept) if first else slice(n - kept, n)
    return _cut(scan, tuple(box))


def mirrored(scan: Volume, axis: str) -> Volume:
    """The voxels mirrored along an axis of the grid, with an unchanged geometry."""
    return Volume(np.ascontiguousarray(np.flip(scan.array, 2 - "xyz".index(axis))), scan.geometry)


def placed(scan: Volume, axis: np.ndarray, degrees: float) -> Volume:
    """The scan with a geometry rotated about its center."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    grid = scan.geometry
    origin = turn @ (np.array(grid.origin) - grid.center) + grid.center
    moved = dataclasses.replace(grid, origin=tuple(float(v) for v in origin), direction=turn @ grid.direction)
    return Volume(scan.array, moved)


def shuffled(scan: Volume, block: int) -> Volume:
    """The scan with its cubic blocks of `block` voxels along each edge in random order."""
    count = [n // block for n in scan.array.shape]
    part = scan.array[tuple(slice(n * block) for n in count)]
    blocks = part.reshape(count[0], block, count[1], block, count[2], block).transpose(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(-1, block, block, block)[np.random.default_rng(1).permutation(int(np.prod(count)))]
    array = blocks.reshape(*count, block, block, block).transpose(0, 3, 1, 4, 2, 5).reshape(part.shape)
    return Volume(np.ascontiguousarray(array), dataclasses.replace(scan.geometry, size=part.shape[::-1]))


def scaled_like(scan: Volume, other: Volume, most: float = 3.0) -> Volume:
    """The scan, enlarged or reduced to the other one's size where their sizes differ by more than `most` times."""
    factor = float(other.geometry.extent_mm.max() / scan.geometry.extent_mm.max())
    if 1 / most <= factor <= most:
        return scan
    grid = scan.geometry
    spacing, origin = (tuple(float(factor * v) for v in values) for values in (grid.spacing, grid.origin))
    return Volume(scan.array, dataclasses.replace(grid, spacing=spacing, origin=origin))


@dataclasses.dataclass(frozen=True, eq=False)
class KnownMotion:
    """A flow followed by a rigid motion: fixed points to moving points, (n, 3) LPS mm."""

    flow: Flow
    turn: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.flow(points) @ self.turn.T + self.shift


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """How a synthetic pair differs from its scan.

    Attributes:
        motion: Largest displacement of the flow, as a fraction of the scan's shortest edge.
        fine: Fraction of the flow's components with a small width.
        turn: Largest rotation about each axis, radians.
        look: "same", "bent" (gamma and bias), "inverted" or "mixed" (bright and dark tissues both dark).
        noise: Standard deviation as a fraction of the intensity range.
        lesions: Number of lesions that are only in the moving scan.
        cut: Fraction of the moving scan that is cropped at one end.
        iterations: Iterations of the registration.
    """

    motion: float
    fine: float
    turn: float
    look: str
    noise: float
    lesions: int
    cut: float
    iterations: int


def draw_difficulty(random: np.random.Generator) -> Difficulty:
    """A random difficulty, from easy to infeasible; most draws are realistic."""
    return Difficulty(
        motion=float(random.uniform(0.02, 0.12)),
        fine=float(random.choice([0.3, 0.6])),
        turn=float(random.uniform(0, 0.12)),
        look=str(random.choice(["same", "bent", "inverted", "mixed"])),
        noise=float(random.choice([0.01, 0.03, 0.08])),
        lesions=int(random.choice([0, 0, 3])),
        cut=float(random.choice([0, 0, 0.2])),
        iterations=int(random.choice([40, 40, 40, 10, 0])),
    )


def synthetic_pair(scan: Volume, difficulty: Difficulty, random: np.random.Generator):
    """A scan with a little noise, and the same scan after a known deformation and a change of appearance.

    Returns:
        The fixed and the moving volume, and the `KnownMotion` from fixed to moving points.
    """
    geometry = scan.geometry
    flow = _draw_flow(geometry, difficulty, random)
    low, high = np.percentile(scan.array, [1, 99.5])
    values = np.clip((scan.array - low) / max(high - low, 1e-9), 0, 1.2).astype(np.float32)
    body = values > 0.05
    moved = _warped(Volume(values, geometry), flow.inverse())
    moved = _other_look(moved, difficulty, random)
    moved += difficulty.noise * random.standard_normal(moved.shape).astype(np.float32)
    fixed = values + 0.01 * random.standard_normal(values.shape).astype(np.float32)
    turn, shift = _rigid(difficulty, geometry, random)
    cut = round(difficulty.cut * geometry.shape[0])
    first = cut if random.random() < 0.5 else 0
    part = slice(first, geometry.shape[0] - (cut - first))
    origin = turn @ geometry.to_world((0, 0, part.start)) + shift
    moving_grid = Geometry(
        geometry.size[:2] + (moved[part].shape[0],), geometry.spacing, tuple(origin), turn @ geometry.direction
    )
    assert body.any()
    return (
        Volume(fixed, geometry),
        Volume(np.ascontiguousarray(moved[part]), moving_grid),
        KnownMotion(flow, turn, shift),
    )


def _draw_flow(geometry: Geometry, difficulty: Difficulty, random: np.random.Generator) -> Flow:
    edge = float(geometry.extent_mm.min())
    count = 14
    small = random.random(count) < difficulty.fine
    widths = edge * np.where(small, random.uniform(0.05, 0.09, count), random.uniform(0.14, 0.28, count))
    centers = geometry.to_world(random.uniform(0.15, 0.85, (count, 3)) * (np.array(geometry.size) - 1))
    speeds = random.normal(size=(count, 3)) * np.where(small, 0.4, 1.0)[:, None]
    flow = Flow(centers, widths, speeds)
    fastest = np.linalg.norm(flow.velocity(_coarse_points(geometry)), axis=1).max()
    return flow.scaled(difficulty.motion * edge / fastest)


def _coarse_points(geometry: Geometry, per_axis: int = 14) -> np.ndarray:
    lines = [np.linspace(0, n - 1, per_axis) for n in geometry.size]
    return geometry.to_world(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3))


def _warped(scan: Volume, motion: Flow) -> np.ndarray:
    """The scan resampled by a motion on its own grid; the motion is evaluated on a coarser grid."""
    geometry = scan.geometry
    coarse = Geometry(
        tuple(-(-n // 2) + 2 for n in geometry.size),
        tuple(2 * s for s in geometry.spacing),
        geometry.origin,
        geometry.direction,
    )
    k, j, i = np.meshgrid(*(np.arange(n) for n in coarse.shape), indexing="ij")
    points = coarse.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    field = DisplacementField((motion(points) - points).reshape(*coarse.shape, 3), coarse)
    image = scan.to_sitk()
    out = sitk.Resample(image, image, field.to_sitk(), sitk.sitkBSpline, float(scan.array.min()), sitk.sitkFloat32)
    return sitk.GetArrayFromImage(out)


def _other_look(values: np.ndarray, difficulty: Difficulty, random: np.random.Generator) -> np.ndarray:
    values = values.clip(0, 1.2)
    tissue = 1 / (1 + np.exp(-(values - 0.08) / 0.02))
    if difficulty.look == "bent":
        values = values ** random.uniform(0.6, 1.6)
    elif difficulty.look == "inverted":
        values = (1.2 - values) * tissue
    elif difficulty.look == "mixed":
        values = (1 - 2 * np.abs(values - random.uniform(0.35, 0.6))).clip(0) * tissue
    lines = [np.linspace(-1, 1, n) for n in values.shape]
    if difficulty.look != "same":
        slopes = random.uniform(-0.25, 0.25, 3)
        bias = slopes[0] * lines[0][:, None, None] + slopes[1] * lines[1][:, None] + slopes[2] * lines[2]
        values = values * np.exp(bias)
    inside = np.argwhere(values > 0.1)
    for center in inside[random.integers(0, len(inside), difficulty.lesions)]:
        radius = random.uniform(0.04, 0.09) * min(values.shape)
        square = sum(
            (np.arange(n) - c).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2.0
            for axis, (n, c) in enumerate(zip(values.shape, center))
        )
        share = 1 / (1 + np.exp((np.sqrt(square) - radius) / 1.0))
        values = values * (1 - share) + random.uniform(0, 1) * share
    return values.astype(np.float32)


def _rigid(difficulty: Difficulty, geometry: Geometry, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    turn = np.eye(3)
    for axis in range(3):
        angle = random.uniform(-1, 1) * difficulty.turn
        a, b = [n for n in range(3) if n != axis]
        about = np.eye(3)
        about[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ about
    shift = geometry.center - turn @ geometry.center + random.uniform(-0.05, 0.05, 3) * geometry.extent_mm
    return turn, shift
