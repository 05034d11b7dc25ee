"""The page's pictures as HTML figures: three planes of the whole scan, and crops around the worst places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from ..quality.verdict import SCALE_TOLERANCES, default_tolerance
from ..space.field import DisplacementField, Transform
from ..space.grid import canonical_axes
from ..space.volume import Volume
from .contours import edges, lines_over, structure, widths
from .cuts import ORIENTATIONS, Cut, Orientation, Scan, crop, tilt_degrees, whole
from .layout import figure, per_row, rows
from .render import checkerboard, error_overlay, fusion, gray, grid_lines, marked, nice, tone
from .table import length
from .worst_places import PlaceToSee, letters

__all__ = ["Plates"]

GRID_LINES_ACROSS = 22
"""Lines of the deformation grid, about, along the scan's longest axis."""

TILES_ACROSS = 8
"""Checkerboard squares along the longer side of a picture."""

CROP_SHARE, MAX_CROP_MM = 0.35, 80.0
"""Side of a crop relative to the scan's second longest extent, and its upper limit."""

CROP_PIXELS = 120

CHOICE_PIXELS = 20_000
"""Pixels, about, of the pictures by which is chosen which of two scans is drawn as lines."""

MIDDLE_SHARES = (0.4, 0.6)
"""Range of quantiles around the median in which the middle of the body is chosen."""

BODY_SAMPLES = 40
"""Samples per axis, about, from which the middle of the body is found."""

EMPTY_SHARE = 0.02
"""Share of a picture, or of the body, below which a scan counts as absent."""

FINE_VOXEL_MM = 0.3
"""Voxel size up to which positions have two decimals instead of one."""

TILT_WORTH_SAYING = 1.0
"""Tilt of the scan's axes in degrees from which on the page mentions it."""

NO_VOXELS = "No voxels here: where the scans lay before, they do not meet in this plane."
NO_VOXELS_AFTER = "No voxels here: the moving scan does not reach this place."


@dataclass(frozen=True, eq=False)
class _Seen:
    """Shades of both scans on a cut, and both in one picture; why there is nothing of the moving scan, or ""."""

    cut: Cut
    fixed: np.ndarray
    before: np.ndarray
    after: np.ndarray
    both_before: np.ndarray
    both_after: np.ndarray
    missing_before: str
    missing_after: str


class Plates:
    """Makes the pictures of one registration.

    Args:
        fixed: The fixed scan.
        moving: The moving scan.
        forward: Displacement field, fixed -> moving, LPS mm.
        confidence: Expected error, mm, on any grid in the fixed frame, or None.
        body: The body in the fixed scan (`worst_places.body_of`); outside it no expected error is shown.
        one_contrast: Whether the same tissue is equally bright in both scans. If so, pictures of both show them blended
            in two colors, else the edges of one of them as lines over the other.
        tolerance_mm: The error that is small enough, by which the colors of the expected error are scaled; None takes
            `quality.verdict.default_tolerance`.

    Attributes:
        lines_of: "fixed" or "moving": whose edges are drawn, the scan that shows more; None if they are blended.
        error_mm: Expected error of the last color, or None without `confidence`.
        step_mm: Spacing of the deformation grid's lines.
        tilt: As `cuts.tilt_degrees`, for the fixed scan.
        middle: (3,) LPS mm, where the three planes intersect.
    """

    def __init__(
        self,
        fixed: Volume,
        moving: Volume,
        forward: DisplacementField,
        confidence: Volume | None,
        body: Scan,
        *,
        one_contrast: bool = True,
        tolerance_mm: float | None = None,
    ) -> None:
        self._geometry, self._forward, self._body = fixed.geometry, forward, body
        self._fixed, self._moving = (Scan.of(scan, tone(scan)) for scan in (fixed, moving))
        self._error = None if confidence is None else Scan.of(confidence)
        tolerance = tolerance_mm or default_tolerance(fixed.geometry, moving.geometry)
        self.error_mm = None if confidence is None else SCALE_TOLERANCES * tolerance
        self.step_mm = nice(float(fixed.geometry.extent_mm.max()) / GRID_LINES_ACROSS)
        self.tilt = tilt_degrees(fixed.geometry)
        self.middle = self._middle_of_body()
        self._decimals = 1 if min(fixed.geometry.spacing) > FINE_VOXEL_MM else 2
        self.lines_of = None if one_contrast else self._clearer()

    def planes(self, pixels: int) -> str:
        """HTML of three planes through the middle of the body, each a section.

        Args:
            pixels: Approximate number of pixels of a picture.
        """
        return "".join(self._plane(orientation, pixels) for orientation in ORIENTATIONS)

    def place(self, number: int, place: PlaceToSee, pixels: int = CROP_PIXELS) -> str:
        """HTML of one of the worst places: a row of crops around it.

        Args:
            number: Number of the place on the page, from 1.
            place: The place.
            pixels: Pixels along an edge of a crop.
        """
        orientation = self._sharpest()
        grid = self._geometry.extent_mm
        side = min(MAX_CROP_MM, CROP_SHARE * float(np.sort(grid)[-2]))
        seen = self._see(crop(self._geometry, orientation, place.point, side, pixels))
        shown = [
            ("Fixed", gray(seen.fixed), ""),
            ("Moving before", gray(seen.before), seen.missing_before),
            ("Moving after", gray(seen.after), seen.missing_after),
            ("Both, after", seen.both_after, ""),
        ]
        where = letters(place.point, self._decimals)
        figures = [
            figure(
                seen.cut,
                picture if missing else marked(picture),
                caption,
                f"{orientation.name} crop around place {number}: {caption.lower()}.",
                bar=n == 0,
                lettered=n == 0,
                missing=missing,
            )
            for n, (caption, picture, missing) in enumerate(shown)
        ]
        error = "" if place.expected_error_mm is None else f"{length(place.expected_error_mm)} expected error"
        reason = f"<p>{escape(place.reason)}</p>" if place.reason else ""
        return (
            f'<article class="place"><div><h3>{number}. {error}</h3><p class="soft">{where} mm<br>'
            f"{orientation.name}</p>{reason}</div>{rows(figures, 4)}</article>"
        )

    def _plane(self, orientation: Orientation, pixels: int) -> str:
        seen = self._see(whole(self._geometry, orientation, self.middle, pixels))
        cut = seen.cut
        tile = min(cut.rows, cut.columns, max(cut.rows, cut.columns) / TILES_ACROSS)
        shown = [
            ("Fixed", gray(seen.fixed), ""),
            ("Moving before", gray(seen.before), seen.missing_before),
            ("Moving after", gray(seen.after), seen.missing_after),
            (f"Deformation grid, {self.step_mm:g} mm", grid_lines(seen.fixed, cut, self._forward, self.step_mm), ""),
            ("Both, before", seen.both_before, ""),
            ("Both, after", seen.both_after, ""),
            ("Checkerboard, after", gray(checkerboard(seen.fixed, seen.after, tile)), ""),
            self._eighth(seen, tile),
        ]
        count = per_row(cut)
        figures = [
            figure(
                cut,
                picture,
                caption,
                f"{orientation.name} plane: {caption.lower()}.",
                in_row=count,
                bar=n == 0,
                missing=missing,
            )
            for n, (caption, picture, missing) in enumerate(shown)
        ]
        pictures = rows(figures, count, large_both=self.lines_of is not None)
        at = letters(self.middle, self._decimals).split(", ")[orientation.through]
        return f'<section class="plane"><h3>{orientation.name.capitalize()}, {at} mm</h3>{pictures}</section>'

    def _eighth(self, seen: _Seen, tile: float) -> tuple[str, np.ndarray, str]:
        if self._error is None:
            return "Checkerboard, before", gray(checkerboard(seen.fixed, seen.before, tile)), ""
        error, known = self._error.values(seen.cut)
        body, _ = self._body.values(seen.cut)
        return "Expected error", error_overlay(seen.fixed, error, known * body, self.error_mm), ""

    def _see(self, cut: Cut) -> _Seen:
        fixed, inside = self._fixed.shades(cut)
        moved = [self._moving.shades(cut, transform) for transform in (None, self._forward)]
        (before, _), (after, _) = moved
        both = [
            self._both(cut, (fixed, inside), shades, transform)
            for shades, transform in zip(moved, (None, self._forward))
        ]
        missing = [
            "" if there.mean() > EMPTY_SHARE else note for (_, there), note in zip(moved, (NO_VOXELS, NO_VOXELS_AFTER))
        ]
        return _Seen(cut, fixed, before, after, *both, *missing)

    def _both(self, cut: Cut, fixed: tuple, moving: tuple, transform: Transform | None) -> np.ndarray:
        """One picture of both scans, each as `Scan.shades` returns it: blended, or one as lines over the other."""
        if self.lines_of is None:
            return fusion(fixed[0], moving[0])
        if self.lines_of == "fixed":
            return lines_over(moving[0], edges(*fixed, widths(cut, self._geometry)))
        return lines_over(fixed[0], edges(*moving, widths(cut, self._moving.geometry, transform)))

    def _clearer(self) -> str:
        """The scan that shows more in the three planes, "fixed" or "moving"."""
        shown = {"moving": 0.0, "fixed": 0.0}
        for orientation in ORIENTATIONS:
            cut = whole(self._geometry, orientation, self.middle, CHOICE_PIXELS)
            shown["fixed"] += structure(*self._fixed.shades(cut), widths(cut, self._geometry))
            width = widths(cut, self._moving.geometry, self._forward)
            shown["moving"] += structure(*self._moving.shades(cut, self._forward), width)
        return max(shown, key=shown.get)

    def _sharpest(self) -> Orientation:
        """The orientation perpendicular to the axis of the largest spacing; axial if voxels are cubes."""
        order, _ = canonical_axes(self._geometry.direction)
        spacing = [self._geometry.spacing[order[o.through]] for o in ORIENTATIONS]
        return ORIENTATIONS[int(np.argmax(np.array(spacing) > 0.99 * max(spacing)))]

    def _middle_of_body(self) -> np.ndarray:
        """(3,) LPS mm, near the median of the fixed scan's bright voxels that the moving scan covers."""
        steps = [max(1, n // BODY_SAMPLES) for n in self._geometry.size]
        lines = [np.arange(0, n, step) for n, step in zip(self._geometry.size, steps)]
        index = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
        points = self._geometry.to_world(index.reshape(-1, 3))
        moved = points + self._forward.displacements(torch.from_numpy(points.T.copy())).numpy().T
        values = self._fixed.tensor[0].numpy()[tuple(slice(None, None, step) for step in steps[::-1])].transpose()
        weight = np.interp(values, *self._fixed.tone)
        reached = weight * self._moving.geometry.contains(moved).reshape(weight.shape)
        weight = reached if reached.sum() > EMPTY_SHARE * weight.sum() else weight
        middle = [_middle(lines[axis], weight.sum(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        return self._geometry.to_world(middle)


def _middle(places: Sequence[int], weight: np.ndarray) -> float:
    """The position of the largest weight near the median: the median of a brain is the gap between its hemispheres."""
    if not weight.sum() > 0:
        return float(np.mean(places))
    share = (np.cumsum(weight) - weight / 2) / weight.sum()
    near = (share >= MIDDLE_SHARES[0]) & (share <= MIDDLE_SHARES[1])
    near = near if near.any() else np.abs(share - 0.5) == np.abs(share - 0.5).min()
    return float(places[int(np.argmax(np.where(near, weight, -1.0)))])
