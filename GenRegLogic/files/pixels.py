"""What the readers of single formats hand over: voxels, their place, and what is doubtful about them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import Doubt, InputError
from ..space.geometry import NOT_PERPENDICULAR, Geometry

__all__ = ["DAMAGED", "Pixels", "check_spacing", "geometry_from_ras", "moved_components", "unit_factor"]

DAMAGED = "The file is damaged or incomplete and cannot be read; copy or export it again."

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

MILLIMETERS = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "unknown", "", "none"), 1.0),
    **dict.fromkeys(("m", "meter", "meters"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
}
"""Millimeters in a unit of length, by the names that headers use."""

CLEAN_SPACING = 1e-4
"""Relative; the spacing that a header states stands for the length of its affine's column, which rounding has changed
less than this."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """A file's voxels.

    Attributes:
        array: (k, j, i) values, or (k, j, i, c) where a vector image was asked for.
        geometry: Where they are, LPS mm.
        doubts: What was repaired or assumed.
        intent: What the file says that its values mean; empty where its format can't.
        padding: Voxels of exactly this value hold no data; None where no such value is known.
    """

    array: np.ndarray
    geometry: Geometry
    doubts: tuple[Doubt, ...] = ()
    intent: Mapping = field(default_factory=dict)
    padding: float | None = None


def check_spacing(spacing: Sequence[float]) -> None:
    """Refuse a spacing that is not positive and finite."""
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        numbers = ", ".join(f"{s:g}" for s in spacing)
        raise InputError(f"The voxel spacing ({numbers}) mm must be positive; correct the image's header.")


def unit_factor(name: str) -> tuple[float, list[Doubt]]:
    """Millimeters in a header's unit of length, and the doubt that says so where it isn't the millimeter.

    Raises:
        InputError: The unit is none of length.
    """
    factor = MILLIMETERS.get(name.strip().strip('"').lower())
    if factor is None:
        raise InputError(f"The header gives its positions in '{name}', which is no unit of length that GenReg knows.")
    if factor == 1:
        return factor, []
    return factor, [Doubt("units_converted", f"The header gives positions in {name.strip()}; they were taken to mm.")]


def geometry_from_ras(
    affine: np.ndarray,
    size: Sequence[int],
    spacing: Sequence[float],
    factor: float = 1.0,
    doubts: list[Doubt] | None = None,
) -> Geometry:
    """The grid of an affine from (i, j, k) to RAS.

    Args:
        affine: (4, 4), in the header's unit.
        size: (i, j, k).
        spacing: What the header states as such, in its unit: it has less rounding than the affine's columns.
        factor: Millimeters in the header's unit.
        doubts: Gets one where the affine and the spacing disagree.

    Raises:
        InputError: The axes are not perpendicular, or one has no length.
    """
    matrix = LPS_FROM_RAS @ np.asarray(affine, np.float64)
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not lengths.min() > 0:
        raise InputError(NOT_PERPENDICULAR)
    if np.allclose(lengths, spacing, rtol=CLEAN_SPACING):
        steps = np.asarray(spacing, np.float64)
    else:
        steps = lengths
        if doubts is not None and not np.allclose(lengths, spacing, rtol=1e-2):
            stated, found = (" x ".join(f"{s * factor:.4g}" for s in numbers) for numbers in (spacing, lengths))
            text = f"The header states voxels of {stated} mm but places them at distances of {found} mm, as was taken."
            doubts.append(Doubt("spacing_disagrees", text, guessed=True))
    return Geometry(size, steps * factor, matrix[:3, 3] * factor, matrix[:3, :3] / lengths)


def moved_components(array: np.ndarray, components: int) -> np.ndarray:
    """(c, k, j, i) as files have it to (k, j, i) for one component, else (k, j, i, c)."""
    return array[0] if components == 1 else np.ascontiguousarray(np.moveaxis(array, 0, -1))
