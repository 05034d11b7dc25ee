"""The worker's job "maps": what to lay over the fixed scan to judge a registration by. Loads torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..errors import InputError
from ..machine.device import choose_device
from ..progress import Progress
from ..quality.confidence import confidence_of
from ..quality.maps import confidence_on, displacement_magnitude, local_similarity, log_jacobian, map_grid, worst_places
from ..quality.measure import foreground
from ..space.field import AffineTransform, DisplacementField, apply_matrix, voxel_centers, world_to_unit
from ..space.geometry import Geometry
from ..space.grid import sample
from ..space.volume import Volume
from ..stages.prepare import prepare
from .control import JobControl
from .jobs import Outcome

__all__ = ["MAPS", "run_maps"]

MAPS = ("log_jacobian", "magnitude", "similarity_before", "similarity_after", "confidence")
BODY = "body"
"""Wanted by name only: 1 inside the fixed body, 0 outside, uint8."""

WORK = {"log_jacobian": 1, "magnitude": 1, "similarity_before": 3, "similarity_after": 3, "confidence": 10}
"""About how long each takes, against one another."""

STAGE = "maps"


def run_maps(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Make maps of a registration, all on the fixed scan's grid, or on a coarser one where that is huge.

    Args:
        parameters: "fixed", "moving" and "field" (grids, as `Geometry.to_dict` writes them); "want", names out of
            `MAPS` (all by default) and `BODY`; where the confidence is known, "confidence" (its grid); "device".
        arrays: "fixed" and "moving" (k, j, i), "field" (k, j, i, 3), LPS mm, fixed -> moving, on any grid; perhaps
            "confidence" (k, j, i) mm, as `register` gave it. Without a wish for similarity or confidence, the scans
            may be absent.
        control: Answers; hears of one stage, "maps".

    Returns:
        The maps and their grids by name, float32; a report of "ranges", {name: {"min", "max", "p1", "p99"}} inside
        the fixed body, and "worst", [{"point_lps", "expected_error_mm", "reason"}], the worst first; empty where
        there is no confidence.

    Raises:
        InputError: An unknown map is wanted.
    """
    want = list(parameters.get("want") or MAPS)
    for name in want:
        if name not in (*MAPS, BODY):
            raise InputError(f"There is no map {name!r}; there are {', '.join(MAPS)}.")
    fixed, moving, confidence = (
        Volume(arrays[name], Geometry.from_dict(parameters[name])) if name in arrays else None
        for name in ("fixed", "moving", "confidence")
    )
    grid = map_grid(Geometry.from_dict(parameters["fixed"]))
    field = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
    total, done = sum(WORK.get(name, 1) for name in want), 0.0

    def tell(fraction: float) -> None:
        control.check()
        control.on_progress(Progress(STAGE, fraction, None))

    made: dict[str, Volume] = {}
    for name in sorted(want, key=lambda name: WORK.get(name, 1)):
        share = WORK.get(name, 1) / total
        tell(done)
        if name in ("log_jacobian", "magnitude"):
            make = log_jacobian if name == "log_jacobian" else displacement_magnitude
            made[name] = make(field.resampled(grid))
        elif name == BODY:
            made[name] = _body(fixed, grid)
        elif name == "confidence":
            if confidence is None:
                confidence = _confidence(
                    fixed, moving, field, parameters, lambda f, base=done, share=share: tell(base + share * f)
                )
            made[name] = confidence_on(confidence, grid)
        else:
            transform = AffineTransform.identity() if name == "similarity_before" else field
            made[name] = local_similarity(fixed, moving, transform)
        done += share
    tell(1.0)
    places = []
    if confidence is not None:
        # Only in the body: beyond it nothing says where the field belongs.
        inside = (
            confidence
            if fixed is None
            else Volume(confidence.array * _body(fixed, confidence.geometry).array, confidence.geometry)
        )
        places = worst_places(inside, similarity=made.get("similarity_after"))
    report = {
        "ranges": {name: _range(volume, fixed) for name, volume in made.items() if name != BODY},
        "worst": [
            {"point_lps": place.point.tolist(), "expected_error_mm": place.expected_error_mm, "reason": place.reason}
            for place in places
        ],
    }
    return Outcome(report, {name: made[name].array for name in want}, {name: made[name].geometry for name in want})


def _confidence(
    fixed: Volume, moving: Volume, field: DisplacementField, parameters: dict, tell: Callable[[float], None]
) -> Volume:
    with torch.inference_mode():
        return confidence_of(fixed, moving, field, device=choose_device(parameters.get("device") or "auto"), tell=tell)


def _body(fixed: Volume, grid: Geometry) -> Volume:
    """1 inside the body of the fixed scan, 0 outside and beyond the scan."""
    mask = prepare(fixed, mask=None, device=torch.device("cpu"), role="fixed").mask
    source, to_unit = mask.tensor.float()[None], world_to_unit(mask.geometry)
    out = np.empty(grid.shape, np.uint8)
    for slab, points in voxel_centers(grid):
        within = sample(source, apply_matrix(to_unit, points)).reshape(out[slab].shape)
        inside = fixed.geometry.contains(points.numpy().T).reshape(out[slab].shape)
        out[slab] = (within.numpy() > 0.5) & inside
    return Volume(out, grid)


def _range(volume: Volume, fixed: Volume | None) -> dict[str, float]:
    """Of the values inside the fixed body, or of all where the fixed scan isn't there."""
    values = volume.array
    if fixed is not None and fixed.array.shape == values.shape:
        body = foreground(fixed)
        values = values[body] if body.any() else values
    low, high = np.percentile(values, [1, 99])
    return {"min": float(values.min()), "max": float(values.max()), "p1": float(low), "p99": float(high)}
