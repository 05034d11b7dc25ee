"""Enhanced multi-frame files: frames at their places, with their own scale, from any order and any of their groups."""

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import dcmread

from GenRegLogic.files.dicom import read_dicom

from .conftest import (
    AXIAL,
    ENHANCED_CT,
    NM,
    ORIGIN,
    RESOLUTION,
    ROOT,
    SAGITTAL,
    SPACING,
    assert_true,
    dataset,
    doubts,
    enhanced,
    even,
    heights,
    plane_points,
    save,
    truth,
    write_scan,
)

SCALE = {"PixelValueTransformationSequence": {"RescaleSlope": RESOLUTION, "RescaleIntercept": 0, "RescaleType": "US"}}


def frames(places, axes=AXIAL, slopes=None):
    """Stored values of the scan at these places."""
    slopes = [RESOLUTION] * len(places) if slopes is None else slopes
    return np.array([np.rint(truth(plane_points(p, axes)) / s) for p, s in zip(places, slopes)]).astype(np.uint16)


@pytest.mark.parametrize(
    "order",
    [np.arange(9), np.arange(9)[::-1], np.r_[0:9:3, 1:9:3, 2:9:3], np.array([4, 0, 8, 2, 6, 1, 3, 7, 5])],
    ids=["up", "down", "three stacks", "mixed"],
)
@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL])
def test_frames_are_sorted_by_position(tmp_path, order, axes):
    places = [even(9, axes=axes)[n] for n in order]
    path = save(enhanced(frames(places, axes), places, axes=axes, shared=SCALE), tmp_path / "a" / "e.dcm")
    for given in (path, path.parent):
        volume = read_dicom(given)
        assert_true(volume)
        assert volume.geometry.spacing == pytest.approx((1.5, 2.0, 3.0))
        assert volume.warnings == ()


def test_each_frame_has_its_own_scale(tmp_path):
    places, slopes = even(6), [0.01, 0.02, 0.013, 0.05, 0.01, 0.04]
    own = [{"PixelValueTransformationSequence": {"RescaleSlope": s, "RescaleIntercept": -5}} for s in slopes]
    stored = np.array([np.rint((truth(plane_points(p)) + 5) / s) for p, s in zip(places, slopes)]).astype(np.uint16)
    volume = read_dicom(save(enhanced(stored, places, kind=ENHANCED_CT, own=own), tmp_path / "e.dcm"))
    assert_true(volume, 0.03)


@pytest.mark.parametrize("shared", [True, False])
def test_a_parametric_map_is_in_the_unit_of_its_real_world_values(tmp_path, shared):
    places = even(6)
    scale = {"RealWorldValueMappingSequence": {"RealWorldValueSlope": 0.01, "RealWorldValueIntercept": 0.0}}
    groups = {"shared": scale} if shared else {"own": [scale] * 6}
    file = enhanced(frames(places), places, kind="1.2.840.10008.5.1.4.1.1.30", **groups)
    assert_true(read_dicom(save(file, tmp_path / "map.dcm")))


def test_groups_of_each_frame_may_stand_where_others_are_shared(tmp_path):
    places = even(6)
    own = [{"PixelMeasuresSequence": {"PixelSpacing": list(SPACING)}} | SCALE] * 6
    shared = {"PixelMeasuresSequence": {"SliceThickness": 3.0}}
    assert_true(read_dicom(save(enhanced(frames(places), places, own=own, shared=shared), tmp_path / "e.dcm")))


def test_a_gap_is_refused_and_interpolated_if_allowed(tmp_path, refused):
    places = heights(0, 3, 6, 15, 18)
    path = save(enhanced(frames(places), places, shared=SCALE), tmp_path / "e.dcm")
    refused(path, "lacks 2 slices;")
    volume = read_dicom(path, allow_missing_slices=True)
    assert_true(volume)
    assert doubts(volume) == {"slices_missing": True}


WAYS = {
    "echo time": ("MREchoSequence", "EffectiveEchoTime", (4.6, 9.2)),
    "time point": ("FrameContentSequence", "TemporalPositionIndex", (1, 2)),
    "b-value": ("MRDiffusionSequence", "DiffusionBValue", (0.0, 800.0)),
    "component": ("MRImageFrameTypeSequence", "ComplexImageComponent", ("MAGNITUDE", "PHASE")),
    "stack": ("FrameContentSequence", "StackID", ("1", "2")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("interleaved", [True, False])
def test_several_volumes_are_listed_and_each_can_be_chosen(tmp_path, refused, way, interleaved):
    sequence, name, values = WAYS[way]
    order = [(n, v) for n in range(6) for v in (0, 1)] if interleaved else [(n, v) for v in (0, 1) for n in range(6)]
    places = [even(6)[n] for n, _ in order]
    stored = frames(places) + np.array([v * 1000 for _, v in order], np.uint16)[:, None, None]
    own = [{sequence: {name: values[v]}} for _, v in order]
    path = save(enhanced(stored, places, own=own, shared=SCALE), tmp_path / "e.dcm")
    refused(path, f"holds 2 DICOM volumes that differ in {way}")
    one, other = (read_dicom(path, series=n) for n in "12")
    assert_true(one)
    np.testing.assert_allclose(other.array - one.array, 1000 * RESOLUTION, atol=1e-3)


def test_stacks_of_several_orientations_are_listed_and_can_be_chosen(tmp_path, refused):
    places, axes = even(5) + even(4, axes=SAGITTAL), [AXIAL] * 5 + [SAGITTAL] * 4
    stored = np.concatenate([frames(places[:5]), frames(places[5:], SAGITTAL)])
    path = save(enhanced(stored, places, axes=axes, shared=SCALE), tmp_path / "e.dcm")
    refused(path, "differ in orientation: 1: .*axial.*; 2: .*sagittal")
    for number in "12":
        assert_true(read_dicom(path, series=number))


def test_files_that_share_the_frames_of_a_series_are_one_volume(tmp_path):
    places = even(8)
    for n in (0, 1):
        here = places[n::2]
        file = enhanced(frames(here), here, shared=SCALE, instance=n + 1)
        save(file, tmp_path / f"{n}.dcm")
    assert_true(read_dicom(tmp_path))


def test_files_of_several_volumes_are_listed(tmp_path, refused):
    places = even(8)
    for n in (0, 1):
        save(enhanced(frames(places) + np.uint16(n), places, shared=SCALE, instance=n + 1), tmp_path / f"{n}.dcm")
    refused(tmp_path, "2 DICOM volumes that differ in file")
    assert_true(read_dicom(tmp_path, series="1"))


def test_a_frame_without_a_position_is_refused(tmp_path, refused):
    places = [*even(5), None]
    refused(save(enhanced(frames(even(6)), places, shared=SCALE), tmp_path / "e.dcm"), "no position in space")


@pytest.mark.parametrize("count", [5, 7])
def test_a_wrong_number_of_frame_descriptions_is_refused(tmp_path, refused, count):
    file = enhanced(frames(even(6)), even(6), shared=SCALE)
    file.NumberOfFrames = count
    refused(save(file, tmp_path / "e.dcm"), "damaged")


def test_a_file_of_one_frame_is_a_single_slice(tmp_path, refused):
    refused(save(enhanced(frames(even(1)), even(1), shared=SCALE), tmp_path / "e.dcm"), "single slice")


def test_a_legacy_converted_file_is_read_as_its_slices_are(tmp_path):
    write_scan(tmp_path / "old", even())
    slices = []
    for path in sorted((tmp_path / "old").iterdir()):
        file = dcmread(path)
        file.StudyID, file.StudyDate, file.StudyTime, file.AccessionNumber = "1", "20200101", "101010", "1"
        file.PatientBirthDate, file.PatientSex, file.ReferringPhysicianName = "", "", ""
        file.Manufacturer, file.FrameOfReferenceUID, file.SliceThickness = "M", f"{ROOT}.77", 3
        file.ImageType, file.PatientPosition = ["ORIGINAL", "PRIMARY", "AXIAL"], "HFS"
        slices.append(file)
    LegacyConvertedEnhancedCTImage(slices, f"{ROOT}.4", 4, f"{ROOT}.4.1", 1).save_as(tmp_path / "new.dcm")
    volume = read_dicom(tmp_path / "new.dcm")
    assert_true(volume)
    np.testing.assert_array_equal(volume.array, read_dicom(tmp_path / "old").array)


class TestNuclearMedicine:
    def file(self, step, **attributes):
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        detector = Dataset()
        detector.ImagePositionPatient, detector.ImageOrientationPatient = list(ORIGIN), list(AXIAL)
        places = heights(*(step * n for n in range(7)))
        stored = np.rint([truth(plane_points(p)) for p in places]).astype(np.uint16)
        attributes = {"NumberOfSlices": 7, "SpacingBetweenSlices": step, "PixelSpacing": list(SPACING)} | attributes
        return dataset(stored, kind=NM, DetectorInformationSequence=Sequence([detector]), **attributes)

    @pytest.mark.parametrize("step", [3.0, -3.0])
    def test_a_reconstruction_goes_along_the_normal_by_the_sign_of_its_spacing(self, tmp_path, step):
        assert_true(read_dicom(save(self.file(step), tmp_path / "n.dcm")), 0.51)

    def test_a_gated_one_is_refused(self, tmp_path, refused):
        refused(save(self.file(3.0, NumberOfSlices=3), tmp_path / "n.dcm"), "no position in space")
