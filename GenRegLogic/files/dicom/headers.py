"""What the headers of DICOM files say: for each image (frame) its place, its scale, and what tells it from others.

Classic single-frame files, enhanced multi-frame files, RT dose and nuclear medicine all become lists of `Frame`s, so
that everything after this knows one form only. No voxel is read here, and pydicom is imported only when a DICOM file
is met.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DependencyError, InputError
from ...space.geometry import ORTHONORMAL_TOLERANCE
from .tags import GROUPS, KEYWORDS, TELLING

__all__ = ["Frame", "dicom_errors", "is_dicom", "quiet_pydicom", "read_frames"]

PREAMBLE = 128
MAGIC = b"DICM"
DICOMDIR = "1.2.840.10008.1.3.10"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
PARAMETRIC = "1.2.840.10008.5.1.4.1.1.30"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
SAME_HEIGHT_MM = 0.01

DAMAGED = "The DICOM file is damaged or incomplete; copy or export it again."


FRAME_BYTES = 8
"""Not even a compressed frame takes fewer; a header that promises more frames than fit the file would cost hours."""


@dataclass(eq=False, slots=True)
class Frame:
    """One image of a DICOM file.

    Attributes:
        path: The file.
        number: Of the image in the file, from 0.
        uid: SOPInstanceUID of the file.
        series: SeriesInstanceUID.
        about: SeriesNumber, SeriesDescription, Modality and other attributes of the file, as text.
        size: (rows, columns), or None if the file holds no image.
        spacing: (between rows, between columns), mm.
        position: (3,) LPS mm of the center of the first voxel.
        axes: (2, 3) LPS unit vectors along a row and along a column.
        slope: Of the values: value = slope * stored + intercept.
        intercept: See `slope`.
        thickness: Of the slice, mm; NaN if unknown.
        padding: The interval of stored values, (low, high), whose voxels hold no data, the declared value, or None.
        tells: What may tell it from another image at the same place, by the names of `TELLING`.
        problem: Why it can't be used; "" if it can.
        broken: Whether the problem is a defect of a slice, not that the file holds no slice of a scan.
    """

    path: Path
    number: int
    uid: str
    series: str
    about: dict[str, str]
    size: tuple[int, int] | None = None
    spacing: tuple[float, float] | None = None
    position: np.ndarray | None = None
    axes: np.ndarray | None = None
    slope: float = 1.0
    intercept: float = 0.0
    thickness: float = float("nan")
    padding: tuple[float, float, float] | None = None
    tells: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    broken: bool = False

    @property
    def normal(self) -> np.ndarray:
        """(3,) LPS unit vector perpendicular to the image."""
        return np.cross(*self.axes)

    @property
    def localizer(self) -> bool:
        return "LOCALIZER" in self.tells.get("image type", "")


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silences the warnings of pydicom and of the libraries that it decodes with, and its checks of values.

    Raises:
        DependencyError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise DependencyError("Reading DICOM needs the package pydicom; install it, or convert to NIfTI.") from None
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextlib.contextmanager
def dicom_errors(sentence: str) -> Iterator[None]:
    """Puts a sentence in the place of whatever pydicom and its decoders raise about a damaged file."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, PermissionError):
            raise InputError("The DICOM file may not be read; change its permissions.") from None
        raise InputError(sentence) from None


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its first bytes: a preamble, or the first element of a file that has none."""
    if not path.is_file():  # a FIFO or a device would block, or never end
        return False
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + len(MAGIC))
    except OSError:
        return False
    return start[PREAMBLE:] == MAGIC or _starts_with_element(start)


def _starts_with_element(start: bytes) -> bool:
    """Whether the file begins with an element of group 2 or 8, as without a preamble it does."""
    if len(start) < 12 or start[:2] not in (b"\2\0", b"\x08\0", b"\0\x08"):
        return False
    order = "big" if start[0] == 0 else "little"
    known = int.from_bytes(start[2:4], order) <= 0x70
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return known and (explicit or int.from_bytes(start[4:8], order) <= 64)


def read_frames(path: Path) -> list[Frame]:
    """The images of a DICOM file, each with its place or the reason why it can't be used; [] for a DICOMDIR.

    Raises:
        InputError: The file is damaged.
    """
    import pydicom

    with dicom_errors(DAMAGED):
        header = pydicom.dcmread(os.fspath(path), stop_before_pixels=True, force=True, specific_tags=_tags())
        kind = str(header.get("SOPClassUID") or getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
        if kind == DICOMDIR:
            return []
        return _frames(path, header, kind)


@functools.cache
def _tags() -> list:
    from pydicom.tag import Tag

    return [Tag(name) for name in (*KEYWORDS, *GROUPS, *(name for names in TELLING.values() for name in names))]


def _frames(path: Path, header, kind: str) -> list[Frame]:
    about = {name: _text(header.get(name)) for name in ("SeriesNumber", "SeriesDescription", "Modality")}
    about |= {name: _text(header.get(name)) for name in ("PatientName", "PatientID", "InstanceNumber")}
    common = (_text(header.get("SOPInstanceUID")), _text(header.get("SeriesInstanceUID")), about)
    problem = _not_a_scan(header, kind)
    if problem:
        return [Frame(path, 0, *common, problem=problem)]
    size = (int(header.Rows), int(header.Columns))
    count = int(header.get("NumberOfFrames") or 1)
    if min(*size, count) < 1 or count > path.stat().st_size // FRAME_BYTES:
        raise InputError(DAMAGED)
    about["frames"] = str(count)
    shared = _flat((header.get("SharedFunctionalGroupsSequence") or [{}])[0])
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    if each and len(each) != count:
        raise InputError(DAMAGED)
    positions = _positions(header, kind, count)
    frames = []
    for n in range(count):
        frame = Frame(path, n, *common, size=size)
        attributes = _Attributes(_flat(each[n]) if each else {}, shared, header)
        try:
            _fill(frame, attributes, header, kind)
            _place(frame, attributes, positions[n] if positions is not None else None, count)
        except InputError as error:
            frame.problem, frame.broken = str(error), frame.problem == ""
        frames.append(frame)
    if any(not frame.problem for frame in frames):  # then a frame without a place has lost it
        for frame in frames:
            frame.broken = bool(frame.problem)
    return frames


def _not_a_scan(header, kind: str) -> str:
    """Why a file holds no slices of a scan; "" if it may hold some."""
    from pydicom.uid import UID

    name = UID(kind).name.removesuffix(" Storage")
    if kind in SEGMENTATIONS:
        return "The DICOM file is a segmentation, not a scan; export it as a label map (NIfTI or NRRD)."
    if "Rows" not in header or "Columns" not in header:
        if name == kind or "Image" in name or kind == RT_DOSE:  # not a known kind, or one that has pixels
            raise InputError(DAMAGED)
        return f"The DICOM file is no image but of the kind {name}; give a 3D scan."
    if int(header.get("SamplesPerPixel") or 1) > 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
        return "The DICOM images have 3 values per voxel (a color or vector image); GenReg needs a scalar image."
    if "MOSAIC" in (header.get("ImageType") or ()):
        return "The DICOM images are mosaics (many slices in one image); convert them to NIfTI with dcm2niix first."
    return ""


class _Attributes:
    """Where an attribute of a frame may stand: in its own functional groups, the shared ones, or the file's header."""

    def __init__(self, own: dict, shared: dict, header) -> None:
        self.own, self.shared, self.header = own, shared, header

    def get(self, name: str | int, *, of_frame: bool = False):
        """The value or None; `of_frame` leaves out the header, which in a multi-frame file speaks of no one frame."""
        for place in (self.own, self.shared):
            if name in place:
                return place[name]
        if of_frame or name not in self.header:
            return None
        return self.header[name].value

    def numbers(self, name: str, count: int, what: str, **options) -> np.ndarray | None:
        """(count,) float64 or None.

        Raises:
            InputError: It is something else, or not finite.
        """
        value = self.get(name, **options)
        if value is None or value == "":
            return None
        try:
            numbers = np.atleast_1d(np.asarray(value, np.float64))
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if numbers.shape != (count,) or not np.isfinite(numbers).all():
            raise InputError(f"The {what} of a DICOM slice is not {count} finite numbers; export the scan again.")
        return numbers


def _flat(groups) -> dict:
    """The attributes within the known functional groups, by keyword."""
    found = {}
    for name in GROUPS:
        if name in groups and groups[name].value:
            item = groups[name].value[0]
            found |= {e.keyword: e.value for e in item if e.keyword and e.VR != "SQ"}
            found |= _flat(item)
    return found


def _fill(frame: Frame, attributes: _Attributes, header, kind: str) -> None:
    """Scale, padding, and what tells the frame from others."""
    for name, sources in TELLING.items():
        values = (attributes.get(source) for source in sources)
        text = next((_text(value) for value in values if value is not None and value != ""), "")
        if text:
            frame.tells[name] = text
    if int(frame.about["frames"]) > 1:
        frame.tells["file"] = frame.uid
    if kind == RT_DOSE:
        scale = attributes.numbers("DoseGridScaling", 1, "dose grid scaling")
        if scale is None or scale[0] == 0:
            raise InputError("The RT dose has no DoseGridScaling, so its values are unknown; export it again.")
        frame.slope = float(scale[0])
        if _text(header.get("DoseUnits")).upper() == "RELATIVE":
            frame.tells["dose"] = "relative"
    else:
        scale = "RealWorldValue" if kind == PARAMETRIC else "Rescale"
        slope = attributes.numbers(f"{scale}Slope", 1, "rescale slope")
        intercept = attributes.numbers(f"{scale}Intercept", 1, "rescale intercept")
        frame.slope = 1.0 if slope is None else float(slope[0])
        frame.intercept = 0.0 if intercept is None else float(intercept[0])
        if frame.slope == 0:
            raise InputError("The rescale slope of a DICOM slice is zero, so its values are lost; export it again.")
    frame.padding = _padding(header)
    with contextlib.suppress(InputError):
        thickness = attributes.numbers("SliceThickness", 1, "slice thickness")
        frame.thickness = float("nan") if thickness is None else float(thickness[0])


def _padding(header) -> tuple[float, float, float] | None:
    """The stored values of voxels without data: lowest, highest, and the one declared."""
    value = header.get("PixelPaddingValue")
    if value is None or isinstance(value, (bytes, str)):
        return None
    bits, signed = int(header.get("BitsAllocated") or 16), bool(header.get("PixelRepresentation"))

    def stored(number) -> float:
        number = int(number)
        return float(number - (1 << bits) if signed and number >= 1 << (bits - 1) else number)

    limit = header.get("PixelPaddingRangeLimit")
    value = stored(value)
    limit = value if limit is None or isinstance(limit, (bytes, str)) else stored(limit)
    return min(value, limit), max(value, limit), value


def _positions(header, kind: str, count: int) -> np.ndarray | None:
    """(count, 3) LPS mm of the frames where one position and a rule give them (dose, nuclear medicine); else None."""
    attributes = _Attributes({}, {}, header)
    if kind == NUCLEAR and "DetectorInformationSequence" in header and count > 1:
        detector = _Attributes({}, {}, header.DetectorInformationSequence[0])
        position = detector.numbers("ImagePositionPatient", 3, "position")
        axes = detector.numbers("ImageOrientationPatient", 6, "orientation")
        step = attributes.numbers("SpacingBetweenSlices", 1, "slice spacing")
        if position is None or axes is None or step is None or header.get("NumberOfSlices") != count:
            return None
        header.ImageOrientationPatient = list(axes)
        return position + np.arange(count)[:, None] * step[0] * np.cross(axes[:3], axes[3:])
    offsets = header.get("GridFrameOffsetVector")
    if kind != RT_DOSE or offsets is None:
        return None
    offsets = attributes.numbers("GridFrameOffsetVector", count, "grid frame offset vector")
    position = attributes.numbers("ImagePositionPatient", 3, "position")
    axes = attributes.numbers("ImageOrientationPatient", 6, "orientation")
    if position is None or axes is None:
        return None
    if abs(offsets[0]) < SAME_HEIGHT_MM:
        return position + offsets[:, None] * np.cross(axes[:3], axes[3:])
    if abs(offsets[0] - position[2]) < SAME_HEIGHT_MM and abs(np.cross(axes[:3], axes[3:])[2]) > 1 - 1e-3:
        return position + (offsets - offsets[0])[:, None] * np.array([0.0, 0.0, 1.0])
    raise InputError("The RT dose's grid frame offsets fit neither form that DICOM allows; export it again.")


def _place(frame: Frame, attributes: _Attributes, position: np.ndarray | None, count: int) -> None:
    """Position, axes and spacing."""
    if position is None:
        position = attributes.numbers("ImagePositionPatient", 3, "position", of_frame=count > 1)
    axes = attributes.numbers("ImageOrientationPatient", 6, "orientation")
    if position is None or axes is None:
        if count > 1:
            frame.problem = "The DICOM file's frames have no position in space: it is not a 3D scan."
            raise InputError(frame.problem)
        raise InputError(
            "The DICOM slices carry no position or orientation, so their order and spacing are unknown; "
            "export the scan again with them."
        )
    axes = axes.reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > ORTHONORMAL_TOLERANCE:
        raise InputError(
            "The orientation of the DICOM slices is not two perpendicular unit vectors; export the scan again."
        )
    spacing = attributes.numbers("PixelSpacing", 2, "pixel spacing")
    if spacing is None or spacing.min() <= 0:
        raise InputError(
            "The DICOM slices' pixel spacing is missing or not positive, so sizes are unknown; export the scan again."
        )
    left, _, right = np.linalg.svd(axes, full_matrices=False)
    frame.position, frame.axes = position, left @ right  # the nearest exactly perpendicular unit vectors
    frame.spacing = tuple(float(s) for s in spacing)


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "/".join(str(part) for part in value)
    return str(value).strip()
