"""The job "repair": goes on refining a transform in a region. Imported in the worker's process only."""

from __future__ import annotations

import numpy as np

from ..repair import repair
from ..settings import Settings
from ..space.field import DisplacementField
from ..space.volume import Geometry, Volume
from .jobs import Outcome, outcome_of
from .server import JobControl

__all__ = ["run_repair"]


def run_repair(parameters: dict, arrays: dict[str, np.ndarray], control: JobControl) -> Outcome:
    """Refine a transform where it is wrong.

    Args:
        parameters: As for "register", and "field" (grid); "region" (grid) unless there are landmarks.
        arrays: "fixed", "moving" (k, j, i), "field" (k, j, i, 3) mm, LPS, fixed -> moving, and "region" (k, j, i),
            nonzero inside.
        control: Answers and ears.

    Returns:
        As "register"; there is no "confidence".
    """

    def volume(name: str) -> Volume | None:
        return Volume(arrays[name], Geometry.from_dict(parameters[name])) if parameters.get(name) else None

    def points(name: str) -> np.ndarray | None:
        return None if parameters.get(name) is None else np.array(parameters[name], np.float64)

    result = repair(
        volume("fixed"),
        volume("moving"),
        DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"])),
        region=volume("region"),
        fixed_landmarks=points("fixed_landmarks"),
        moving_landmarks=points("moving_landmarks"),
        settings=Settings(**parameters["settings"]),
        on_progress=control.on_progress,
        cancel=control.cancel,
    )
    return outcome_of(result, parameters, control)
