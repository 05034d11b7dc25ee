"""The anatomy of the phantom: a torso composed of simple shapes, with the intensities of CT and of MR.

Every shape is a signed distance (mm, negative inside) that is painted over the previous ones with a soft edge of one
grid step, so that thin structures (ribs, vessels, fissures) keep their partial volume. Coordinates are LPS, mm, with
the origin in the center of the torso: x to the left, y to the back, z to the head. The proportions are those of an
adult; nothing was measured on a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..space.geometry import Geometry
from ..space.volume import Volume

__all__ = ["Torso", "paint_torso", "smooth_noise"]

HALF_EXTENT_MM = (190.0, 142.0, 228.0)
"""Half the size of the painted box. It is larger than the scans, so that a deformed scan has tissue beyond its edge."""

FINE_TEXTURE_MM, COARSE_TEXTURE_MM = 4.0, 12.0
"""Standard deviations of the smoothing of the two textures."""


class Tissue(NamedTuple):
    """Intensities of a tissue: CT in HU, MR in arbitrary units (a T2-weighted scan without fat suppression)."""

    ct: float
    mr: float


AIR = Tissue(-1000, 8)
LUNG = Tissue(-850, 55)
FISSURE = Tissue(-450, 190)
FAT = Tissue(-105, 620)
SKIN = Tissue(20, 330)
MUSCLE = Tissue(55, 170)
VISCERA = Tissue(-40, 420)
LIVER = Tissue(110, 280)
SPLEEN = Tissue(125, 500)
CORTEX_OF_KIDNEY = Tissue(190, 480)
PELVIS_OF_KIDNEY = Tissue(60, 820)
MYOCARDIUM = Tissue(95, 240)
BLOOD = Tissue(175, 70)  # contrast agent in CT, flow void in MR
FLUID = Tissue(12, 900)
GAS = Tissue(-930, 12)
CORTICAL_BONE = Tissue(780, 40)
MARROW = Tissue(230, 430)
DISC = Tissue(95, 640)
CEREBROSPINAL_FLUID = Tissue(8, 930)
CORD = Tissue(38, 360)
TABLE = Tissue(-350, 8)

RIB_LEVELS_MM = tuple(150.0 - 31.0 * n for n in range(9))
VERTEBRA_PITCH_MM, VERTEBRA_HEIGHT_MM, VERTEBRA_RADIUS_MM = 31.0, 24.0, 20.0
SPINE_Y_MM = 58.0


@dataclass(frozen=True, eq=False)
class Torso:
    """The painted torso.

    Attributes:
        ct: The anatomy as CT, float32 HU.
        mr: The same anatomy as MR, float32, arbitrary units, on the same grid.
        body: uint8, 1 inside the body.
    """

    ct: Volume
    mr: Volume
    body: Volume


class _Canvas:
    """Two images that are painted together, on one axis-aligned grid around the origin."""

    def __init__(self, step_mm: float) -> None:
        half = np.ceil(np.array(HALF_EXTENT_MM) / step_mm).astype(int)
        self.step = step_mm
        self.geometry = Geometry(tuple(2 * half + 1), (step_mm,) * 3, tuple(-half * step_mm))
        self.axes = [(np.arange(2 * n + 1, dtype=np.float32) - n) * np.float32(step_mm) for n in half]
        self.ct = np.full(self.geometry.shape, AIR.ct, np.float32)
        self.mr = np.full(self.geometry.shape, AIR.mr, np.float32)

    def box(self, low, high) -> tuple[tuple[slice, ...], tuple[np.ndarray, ...]]:
        """Array slices (k, j, i) of a box given in mm, one step larger, and its x, y, z (broadcastable)."""
        slices = []
        for axis, bottom, top in zip(self.axes, low, high):
            start, stop = np.searchsorted(axis, (bottom - self.step, top + self.step))
            slices.append(slice(int(start), max(int(stop), int(start))))
        x, y, z = (axis[part] for axis, part in zip(self.axes, slices))
        return tuple(slices[::-1]), (x[None, None, :], y[None, :, None], z[:, None, None])

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Share of each voxel inside a surface, from the signed distance of its center."""
        return np.clip(0.5 - distance / self.step, 0.0, 1.0)

    def paint(self, where, cover: np.ndarray, tissue: Tissue, *, in_mr: bool = True) -> None:
        """Paint a tissue over the part `where` (slices), with the opacity `cover` (0 to 1)."""
        self.ct[where] += cover * (tissue.ct - self.ct[where])
        if in_mr:
            self.mr[where] += cover * (tissue.mr - self.mr[where])

    def ellipsoid(self, center, radii, tissue: Tissue, *, within=None) -> None:
        """Paint an ellipsoid, cut off where the signed distance `within(x, y, z)` is positive."""
        center, radii = np.array(center), np.array(radii)
        where, (x, y, z) = self.box(center - radii, center + radii)
        distance = _ellipsoid(x, y, z, center, radii)
        if within is not None:
            distance = np.maximum(distance, within(x, y, z))
        self.paint(where, self.cover(distance), tissue)

    def tube(self, points, radii, tissue: Tissue) -> None:
        """Paint a tube through (n, 3) points with n radii, round at the joints."""
        points, radii = np.asarray(points, np.float32), np.asarray(radii, np.float32)
        for a, b, radius_a, radius_b in zip(points[:-1], points[1:], radii[:-1], radii[1:]):
            widest = max(radius_a, radius_b)
            where, (x, y, z) = self.box(np.minimum(a, b) - widest, np.maximum(a, b) + widest)
            along = b - a
            share = ((x - a[0]) * along[0] + (y - a[1]) * along[1] + (z - a[2]) * along[2]) / max(along @ along, 1e-6)
            share = np.clip(share, 0.0, 1.0)
            squared = sum((c - a[n] - share * along[n]) ** 2 for n, c in enumerate((x, y, z)))
            distance = np.sqrt(squared) - (radius_a + share * (radius_b - radius_a))
            self.paint(where, self.cover(distance), tissue)


def paint_torso(seed: int = 0, *, step_mm: float = 2.0, table: bool = False) -> Torso:
    """Paint the torso.

    Args:
        seed: Seed of the vessel trees, the bowel and the texture; the organs are always the same.
        step_mm: Voxel spacing of the grid.
        table: Whether the CT shows the scanner's table close to the back; the MR never does.

    Returns:
        CT, MR and body mask on one grid centered at the LPS origin, 0.4 x 0.3 x 0.5 m.
    """
    rng = np.random.default_rng(seed)
    canvas = _Canvas(step_mm)
    body = _paint_wall(canvas)
    _paint_chest(canvas, rng)
    _paint_abdomen(canvas, rng)
    _paint_great_vessels(canvas)
    _paint_spine(canvas)
    _paint_ribs(canvas)
    _add_texture(canvas, body, rng)
    if table:
        where, (_x, y, _z) = canvas.box((-185, 112, -np.inf), (185, 122, np.inf))
        canvas.paint(where, canvas.cover(np.abs(y - 117) - 4) * ~body[where], TABLE, in_mr=False)
    return Torso(
        Volume(canvas.ct, canvas.geometry),
        Volume(canvas.mr, canvas.geometry),
        Volume(body.astype(np.uint8), canvas.geometry),
    )


def smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, smoothed with a standard deviation of `sigma` voxels and scaled to unit variance.

    It is computed on a coarser grid where sigma is large enough.

    Args:
        shape: (k, j, i).
        sigma: Standard deviation of the smoothing, voxels.
        rng: Source of the random numbers.

    Returns:
        float32 array of this shape, zero mean.
    """
    factor = max(1, int(sigma // 2))
    margin = 2  # coarse voxels on either side, so that interpolation never reaches beyond the edge
    coarse = tuple(-(-n // factor) + 2 * margin for n in shape)
    image = sitk.GetImageFromArray(rng.standard_normal(coarse).astype(np.float32))
    image = sitk.SmoothingRecursiveGaussian(image, sigma / factor)
    reference = sitk.Image(shape[::-1], sitk.sitkFloat32)
    reference.SetSpacing([1.0 / factor] * 3)
    reference.SetOrigin([float(margin)] * 3)
    image = sitk.Resample(image, reference, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkLinear)
    noise = sitk.GetArrayFromImage(image)
    return (noise - noise.mean()) / noise.std()


def _ellipsoid(x, y, z, center, radii):
    """Signed distance to an ellipsoid, exact on the surface and accurate enough near it for a soft edge."""
    scaled = [((c - m) / r).astype(np.float32) for c, m, r in zip((x, y, z), center, radii)]
    norm = np.sqrt(sum(s * s for s in scaled)) + np.float32(1e-6)
    slope = np.sqrt(sum((s / np.float32(r)) ** 2 for s, r in zip(scaled, radii))) + np.float32(1e-6)
    return norm * (norm - 1) / slope


def _wall(x, y, z, inset: float):
    """Signed distance to the body's surface moved inward by `inset`: an oval that is narrower at the waist."""
    waist = 1.0 - 0.09 * np.exp(-(((z + 60) / 70) ** 2)) - 0.10 * np.clip((z - 130) / 100, 0, 1)
    a, b = 163.0 * waist - inset, 104.0 * waist - inset
    norm = (np.abs(x / a) ** 2.4 + np.abs(y / b) ** 2.4) ** (1 / 2.4)
    return (norm - 1) * np.minimum(a, b)


def _dome(x, y):
    """Height z, mm, of the diaphragm: two domes, the right one higher, falling off to the back."""
    right = 26.0 * np.exp(-(((x + 70) / 55) ** 2) - ((y + 10) / 75) ** 2)
    left = 16.0 * np.exp(-(((x - 70) / 55) ** 2) - ((y + 10) / 75) ** 2)
    return -22.0 + right + left - 0.25 * np.clip(y, 0, None)


def _above_dome(x, y, z):
    """Signed distance to the chest, negative above the diaphragm."""
    return _dome(x, y) - z


def _below_dome(x, y, z):
    """Signed distance to the abdomen, negative below the diaphragm, which is 3 mm thick."""
    return z - _dome(x, y) + 3.0


def _paint_wall(canvas: _Canvas) -> np.ndarray:
    where, (x, y, z) = canvas.box([-np.inf] * 3, [np.inf] * 3)
    outer = _wall(x, y, z, 0.0)
    for inset, tissue in ((0.0, SKIN), (3.0, FAT), (15.0, MUSCLE), (26.0, VISCERA)):
        canvas.paint(where, canvas.cover(_wall(x, y, z, inset)), tissue)
    for side in (-1, 1):  # the muscles along the spine
        canvas.tube([(side * 32, 76, -228), (side * 30, 74, 228)], [19, 15], MUSCLE)
    return outer < 0


def _paint_chest(canvas: _Canvas, rng: np.random.Generator) -> None:
    for side in (-1, 1):
        center, radii = (side * 74, -2, 62), (58, 74, 128)
        canvas.ellipsoid(center, radii, LUNG, within=_above_dome)

        # Fissures: sheets far thinner than a voxel, visible by their partial volume only.
        def inside(x, y, z, center=center, radii=radii):
            return np.maximum(_ellipsoid(x, y, z, center, np.array(radii) - 2.0), _above_dome(x, y, z) + 2.0)

        where, (x, y, z) = canvas.box(np.array(center) - radii, np.array(center) + radii)
        oblique = np.abs((z - 45) * 0.77 - (y + 5) * 0.64 + 4 * np.sin(x / 18)) - 0.6
        canvas.paint(where, canvas.cover(np.maximum(oblique, inside(x, y, z))), FISSURE)
        for target in rng.uniform((46, -44, -13), (74, 56, 147), (11, 3)):
            _tree(canvas, (side * 26, 6, 62), target * (side, 1, 1), 4.6, BLOOD, rng, within=inside)
    canvas.ellipsoid((4, -2, 95), (32, 52, 120), VISCERA)  # mediastinum
    canvas.ellipsoid((22, -28, 32), (50, 42, 48), MYOCARDIUM)
    canvas.ellipsoid((38, -30, 26), (22, 24, 32), BLOOD)
    canvas.ellipsoid((-4, -34, 34), (17, 24, 32), BLOOD)
    canvas.tube([(-2, 22, 228), (-2, 26, 80)], [9, 8], GAS)  # trachea
    for side in (-1, 1):
        canvas.tube([(-2, 26, 82), (side * 34, 16, 56)], [7, 4.5], GAS)


def _paint_abdomen(canvas: _Canvas, rng: np.random.Generator) -> None:
    liver = (-58, -14, -34), (84, 66, 66)
    canvas.ellipsoid(*liver, LIVER, within=_below_dome)

    def in_liver(x, y, z):
        return np.maximum(_ellipsoid(x, y, z, liver[0], np.array(liver[1]) - 4.0), _below_dome(x, y, z) + 4.0)

    for target in rng.uniform((-117, -50, -78), (-45, 26, 2), (9, 3)):
        _tree(canvas, (-22, 12, -42), target, 5.0, BLOOD, rng, within=in_liver)
    canvas.ellipsoid((-52, -52, -78), (15, 17, 22), FLUID)  # gallbladder
    canvas.ellipsoid((72, -22, -38), (40, 36, 46), MUSCLE, within=_below_dome)  # stomach: wall, fluid, a gas bubble
    canvas.ellipsoid((72, -22, -38), (36, 32, 42), FLUID, within=_below_dome)
    canvas.ellipsoid((70, -34, -32), (24, 15, 22), GAS, within=_below_dome)
    canvas.ellipsoid((98, 38, -45), (24, 34, 42), SPLEEN, within=_below_dome)
    canvas.tube([(60, 20, -62), (20, 4, -72), (-30, 0, -88)], [11, 12, 14], SPLEEN)  # pancreas
    for side in (-1, 1):
        center = np.array([side * 64, 40, -112 + 5 * side])
        canvas.ellipsoid(center, (27, 24, 50), CORTEX_OF_KIDNEY)
        canvas.ellipsoid(center - (side * 8, 0, 0), (14, 11, 30), PELVIS_OF_KIDNEY)
        canvas.tube([center - (side * 16, 0, 4), (side * 38, 42, -190), (side * 34, 38, -228)], [3, 2.5, 2.5], FLUID)
    for _ in range(14):  # loops of bowel
        start = rng.uniform((-85, -58, -215), (85, 5, -115))
        path = start + np.cumsum(rng.uniform(-26, 26, (9, 3)), axis=0)
        path = np.clip(path, (-100, -62, -226), (100, 10, -102))
        canvas.tube(path, np.full(9, 12.0), MUSCLE)
        canvas.tube(path, np.full(9, 8.5), FLUID if rng.random() < 0.5 else GAS)


def _paint_great_vessels(canvas: _Canvas) -> None:
    canvas.tube([(14, 30, -228), (14, 30, 70), (12, 14, 104), (4, -14, 108), (0, -22, 70)], [10, 12, 13, 14, 15], BLOOD)
    canvas.tube([(-20, 28, -228), (-22, 22, -30), (-14, -8, 12)], [11, 12, 12], BLOOD)
    canvas.tube([(-20, -10, 40), (-18, -4, 130), (-30, 0, 228)], [10, 9, 8], BLOOD)
    for side in (-1, 1):
        canvas.tube([(14 * (side > 0) - 20 * (side < 0), 28, -116), (side * 50, 36, -112)], [4, 3], BLOOD)
        canvas.tube([(4, -10, 84), (side * 28, 6, 62)], [12, 7], BLOOD)


def _paint_spine(canvas: _Canvas) -> None:
    count = int(HALF_EXTENT_MM[2] // VERTEBRA_PITCH_MM)
    canvas.tube([(0, SPINE_Y_MM, -228), (0, SPINE_Y_MM, 228)], [VERTEBRA_RADIUS_MM - 2] * 2, DISC)
    canvas.tube([(0, SPINE_Y_MM + 30, -228), (0, SPINE_Y_MM + 30, 228)], [9, 9], CEREBROSPINAL_FLUID)
    canvas.tube([(0, SPINE_Y_MM + 30, -150), (0, SPINE_Y_MM + 30, 228)], [4, 5], CORD)
    for level in range(-count, count + 1):
        z0 = level * VERTEBRA_PITCH_MM
        size = np.array([VERTEBRA_RADIUS_MM, VERTEBRA_RADIUS_MM, VERTEBRA_HEIGHT_MM / 2])
        where, (x, y, z) = canvas.box((-22, SPINE_Y_MM - 22, z0 - size[2]), (22, SPINE_Y_MM + 22, z0 + size[2]))
        radius = np.hypot(x, y - SPINE_Y_MM)
        for inset, tissue in ((0.0, CORTICAL_BONE), (3.0, MARROW)):
            distance = np.maximum(radius - (VERTEBRA_RADIUS_MM - inset), np.abs(z - z0) - (size[2] - inset))
            canvas.paint(where, canvas.cover(distance), tissue)
        back = SPINE_Y_MM + 41
        for side in (-1, 1):
            pedicle = [(side * 14, SPINE_Y_MM + 16, z0 + 4), (side * 14, SPINE_Y_MM + 30, z0 + 2), (0, back, z0 - 2)]
            canvas.tube(pedicle, [4.5, 4.5, 5], CORTICAL_BONE)
            process = [(side * 14, SPINE_Y_MM + 28, z0 + 2), (side * 36, SPINE_Y_MM + 34, z0 + 4)]
            canvas.tube(process, [4.5, 3.5], CORTICAL_BONE)
        canvas.tube([(0, back, z0 - 2), (0, 92, z0 - 10)], [4.5, 3.5], CORTICAL_BONE)


def _paint_ribs(canvas: _Canvas) -> None:
    angles = np.radians(np.linspace(78, -62, 22))  # from the spine round the side to the front
    for level, z0 in enumerate(RIB_LEVELS_MM):
        reach = angles[: 22 - max(0, level - 5) * 3]  # the lowest ribs end at the side
        for side in (-1, 1):
            forward = (1 - np.sin(reach)) / 2
            points = np.stack([side * 140 * np.cos(reach), 84 * np.sin(reach), z0 - 46 * forward], axis=1)
            canvas.tube(points, np.full(len(points), 5.0), CORTICAL_BONE)
            canvas.tube(points, np.full(len(points), 2.6), MARROW)
    canvas.tube([(0, -80, 140), (0, -80, 20)], [9, 7], CORTICAL_BONE)  # sternum
    canvas.tube([(0, -80, 138), (0, -80, 24)], [6, 4.5], MARROW)


def _tree(canvas: _Canvas, start, end, radius: float, tissue: Tissue, rng: np.random.Generator, *, within) -> None:
    """Paint a vessel with ever finer branches; each ends where the signed distance `within` becomes positive."""
    for points, radii in _branches(np.asarray(start, float), np.asarray(end, float), radius, rng):
        distances = [float(within(*point)) for point in points]
        inside = next((n for n, distance in enumerate(distances) if distance > 0 and n > 1), len(points))
        if inside > 1:
            canvas.tube(points[:inside], radii[:inside], tissue)


def _branches(start, end, radius: float, rng: np.random.Generator) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    share = np.linspace(0.0, 1.0, 6)[:, None]
    wobble = rng.normal(0.0, 0.05 * np.linalg.norm(end - start), (6, 3)) * np.sin(np.pi * share)
    points = start + share * (end - start) + wobble
    yield points, np.linspace(radius, 0.6 * radius, 6)
    if radius > 1.6:
        for joint in (2, 3, 4):
            side = rng.normal(0.0, 1.0, 3) + 0.9 * (end - start) / np.linalg.norm(end - start)
            length = 0.55 * np.linalg.norm(end - start) / np.linalg.norm(side)
            yield from _branches(points[joint], points[joint] + side * length, 0.55 * radius, rng)


def _add_texture(canvas: _Canvas, body: np.ndarray, rng: np.random.Generator) -> None:
    """Add texture that moves with the anatomy; CT and MR have half of it in common, like a shared microstructure."""
    fine = smooth_noise(body.shape, FINE_TEXTURE_MM / canvas.step, rng)
    coarse = smooth_noise(body.shape, COARSE_TEXTURE_MM / canvas.step, rng)
    other = smooth_noise(body.shape, FINE_TEXTURE_MM / canvas.step, rng)
    soft = np.where(canvas.ct > -300, np.float32(12), np.float32(35)) * body * (canvas.ct > -900)
    canvas.ct += soft * (fine + coarse)
    canvas.mr *= 1 + 0.07 * (0.5 * (fine + coarse) + other)
