"""The expected error: where a registration is likely to be wrong, and by how much, without knowing the truth.

It is computed from the signs of an error (`signs`), which two further registrations on coarse scales find, by constants
that were fitted to registrations of known errors (`calibration`; Resources/benchmark/trust.md).

Key functions: `expected_error_of` the signs of a run, `confidence_of` for a transform made earlier.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..progress import SHARES, Monitor
from ..settings import Settings
from ..space.field import DisplacementField
from ..space.inverse import fit_affine
from ..space.registrable import check_registrable
from ..space.split import without_linear
from ..space.volume import Volume
from ..stages.linear import LinearLevel
from ..stages.prepare import Prepared, prepare, working_grid
from .calibration import MEDIAN, expected_error
from .signs import VOXELS, Signs, evidence, gather

__all__ = ["confidence_between", "confidence_of", "expected_error_of"]


def expected_error_of(signs: Signs) -> Volume:
    """The expected error of a registration, mm, from its signs (`signs.gather`).

    Returns:
        A float32 volume on a coarse grid around the fixed body, canonical axes; 0 where nothing was judged: outside the
        body, and where the mapped place lies outside the moving scan.
    """
    found, body = evidence(signs), signs.weight > 0
    if not bool(body.any()):
        return Volume(torch.zeros_like(signs.weight).cpu().numpy(), signs.geometry)
    found |= {f"{MEDIAN}{name}": values[body].median() for name, values in found.items()}
    error = expected_error(found, signs.voxel_mm, both_ways=signs.apart is not None)
    return Volume((error * signs.weight * signs.inside).cpu().numpy(), signs.geometry)


def confidence_of(
    fixed: Volume,
    moving: Volume,
    transform: DisplacementField,
    *,
    device: torch.device | None = None,
    tell: Callable[[float], None] = lambda fraction: None,
) -> Volume:
    """The expected error of a registration that was made before, or elsewhere.

    Args:
        fixed, moving: The scans.
        transform: Fixed -> moving, LPS mm, on any grid over the fixed scan.
        device: Where to compute; the CPU by default.
        tell: Called with the fraction done; it may raise `Cancelled`.

    Returns:
        The expected error, mm, as `expected_error_of` returns it.

    Raises:
        InputError: A scan is unusable.
    """
    device = device or torch.device("cpu")
    scans = [
        prepare(check_registrable(scan, role), mask=None, device=device, role=role)
        for scan, role in ((fixed, "fixed"), (moving, "moving"))
    ]
    monitor = Monitor(device, lambda progress: tell(min(1.0, progress.fraction / SHARES["finish"])))
    with monitor.stage("finish"):
        return confidence_between(*scans, transform, fit_affine(transform).matrix, Settings(), monitor)


def confidence_between(
    fixed: Prepared,
    moving: Prepared,
    transform: DisplacementField,
    linear: np.ndarray,
    settings: Settings,
    monitor: Monitor,
) -> Volume:
    """The expected error of a transform between two prepared scans, mm, as `expected_error_of` returns it.

    Args:
        fixed, moving: The prepared scans.
        transform: Fixed -> moving, LPS mm.
        linear: (4, 4), LPS mm, fixed -> moving: its linear part.
        settings: Of the further registrations.
        monitor: As for `signs.gather`.
    """
    grid = working_grid(fixed, LinearLevel(fixed, moving, VOXELS, linear, described=False).spacing)
    field = without_linear(transform, linear, grid, fixed.image.tensor.device)
    return expected_error_of(gather(fixed, moving, linear, field, settings, monitor))
