"""Scans, fields and points of which every value is known, and one writer for each format, of the format's own library.

The scan is stored with sizes, spacings and an orientation that differ in every axis, so that no mix-up of axes goes
unnoticed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
GRID = Geometry((9, 8, 7), (1.0, 1.5, 2.5), (10.0, -20.0, 30.0), TURN)
PLAIN_GRID = Geometry((9, 8, 7), (1.0, 1.5, 2.5))
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ROOT_UID = "1.2.826.0.1.3680043.2.1125"
CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"

POINTS = np.array([[1.5, -2.25, 3.0], [-40.0, 50.0, 60.125], [0.0, 0.0, -7.5], [12.5, 13.5, 14.5]])
IDENTITY = (
    "#Insight Transform File V1.0\n#Transform 0\nTransform: TranslationTransform_double_3_3\n"
    "Parameters: 0 0 0\nFixedParameters:\n"
)


def values(seed: int = 0) -> np.ndarray:
    """(k, j, i) int16 of the scan: a ramp with noise, no value repeated along an axis."""
    k, j, i = np.indices(GRID.shape)
    noise = np.random.default_rng(seed).integers(0, 40, GRID.shape)
    return (100 * k + 45 * j + 50 * i - 300 + noise).astype(np.int16)


def displacements() -> np.ndarray:
    """(k, j, i, 3) float32 of the field, LPS mm."""
    k, j, i = np.indices(GRID.shape)
    return np.stack([np.sin(i / 3.0), np.cos(j / 2.0), 0.3 * np.sin(k / 2.0 + i / 4.0)], -1).astype(np.float32)


def ball(n: int = 16, shift: float = 0.0, seed: int = 0, noise: float = 8.0) -> np.ndarray:
    """(n, n, n) float32: a soft ball with some structure and noise, which can be registered."""
    k, j, i = np.indices((n, n, n))
    middle = (n - 1) / 2
    radius = np.sqrt(((k - middle) * 1.1) ** 2 + (j - middle) ** 2 + (i - middle - shift) ** 2)
    texture = np.random.default_rng(seed).normal(0, noise, (n, n, n))
    structure = 60 * np.sin((i - shift) / 2.0) * np.cos(j / 3.0)
    return ((500 + structure) / (1 + np.exp(radius - n / 3)) + texture).astype(np.float32)


def write(array: np.ndarray, name: str | Path, spacing=(2.0, 2.0, 2.0), origin=(0, 0, 0), direction=None) -> str:
    """Write an array by SimpleITK; returns the name."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(tuple(map(float, spacing)))
    image.SetOrigin(tuple(map(float, origin)))
    if direction is not None:
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
    sitk.WriteImage(image, str(name))
    return str(name)


def pair(folder: Path, n: int = 12) -> tuple[str, str]:
    """A small pair that can be registered, as fixed.nii.gz and moving.nii.gz in a folder."""
    write(ball(n), folder / "fixed.nii.gz")
    write(ball(n, 0.5, 1), folder / "moving.nii.gz")
    return "fixed.nii.gz", "moving.nii.gz"


def ras(geometry: Geometry) -> np.ndarray:
    return LPS_FROM_RAS @ geometry.index_to_world


@dataclasses.dataclass(frozen=True)
class Format:
    """A format, and how a file of it is written.

    Attributes:
        name: Of the format.
        write: Writes the sample into a folder; returns the path that is read, and the file that holds the voxels.
        checked: Whether a checksum guards the data, so that a change of them cannot go unnoticed.
        header_bytes: How many bytes from the file's beginning are header.
        geometry: Where the scan lies; None where the format can't say.
    """

    name: str
    write: Callable[[Path], tuple[Path, Path]]
    checked: bool = False
    header_bytes: int = 348
    geometry: Geometry | None = GRID

    @property
    def all_checked(self) -> bool:
        """Whether the checksum guards the header too."""
        return self.checked and self.name.startswith(("NIfTI", "mgz", "field in compressed NIfTI"))


def _nibabel(kind, name: str, image: str | None = None, geometry: Geometry = GRID):
    def write_it(folder: Path):
        made = kind(np.ascontiguousarray(values().T), ras(geometry))
        if hasattr(made, "set_qform"):
            made.set_qform(ras(geometry), 1)
            made.set_sform(ras(geometry), 1)
            made.header.set_xyzt_units("mm")
        nib.save(made, folder / name)
        return folder / name, folder / (image or name)

    return write_it


def _nrrd(name: str, encoding: str, data: str | None = None):
    def write_it(folder: Path):
        header = {
            "space": "left-posterior-superior",
            "space directions": (GRID.direction * GRID.spacing).T,
            "space origin": GRID.origin,
            "encoding": encoding,
        }
        detached = {} if data is None else {"detached_header": True}
        nrrd.write(str(folder / name), np.ascontiguousarray(values()), header, index_order="C", **detached)
        if data is None:
            return folder / name, folder / name
        (voxels,) = (path for path in folder.iterdir() if path.name != name and path.name.startswith("v."))
        return folder / name, voxels

    return write_it


def _itk(name: str, compress: bool, data: str | None = None):
    def write_it(folder: Path):
        sitk.WriteImage(Volume(values(), GRID).to_sitk(), str(folder / name), compress)
        return folder / name, folder / (data or name)

    return write_it


def dicom_set(stored: np.ndarray, kind: str, number: int = 1) -> Dataset:
    """A DICOM data set of these int16 values, without a place."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = kind
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = f"{ROOT_UID}.5.{number}"
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.PatientName, file.PatientID, file.Modality = "Doe^Jane", "PID4711", "CT"
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{ROOT_UID}.9", f"{ROOT_UID}.1"
    file.FrameOfReferenceUID = f"{ROOT_UID}.8"
    file.StudyID = file.AccessionNumber = file.StudyDate = file.StudyTime = ""
    file.PatientBirthDate = file.PatientSex = file.ReferringPhysicianName = file.PositionReferenceIndicator = ""
    file.SeriesNumber, file.InstanceNumber = 1, number
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = stored.shape[-2:]
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
    file.RescaleSlope, file.RescaleIntercept = 1, 0
    if stored.ndim == 3:
        file.NumberOfFrames = len(stored)
    file.PixelData = stored.astype("<i2").tobytes()
    file["PixelData"].VR = "OW"
    return file


ROW_SPACING = [GRID.spacing[1], GRID.spacing[0]]
AXES = [float(x) for x in (*TURN[:, 0], *TURN[:, 1])]


def place_of(k: int) -> list[float]:
    return [float(x) for x in GRID.to_world((0, 0, k))]


def dicom_folder(folder: Path, change: Callable[[Dataset, int], None] = lambda file, k: None):
    """The scan as a folder of slices; `change` may change the data set of each slice."""
    where = folder / "series"
    where.mkdir()
    for k, plane in enumerate(values()):
        file = dicom_set(plane, CT, k + 1)
        file.ImagePositionPatient, file.ImageOrientationPatient = place_of(k), AXES
        file.PixelSpacing, file.SliceThickness = ROW_SPACING, GRID.spacing[2]
        change(file, k)
        file.save_as(where / f"s{(k * 3) % 7}.dcm", enforce_file_format=True)
    return where, where / "s3.dcm"


def functional_groups(**groups) -> Dataset:
    """An item of an enhanced file's functional groups: each a sequence, by its name, of one item with attributes."""
    made = Dataset()
    for name, attributes in groups.items():
        inner = Dataset()
        for attribute, value in attributes.items():
            setattr(inner, attribute, value)
        setattr(made, name, Sequence([inner]))
    return made


def enhanced_dicom(folder: Path, change: Callable[[Dataset], None] = lambda file: None):
    """The scan as one enhanced multi-frame file."""

    file = dicom_set(values(), ENHANCED_CT)
    del file.RescaleSlope, file.RescaleIntercept
    file.SharedFunctionalGroupsSequence = Sequence(
        [
            functional_groups(
                PixelMeasuresSequence={"PixelSpacing": ROW_SPACING, "SliceThickness": GRID.spacing[2]},
                PlaneOrientationSequence={"ImageOrientationPatient": AXES},
                PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "HU"},
            )
        ]
    )
    file.PerFrameFunctionalGroupsSequence = Sequence(
        [functional_groups(PlanePositionSequence={"ImagePositionPatient": place_of(k)}) for k in range(GRID.size[2])]
    )
    change(file)
    file.save_as(folder / "enhanced.dcm", enforce_file_format=True)
    return folder / "enhanced.dcm", folder / "enhanced.dcm"


def highdicom_map(folder: Path):
    """The scan as a parametric map, which highdicom writes."""
    import highdicom as hd

    source, _ = dicom_folder(folder)
    slices = sorted((pydicom.dcmread(path) for path in source.iterdir()), key=lambda file: file.InstanceNumber)
    made = hd.pm.ParametricMap(
        slices,
        values().astype(np.float32),
        series_instance_uid=f"{ROOT_UID}.77",
        series_number=7,
        sop_instance_uid=f"{ROOT_UID}.78",
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label="1",
                lut_explanation="HU",
                unit=hd.sr.CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit"),
                value_range=(-1000.0, 10000.0),
                slope=1.0,
                intercept=0.0,
            )
        ],
        voi_lut_transformations=[hd.VOILUTTransformation(0.0, 100.0)],
    )
    made.save_as(folder / "map.dcm")
    return folder / "map.dcm", folder / "map.dcm"


IMAGES = (
    Format("NIfTI-1", _nibabel(nib.Nifti1Image, "v.nii")),
    Format("NIfTI-1 compressed", _nibabel(nib.Nifti1Image, "v.nii.gz"), checked=True),
    Format("NIfTI-2", _nibabel(nib.Nifti2Image, "v.nii"), header_bytes=540),
    Format("NIfTI-2 compressed", _nibabel(nib.Nifti2Image, "v.nii.gz"), checked=True),
    Format("NIfTI pair", _nibabel(nib.Nifti1Pair, "v.hdr", "v.img"), header_bytes=0),
    Format("Analyze", _nibabel(nib.AnalyzeImage, "v.hdr", "v.img", PLAIN_GRID), header_bytes=0, geometry=None),
    Format("mgh", _nibabel(nib.MGHImage, "v.mgh"), header_bytes=284),
    Format("mgz", _nibabel(nib.MGHImage, "v.mgz"), checked=True),
    Format("NRRD", _nrrd("v.nrrd", "raw"), header_bytes=250),
    Format("NRRD compressed", _nrrd("v.nrrd", "gzip"), checked=True, header_bytes=250),
    Format("nhdr", _nrrd("v.nhdr", "raw", "v.raw"), header_bytes=0),
    Format("nhdr compressed", _nrrd("v.nhdr", "gzip", "v.raw.gz"), checked=True, header_bytes=0),
    Format("MHA", _itk("v.mha", False), header_bytes=300),
    Format("MHA compressed", _itk("v.mha", True), checked=True, header_bytes=300),
    Format("MHD", _itk("v.mhd", False, "v.raw"), header_bytes=0),
    Format("MHD compressed", _itk("v.mhd", True, "v.zraw"), checked=True, header_bytes=0),
    Format("DICOM folder", dicom_folder, header_bytes=900),
    Format("enhanced DICOM", enhanced_dicom, header_bytes=900),
    Format("parametric map of highdicom", highdicom_map, header_bytes=900),
)


def field_image() -> sitk.Image:
    image = sitk.GetImageFromArray(displacements(), isVector=True)
    GRID.copy_to(image)
    return image


def _field(name: str, compress: bool = True):
    def write_it(folder: Path):
        sitk.WriteImage(field_image(), str(folder / name), compress)
        return folder / name, folder / name

    return write_it


def _transform(name: str):
    def write_it(folder: Path):
        field = sitk.DisplacementFieldTransform(sitk.Cast(field_image(), sitk.sitkVectorFloat64))
        sitk.WriteTransform(field, str(folder / name))
        return folder / name, folder / name

    return write_it


FIELDS = (
    Format("field in NIfTI", _field("t.nii")),
    Format("field in compressed NIfTI", _field("t.nii.gz"), checked=True),
    Format("field in NRRD", _field("t.nrrd"), checked=True, header_bytes=300),
    Format("field in MHA", _field("t.mha"), checked=True, header_bytes=300),
    Format("field in h5", _transform("t.h5"), header_bytes=2000),
    Format("field in tfm", _transform("t.tfm"), header_bytes=200),
)


def _csv(folder: Path):
    path = folder / "p.csv"
    path.write_text("x,y,z\n" + "".join(f"{x},{y},{z}\n" for x, y, z in POINTS.tolist()))
    return path, path


def _fcsv(folder: Path):
    head = "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz\n"
    rows = (f"n{n},{x},{y},{z},0,0,0,1\n" for n, (x, y, z) in enumerate(POINTS.tolist()))
    (folder / "p.fcsv").write_text(head + "".join(rows))
    return folder / "p.fcsv", folder / "p.fcsv"


def markups(points=POINTS, **changes) -> dict:
    """What a markups file of Slicer holds."""
    control = [{"id": str(n), "position": list(point)} for n, point in enumerate(np.asarray(points).tolist())]
    return {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": control} | changes]}


def _markups(folder: Path):
    (folder / "p.mrk.json").write_text(json.dumps(markups(), indent=1))
    return folder / "p.mrk.json", folder / "p.mrk.json"


POINT_FILES = (
    Format("csv", _csv, header_bytes=6),
    Format("fcsv", _fcsv, header_bytes=100),
    Format("mrk.json", _markups, header_bytes=100),
)
