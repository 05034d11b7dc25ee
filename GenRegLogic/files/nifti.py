"""Reading NIfTI, Analyze and FreeSurfer's .mgz, by nibabel's headers.

nibabel knows the headers; the voxels are read here in one pass that counts them and has gzip check its sum, so that a
file that is cut off or damaged is never taken for a scan.

Where a NIfTI file gives two positions (qform and sform), the same one is taken as ITK and Slicer take, so that a
transform fits the scan that Slicer shows; a difference is a doubt.
"""

from __future__ import annotations

import gzip
import math
import stat
import zlib
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np

from ..errors import Doubt, InputError
from ..space.geometry import Geometry, check_image_kind
from .pixels import DAMAGED, Pixels, check_spacing, geometry_from_ras, moved_components, unit_factor

__all__ = ["is_gzip", "open_maybe_gzip", "read_mgh", "read_nifti"]

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540
SINGLE, PAIR, ANALYZE = (b"n+1", b"n+2"), (b"ni1", b"ni2"), b"\0\0\0"
"""How a header says where its voxels are: behind it, in a second file; Analyze 7.5 says nothing."""

SCANNER = 1
"""The code of a position in the scanner's own frame."""

FORMS_TOLERANCE = 0.1
"""Of the smallest voxel: corners of a scan that lie farther apart by qform and sform are at two places."""

SCALE_TOLERANCE = 1e-3
"""Relative; beyond it the spacing and the columns of an affine disagree."""

MAX_GZIP_RATIO = 1100
"""DEFLATE can't shrink data more than 1032-fold, so a smaller file doesn't hold what its header promises."""

DRAIN_BYTES = 2**20

MGH_FOOTER_BYTES = 16
"""Behind its voxels a .mgh file tells of the acquisition in four or more numbers, or there is nothing."""

MGH_PLACED = slice(28, 30)
"""Where the .mgh header keeps goodRASFlag (int16, big-endian); nibabel replaces what follows and sets the flag."""

COMPLEX = "The image holds complex numbers; give its magnitude as a 3D scalar image."


def is_gzip(path: Path) -> bool:
    """Whether the file begins as gzip files do, whatever it is called."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def open_maybe_gzip(path: Path) -> IO[bytes]:
    """The file's contents, decompressed where they are."""
    return gzip.open(path) if is_gzip(path) else path.open("rb")


def read_nifti(path: Path, *, vector: bool = False) -> Pixels:
    """Read NIfTI-1, NIfTI-2 or Analyze 7.5; one file or a pair of header and image.

    Args:
        path: Of the file, or of either file of a pair.
        vector: Three or more values per voxel are wanted, instead of one.

    Raises:
        InputError: Damaged, cut off, its header is unusable, or it holds another kind of image.
    """
    header_path = _partner(path, ".img", ".hdr")
    try:
        with open_maybe_gzip(header_path) as stream:
            header, magic = _header(stream)
            _check_pair(header_path, magic)
            dtype, size, components = _layout(header, vector)
            if magic in SINGLE:
                skipped = max(header.get_data_offset(), header.structarr.nbytes + 4) - header.structarr.nbytes
                raw, rest = _voxels(stream, header_path, skipped, dtype, size, components)
        if magic not in SINGLE:
            image_path = _partner(path, ".hdr", ".img")
            with open_maybe_gzip(image_path) as stream:
                raw, rest = _voxels(stream, image_path, header.get_data_offset(), dtype, size, components)
        geometry, doubts = _analyze_place(header, size) if magic == ANALYZE else _nifti_place(header, size)
    except (OSError, EOFError, zlib.error, OverflowError, nib.spatialimages.HeaderDataError):
        raise InputError(DAMAGED) from None
    doubts += _doubts_of_rest(rest)
    array = _scaled(raw, *header.get_slope_inter())
    intent = {} if magic == ANALYZE else _intent(header)
    return Pixels(moved_components(array, components), geometry, tuple(doubts), intent)


def _partner(path: Path, of: str, to: str) -> Path:
    """The other file of a pair: header.hdr for header.img, compressed or not."""
    name = path.name
    for ending in (of, of + ".gz"):
        if name.lower().endswith(ending):
            stem = name[: len(name) - len(ending)]
            for other in (to, to + ".gz", to.upper()):
                if (path.with_name(stem + other)).is_file():
                    return path.with_name(stem + other)
            raise InputError(f"The file belongs to a pair, but {stem}{to} is not beside it; put both in one folder.")
    return path


def _header(stream: IO[bytes]) -> tuple[nib.Nifti1Header | nib.spm99analyze.Spm99AnalyzeHeader, bytes]:
    """The header, and the three letters that say which kind it is."""
    start = stream.read(NIFTI1_BYTES)
    if len(start) < NIFTI1_BYTES:
        raise InputError(DAMAGED)
    sizes = {int.from_bytes(start[:4], order, signed=True): sign for order, sign in (("little", "<"), ("big", ">"))}
    if NIFTI2_BYTES in sizes:
        start += stream.read(NIFTI2_BYTES - NIFTI1_BYTES)
        magic = start[4:7]
        kind, order = nib.Nifti2Header, sizes[NIFTI2_BYTES]
    elif NIFTI1_BYTES in sizes:
        magic = start[344:347]
        kind, order = (nib.spm2analyze.Spm2AnalyzeHeader if magic == ANALYZE else nib.Nifti1Header), sizes[NIFTI1_BYTES]
    else:
        raise InputError(DAMAGED)
    if magic not in (*SINGLE, *PAIR, ANALYZE) or (kind is nib.Nifti2Header and magic == ANALYZE):
        raise InputError("The file is damaged: its header isn't that of a NIfTI file; copy or export it again.")
    return kind(start, endianness=order, check=False), magic


def _check_pair(path: Path, magic: bytes) -> None:
    pair = path.name.lower().endswith((".hdr", ".hdr.gz", ".img", ".img.gz"))
    if pair != (magic not in SINGLE):
        raise InputError("The file is damaged: its header doesn't fit its kind; copy or export it again.")


def _layout(header, vector: bool) -> tuple[np.dtype, tuple[int, ...], int]:
    """The type of the voxels, the size (i, j, k), and how many values each has."""
    count = int(header["dim"][0])
    sizes = [int(n) for n in header["dim"][1 : 1 + max(count, 0)]]
    if not 1 <= count <= 7 or min(sizes) < 1:
        raise InputError(DAMAGED)
    dtype = header.get_data_dtype()
    if dtype.fields or dtype.kind == "V":
        raise InputError("The image holds colors (a color or vector image); GenReg needs a scalar image.")
    if dtype.kind == "c":
        raise InputError(COMPLEX)
    if dtype.kind not in "iuf":
        raise InputError(f"The voxels are of a type ({dtype}) that GenReg doesn't read; convert them to float32.")
    if dtype.itemsize > 8:
        raise InputError("The voxels are 128-bit numbers, which GenReg doesn't read; convert them to float32.")
    components = math.prod(sizes[4:]) if count >= 5 else 1
    if not vector:
        _check_scalar(count, sizes, components)
    elif components == 1 and count == 4 and sizes[3] == 3:
        raise InputError(
            "The image is 4D with three volumes, which is how FSL, AFNI and MRtrix keep deformations in frames of "
            "their own; convert it to a displacement field of ITK first (for instance with Connectome Workbench's "
            "wb_command -convert-warpfield, or MRtrix's warpconvert)."
        )
    check_spacing(header["pixdim"][1 : 1 + min(count, 3)])
    return dtype, tuple((sizes + [1, 1])[:3]), components


def _check_scalar(count: int, sizes: list[int], components: int) -> None:
    values = components if count > 4 and sizes[3] == 1 else 1
    check_image_kind(count, [*sizes[:3], math.prod(sizes[3:])] if count > 3 and values == 1 else sizes[:3], values)


def _voxels(
    stream: IO[bytes], path: Path, skipped: int, dtype: np.dtype, size: tuple[int, ...], components: int
) -> tuple[np.ndarray, int]:
    """The file's voxels, (c, k, j, i), all of them, with gzip's sum checked; and how many bytes follow them."""
    shape = (components, *size[::-1])
    needed = math.prod(shape) * dtype.itemsize
    there = path.stat().st_size
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("It isn't a regular file.")
    compressed = isinstance(stream, gzip.GzipFile)
    if needed > there * (MAX_GZIP_RATIO if compressed else 1):
        raise InputError("The file is truncated: it ends before its last voxel; copy or export it again.")
    stream.read(skipped)
    raw = np.empty(shape, dtype)
    view, filled, rest = memoryview(raw.reshape(-1).view(np.uint8)), 0, 0
    try:
        while filled < needed and (got := stream.readinto(view[filled:])):
            filled += got
        while got := len(stream.read(DRAIN_BYTES)):  # gzip compares its sums at the end
            rest += got
    except (OSError, EOFError, zlib.error):
        raise InputError(_where_damaged(filled, raw)) from None
    if filled < needed:
        raise InputError(
            f"The file is truncated: it ends before its last voxel, in slice {1 + filled // raw[0, 0].nbytes} of "
            f"{len(raw) * size[2]}; copy or export it again."
        )
    return (raw if dtype.isnative else raw.byteswap(inplace=True).view(dtype.newbyteorder("="))), rest


def _doubts_of_rest(rest: int) -> list[Doubt]:
    """The doubt about bytes behind the last voxel: some may have been inserted before it, which shifts the voxels."""
    if rest == 0:
        return []
    text = f"The file is {rest} bytes longer than its header says, so its voxels may be shifted; look at the scan."
    return [Doubt("longer_than_its_header", text, guessed=True)]


def _where_damaged(filled: int, raw: np.ndarray) -> str:
    slices = len(raw) * raw.shape[1]
    if filled >= raw.nbytes:
        return "The file is damaged: its checksum is wrong, so any of its voxels may be; copy or export it again."
    return (
        f"The file is damaged: it can be decompressed up to slice {1 + filled // raw[0, 0].nbytes} of {slices} only; "
        "copy or export it again."
    )


def _scaled(raw: np.ndarray, slope: float | None, intercept: float | None) -> np.ndarray:
    """The values that the file means: its numbers times the slope, plus the intercept; float32 where that is enough."""
    if slope is None or (slope == 1 and not intercept):
        return raw
    scaled = np.empty(raw.shape, np.float32 if raw.dtype.itemsize <= 2 or raw.dtype == np.float32 else np.float64)
    for block in np.ndindex(raw.shape[:2]):
        scaled[block] = raw[block] * float(slope) + float(intercept or 0.0)
    return scaled


def _intent(header) -> dict:
    return {
        "code": int(header["intent_code"]),
        "name": header["intent_name"].item().decode("latin-1").strip("\0 ").strip(),
        "p1": float(header["intent_p1"]),
    }


def _nifti_place(header, size: tuple[int, ...]) -> tuple[Geometry, list[Doubt]]:
    """Where the voxels are, and what is doubtful about it."""
    spacing = [float(s) for s in header["pixdim"][1:4]]
    spacing = [s if n < len(_sizes(header)) else 1.0 for n, s in enumerate(spacing)]
    factor, doubts = unit_factor(header.get_xyzt_units()[0])
    qform, sform = _qform(header, spacing), _sform(header)
    if qform is None and sform is None:
        doubts.append(
            Doubt(
                "position_unknown",
                "The NIfTI header doesn't say where the scan lies or which side is left; it was placed at the origin.",
                guessed=True,
            )
        )
        return Geometry(size, [s * factor for s in spacing]), doubts
    chosen, other = (sform, qform) if _prefers_sform(header, qform, sform, spacing) else (qform, sform)
    if other is not None and _corner_distance(chosen, other, size) > FORMS_TOLERANCE * min(spacing):
        name = "sform" if chosen is sform else "qform"
        doubts.append(
            Doubt(
                "forms_disagree",
                f"The NIfTI header gives two positions, qform and sform, that disagree by up to "
                f"{_corner_distance(chosen, other, size) * factor:.3g} mm; the {name} was taken, as Slicer does.",
                guessed=True,
            )
        )
    return geometry_from_ras(chosen, size, spacing, factor, doubts), doubts


def _sizes(header) -> list[int]:
    return list(header["dim"][1 : 1 + int(header["dim"][0])])


def _qform(header, spacing: list[float]) -> np.ndarray | None:
    if header["qform_code"] <= 0:
        return None
    numbers = [float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d")]
    offset = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    if not np.isfinite([*numbers, *offset]).all():
        raise InputError("The header's position (its qform) holds NaN or infinite numbers; correct the header.")
    handed = -1.0 if header["pixdim"][0] == -1 else 1.0
    try:
        rotation = nib.quaternions.quat2mat(
            nib.quaternions.fillpositive(numbers, nib.Nifti1Header.quaternion_threshold)
        )
    except ValueError:
        raise InputError("The header's orientation (its qform) is no rotation; correct the header.") from None
    affine = np.eye(4)
    affine[:3, :3] = rotation * [spacing[0], spacing[1], spacing[2] * handed]
    affine[:3, 3] = offset
    return affine


def _sform(header) -> np.ndarray | None:
    if header["sform_code"] <= 0:
        return None
    affine = np.vstack([np.array([header[f"srow_{axis}"] for axis in "xyz"], np.float64), [0, 0, 0, 1]])
    if not np.isfinite(affine).all():
        raise InputError("The header's position (its sform) holds NaN or infinite numbers; correct the header.")
    return affine


def _prefers_sform(header, qform: np.ndarray | None, sform: np.ndarray | None, spacing: list[float]) -> bool:
    """ITK's choice: the sform where it stands alone or is in the scanner's frame, and is a rigid placing."""
    if qform is None or sform is None:
        return qform is None
    columns = np.linalg.norm(sform[:3, :3], axis=0)
    if not np.allclose(columns, spacing, rtol=SCALE_TOLERANCE):
        return False
    unit = sform[:3, :3] / columns
    straight = np.abs(unit.T @ unit - np.eye(3)).max() <= SCALE_TOLERANCE
    return bool(straight and header["sform_code"] == SCANNER)


def _corner_distance(first: np.ndarray, second: np.ndarray, size: tuple[int, ...]) -> float:
    """Largest distance between the places of one corner voxel by two affines, in their unit."""
    ends = np.stack(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), -1).reshape(-1, 3)
    return float(np.linalg.norm(ends @ (first - second)[:3, :3].T + (first - second)[:3, 3], axis=1).max())


def _analyze_place(header, size: tuple[int, ...]) -> tuple[Geometry, list[Doubt]]:
    doubt = Doubt(
        "orientation_unknown",
        "Analyze files don't say where the scan lies or which side is left; it was placed at the origin.",
        guessed=True,
    )
    return Geometry(size, [float(s) for s in header["pixdim"][1:4]]), [doubt]


def read_mgh(path: Path, *, vector: bool = False) -> Pixels:
    """Read FreeSurfer's .mgh or .mgz.

    Raises:
        InputError: Damaged, cut off, its header is unusable, or it holds another kind of image.
    """
    try:
        with open_maybe_gzip(path) as stream:
            placed = int.from_bytes(stream.read(MGH_PLACED.stop)[MGH_PLACED], "big", signed=True) > 0
            stream.seek(0)
            header = nib.freesurfer.mghformat.MGHHeader.from_fileobj(stream, check=False)
            size = tuple(int(n) for n in header["dims"][:3])
            components = int(header["dims"][3])
            if header["version"] != 1 or min(*size, components) < 1:
                raise InputError(DAMAGED)
            if not vector:
                check_image_kind(4, (*size, components), 1)
            check_spacing(header["delta"])
            stream.seek(header.get_data_offset())
            raw, rest = _voxels(stream, path, 0, header.get_data_dtype(), size, components)
    except (OSError, EOFError, zlib.error, KeyError, ValueError, nib.spatialimages.HeaderDataError) as error:
        raise (error if isinstance(error, InputError) else InputError(DAMAGED)) from None
    doubts = [] if rest >= MGH_FOOTER_BYTES else _doubts_of_rest(rest)
    if not placed:
        doubts.append(
            Doubt(
                "position_unknown",
                "The file doesn't say where the scan lies; FreeSurfer's usual orientation was assumed.",
                guessed=True,
            )
        )
    spacing = [float(s) for s in header["delta"]]
    return Pixels(
        moved_components(raw, components), geometry_from_ras(header.get_affine(), size, spacing), tuple(doubts)
    )
