"""The values of DICOM images, in the unit that the header gives them (HU, Bq/ml, Gy ...), image by image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from .headers import Frame, dicom_errors

__all__ = ["read_values", "same_values"]

PIXEL_ATTRIBUTES = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
END_OF_IMAGE = b"\xff\xd9"
"""Ends a stream of JPEG, JPEG-LS and JPEG 2000."""

PIXEL_DATA = 0x7FE00010
AFTER_PIXELS = (0xFFFAFFFA, 0xFFFCFFFC)
"""Digital signatures and padding: the only elements that DICOM knows after the pixel data."""

ELEMENT_BYTES = 8
"""Of the shortest element; fewer bytes at the end of a file are read as none."""

WIDE = 1 << 14
"""Scales and offsets beyond this could lead 16 bit values out of 32 bit."""


def read_values(frames: list[Frame]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The images in the order given, one after the other.

    Args:
        frames: Images of any files; neighbors from one file are read together.

    Yields:
        (rows, columns) values: whole numbers where stored values and their scale are whole (int32 or int64), else
        float32; and (rows, columns) bool of the voxels that hold no data, or None.

    Raises:
        InputError: An image is damaged; the sentence counts from the first of the frames.
    """
    n = 0
    while n < len(frames):
        run = 1
        while n + run < len(frames) and frames[n + run].path == frames[n].path:
            run += 1
        images = _stored(frames[n : n + run])
        for offset in range(run):
            sentence = (
                f"Slice {n + offset + 1} of {len(frames)} of the DICOM series is damaged or incomplete, or compressed "
                "in a way that can't be read; copy or export the scan again."
            )
            with dicom_errors(sentence):
                header, stored = next(images)
                values = _physical(stored, frames[n + offset], header)
            yield values, _padded(stored, frames[n + offset])
        n += run


def same_values(a: Frame, b: Frame) -> bool:
    """Whether two images hold the same values."""
    (one, _), (other, _) = next(read_values([a])), next(read_values([b]))
    return np.array_equal(one, other)


def _stored(frames: list[Frame]) -> Iterator[tuple]:
    """The header and the stored values of images of one file."""
    import pydicom
    from pydicom.pixels import iter_pixels
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    header = pydicom.dcmread(os.fspath(frames[0].path), force=True)
    if "TransferSyntaxUID" not in header.file_meta:  # files without a preamble
        implicit, little = header.original_encoding
        little_endian = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        header.file_meta.TransferSyntaxUID = little_endian if little else ExplicitVRBigEndian
    syntax = header.file_meta.TransferSyntaxUID
    if _voxels_left_over(header, frames[0]):
        raise ValueError("bytes were put in between the voxels")
    if syntax.is_encapsulated and syntax != RLELossless:
        images = _decompressed(header, frames)
    else:
        options = {"raw": True, "correct_unused_bits": False}  # pydicom's correction knows no unusual high bit
        if frames[0].about["frames"] != "1":
            options["indices"] = [frame.number for frame in frames]
        images = iter_pixels(header, **options)
    for frame, stored in zip(frames, images):
        if stored.shape != frame.size:
            raise ValueError("the pixel data has another size than the header says")
        yield header, stored if stored.dtype.kind == "f" else _whole(stored, header, syntax.is_encapsulated)


def _voxels_left_over(header, frame: Frame) -> bool:
    """Whether what follows the pixel data is neither elements nor zeros: voxels that bytes before them pushed out."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    tags = list(header.keys())
    if PIXEL_DATA not in tags:
        return False
    after = tags[tags.index(PIXEL_DATA) + 1 :]
    if after or header.file_meta.TransferSyntaxUID.is_encapsulated:
        return any(tag not in AFTER_PIXELS for tag in after)
    if header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:  # its places are not those in the file
        return False
    with frame.path.open("rb") as file:
        file.seek(header["PixelData"].file_tell + len(header.PixelData))
        return any(file.read(ELEMENT_BYTES))


def _decompressed(header, frames: list[Frame]) -> Iterator[np.ndarray]:
    """The stored values of images in one of the JPEG forms.

    ITK's codecs decode them, from files that hold nothing but the pixels: python-gdcm, which has the same codecs, ends
    the process where the data is damaged.
    """
    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate, get_frame

    count = int(frames[0].about["frames"])
    offsets = (header.get("ExtendedOffsetTable"), header.get("ExtendedOffsetTableLengths"))
    bare = Dataset()
    for name in PIXEL_ATTRIBUTES:
        setattr(bare, name, header[name].value)
    bare.SOPClassUID, bare.SOPInstanceUID = SECONDARY_CAPTURE, "1.2.3"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = header.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pixels.dcm")
        for frame in frames:
            stream = get_frame(
                header.PixelData,
                frame.number,
                number_of_frames=count,
                extended_offsets=offsets if all(offsets) else None,
            )
            if not stream.rstrip(b"\0").endswith(END_OF_IMAGE):
                raise ValueError("the compressed image is cut off")
            bare.PixelData = encapsulate([stream])
            bare["PixelData"].VR = "OB"
            bare.save_as(path, enforce_file_format=True)
            yield sitk.GetArrayFromImage(sitk.ReadImage(path, imageIO="GDCMImageIO")).reshape(frame.size)


def _whole(stored: np.ndarray, header, compressed: bool) -> np.ndarray:
    """Stored integers without what their unused bits hold (overlays, or no sign)."""
    allocated, bits = stored.dtype.itemsize * 8, int(header.BitsStored)
    unused = allocated - bits
    if unused <= 0:
        return stored
    high = bits - 1 if compressed else int(header.get("HighBit", bits - 1))
    return (stored << max(allocated - 1 - high, 0)) >> unused


def _physical(stored: np.ndarray, frame: Frame, header) -> np.ndarray:
    if "ModalityLUTSequence" in header:
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, header), np.float32)
    whole = stored.dtype.kind in "iu" and frame.slope == int(frame.slope) and frame.intercept == int(frame.intercept)
    if not whole:
        return (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32)
    wide = stored.dtype.itemsize > 2 or max(abs(frame.slope), abs(frame.intercept)) >= WIDE
    return stored.astype(np.int64 if wide else np.int32) * int(frame.slope) + int(frame.intercept)


def _padded(stored: np.ndarray, frame: Frame) -> np.ndarray | None:
    if frame.padding is None:
        return None
    low, high, _ = frame.padding
    none = (stored >= low) & (stored <= high)
    return none if none.any() else None
