"""The places of the largest expected error, which the page shows."""

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
"""Number of places shown; they fill one page."""


class PlaceToSee(NamedTuple):
    """A place to be shown.

    Attributes:
        point: (3,) LPS mm, in the fixed frame.
        expected_error_mm: Expected error at the point, or None.
        reason: One sentence, or "".
    """

    point: np.ndarray
    expected_error_mm: float | None
    reason: str


def body_of(fixed: Volume) -> Scan:
    """The body in a scan: 1 inside, 0 outside, on a coarse grid."""
    mask = prepare(fixed, mask=None, device=torch.device("cpu")).mask
    return Scan(mask.tensor.float()[None], mask.geometry)


def inside_body(confidence: Volume, body: Scan) -> Volume:
    """Set a map to 0 outside the body, where there is nothing to align.

    Args:
        confidence: Expected error, mm, on any grid in the fixed frame.
        body: As returned by `body_of`.

    Returns:
        The map on its own grid, float32; voxels that are not finite become 0 or the largest finite number.
    """
    array = confidence.array.astype(np.float32)
    for slab, points in voxel_centers(confidence.geometry):
        within = sample(body.tensor, apply_matrix(world_to_unit(body.geometry), points))[0].numpy() > 0.5
        array[slab] *= (within & body.geometry.contains(points.numpy().T)).reshape(array[slab].shape)
    return Volume(np.nan_to_num(array), confidence.geometry)


def places_to_see(worst: Iterable | None, confidence: Volume | None, fixed: Geometry, body: Scan) -> list[PlaceToSee]:
    """The places of the largest expected error, the largest first; at most `COUNT`, all inside the fixed scan.

    Args:
        worst: `quality.maps.Place` objects, or mappings with "point_lps", "expected_error_mm" and optionally "reason"
            as in the report of the worker's job "maps"; None finds the places in the confidence map, inside the body.
        confidence: Expected error, mm, on any grid in the fixed frame; None if it was not estimated.
        fixed: Grid of the fixed scan.
        body: As returned by `body_of`.
    """
    if worst is None:
        worst = [] if confidence is None else worst_places(inside_body(confidence, body), count=2 * COUNT)
    places = [_place(place) for place in worst]
    return [place for place in places if fixed.contains(place.point[None])[0]][:COUNT]


def letters(point: np.ndarray, decimals: int = 1) -> str:
    """A point, (3,) LPS mm, as Slicer's data probe shows it: "R 12.0, A 30.5, S 45.0"."""
    names = (("R", "L"), ("A", "P"), ("I", "S"))
    return ", ".join(f"{pair[int(value >= 0)]} {abs(value):.{decimals}f}" for pair, value in zip(names, point))


def _place(place) -> PlaceToSee:
    if isinstance(place, Mapping):
        return PlaceToSee(
            np.array(place["point_lps"], float), place.get("expected_error_mm"), str(place.get("reason") or "")
        )
    return PlaceToSee(np.asarray(place.point, float), place.expected_error_mm, str(place.reason or ""))
