"""DICOM files of a scan whose true value is known at every place, written by pydicom, with any attribute changed."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian
from robustness.samples import functional_groups

from GenRegLogic.errors import InputError
from GenRegLogic.files.dicom import read_dicom

CT, MR, PET, NM = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128", "20"))
ENHANCED_CT, ENHANCED_MR, DOSE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "4.1", "481.2"))
ULTRASOUND_CINE, XA, SECONDARY = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("3.1", "12.1", "7"))
ROOT = "1.2.826.0.1.3680043.2.1125"
AXIAL, SAGITTAL, CORONAL = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
SIZE = (12, 10)
"""(rows, columns) of the slices."""

SPACING = (2.0, 1.5)
"""mm between rows and between columns."""

ORIGIN = (-10.0, 20.0, 30.0)
RESOLUTION = 0.01
"""Slope with which true values are stored."""


def truth(points):
    """The scan: linear in LPS mm, so that linear interpolation is exact; different everywhere, and positive."""
    return np.asarray(points) @ [0.9, 0.5, 1.7] + 200.0


def plane_points(position, axes=AXIAL, size=SIZE, spacing=SPACING):
    """(rows, columns, 3) LPS mm of the pixels of a slice."""
    along_row, along_column = np.reshape(np.asarray(axes, float), (2, 3))
    row, column = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    return (
        np.asarray(position, float)
        + column[..., None] * spacing[1] * along_row
        + row[..., None] * spacing[0] * along_column
    )


def dataset(stored, *, kind=CT, series=1, instance=1, syntax=ExplicitVRLittleEndian, **attributes):
    """A data set of these stored values; an attribute of None is left out."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = kind
    uid = attributes.get("SOPInstanceUID", f"{ROOT}.5.{series}.{instance}")
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = uid
    file.file_meta.TransferSyntaxUID = syntax
    file.PatientName, file.PatientID, file.Modality = "Doe^Jane", "PID4711", "MR" if kind in (MR, ENHANCED_MR) else "CT"
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{ROOT}.9", f"{ROOT}.{series}"
    file.SeriesNumber, file.InstanceNumber, file.SeriesDescription = series, instance, f"Series {series} words"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = stored.shape[-2:]
    bits = stored.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        file.NumberOfFrames = len(stored)
    for name, value in attributes.items():
        if value is None:
            if name in file:
                delattr(file, name)
        else:
            setattr(file, name, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    file.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    file["PixelData"].VR = "OW" if bits > 8 else "OB"
    return file


def save(file, path):
    """Write a data set as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def true_slice(position, axes=AXIAL, size=SIZE, **attributes):
    """The data set of a slice of the scan at a place (LPS mm of its first pixel)."""
    stored = np.rint(truth(plane_points(position, axes, size)) / RESOLUTION).astype(np.uint16)
    attributes = {"RescaleSlope": RESOLUTION, "RescaleIntercept": 0} | attributes
    attributes = {"ImagePositionPatient": [float(x) for x in position], "PixelSpacing": list(SPACING)} | attributes
    return dataset(stored, **{"ImageOrientationPatient": [float(x) for x in axes]} | attributes)


def write_scan(folder, positions, axes=AXIAL, names=None, **attributes):
    """Slices of the scan at these places; their files' names and instance numbers do not follow the places.

    An attribute may be a function of the slice's number.
    """
    count = len(positions)
    for n, position in enumerate(positions):
        shuffled = (n * 7 + 3) % count if count % 7 else (n * 5 + 3) % count
        own = {name: value(n) if callable(value) else value for name, value in attributes.items()}
        own = {"instance": shuffled + 1} | own
        file = true_slice(position, axes, **own)
        save(file, folder / f"{own.get('series', 1)}_{shuffled:03}{own['instance']}.dcm")
    return folder


def heights(*numbers, origin=ORIGIN, axes=AXIAL):
    """Places of slices along the normal, mm from the origin."""
    normal = np.cross(axes[:3], axes[3:])
    return [np.asarray(origin) + number * normal for number in numbers]


def even(count=8, step=3.0, **options):
    return heights(*(step * n for n in range(count)), **options)


def enhanced(frames, positions, *, kind=ENHANCED_MR, axes=AXIAL, own=None, shared=None, **attributes):
    """The data set of an enhanced file.

    Args:
        frames: (n, rows, columns) stored values.
        positions: n places, LPS mm; None for a frame without.
        kind: SOP class.
        axes: Orientation, or one for each frame.
        own: For each frame {sequence: {attribute: value}}.
        shared: {sequence: {attribute: value}} of all frames.
        attributes: Of the file.
    """
    common = {"PixelMeasuresSequence": {"PixelSpacing": list(SPACING), "SliceThickness": 3.0}} | (shared or {})
    items = []
    for n, position in enumerate(positions):
        groups = (
            {} if position is None else {"PlanePositionSequence": {"ImagePositionPatient": list(map(float, position))}}
        )
        here = axes[n] if np.ndim(axes) == 2 else axes
        groups["PlaneOrientationSequence"] = {"ImageOrientationPatient": [float(x) for x in here]}
        items.append(functional_groups(**groups | (own[n] if own else {})))
    return dataset(
        np.asarray(frames),
        kind=kind,
        SharedFunctionalGroupsSequence=Sequence([functional_groups(**common)]),
        PerFrameFunctionalGroupsSequence=Sequence(items),
        **attributes,
    )


def assert_true(volume, tolerance=0.02):
    """Every voxel that holds data has the value of the scan at its place, within what storing it rounds."""
    k, j, i = np.indices(volume.array.shape)
    expected = truth(volume.geometry.to_world(np.stack([i, j, k], axis=-1)))
    holds = np.ones(expected.shape, bool) if volume.padding is None else volume.array != volume.padding
    assert holds.mean() > 0.3
    np.testing.assert_allclose(volume.array[holds], expected[holds], atol=tolerance)


def doubts(volume):
    """{name: guessed} of the volume's doubts."""
    return {doubt.name: doubt.guessed for doubt in volume.warnings}


@pytest.fixture
def refused(capfd):
    """Checks that reading is refused in one sentence without a word of the patient, and that nothing else is said."""

    def check(path, match, **options):
        with pytest.raises(InputError, match=match) as caught:
            read_dicom(path, **options)
        text = str(caught.value)
        assert text.endswith(".")
        assert "\n" not in text
        assert not any(word in text for word in ("Doe", "Jane", "4711", str(path)))
        assert capfd.readouterr() == ("", "")
        return text

    return check
