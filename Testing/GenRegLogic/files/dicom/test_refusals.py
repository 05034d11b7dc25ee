"""What is no scan, or whose places or values are unknown, is refused in one sentence; files beside it do no harm."""

import contextlib
import logging
import os
import subprocess
import sys
import warnings

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from GenRegLogic.errors import InputError, ResourceError
from GenRegLogic.files.dicom import is_dicom, read_dicom

from .conftest import (
    MR,
    ORIGIN,
    ROOT,
    SECONDARY,
    ULTRASOUND_CINE,
    XA,
    assert_true,
    dataset,
    doubts,
    enhanced,
    even,
    save,
    true_slice,
    write_scan,
)

DEFECTS = {
    "no position": ({"ImagePositionPatient": None}, "no position"),
    "no orientation": ({"ImageOrientationPatient": None}, "no position or orientation"),
    "no pixel spacing": ({"PixelSpacing": None}, "pixel spacing is missing or not positive"),
    "zero pixel spacing": ({"PixelSpacing": [0.0, 1.5]}, "pixel spacing is missing or not positive"),
    "negative pixel spacing": ({"PixelSpacing": [-2.0, 1.5]}, "pixel spacing is missing or not positive"),
    "one pixel spacing": ({"PixelSpacing": [2.0]}, "not 2 finite numbers"),
    "NaN pixel spacing": ({"PixelSpacing": ["NaN", "NaN"]}, "not 2 finite numbers"),
    "NaN position": ({"ImagePositionPatient": ["nan", "0", "0"]}, "not 3 finite numbers"),
    "infinite position": ({"ImagePositionPatient": ["0", "0", "inf"]}, "not 3 finite numbers"),
    "orientation not of unit length": ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "perpendicular unit vectors"),
    "orientation of zeros": ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "perpendicular unit vectors"),
    "orientation askew": ({"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]}, "perpendicular unit vectors"),
    "orientation of five numbers": ({"ImageOrientationPatient": [1, 0, 0, 0, 1]}, "not 6 finite numbers"),
    "NaN slope": ({"RescaleSlope": "nan"}, "not 1 finite numbers"),
    "zero slope": ({"RescaleSlope": 0}, "slope of a DICOM slice is zero"),
    "no bits stored": ({"BitsStored": None}, "damaged"),
    "no bits allocated": ({"BitsAllocated": None}, "damaged"),
    "color": ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "color or vector"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "color or vector"),
    "mosaic": ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "dcm2niix"),
}


class TestHeaders:
    @pytest.mark.parametrize("defect", DEFECTS)
    def test_a_defect_of_all_slices_is_refused(self, tmp_path, refused, defect):
        change, match = DEFECTS[defect]
        warnings.simplefilter("ignore")  # of pydicom, which writes the defect
        write_scan(tmp_path, even(), **change)
        refused(tmp_path, match)

    @pytest.mark.parametrize("defect", [name for name in DEFECTS if name not in ("color", "palette", "mosaic")])
    def test_a_defect_of_one_slice_is_refused(self, tmp_path, refused, defect):
        (change, match), places = DEFECTS[defect], even()
        write_scan(tmp_path, [*places[:4], *places[5:]])
        warnings.simplefilter("ignore")
        save(true_slice(places[4], instance=99, **change), tmp_path / "x.dcm")
        refused(tmp_path, match)


CUTS = {
    "in the middle of the pixels": lambda content: content[:-100],
    "before the pixels": lambda content: content[:-260],
    "in the header": lambda content: content[:600],
    "after the preamble": lambda content: content[:140],
    "empty": lambda content: b"",
    "zeros at the end of the header": lambda content: content[:400] + bytes(len(content) - 400),
    "noise in the header": lambda content: content[:300] + np.random.default_rng(0).bytes(500) + content[800:],
    "a text": lambda content: b"This is no DICOM file. " * 20,
}


class TestDamage:
    @pytest.mark.parametrize("cut", CUTS)
    def test_a_damaged_slice_is_refused(self, tmp_path, refused, cut):
        write_scan(tmp_path, even())
        path = sorted(tmp_path.iterdir())[2]
        path.write_bytes(CUTS[cut](path.read_bytes()))
        refused(tmp_path, "damaged|cannot be read")

    @pytest.mark.parametrize("cut", ["in the middle of the pixels", "in the header", "after the preamble"])
    def test_a_damaged_file_by_itself_is_refused(self, tmp_path, refused, cut):
        places = even()
        path = save(enhanced(np.zeros((8, 12, 10), np.uint16), places), tmp_path / "e.dcm")
        path.write_bytes(CUTS[cut](path.read_bytes()))
        refused(path, "damaged")

    def test_pixels_that_are_cut_off_are_named_by_the_slice(self, tmp_path, refused):
        write_scan(tmp_path, even())
        for path in tmp_path.iterdir():
            file = dcmread(path)
            if file.ImagePositionPatient[2] == ORIGIN[2] + 9:
                file.PixelData = file.PixelData[:50]
                file.save_as(path)
        refused(tmp_path, "Slice 4 of 8 of the DICOM series is damaged or incomplete")

    @pytest.mark.parametrize("seed", range(40))
    def test_bytes_changed_anywhere_never_give_a_traceback(self, tmp_path, seed, capfd):
        random = np.random.default_rng(seed)
        write_scan(tmp_path, even(4))
        path = sorted(tmp_path.iterdir())[1]
        content = bytearray(path.read_bytes())
        for place in random.integers(132, len(content) - 240, 3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert read_dicom(tmp_path).array.ndim == 3
        assert capfd.readouterr() == ("", "")

    def test_too_little_memory_is_said(self, tmp_path, monkeypatch):
        write_scan(tmp_path, even())

        def full(*_args, **_options):
            raise MemoryError

        monkeypatch.setattr("pydicom.pixels.iter_pixels", full)
        with pytest.raises(ResourceError, match="not enough memory"):
            read_dicom(tmp_path)


class TestOtherKinds:
    @pytest.mark.parametrize("kind", [ULTRASOUND_CINE, XA, SECONDARY, MR])
    def test_frames_without_positions_are_refused(self, tmp_path, refused, kind):
        place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        file = dataset(np.zeros((9, 12, 10), np.uint8), kind=kind, PixelSpacing=[1.0, 1.0], **place)
        refused(save(file, tmp_path / "cine.dcm"), "no position in space: it is not a 3D scan")

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR"),
            ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
            ("1.2.840.10008.5.1.4.1.1.9.1.1", "12-lead ECG Waveform"),
            ("1.2.840.10008.5.1.4.1.1.481.3", "RT Structure Set"),
        ],
    )
    def test_what_is_no_image_is_refused_by_its_name(self, tmp_path, refused, kind, name):
        file = dataset(np.zeros((4, 4), np.uint8), kind=kind)
        del file.Rows, file.Columns, file.PixelData
        refused(save(file, tmp_path / "x.dcm"), f"no image but of the kind {name}")

    def test_a_segmentation_is_refused_by_its_name(self, tmp_path, refused):
        write_scan(tmp_path / "ct", even(), FrameOfReferenceUID=f"{ROOT}.77", SliceThickness=3)
        slices = [dcmread(path) for path in (tmp_path / "ct").iterdir()]
        for file in slices:
            file.StudyID, file.StudyDate, file.StudyTime, file.AccessionNumber = "1", "20200101", "101010", "1"
            file.PatientBirthDate, file.PatientSex, file.ReferringPhysicianName = "", "", ""
        slices.sort(key=lambda file: file.ImagePositionPatient[2])
        description = highdicom.seg.SegmentDescription(
            1, "x", codes.SCT.Organ, codes.SCT.Liver, highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        mask = np.ones((8, 12, 10), np.uint8)
        seg = highdicom.seg.Segmentation(
            slices, mask, "BINARY", [description], UID(f"{ROOT}.6"), 6, UID(f"{ROOT}.6.1"), 1, "M", "M", "1", "1"
        )
        seg.save_as(tmp_path / "ct" / "seg.dcm")
        refused(tmp_path / "ct" / "seg.dcm", "is a segmentation, not a scan")
        volume = read_dicom(tmp_path / "ct")
        assert_true(volume)
        assert doubts(volume) == {"other_series": False}


class TestSingleSlices:
    def test_the_file_of_a_slice_is_refused_with_its_folder_as_advice(self, tmp_path, refused):
        write_scan(tmp_path, even())
        refused(next(tmp_path.iterdir()), "single slice of a DICOM series; give the folder")

    def test_a_folder_of_one_slice_is_refused(self, tmp_path, refused):
        write_scan(tmp_path, even(1))
        refused(tmp_path, "holds a single slice of a DICOM series, the only one there")

    def test_images_that_all_are_at_one_position_are_refused(self, tmp_path, refused):
        write_scan(tmp_path, [ORIGIN] * 6, RescaleIntercept=lambda n: n, AcquisitionTime=lambda n: f"10101{n}")
        refused(tmp_path, "All 6 images of the DICOM series are at one position")

    def test_slices_that_each_are_a_series_are_refused_with_their_number(self, tmp_path, refused):
        write_scan(tmp_path, even(), series=lambda n: n + 1)
        refused(tmp_path, "holds 8 DICOM series of a single slice each")


class TestFolders:
    def test_other_files_and_folders_do_no_harm(self, tmp_path):
        write_scan(tmp_path, even())
        for name, content in {
            "notes.txt": b"hello",
            "VERSION": b"",
            "t.nii.gz": b"\x1f\x8b",
            "x.png": b"\x89PNG",
        }.items():
            (tmp_path / name).write_bytes(content)
        write_scan(tmp_path / "more", even(5), series=2)
        os.mkfifo(tmp_path / "pipe.dcm")
        (tmp_path / "nowhere.dcm").symlink_to(tmp_path / "gone")
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert volume.warnings == ()

    def test_an_index_beside_the_slices_is_left_alone(self, tmp_path, refused):
        index = dataset(np.zeros((4, 4), np.uint8), kind="1.2.840.10008.1.3.10", series=9)
        del index.Rows, index.Columns, index.PixelData
        save(index, tmp_path / "DICOMDIR")
        refused(tmp_path, "only an index")
        refused(tmp_path / "DICOMDIR", "an index")
        write_scan(tmp_path, even())
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert volume.warnings == ()

    def test_files_may_have_any_name(self, tmp_path):
        write_scan(tmp_path, even())
        for n, path in enumerate(sorted(tmp_path.iterdir())):
            path.rename(tmp_path / f"IM{n * 5 % 8:05}")
        assert_true(read_dicom(tmp_path))

    def test_images_in_subfolders_only_are_pointed_at(self, tmp_path, refused):
        for n in (1, 2):
            write_scan(tmp_path / str(n), even())
        refused(tmp_path, "2 of its subfolders do; give the one")

    @pytest.mark.parametrize("files", [(), ("notes.txt",)])
    def test_a_folder_without_dicom_is_refused(self, tmp_path, refused, files):
        for name in files:
            (tmp_path / name).write_text("hello")
        refused(tmp_path, "holds no DICOM images")

    def test_a_pipe_is_not_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert not is_dicom(tmp_path / "pipe")

    @pytest.mark.parametrize("name", ["pipe", "text", "nowhere"])
    def test_what_is_no_dicom_file_is_refused(self, tmp_path, refused, name):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "text").write_text("hello" * 100)
        refused(tmp_path / name, "no DICOM file of this name")


def test_reading_leaves_the_settings_of_pydicom_alone(tmp_path):
    import pydicom

    logger, mode = logging.getLogger("pydicom"), pydicom.config.settings.reading_validation_mode
    read_dicom(write_scan(tmp_path, even()))
    assert not logger.disabled
    assert pydicom.config.settings.reading_validation_mode == mode


def test_the_package_is_loaded_without_pydicom():
    code = (
        "import sys; sys.modules['pydicom'] = sys.modules['highdicom'] = None\n"
        "import GenRegLogic.files.reading, GenRegLogic.files.dicom.scan\n"
        "from GenRegLogic.errors import DependencyError\n"
        "try: GenRegLogic.files.dicom.scan.read_dicom('.')\n"
        "except DependencyError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs the package pydicom" in done.stdout, done.stderr


def test_more_frames_than_fit_the_file_are_refused_at_once(tmp_path, refused):
    file = true_slice(ORIGIN)
    file.NumberOfFrames = 1_000_000
    save(file, tmp_path / "series" / "s.dcm")
    refused(tmp_path / "series", "damaged")
