"""Local repair: refines a transform in a region, and leaves it unchanged everywhere else.

The current transform is split into an affine part and a displacement, as in a registration. In a box around the region
the displacement is refined from coarse to fine. The refinement starts from the current displacement or, where that
gives a better match, from a smooth continuation of the displacement around the region. The change decreases to zero
toward the border of the region; outside it, the transform as it is written to files stays bit-identical.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from .errors import InputError, ResourceError
from .files.points import check_landmarks
from .guidance.landmarks import LandmarkPull
from .guidance.region import Region, check_region, region_around
from .machine.device import choose_device, device_name
from .machine.memory import is_out_of_memory
from .progress import Monitor, Progress, listening
from .quality.confidence import confidence_between
from .quality.findings import NOT_MEASURED, UNRELATED, body_points, confidence_figures, similarity
from .quality.measure import foreground, tre
from .quality.report import build_report, record_stages
from .quality.spacing import transform_figures
from .register import computing
from .registration import Registration
from .settings import Settings
from .space.field import AffineTransform, DisplacementField, as_points, sample_transform
from .space.fieldgrid import field_grid, nearest_voxels
from .space.geometry import Geometry
from .space.grid import Image, canonical_array, resample, stored_array
from .space.inverse import accurate_inverse_error, fit_affine
from .space.jacobian import jacobian_figures
from .space.registrable import check_registrable
from .space.smoothing import smooth
from .space.split import without_linear
from .space.volume import Volume
from .stages.finish import SAFE_DETERMINANT, bad_voxels, smoothed_near
from .stages.linear import LinearLevel
from .stages.prepare import Prepared, mask_on, prepare, working_grid
from .stages.refine import Refiner
from .stages.schedule import Level, contrast_agreement, measure_for, schedule

__all__ = ["repair"]

MAX_VOXELS = 400_000
"""Largest number of voxels of the finest grid in the region; a larger region is refined more coarsely."""

LEVEL_VOXELS = 200_000
"""Voxels of the grids on which contrast and similarity are measured, as in a whole registration."""

MARGIN_VOXELS = 5
"""Margin of the box around the region, in voxels of the coarsest level."""

MIN_DEPTH_VOXELS = 6.0
"""A level on which the region's depth is fewer voxels than this is left out, because descriptors depend on voxels a few
voxels away and are unreliable there."""

FINEST_LEVELS = 2
"""Number of the finest levels that are never left out."""

RIM_SHARE, RIM_VOXELS = 0.4, 2.0
"""Width of the transition at the region's border: the smaller of a share of its depth and a number of voxels of the
level."""

MAX_STEP = 0.5
"""Longest displacement of one step, voxels. Steps of one voxel, as in a whole registration, leave a small region rough.
Chosen with `scripts/measure_repair --cases none`."""

FILL_SIGMA, FILL_ROUNDS = 1.5, 60
"""Standard deviation, voxels, and number of the smoothings that continue the surrounding field into the region."""

SMOOTHING_ROUNDS, WEAKENING, LAST_ROUND = 20, 0.8, 60
"""Rounds of the fold repair that only smooth, the factor on the change in each later round, and the last round."""

INVERSE_POINTS = 20_000
"""Approximate number of points at which the inverse consistency error is measured."""

PREVIEW_VOXELS = 100_000
"""Largest number of voxels of the whole field that a progress callback can request."""

SHARES = {"prepare": 0.2, "refine": 0.55, "finish": 0.25}
"""Share of the total time that each stage takes, for the progress."""


def repair(
    fixed: Volume,
    moving: Volume,
    field: DisplacementField,
    *,
    region: Volume | None = None,
    fixed_landmarks: np.ndarray | None = None,
    moving_landmarks: np.ndarray | None = None,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | str | None = None,
    cancel: Callable[[], str | None] | None = None,
) -> Registration:
    """Refine a transform in a region.

    Args:
        fixed: The scan that stays.
        moving: The scan that is deformed onto it.
        field: The current transform, fixed -> moving, LPS mm, on any grid.
        region: Nonzero where the transform is wrong, on any grid. None: the surroundings of the landmarks.
        fixed_landmarks: (n, 3) LPS mm, n >= 1. The field is pulled softly so that they reach `moving_landmarks`.
        moving_landmarks: (n, 3) LPS mm; row by row the same anatomical places as `fixed_landmarks`.
        settings: `iterations`, `smoothness`, `resolution_mm`, `transform_spacing_mm`, `tolerance_mm`, `device` and
            `threads` are used.
        on_progress: Called with `Progress` of the stages prepare, refine and finish in this thread; or "bar".
        cancel: Called often; returns None (continue), "keep" (stop, keep the best so far) or "abort".

    Returns:
        As `register`. The field lies on the fixed scan's grid if the given one does, else on the grid that `register`
        chooses. Outside the region it equals the given one, except for the rounding of files. The report has the key
        "repair"; the expected error is that of the whole transform.

    Raises:
        InputError: An input is unusable; the sentence says what to do.
        ResourceError: Not enough memory.
        Cancelled: `cancel` returned "abort".
    """
    settings = settings or Settings()
    fixed, moving = check_registrable(fixed, "fixed"), check_registrable(moving, "moving")
    landmarks = _check_landmarks(fixed_landmarks, moving_landmarks, fixed, moving)
    spacing = settings.transform_spacing_mm
    grid = field_grid(fixed.geometry, spacing, limited=not field.geometry.is_close(fixed.geometry))
    old = field.resampled(grid)
    if region is None and landmarks is None:
        raise InputError("Nothing says where to refine; give a region or landmarks of both scans.")
    if region is None:
        region = region_around(*landmarks, old, grid, moving.geometry)
    region = check_region(region, grid)
    device = choose_device(settings.device)
    with listening(on_progress) as listener, computing(settings):
        try:
            monitor = Monitor(device, listener, cancel, shares=SHARES)
            return _Repair(fixed, moving, old, region, landmarks, settings, device, monitor).run()
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    raise ResourceError("The memory is too small for this region; draw it smaller, or close other programs.")


def _check_landmarks(first, second, fixed: Volume, moving: Volume) -> tuple[np.ndarray, np.ndarray] | None:
    if (first is None) != (second is None):
        raise InputError("Landmarks of both scans are needed; give the fixed and the moving ones, or none.")
    if first is None:
        return None
    landmarks = as_points(first), as_points(second)
    check_landmarks(*landmarks, fixed.geometry, moving.geometry, least=1)
    return landmarks


class _Hold:
    """Constrains the changes of a field to a region (see `stages.refine.Constraint`).

    Args:
        old: u before the repair, ``(3, D, H, W)`` mm on a part of the field's canonical grid.
        depth: ``(D, H, W)`` distance from the region's border, mm, on the same grid; 0 outside.
        depth_mm: The largest depth.
    """

    def __init__(self, old: Image, depth: torch.Tensor, depth_mm: float):
        self._old, self._depth, self._depth_mm = old, depth, depth_mm
        self._geometry = None

    def on(self, geometry: Geometry) -> None:
        """Resample the old field and the weight to a level's grid."""
        if geometry is not self._geometry:
            self._geometry = geometry
            self.old = resample(self._old, geometry, smooth=False).tensor
            depth = resample(Image(self._depth, self._old.geometry), geometry, smooth=False).tensor
            t = (depth / min(RIM_VOXELS * geometry.spacing[0], RIM_SHARE * self._depth_mm)).clamp_(max=1)
            self.weight = t * t * (3 - 2 * t)

    def enter(self, field: Image, geometry: Geometry) -> torch.Tensor:
        """The old field, with its details, plus the change so far, on a level's grid."""
        change = field.tensor - resample(self._old, field.geometry, smooth=False).tensor
        self.on(geometry)
        return self.old + resample(Image(change, field.geometry), geometry, smooth=False).tensor * (self.weight > 0)

    def keep(self, u: torch.Tensor, before: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        """The step with its full length inside the region, and none outside."""
        return before + self.weight * (u - before)

    def filled(self, geometry: Geometry) -> Image:
        """The old field, with the region replaced by a smooth continuation of its surroundings."""
        self.on(geometry)
        inside = self.weight > 0
        u = self.old
        for _ in range(FILL_ROUNDS):
            u = torch.where(inside, smooth(u, FILL_SIGMA), self.old)
        return Image(u, geometry)


@dataclasses.dataclass(eq=False)
class _Repair:
    """One repair: its checked inputs, and the values that its stages share."""

    fixed: Volume
    moving: Volume
    old: DisplacementField
    mask: Volume
    landmarks: tuple[np.ndarray, np.ndarray] | None
    settings: Settings
    device: torch.device
    monitor: Monitor
    _coarse: DisplacementField | None = None

    def run(self) -> Registration:
        with self.monitor.stage("prepare"):
            self._prepare()
        with self.monitor.stage("refine"):
            work = self._refine()
        with self.monitor.stage("finish"):
            forward = self._finish(work)
            self.monitor.tell(0.3)
            confidence = confidence_between(*self.whole, forward, self.linear, self.settings, self.monitor)
            self.monitor.tell(0.7)
            report = self._report(forward, confidence)
            self.monitor.tell(1.0)
        record_stages(report, self.monitor.stages)
        body = body_points(self.whole[0], self.fixed.geometry)
        inverse_grid = field_grid(self.moving.geometry, self.settings.transform_spacing_mm)
        linear = AffineTransform(self.linear)
        return Registration(
            forward, linear, confidence, report, self.moving, body, _fixed=self.fixed, _inverse_grid=inverse_grid
        )

    def _prepare(self) -> None:
        """Prepare both scans, cropped to the region and to its image under the field, the levels and the old field."""
        fixed = prepare(self.fixed, mask=None, device=self.device)
        self.monitor.tell(0.4)
        moving = prepare(self.moving, mask=None, device=self.device, role="moving")
        self.whole = fixed, moving
        self.linear = fit_affine(self.old).matrix
        self.region = Region(self.mask)
        spacing = max(v.geometry.mean_spacing for v in (self.fixed, self.moving))
        if self.settings.resolution_mm is not None:
            spacing = self.fixed.geometry.possible_spacing(self.settings.resolution_mm)
        self.local = self._around(fixed), self._around_moving(moving)
        while np.prod(working_grid(self.local[0], spacing).size, dtype=float) > MAX_VOXELS:
            spacing *= 1.05
        level = LinearLevel(fixed, moving, LEVEL_VOXELS, self.linear, described=False)
        agreement = contrast_agreement(level, fixed, self.linear, self._displacement(self.old, level.fixed_geometry))
        self.measure = measure_for(agreement)
        self.level = level
        levels = schedule(self.measure, spacing, self.settings.coarse_iterations)
        while len(levels) > FINEST_LEVELS and levels[0].spacing * MIN_DEPTH_VOXELS > self.region.depth_mm:
            levels = levels[1:]
        self.levels = levels
        margin = MARGIN_VOXELS * max([spacing, *(each.spacing for each in self.levels)])
        self.low, self.high = self.region.box(margin)
        self.geometry = _part(self.region.geometry, self.low, self.high)
        self.depth = torch.from_numpy(self.region.depth(self.low, self.high)).to(self.device)
        self.field = Image(self._displacement(self.old, self.geometry), self.geometry)

    def _around(self, fixed: Prepared) -> Prepared:
        """The fixed scan with the region as its body, without air unless most of the region is air."""
        geometry = _part(self.region.geometry, self.region.low, self.region.high)
        inside = torch.from_numpy(self.region.depth(self.region.low, self.region.high) > 0).to(self.device)
        body = inside & (mask_on(fixed, geometry) > 0)
        if int(body.sum()) * 4 < int(inside.sum()):
            body = inside
        box = self.region.low.astype(float), self.region.high.astype(float)
        if not self.region.geometry.is_close(fixed.image.geometry):
            box = tuple(fixed.image.geometry.to_index(corner) for corner in geometry.corners()[[0, -1]])
        return dataclasses.replace(fixed, mask=Image(body, geometry), box=box)

    def _around_moving(self, moving: Prepared) -> Prepared:
        """The moving scan, cropped to the box onto which the region is mapped plus a quarter of its size per side."""
        box = canonical_array(self.old.array, self.old.geometry)[_slices(self.region.low, self.region.high)]
        steps = [max(1, n // 24) for n in box.shape[:3]]
        cut = tuple(slice(None, None, s) for s in steps)
        places = [
            np.arange(low, high + 1)[::step]
            for low, high, step in zip(self.region.low, self.region.high, reversed(steps))
        ]
        z, y, x = np.meshgrid(*reversed(places), indexing="ij")
        points = self.region.geometry.to_world(np.stack([x, y, z], axis=-1)) + box[cut]
        geometry = moving.image.geometry
        index = geometry.to_index(points.reshape(-1, 3))
        low, high = index.min(axis=0), index.max(axis=0)
        room = (high - low) / 4 + 2
        limit = np.array(geometry.size) - 1.0
        low, high = np.clip(low - room, 0, limit), np.clip(high + room, 0, limit)
        if (high - low < 1).any():
            raise InputError(
                "The region to refine leads outside the moving image; draw it where both scans show the patient."
            )
        return dataclasses.replace(moving, box=(low, high))

    def _displacement(self, field: DisplacementField, geometry: Geometry) -> torch.Tensor:
        """u of ``x -> A (x + R u(x))``, ``(3, D, H, W)`` mm, on a grid along the canonical axes."""
        own = self.region.geometry
        offset = np.rint(own.to_index(np.array([geometry.origin]))[0]).astype(int)
        low, high = offset, offset + np.array(geometry.size) - 1
        if _part(own, low, high).is_close(geometry, 1e-4):
            own_box = canonical_array(field.array, field.geometry)[_slices(low, high)]
            field = DisplacementField(own_box, geometry)  # nothing to interpolate
        return without_linear(field, self.linear, geometry, self.device).tensor

    def _refine(self) -> Image:
        hold = _Hold(self.field, self.depth, self.region.depth_mm)
        pull = None if self.landmarks is None else LandmarkPull(*self.landmarks, self.linear)
        self.history: list[dict] = []
        if not self.levels:
            return self.field

        def refined(levels: list[Level], start: Image, first: int, share: tuple[float, float]) -> Image:
            refiner = Refiner(
                *self.local,
                self.linear,
                smoothness=self.settings.smoothness,
                landmarks=pull,
                constraint=hold,
                max_step=MAX_STEP,
            )
            # the objective is reported for one start only, so that it is a single curve
            part = self.monitor.within(*share, with_objective=share[0] > 0)
            field = refiner.run(levels, start, part, self._whole_field, first=first)
            self.history = [each for each in self.history if each["level"] < first] + refiner.history
            return field

        coarse = working_grid(self.local[0], self.levels[0].spacing)
        tried = []
        for start, share in ((self.field, (0.0, 0.15)), (hold.filled(coarse), (0.15, 0.3))):
            field = refined(self.levels[:1], start, 0, share)
            tried.append((min(each["objective"] for each in self.history), field, self.history))
            if self.monitor.keep:
                break
        _, field, self.history = min(tried, key=lambda each: each[0])
        if self.monitor.keep:
            return field
        return refined(self.levels[1:], field, 1, (0.3, 1.0))

    def _whole_field(self, work: Image) -> DisplacementField:
        """The whole field in its current state, on a coarse grid, for the progress callback."""
        if self._coarse is None:
            grid = self.region.geometry
            self._coarse = sample_transform(self.old, grid.coarsened_by(grid.factor_to(PREVIEW_VOXELS)))
        own = resample(self.field, work.geometry, smooth=False).tensor
        change = resample(Image(work.tensor - own, work.geometry), self._coarse.geometry, smooth=False).tensor
        return self._with(self._coarse, change)

    def _with(self, old: DisplacementField, change: torch.Tensor) -> DisplacementField:
        """A field on canonical axes, with a change of u, mm, added."""
        matrix = torch.from_numpy(self.linear[:3, :3] @ old.geometry.direction).float().to(change.device)
        added = (matrix @ change.reshape(3, -1)).reshape(change.shape).permute(1, 2, 3, 0).cpu().numpy()
        return DisplacementField(old.array + added, old.geometry)

    def _finish(self, work: Image) -> DisplacementField:
        """The old field with the change in the region, rounded as in files, without folds in the region."""
        own = resample(self.field, work.geometry, smooth=False).tensor
        change = resample(Image(work.tensor - own, work.geometry), self.geometry, smooth=False).tensor
        width = min(work.geometry.spacing[0], RIM_SHARE * self.region.depth_mm)
        sharp = (self.depth / width).clamp(max=1)
        change = change * sharp
        before = self._pasted(torch.zeros_like(change))
        elsewhere = bad_voxels(before, 0.0) & (self.depth <= 0).cpu().numpy()
        self.folds_elsewhere = int(elsewhere.sum())
        self.repaired, limit = 0, 0.0
        u = self.field.tensor
        for number in range(LAST_ROUND + 1):
            part = self._pasted(change)
            bad = bad_voxels(part, limit) & ~elsewhere
            if not bad.any():
                break
            limit = SAFE_DETERMINANT * float(np.linalg.det(self.linear[:3, :3]))
            self.repaired = self.repaired or int(bad.sum())
            if number >= SMOOTHING_ROUNDS:
                change = change * WEAKENING
            total = u + change
            change = change + (smoothed_near(total, torch.from_numpy(bad).to(u.device)) - total) * sharp
        else:
            self.folds_elsewhere += int(bad.sum())
        array = canonical_array(self.old.rounded().array, self.old.geometry).copy()
        array[_slices(self.low, self.high)] = part.array
        return DisplacementField(stored_array(array, self.old.geometry), self.old.geometry)

    def _pasted(self, change: torch.Tensor) -> DisplacementField:
        """The old field in the box with a change of u added, rounded."""
        old = canonical_array(self.old.array, self.old.geometry)[_slices(self.low, self.high)]
        return self._with(DisplacementField(old, self.geometry), change).rounded()

    def _report(self, forward: DisplacementField, confidence: Volume) -> dict:
        body = nearest_voxels(foreground(self.fixed), forward.geometry)
        fixed, _ = self.whole
        f = resample(fixed.image, self.level.fixed_geometry).tensor
        u = self._displacement(forward, self.level.fixed_geometry)
        return build_report(
            fixed=self.fixed.geometry,
            moving=self.moving.geometry,
            settings=self.settings.resolved() | {"network": "off"},  # a repair compares without it
            device=device_name(self.device),
            descriptor=self.measure,
            linear_matrix=self.linear,
            objective=self.history,
            similarity_before=similarity(self.level, f, np.eye(4), None) or dict(UNRELATED),
            similarity_after=similarity(self.level, f, self.linear, u) or dict(NOT_MEASURED),
            jacobian=jacobian_figures(forward, mask=body if body.any() else None),
            transform=transform_figures(self.fixed.geometry, fixed, forward),
            inverse_error=self._inverse_error(forward),
            confidence=confidence_figures(self, fixed, confidence),
            landmarks=self._landmark_figures(forward),
            repair=self._repair_figures(forward),
            stopped_early=self.monitor.keep,
            warnings=[*self.fixed.warnings, *self.moving.warnings, *self._warnings()],
            notes=self._notes(),
        )

    def _warnings(self) -> list[str]:
        if not self.folds_elsewhere:
            return []
        return [
            f"The transform that was to be repaired folds at {self.folds_elsewhere} voxels, which the repair "
            "could not mend."
        ]

    def _notes(self) -> list[str]:
        notes = ["Only the region was refined; the figures of inverse and similarity inside it are given for it alone."]
        if self.repaired:
            notes.append(f"{self.repaired} voxels were smoothed so that the field doesn't fold there.")
        return notes

    def _repair_figures(self, forward: DisplacementField) -> dict:
        level = LinearLevel(*self.local, LEVEL_VOXELS, self.linear, described=False)
        f = resample(self.local[0].image, level.fixed_geometry).tensor
        before, after = (
            similarity(level, f, self.linear, self._displacement(field, level.fixed_geometry)) or dict(NOT_MEASURED)
            for field in (self.old, forward)
        )
        moved = np.linalg.norm(forward.array - self.old.array, axis=-1)
        inside = self.mask.array > 0
        return {
            "region_ml": self.region.volume_mm3 / 1000,
            "moved_mean_mm": float(moved[inside].mean()),
            "moved_max_mm": float(moved[inside].max()),
            "outside_max_mm": float(moved[~inside].max()) if not inside.all() else 0.0,
            "similarity": {"before": before, "after": after},
        }

    def _inverse_error(self, forward: DisplacementField) -> dict:
        """Inverse consistency error in the part of the region that both scans show."""
        index = np.argwhere(self.mask.array)[:, ::-1]
        points = forward.geometry.to_world(index[:: max(1, len(index) // INVERSE_POINTS)])
        error = accurate_inverse_error(forward, self.moving.geometry, points)
        return {"mean_mm": error.mean_mm, "max_mm": error.max_mm}

    def _landmark_figures(self, forward: DisplacementField) -> dict | None:
        if self.landmarks is None:
            return None
        before, after = (tre(*self.landmarks, field) for field in (self.old, forward))
        return {"count": len(after), "tre_before_mm": float(before.mean()), "tre_after_mm": float(after.mean())}


def _part(geometry: Geometry, low: np.ndarray, high: np.ndarray) -> Geometry:
    """The grid of the voxels in an index box (x, y, z, both ends included)."""
    size = tuple(int(n) for n in np.asarray(high) - low + 1)
    return Geometry(size, geometry.spacing, tuple(geometry.to_world(np.asarray(low, float))), geometry.direction)


def _slices(low: np.ndarray, high: np.ndarray) -> tuple[slice, slice, slice]:
    """Slices (z, y, x) of an index box (x, y, z)."""
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low[::-1], high[::-1]))
