"""Reading NRRD by pynrrd, and MetaImage (.mha, .mhd) by ITK once its data have been counted.

pynrrd compares the size of the data with the header's and has gzip check its sum; ITK does neither for MetaImage, so
`_check_meta` decompresses the data once, which checks zlib's sum, before ITK reads them.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk

from ..errors import Doubt, InputError, ResourceError
from ..space.geometry import DIMENSION, NOT_PERPENDICULAR, Geometry, check_image_kind
from .pixels import DAMAGED, Pixels, check_spacing, unit_factor

__all__ = ["read_meta", "read_nrrd"]

TOWARDS = {"left": (0, 1), "right": (0, -1), "posterior": (1, 1), "anterior": (1, -1), "superior": (2, 1),
           "inferior": (2, -1)}  # fmt: skip
"""The LPS axis along which a word of NRRD's `space` points, and its sign."""

SHORT_SPACES = {"ras": "right-anterior-superior", "las": "left-anterior-superior", "lps": "left-posterior-superior"}

DOMAIN_KINDS = ("domain", "space", "time", "???", "none")
SEGMENT_KEY = re.compile(r"Segment\d+_")

SIZES_OF_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t", "ushort"), 2),
    **dict.fromkeys(("unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t", "double"), 8),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), 8),
}
"""Bytes of a voxel, by the names that NRRD has for types."""

SLICES_IN_FILES = "The image's slices are in files of their own; save it as one file."

META_HEADER_BYTES = 2**16
META_TYPES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
              "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}  # fmt: skip
BLOCK_BYTES = 2**22
ANY_ZLIB_CONTAINER = 47
"""zlib's code for finding out by itself whether zlib's or gzip's header comes first."""


def read_nrrd(path: Path, *, vector: bool = False) -> Pixels:
    """Read .nrrd, or .nhdr with its data in a second file.

    Args:
        path: Of the file with the header.
        vector: Several values per voxel are wanted, instead of one.

    Raises:
        InputError: Damaged, cut off, its header is unusable, or it holds another kind of image.
    """
    try:
        with path.open("rb") as stream:
            header = nrrd.read_header(stream)
            offset = stream.tell()
        _check_nrrd_data(header, path, offset)
        axes, other = _axes(header)
        _check_kind(header, axes, other, vector)
        geometry, doubts = _nrrd_place(header, axes)
        data, _ = nrrd.read(str(path), index_order="C")
    except (nrrd.NRRDError, OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, TypeError, OverflowError):
        raise InputError(DAMAGED) from None
    if data.dtype.kind not in "iuf":
        raise InputError(f"The voxels are of a type ({data.dtype}) that GenReg doesn't read; convert them to float32.")
    # in C order the axes of the array are the header's in reverse
    order = [data.ndim - 1 - axis for axis in reversed(axes)] + [data.ndim - 1 - axis for axis in other]
    array = np.transpose(data, order)
    array = array if vector and other else array.reshape(array.shape[:DIMENSION])
    return Pixels(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), geometry, tuple(doubts))


def _axes(header: Mapping) -> tuple[list[int], list[int]]:
    """The three axes of space, and the others."""
    count = int(header["dimension"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * count)]
    directions = header.get("space directions")
    if directions is not None:
        placed = [row is not None and np.isfinite(np.asarray(row, float)).all() for row in directions]
        listless = [row is None or np.isnan(np.asarray(row, float)).all() for row in directions]
        if any(not p and not n for p, n in zip(placed, listless)):
            raise InputError("The header's space directions hold NaN or infinite numbers; correct the header.")
    else:
        placed = [kind in DOMAIN_KINDS for kind in kinds]
    space = [n for n in range(count) if placed[n]]
    return space, [n for n in range(count) if not placed[n]]


def _check_kind(header: Mapping, axes: list[int], other: list[int], vector: bool) -> None:
    sizes = [int(n) for n in header["sizes"]]
    components = math.prod(sizes[n] for n in other)
    if components > 1 and any(SEGMENT_KEY.match(key) for key in header):
        raise InputError(
            f"The file is a segmentation whose segments overlap (it has {components} layers); export the segments that "
            "you want as a label map (in Slicer: Segmentations, Export to new labelmap)."
        )
    if not vector:
        check_image_kind(len(axes), [sizes[n] for n in axes], components)
    if len(axes) < DIMENSION:
        raise InputError(f"The image is {len(axes)}D; GenReg needs a 3D scan.")
    if len(axes) > DIMENSION:
        check_image_kind(len(axes), [sizes[n] for n in axes], 1)


def _check_nrrd_data(header: Mapping, path: Path, offset: int) -> None:
    """Refuse data that pynrrd would wait for without end, or whose bytes are not as many as the header says."""
    name = header.get("datafile", header.get("data file"))
    if name is not None and (str(name).upper().startswith("LIST") or "%" in str(name)):
        raise InputError(SLICES_IN_FILES)
    data = path if name is None else _beside(path, str(name))
    size, start = data.stat().st_size, offset if name is None else 0
    lines, skipped = (int(header.get(f"{what}skip", header.get(f"{what} skip", 0))) for what in ("line", "byte"))
    if lines > size or skipped > size:
        raise InputError(DAMAGED)
    item = SIZES_OF_TYPES.get(str(header["type"]).lower())
    if header["encoding"] == "raw" and item is not None and lines == 0 and skipped >= 0:
        needed = math.prod(int(n) for n in header["sizes"]) * item
        _check_length(size - start - skipped, needed)


def _beside(path: Path, name: str) -> Path:
    """The file with the voxels, which a header names."""
    data = path.parent / name
    if not data.is_file():
        raise InputError(
            f"The file with the voxels, {Path(name).name[:100]}, is not beside the header; put both in one folder."
        )
    return data


def _check_length(there: int, needed: int) -> None:
    if there < needed:
        raise InputError("The file is truncated: it ends before its last voxel; copy or export it again.")
    if there > needed:
        raise InputError(
            "The file is damaged: it holds more than the voxels that its header tells of, so they may be shifted; copy "
            "or export it again."
        )


def _nrrd_place(header: Mapping, axes: list[int]) -> tuple[Geometry, list[Doubt]]:
    """Where the voxels are, LPS mm, and what is doubtful about it."""
    size = [int(header["sizes"][n]) for n in axes[:DIMENSION]]
    directions, doubts = header.get("space directions"), []
    if directions is None:
        spacing = [float(s) for s in np.asarray(header.get("spacings", [1.0] * int(header["dimension"])))[axes]]
        check_spacing(spacing)
        factor, doubts = _nrrd_unit(header.get("units"), axes)
        text = "The NRRD header doesn't say where the scan lies or which side is left; it was placed at the origin."
        doubts.append(Doubt("position_unknown", text, guessed=True))
        return Geometry(size, [s * factor for s in spacing]), doubts
    matrix = np.asarray([directions[n] for n in axes], np.float64).T
    origin = np.asarray(header.get("space origin", [np.nan] * DIMENSION), np.float64)
    if matrix.shape != (DIMENSION, DIMENSION) or origin.shape != (DIMENSION,):
        raise InputError(DAMAGED)
    factor, doubts = _nrrd_unit(header.get("space units"), range(DIMENSION))
    to_lps = _frame(str(header.get("space", "")))
    if to_lps is None:
        to_lps = np.eye(DIMENSION)
        text = f"The NRRD header's space, '{header.get('space', '')}', isn't one of the patient; it was taken for LPS."
        doubts.append(Doubt("frame_unknown", text, guessed=True))
    if "space origin" not in header:
        origin = np.zeros(DIMENSION)
        doubts.append(
            Doubt(
                "position_unknown", "The NRRD header has no origin; the scan was placed at the frame's.", guessed=True
            )
        )
    lengths = np.linalg.norm(matrix, axis=0)
    check_spacing(lengths)
    return Geometry(size, lengths * factor, to_lps @ origin * factor, to_lps @ matrix / lengths), doubts


def _nrrd_unit(units, axes) -> tuple[float, list[Doubt]]:
    if units is None:
        return 1.0, []
    names = {str(units[n]).strip('" ') for n in axes if n < len(units)}
    if len(names) > 1:
        raise InputError("The header gives the axes in different units of length; convert the image to mm.")
    return unit_factor(names.pop()) if names else (1.0, [])


def _frame(space: str) -> np.ndarray | None:
    """(3, 3) from the header's frame to LPS; None where it isn't one of the patient's."""
    words = SHORT_SPACES.get(space.lower(), space.lower()).split("-")
    if len(words) != DIMENSION or not all(word in TOWARDS for word in words):
        return None
    matrix = np.zeros((DIMENSION, DIMENSION))
    for column, word in enumerate(words):
        axis, sign = TOWARDS[word]
        matrix[axis, column] = sign
    return matrix if np.linalg.matrix_rank(matrix) == DIMENSION else None


def read_meta(path: Path, *, vector: bool = False) -> Pixels:
    """Read .mha, or .mhd with its data in a second file.

    Raises:
        InputError: Damaged, cut off, its header is unusable, or it holds another kind of image.
    """
    header, offset = _meta_header(path)
    try:
        doubts = _check_meta(header, path, offset)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("MetaImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        components = reader.GetNumberOfComponents()
        if not vector:
            check_image_kind(reader.GetDimension(), reader.GetSize(), components)
        image = reader.Execute()
    except RuntimeError as error:
        if "allocate" in str(error) or "bad_alloc" in str(error):
            raise ResourceError("There is not enough memory to read this file.") from None
        if "orthonormal" in str(error) or "Bad direction" in str(error):
            raise InputError(NOT_PERPENDICULAR) from None
        raise InputError(DAMAGED) from None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, OverflowError):
        raise InputError(DAMAGED) from None
    if image.GetDimension() > DIMENSION:
        image = image[(slice(None),) * DIMENSION + (0,) * (image.GetDimension() - DIMENSION)]
    array = sitk.GetArrayFromImage(image)
    return Pixels(
        array if vector or components > 1 else array.reshape(array.shape[:3]), Geometry.from_sitk(image), doubts
    )


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """The header's entries, and where the data begin if they are in the same file."""
    with path.open("rb") as stream:
        text = stream.read(META_HEADER_BYTES)
    end = re.search(rb"^ElementDataFile\s*=\s*([^\r\n]*)\r?\n?", text, re.MULTILINE)
    if end is None:
        raise InputError(DAMAGED)
    lines = text[: end.end()].decode("latin-1").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}, end.end()


def _check_meta(header: Mapping[str, str], path: Path, offset: int) -> tuple[Doubt, ...]:
    """Refuse a MetaImage whose header or data ITK would quietly repair."""
    size = [int(n) for n in header["DimSize"].split()]
    spacing = [float(s) for s in header.get("ElementSpacing", header.get("ElementSize", "1 1 1")).split()]
    check_spacing(spacing[:DIMENSION])
    kind = header["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
    if kind not in META_TYPES or min(size) < 1 or len(size) != int(header["NDims"]):
        raise InputError(DAMAGED)
    if header.get("BinaryData", "True").lower() == "false":
        raise InputError("The image's values are written as text, which GenReg doesn't read; save it as binary data.")
    needed = math.prod(size) * META_TYPES[kind] * int(header.get("ElementNumberOfChannels", "1"))
    name = header["ElementDataFile"]
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(SLICES_IN_FILES)
    local = name.upper() == "LOCAL"
    data = path if local else _beside(path, name)
    before = int(header.get("HeaderSize", "0"))  # -1: the voxels are at the file's end
    start = offset if local else max(0, before)
    compressed = header.get("CompressedData", "False").lower() == "true"
    there = data.stat().st_size - start
    if compressed:
        there, taken = _decompressed_bytes(data, start, needed)
        if not taken <= int(header["CompressedDataSize"]) <= data.stat().st_size - start:
            raise InputError(DAMAGED)  # ITK reads no further than this entry says, and lacks the rest unnoticed
    _check_length(min(there, needed) if before < 0 else there, needed)
    placed = any(key in header for key in ("Offset", "Position", "Origin"))
    turned = any(key in header for key in ("TransformMatrix", "Rotation", "Orientation"))
    if placed and turned:
        return ()
    text = "The header doesn't say where the scan lies or which side is left; what it lacks was taken for zero."
    return (Doubt("position_unknown", text, guessed=True),)


def _decompressed_bytes(path: Path, start: int, needed: int) -> tuple[int, int]:
    """How many bytes zlib makes, its sum checked, and of how many; stops once there are more than needed."""
    worker, total, taken = zlib.decompressobj(ANY_ZLIB_CONTAINER), 0, 0
    with path.open("rb") as stream:
        stream.seek(start)
        while not worker.eof and (block := stream.read(BLOCK_BYTES)):
            while block and not worker.eof:
                total += len(worker.decompress(block, BLOCK_BYTES))
                taken += len(block) - len(worker.unconsumed_tail) - len(worker.unused_data)
                block = worker.unconsumed_tail
            if total > needed:
                break
    return total, taken
