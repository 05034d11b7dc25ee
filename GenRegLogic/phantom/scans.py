"""A synthetic pair of scans: a torso as CT, and the same torso as MR after a known deformation.

For demonstrations and tests: nothing has to be downloaded, no patient data are used, and the truth is exact. The
deformation is the flow of a smooth velocity field, so it is invertible and has no folds; its inverse is the flow of the
negative velocity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch

from ..space.field import DisplacementField, as_points, sample_transform
from ..space.geometry import Geometry
from ..space.volume import Volume
from .anatomy import Torso, paint_torso, smooth_noise

__all__ = ["Flow", "PhantomPair", "make_pair", "sampled_flow"]

MAX_DISPLACEMENT_MM = 25.0
FLOW_STEPS = 6
"""Fourth-order Runge-Kutta steps through the flow: the inverse consistency error is then below 0.001 mm."""

BREATH_CENTER_MM, BREATH_WIDTH_MM, BREATH_WEIGHT = (0.0, -10.0, -5.0), 62.0, 1.6
"""Center, width and weight of the current that lifts the diaphragm."""

BUMP_COUNT, BUMP_WIDTHS_MM = 10, (36.0, 60.0)
BUMP_REGION_MM = (120.0, 80.0, 160.0)
"""Number of further currents, the range of their widths, and half the box in which they lie."""

FIXED_SIZE, FIXED_SPACING_MM = (128, 104, 112), (2.8, 2.6, 3.2)
MOVING_SIZE, MOVING_SPACING_MM = (116, 124, 84), (3.1, 2.9, 3.2)
MOVING_TILT_DEGREES = 4.0
"""The MR is acquired in slightly oblique coronal slices, on a grid that is unrelated to that of the CT."""

CT_NOISE_HU, MR_NOISE, MR_BIAS = 16.0, 14.0, 0.22
"""Standard deviations of the noise, and of the logarithm of the MR's bias field."""

LANDMARK_COUNT, LANDMARK_SPACING_MM, LANDMARK_MARGIN_MM = 150, 16.0, 12.0
"""Largest number of landmarks, their least distance, and their least distance from the edge of a scan."""

PAINT_STEP_MM = 2.0
"""Voxel spacing of the painted torso."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A diffeomorphism: the flow of a sum of Gaussian currents over one unit of time.

    Attributes:
        centers: (n, 3) centers of the currents, LPS mm.
        widths: (n,) standard deviations, mm.
        velocities: (n, 3) mm per unit of time, LPS.
    """

    centers: np.ndarray
    widths: np.ndarray
    velocities: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Map (n, 3) points, LPS mm, by the flow."""
        points = as_points(points)
        step = 1.0 / FLOW_STEPS
        for _ in range(FLOW_STEPS):  # the classical fourth-order Runge-Kutta step
            k1 = self.velocity(points)
            k2 = self.velocity(points + step / 2 * k1)
            k3 = self.velocity(points + step / 2 * k2)
            k4 = self.velocity(points + step * k3)
            points = points + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return points

    def displacements(self, points: torch.Tensor) -> torch.Tensor:
        """Displacements (3, n), mm, of (3, n) points, LPS mm, as every `space.field.Transform` has them."""
        start = points.double().numpy().T
        return torch.from_numpy((self(start) - start).T).to(points.dtype)

    def inverse(self) -> Flow:
        """The inverse: the flow of the negative velocity."""
        return Flow(self.centers, self.widths, -self.velocities)

    def velocity(self, points: np.ndarray) -> np.ndarray:
        """Velocity (n, 3), mm per unit of time, at (n, 3) points, LPS mm."""
        total = np.zeros_like(points)
        for center, width, velocity in zip(self.centers, self.widths, self.velocities):
            total += np.exp(-((points - center) ** 2).sum(axis=1) / (2 * width**2))[:, None] * velocity
        return total

    def scaled(self, factor: float) -> Flow:
        """The flow of the velocity multiplied by `factor`."""
        return Flow(self.centers, self.widths, self.velocities * factor)


@dataclass(frozen=True, eq=False)
class PhantomPair:
    """Two scans and the true transform between them.

    Attributes:
        fixed: CT-like volume, HU.
        moving: MR-like volume, arbitrary units, on an oblique grid of its own.
        fixed_points: (n, 3) LPS mm, spread through the body, inside both scans.
        moving_points: The same anatomical points in the moving scan, exact to 0.01 mm.
        motion: The true transform, fixed -> moving, LPS mm.
    """

    fixed: Volume
    moving: Volume
    fixed_points: np.ndarray
    moving_points: np.ndarray
    motion: Flow


def make_pair(
    seed: int = 0,
    *,
    max_displacement_mm: float = MAX_DISPLACEMENT_MM,
    coarseness: float = 1.0,
    table: bool = False,
) -> PhantomPair:
    """Generate a CT-like scan of a torso and an MR-like scan of the same torso after a deformation.

    Args:
        seed: Seed of anatomical details, deformation, noise and landmarks; the same seed gives the same pair.
        max_displacement_mm: Upper limit of the displacement (the largest speed of the flow), which is nearly reached.
        coarseness: Factor on the voxel spacings of about 3 mm; 2 gives an eighth of the voxels, for quick tests.
        table: Whether the CT shows the scanner's table close to the back, which the MR does not have.

    Returns:
        The pair, 128 x 104 x 112 and 116 x 124 x 84 voxels at a coarseness of 1.
    """
    rng = np.random.default_rng(seed)
    torso = paint_torso(seed, step_mm=PAINT_STEP_MM * max(1.0, 0.75 * coarseness), table=table)
    motion = _make_motion(rng, torso, max_displacement_mm)
    fixed_grid = _centered_grid(FIXED_SIZE, FIXED_SPACING_MM, np.eye(3), coarseness)
    moving_grid = _centered_grid(MOVING_SIZE, MOVING_SPACING_MM, _coronal_axes(MOVING_TILT_DEGREES), coarseness)
    fixed = _ct_scan(torso.ct, fixed_grid, rng)
    moving = _mr_scan(torso.mr, moving_grid, motion.inverse(), rng)
    fixed_points = _pick_landmarks(torso, motion, (fixed_grid, moving_grid), rng)
    return PhantomPair(fixed, moving, fixed_points, motion(fixed_points), motion)


def _make_motion(rng: np.random.Generator, torso: Torso, max_displacement_mm: float) -> Flow:
    """A breath that lifts the diaphragm, and random currents all over the torso."""
    centers = np.vstack([BREATH_CENTER_MM, rng.uniform(-1, 1, (BUMP_COUNT, 3)) * BUMP_REGION_MM])
    widths = np.append(BREATH_WIDTH_MM, rng.uniform(*BUMP_WIDTHS_MM, BUMP_COUNT))
    velocities = np.vstack([(0.0, -0.2, BREATH_WEIGHT), rng.normal(0.0, 0.8, (BUMP_COUNT, 3))])
    flow = Flow(centers, widths, velocities)
    body = torso.body.geometry.to_world(np.argwhere(torso.body.array[::6, ::6, ::6])[:, ::-1] * 6)
    fastest = np.linalg.norm(flow.velocity(body), axis=1).max()
    return flow.scaled(max_displacement_mm / fastest)


def _ct_scan(ct: Volume, grid: Geometry, rng: np.random.Generator) -> Volume:
    array = _resample(ct, grid, sitk.Transform(3, sitk.sitkIdentity))
    array += CT_NOISE_HU * smooth_noise(array.shape, 0.7, rng)  # the noise of a reconstruction kernel is not white
    return Volume(np.clip(np.rint(array), -1024, 3071).astype(np.int16), grid)


def _mr_scan(mr: Volume, grid: Geometry, motion: Flow, rng: np.random.Generator) -> Volume:
    array = _resample(mr, grid, sampled_flow(motion, grid).to_sitk())
    array *= np.exp(MR_BIAS * np.clip(smooth_noise(array.shape, 24 / grid.spacing[0] * 3, rng), -2, 2))
    real = array + MR_NOISE * rng.standard_normal(array.shape, np.float32)
    imaginary = MR_NOISE * rng.standard_normal(array.shape, np.float32)
    return Volume(np.rint(np.hypot(real, imaginary)).astype(np.uint16), grid)  # a magnitude image: Rician noise


def _resample(volume: Volume, grid: Geometry, transform: sitk.Transform) -> np.ndarray:
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    grid.copy_to(reference)
    image = sitk.Resample(volume.to_sitk(), reference, transform, sitk.sitkLinear, float(volume.array.min()))
    return sitk.GetArrayFromImage(image)


def sampled_flow(motion: Flow, grid: Geometry) -> DisplacementField:
    """The displacement field of a flow on a grid.

    The flow is evaluated at every other voxel and interpolated by cubic splines, which is accurate because it is far
    smoother than the grid.
    """
    coarse_size = tuple(-(-n // 2) + 4 for n in grid.size)
    coarse = Geometry(coarse_size, tuple(2 * s for s in grid.spacing), grid.to_world((-3, -3, -3)), grid.direction)
    shifts = sample_transform(motion, coarse).array
    reference = sitk.Image(grid.size, sitk.sitkUInt8)
    grid.copy_to(reference)
    parts = []
    for axis in range(3):
        component = Volume(np.ascontiguousarray(shifts[..., axis]), coarse).to_sitk()
        fine = sitk.Resample(component, reference, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkBSpline3, 0.0)
        parts.append(sitk.GetArrayFromImage(fine))
    return DisplacementField(np.stack(parts, axis=-1), grid)


def _pick_landmarks(torso: Torso, motion: Flow, grids, rng: np.random.Generator) -> np.ndarray:
    """Random points of the body with a distance from each other, well inside both scans."""
    grid = torso.body.geometry
    inner = sitk.GetArrayFromImage(sitk.BinaryErode(torso.body.to_sitk(), [round(8 / grid.spacing[0])] * 3))
    voxels = np.argwhere(inner)[:, ::-1]
    chosen = np.empty((0, 3))
    for candidate in grid.to_world(rng.permutation(voxels)[:20_000]):
        pair = np.stack([candidate, motion(candidate)[0]])
        visible = all(_well_inside(point, geometry) for point, geometry in zip(pair, grids))
        apart = not len(chosen) or np.linalg.norm(chosen - candidate, axis=1).min() > LANDMARK_SPACING_MM
        if visible and apart:
            chosen = np.vstack([chosen, candidate])
            if len(chosen) == LANDMARK_COUNT:
                break
    return chosen


def _well_inside(point: np.ndarray, grid: Geometry) -> bool:
    index = grid.to_index(point)
    margin = LANDMARK_MARGIN_MM / np.array(grid.spacing)
    return bool(((index > margin) & (index < np.array(grid.size) - 1 - margin)).all())


def _centered_grid(size, spacing, direction: np.ndarray, coarseness: float) -> Geometry:
    """A grid centered at the LPS origin."""
    size = np.maximum(np.rint(np.array(size) / coarseness).astype(int), 2)
    spacing = np.array(spacing) * coarseness
    return Geometry(tuple(size), tuple(spacing), tuple(-(direction * spacing) @ (size - 1) / 2), direction)


def _coronal_axes(tilt_degrees: float) -> np.ndarray:
    """Axes i to the left, j to the feet, k to the back, rotated about i; columns in LPS."""
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    c, s = np.cos(np.radians(tilt_degrees)), np.sin(np.radians(tilt_degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]) @ axes
