"""The one door through which every image comes: what it is, the library made for it, its geometry proven regular.

Each kind of file has a reader of its own (`nifti`, `nrrd`, `dicom`), found by the file's contents, not by its name.
What is none of them is refused: nothing is read that can't be proven whole. These readers need nibabel, pynrrd and
pydicom, which come with the package; Slicer reads its scans itself and doesn't have them.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DependencyError, GenRegError, InputError, ResourceError
from ..machine.libraries import quiet_itk
from .dicom.headers import is_dicom
from .dicom.series import read_slices
from .pixels import DAMAGED, Pixels

__all__ = ["existing_file", "naming", "read_pixels", "read_scan"]

HEAD_BYTES, COMPRESSED_HEAD_BYTES = 1024, 4096
GZIP_CONTAINER = 31
NIFTI_SIZES = [n.to_bytes(4, order) for n in (348, 540) for order in ("little", "big")]
MGH_VERSION = (1).to_bytes(4, "big")
DICOM_MARK = slice(128, 132)

KINDS = "NIfTI, NRRD, MetaImage (.mha, .mhd), FreeSurfer (.mgz), Analyze (.hdr with .img) or a DICOM folder"


def existing_file(path: str | Path) -> Path:
    """The path of a regular file that is there.

    Raises:
        InputError: Nothing is there, or it is a folder, a pipe or a device, or it may not be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file.")
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        if not path.is_file():  # a pipe would be waited for, for ever
            raise InputError(f"{path} is a pipe or a device; give the name of a regular file.")
        with path.open("rb"):
            pass
    except PermissionError:
        raise InputError(f"{path} may not be read; ask for the right to read it.") from None
    except (OSError, ValueError) as error:  # a name too long, links in a circle, a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{_short(path)} cannot be opened: {reason}.") from None
    return path


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:100]}…{text[-90:]}"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name before a sentence about its contents."""
    try:
        yield
    except (InputError, ResourceError) as error:
        text = str(error)
        raise (error if text.startswith(str(path)[:100]) else type(error)(f"{path}: {text}")) from None
    except MemoryError:
        raise ResourceError(f"{path}: there is not enough memory to read this file.") from None


def read_scan(path: Path, *, series: str | None = None, allow_missing_slices: bool = False) -> Pixels:
    """The scan in a file, or in the folder of a DICOM series; its warnings say what was repaired or assumed.

    Args:
        path: Of the file or folder.
        series: Which DICOM volume, where there are several; see `dicom.read_dicom`.
        allow_missing_slices: Interpolate where slices of a DICOM series are missing.

    Raises:
        InputError: Nothing that can be read is there, or what is there isn't one 3D scalar image.
        ResourceError: Not enough memory.
    """
    path = Path(path)
    with naming(path):
        if os.path.isdir(path) or _kind(existing_file(path)) == "dicom":  # `Path.is_dir` raises for long names
            slices = read_slices(path, series=series, allow_missing_slices=allow_missing_slices)
            return Pixels(slices.array, slices.geometry, tuple(slices.warnings), padding=slices.padding)
        if series is not None:
            raise InputError("This is no DICOM scan, so it has no series to choose from; leave out --series.")
        return read_pixels(path)


def read_pixels(path: Path, *, vector: bool = False) -> Pixels:
    """The voxels of an image file, LPS mm.

    Args:
        path: Of the file.
        vector: Several values per voxel are wanted, as of a displacement field, instead of one.

    Raises:
        InputError: It can't be read, or holds another kind of image.
        ResourceError: Not enough memory.
        DependencyError: The package that reads this kind of file isn't there.
    """
    path = existing_file(path)
    with naming(path), quiet_itk(), np.errstate(all="ignore"):
        kind = _kind(path)
        try:
            if kind in ("nifti", "mgh"):
                from . import nifti

                return (nifti.read_mgh if kind == "mgh" else nifti.read_nifti)(path, vector=vector)
            if kind in ("nrrd", "meta"):
                from . import nrrd

                return (nrrd.read_meta if kind == "meta" else nrrd.read_nrrd)(path, vector=vector)
        except ImportError as error:
            raise DependencyError(
                f"Reading this kind of file needs the package {error.name}; install it (pip install {error.name})."
            ) from None
        except (GenRegError, MemoryError):
            raise
        except Exception:  # what a library raises on a broken header is anybody's guess
            raise InputError(DAMAGED) from None
    raise InputError(f"{path}: this is not an image that GenReg reads, or its beginning is damaged; give {KINDS}.")


def _kind(path: Path) -> str | None:
    """What a file is, by its first bytes: "nifti", "mgh", "nrrd", "meta", "dicom" or None."""
    name = path.name.lower()
    head = _head(path)
    if name.endswith((".img", ".img.gz")) and head[DICOM_MARK] != b"DICM":
        return "nifti"  # of a pair: its header is in the other file
    if head.startswith(b"NRRD"):
        return "nrrd"
    if head[:4] in NIFTI_SIZES:
        return "nifti"
    if head[DICOM_MARK] == b"DICM":
        return "dicom"
    if name.endswith((".mgh", ".mgz", ".mgh.gz")) and head[:4] == MGH_VERSION:
        return "mgh"
    if b"ElementDataFile" in head or (name.endswith((".mha", ".mhd")) and b"NDims" in head):
        return "meta"
    return "dicom" if is_dicom(path) else None


def _head(path: Path) -> bytes:
    """The file's first bytes, decompressed where it is gzip."""
    try:
        with path.open("rb") as stream:
            head = stream.read(COMPRESSED_HEAD_BYTES)
        if head[:2] == b"\x1f\x8b":
            return zlib.decompressobj(GZIP_CONTAINER).decompress(head, HEAD_BYTES)
        return head[:HEAD_BYTES]
    except (OSError, zlib.error):
        return b""
