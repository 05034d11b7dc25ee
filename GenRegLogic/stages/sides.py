"""Whether left and right can be told apart from the images, where a scan's header doesn't say.

Heads and other bodies that are nearly symmetric fit almost as well when one of them is mirrored, and nothing in the
figures of such a registration shows it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..errors import Doubt
from ..space.grid import canonical_axes
from ..space.volume import Volume
from .linear import Candidate, align
from .prepare import Prepared, prepare

__all__ = ["ALIKE", "SIDES_IN_DOUBT", "sides_doubt"]

SIDES_IN_DOUBT = ("forms_disagree", "frame_unknown", "orientation_unknown", "position_unknown")
"""Names of the doubts that leave open which side is left."""

ALIKE = 1.03
"""Ratio of two objectives that says nothing. Of 15 pairs of `scripts/benchmark` the mirrored alignment is worse by
factors from 1.04 to 3.1 in eleven; in the others, heads and brains of two individuals, it is 1.00 to 1.014."""


def sides_doubt(
    fixed: Prepared,
    scans: tuple[Volume, Volume],
    found: Candidate,
    *,
    moving_mask: Volume | None,
    device: torch.device,
) -> Doubt | None:
    """What the images say of left and right; None where the headers of both scans leave no doubt.

    Args:
        fixed: The prepared fixed scan.
        scans: The fixed and the moving scan, with their doubts.
        found: The linear alignment of the scans as they are.
        moving_mask: The mask of the moving scan, on its grid, if one was given.
        device: Of the computation.

    Returns:
        A doubt named "sides_unclear", "sides_mirrored" or "sides_clear"; only the last one leaves nothing guessed.
    """
    names = {getattr(sentence, "name", None) for scan in scans for sentence in scan.warnings}
    if not names & set(SIDES_IN_DOUBT):
        return None
    mask = None if moving_mask is None else mirrored(moving_mask)
    other, _ = align(fixed, prepare(mirrored(scans[1]), mask=mask, device=device, role="moving"))
    if other.objective * ALIKE < found.objective:
        text = (
            "A header leaves left and right open, and the scans fit better with one of them mirrored: check the sides."
        )
        return Doubt("sides_mirrored", text, guessed=True)
    if other.objective < found.objective * ALIKE:
        text = "A header leaves left and right open, and the images cannot tell them apart: check the sides."
        return Doubt("sides_unclear", text, guessed=True)
    return Doubt(
        "sides_clear", "A header leaves left and right open, but the scans fit better as they are than mirrored."
    )


def mirrored(volume: Volume) -> Volume:
    """The same voxels with left and right exchanged: reversed along the stored axis that is closest to LPS x."""
    axis = canonical_axes(volume.geometry.direction)[0][0]
    return replace(volume, array=np.ascontiguousarray(np.flip(volume.array, 2 - axis)))
