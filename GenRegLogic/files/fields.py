"""Displacement fields in image files, and what other programs keep in files that look alike.

Every program says in its own way, or not at all, whether a vector is a displacement or a position, and in which frame.
What a file says is followed; what is known to be something else is refused by its name; and what claims to be a
displacement but grows with the position as only a position does is refused too.

Sources: ITK's NiftiImageIO (intent 1006 is RAS, 1007 as it stands); NiftyReg's _reg_maths.h (NREG_TRANS and its types
in intent_p1); SPM's nifti dictionary ("Mapping"); FSL's fslio intent codes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import Doubt, InputError
from ..space.field import DisplacementField
from ..space.geometry import DIMENSION, Geometry
from .pixels import Pixels
from .reading import naming, read_pixels

__all__ = ["read_field"]

DISPLACEMENTS_RAS = 1006
"""NIfTI's intent "displacement vector", which ITK reads and writes as RAS."""

NIFTYREG, NIFTYREG_POSITIONS, NIFTYREG_DISPLACEMENTS = "NREG_TRANS", 0, 1
SPM_POSITIONS, SPM_FLOW = "mapping", "flow"
FSL_INTENTS = range(2006, 2019)
FSL = (
    "The file holds a deformation of FSL (FNIRT or TOPUP) in a frame of its own; convert it to a displacement field of "
    "ITK first (for instance with Connectome Workbench's wb_command -convert-warpfield -from-fnirt)."
)

LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0], np.float32)

SAMPLED_VOXELS = 20_000
POSITION_LIKE = 0.25
"""A field is taken for positions where it differs from them by less than this share of their spread: as displacements
it would double all distances, or collapse them."""


def read_field(path: Path) -> tuple[DisplacementField, tuple[Doubt, ...]]:
    """Read a displacement field, fixed -> moving, and what was converted.

    Returns:
        The field, LPS mm, whatever frame the file's program uses, and sentences about it.

    Raises:
        InputError: It can't be read, holds no field, or one of a kind that has to be converted first.
        ResourceError: Not enough memory.
    """
    pixels = read_pixels(path, vector=True)
    with naming(path):
        array, geometry = pixels.array, pixels.geometry
        if array.ndim != DIMENSION + 1 or array.shape[-1] != DIMENSION:
            raise InputError("The image is not a displacement field: it needs 3 dimensions and 3 values per voxel.")
        array, doubts = _lps_displacements(pixels)
        return DisplacementField(array, geometry), (*pixels.doubts, *doubts)


def _lps_displacements(pixels: Pixels) -> tuple[np.ndarray, tuple[Doubt, ...]]:
    """(k, j, i, 3) displacements, LPS mm, of what the file's intent says that it holds."""
    array, intent = pixels.array, pixels.intent
    name, code = intent.get("name", ""), intent.get("code", 0)
    if code in FSL_INTENTS:
        raise InputError(FSL)
    if name.startswith(NIFTYREG):
        kind = intent["p1"]
        if kind == NIFTYREG_POSITIONS:
            return _displacements_of_positions(array, pixels.geometry), _converted("NiftyReg's deformation field")
        if kind == NIFTYREG_DISPLACEMENTS:
            return array * LPS_FROM_RAS, _converted("NiftyReg's displacement field")
        raise InputError(
            "The file holds control points or velocities of NiftyReg, not a field of displacements; convert it first "
            "(reg_transform -def or -disp)."
        )
    if name.lower().startswith(SPM_POSITIONS):
        return _displacements_of_positions(array, pixels.geometry), _converted("SPM's deformation field")
    if SPM_FLOW in name.lower():
        raise InputError("The file holds a flow field of SPM's DARTEL, not displacements; export a deformation (y_).")
    if code == DISPLACEMENTS_RAS:
        return array * LPS_FROM_RAS, ()
    if _looks_like_positions(array, pixels.geometry):
        raise InputError(
            "The vectors look like positions, not like displacements (their values follow the voxels' own places); "
            "subtract the positions first, or convert the field with the program that wrote it."
        )
    return array, ()


def _converted(what: str) -> tuple[Doubt, ...]:
    return (Doubt("field_converted", f"The file holds {what}; it was converted to displacements in LPS mm."),)


def _displacements_of_positions(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Displacements, LPS mm, of positions in the moving scan, RAS mm."""
    result = np.empty(array.shape, np.float32)
    n_k, n_j, n_i = array.shape[:DIMENSION]
    plane = np.stack(np.meshgrid(np.arange(n_i), np.arange(n_j)), axis=-1)
    for k in range(n_k):
        places = geometry.to_world(np.concatenate([plane, np.full((n_j, n_i, 1), k)], axis=-1))
        result[k] = array[k] * LPS_FROM_RAS.astype(np.float64) - places
    return result


def _looks_like_positions(array: np.ndarray, geometry: Geometry) -> bool:
    """Whether the vectors follow the places of their voxels, in LPS or in RAS, but for a shift."""
    step = max(1, int((array[..., 0].size / SAMPLED_VOXELS) ** (1 / 3)))
    grids = np.meshgrid(*[np.arange(0, n, step) for n in geometry.shape], indexing="ij")
    k, j, i = (grid.ravel() for grid in grids)
    places = geometry.to_world(np.stack([i, j, k], axis=1))
    vectors = array[k, j, i].astype(np.float64)
    finite = np.isfinite(vectors).all(axis=1)
    if finite.sum() < 8:
        return False
    places, vectors = places[finite], vectors[finite]
    spread = np.sqrt(places.var(axis=0).sum())
    differences = (np.sqrt((vectors * sign - places).var(axis=0).sum()) for sign in (np.ones(3), LPS_FROM_RAS))
    return any(difference < POSITION_LIKE * spread for difference in differences)
