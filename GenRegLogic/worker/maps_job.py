"""The worker's job "maps": maps on the fixed scan by which a registration is judged. Loads torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..errors import InputError
from ..machine.device import choose_device
from ..progress import Progress
from ..quality.confidence import confidence_of
from ..quality.maps import (
    Place,
    confidence_on,
    displacement_magnitude,
    local_similarity,
    log_jacobian,
    map_grid,
    worst_places,
)
from ..quality.measure import foreground
from ..quality.verdict import default_tolerance
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
"""Made only if it is named in "want": 1 inside the fixed body, 0 outside, uint8."""

WORK = {"log_jacobian": 1, "magnitude": 1, "similarity_before": 3, "similarity_after": 3, "confidence": 10, BODY: 1}
"""Approximate computing time of each map, in relation to the others."""

STAGE = "maps"


def run_maps(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Compute maps of a registration, all on the fixed scan's grid, or on a coarser one if that is very large.

    Args:
        parameters: "fixed", "moving" and "field" (grids, as `Geometry.to_dict` returns them); optionally "want" (names
            of `MAPS`, all by default, and `BODY`), "confidence" (grid) if the expected error is known, "tolerance_mm",
            and "device".
        arrays: "fixed" and "moving" (k, j, i), "field" (k, j, i, 3), LPS mm, fixed -> moving, on any grid; optionally
            "confidence" (expected error, (k, j, i) mm), as `register` returns it. The scans can be absent if neither
            similarity nor confidence nor `BODY` is wanted.
        control: Receives the progress of one stage, "maps", and may request to stop.

    Returns:
        The maps (k, j, i), float32, and their grids by name; a report with "tolerance_mm", the one that was given or
        the default one for these scans, "ranges", {name: {"min", "max", "p1", "p99"}} inside the fixed body, and
        "worst", [{"point_lps", "expected_error_mm", "reason"}], the largest expected error first; empty if the expected
        error is not known.

    Raises:
        InputError: "want" contains an unknown name.
        Cancelled: The program has requested "abort".
    """
    want = list(parameters.get("want") or MAPS)
    for name in want:
        if name not in WORK:
            raise InputError(f"There is no map {name!r}; there are {', '.join(MAPS)}.")
    grids = (Geometry.from_dict(parameters[role]) for role in ("fixed", "moving"))
    maker = _Maker(parameters, arrays)
    total, done = sum(WORK[name] for name in want), 0.0

    def tell(fraction: float) -> None:
        control.check()
        control.on_progress(Progress(STAGE, fraction, None))

    made: dict[str, Volume] = {}
    for name in sorted(want, key=WORK.get):
        share = WORK[name] / total
        tell(done)
        made[name] = maker.make(name, lambda fraction, base=done, share=share: tell(base + share * fraction))
        done += share
    tell(1.0)
    report = {
        "tolerance_mm": parameters.get("tolerance_mm") or default_tolerance(*grids),
        "ranges": {name: _range(volume, maker.fixed) for name, volume in made.items() if name != BODY},
        "worst": [
            {"point_lps": place.point.tolist(), "expected_error_mm": place.expected_error_mm, "reason": place.reason}
            for place in maker.worst_places(made.get("similarity_after"))
        ],
    }
    return Outcome(report, {name: made[name].array for name in want}, {name: made[name].geometry for name in want})


class _Maker:
    """Computes the maps of one registration; the arguments are those of `run_maps`.

    Attributes:
        fixed: The fixed scan, or None if it was not sent.
        confidence: Expected error in mm, if it was sent or has been computed.
    """

    def __init__(self, parameters: dict, arrays: dict[str, np.ndarray]) -> None:
        self.fixed, self._moving, self.confidence = (
            Volume(arrays[name], Geometry.from_dict(parameters[name])) if name in arrays else None
            for name in ("fixed", "moving", "confidence")
        )
        self._grid = map_grid(Geometry.from_dict(parameters["fixed"]))
        self._field = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
        self._device = parameters.get("device") or "auto"

    def make(self, name: str, tell: Callable[[float], None]) -> Volume:
        """Compute one map; `tell` receives the fraction of it that is done."""
        if name == "log_jacobian":
            return log_jacobian(self._field.resampled(self._grid))
        if name == "magnitude":
            return displacement_magnitude(self._field.resampled(self._grid))
        if name == BODY:
            return _body(self.fixed, self._grid)
        if name == "confidence":
            if self.confidence is None:
                device = choose_device(self._device)
                with torch.inference_mode():
                    self.confidence = confidence_of(self.fixed, self._moving, self._field, device=device, tell=tell)
            return confidence_on(self.confidence, self._grid, inside_only=True)
        transform = AffineTransform.identity() if name == "similarity_before" else self._field
        return local_similarity(self.fixed, self._moving, transform)

    def worst_places(self, similarity: Volume | None) -> list[Place]:
        """The places of the largest expected error inside the body, the largest first; none if it is not known."""
        if self.confidence is None:
            return []
        error = self.confidence
        if self.fixed is not None:  # outside the body there is nothing to align
            error = Volume(error.array * _body(self.fixed, error.geometry).array, error.geometry)
        return worst_places(error, similarity=similarity)


def _body(fixed: Volume, grid: Geometry) -> Volume:
    """1 inside the body of the fixed scan, 0 outside the body and outside the scan; uint8."""
    mask = prepare(fixed, mask=None, device=torch.device("cpu"), role="fixed").mask
    source, to_unit = mask.tensor.float()[None], world_to_unit(mask.geometry)
    out = np.empty(grid.shape, np.uint8)
    for slab, points in voxel_centers(grid):
        within = sample(source, apply_matrix(to_unit, points)).reshape(out[slab].shape)
        inside = fixed.geometry.contains(points.numpy().T).reshape(out[slab].shape)
        out[slab] = (within.numpy() > 0.5) & inside
    return Volume(out, grid)


def _range(volume: Volume, fixed: Volume | None) -> dict[str, float]:
    """Extremes and percentiles of the values inside the fixed body, or of all values without a fixed scan."""
    values = volume.array
    if fixed is not None and fixed.array.shape == values.shape:
        body = foreground(fixed)
        values = values[body] if body.any() else values
    low, high = np.percentile(values, [1, 99])
    return {"min": float(values.min()), "max": float(values.max()), "p1": float(low), "p99": float(high)}
