"""The places that somebody should look at first, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from ..quality.maps import worst_places
from ..space.field import apply_matrix, voxel_centers, world_to_unit
from ..space.geometry import Geometry
from ..space.grid import sample
from ..space.volume import Volume
from ..stages.prepare import prepare
from .cuts import Scan

__all__ = ["PlaceToSee", "body_of", "inside_body", "letters", "places_to_see"]

COUNT = 5
"""As many as fill a page and are still looked at."""


class PlaceToSee(NamedTuple):
    """A point (3,) LPS mm in the fixed frame, the expected error there in mm or None, and a sentence or ""."""

    point: np.ndarray
    expected_error_mm: float | None
    reason: str


def body_of(fixed: Volume) -> Scan:
    """1 inside the body in a scan, 0 outside, on a coarse grid."""
    mask = prepare(fixed, mask=None, device=torch.device("cpu")).mask
    return Scan(mask.tensor.float()[None], mask.geometry)


def inside_body(confidence: Volume, body: Scan) -> Volume:
    """A map with 0 outside the body, where there is nothing to be aligned."""
    array = confidence.array.astype(np.float32)
    for slab, points in voxel_centers(confidence.geometry):
        within = sample(body.tensor, apply_matrix(world_to_unit(body.geometry), points))[0].numpy() > 0.5
        array[slab] *= (within & body.geometry.contains(points.numpy().T)).reshape(array[slab].shape)
    return Volume(np.nan_to_num(array), confidence.geometry)


def places_to_see(worst: Iterable | None, confidence: Volume | None, fixed: Geometry, body: Scan) -> list[PlaceToSee]:
    """The worst places inside the body, the worst first.

    Args:
        worst: `maps.Place` objects, or mappings of "point_lps", "expected_error_mm" and perhaps "reason" as the
            worker's maps have them; None takes them from the confidence map.
        confidence: Expected error, mm; None where it was not estimated.
        fixed: Geometry of the fixed scan.
        body: See `body_of`.
    """
    if worst is None:
        worst = [] if confidence is None else worst_places(inside_body(confidence, body), count=2 * COUNT)
    places = [_place(place) for place in worst]
    return [place for place in places if fixed.contains(place.point[None])[0]][:COUNT]


def letters(point: np.ndarray, decimals: int = 1) -> str:
    """A position as Slicer's data probe has it: "R 12.0, A 30.5, S 45.0" mm."""
    names = (("R", "L"), ("A", "P"), ("I", "S"))
    return ", ".join(f"{pair[int(value >= 0)]} {abs(value):.{decimals}f}" for pair, value in zip(names, point))


def _place(place) -> PlaceToSee:
    if isinstance(place, Mapping):
        return PlaceToSee(
            np.array(place["point_lps"], float), place.get("expected_error_mm"), str(place.get("reason") or "")
        )
    return PlaceToSee(np.asarray(place.point, float), place.expected_error_mm, str(place.reason or ""))
