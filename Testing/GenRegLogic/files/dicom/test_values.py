"""Voxels have the values that the headers give them, whatever their type, order of bytes or compression."""

import locale

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from GenRegLogic.files.dicom import read_dicom

from .conftest import (
    AXIAL,
    DOSE,
    MR,
    ORIGIN,
    PET,
    SIZE,
    SPACING,
    assert_true,
    dataset,
    enhanced,
    even,
    plane_points,
    save,
    truth,
    write_scan,
)

RNG = np.random.default_rng(5)
PLACE = {"ImageOrientationPatient": list(AXIAL), "PixelSpacing": list(SPACING)}


def write(folder, stored, **attributes):
    """Slices of these stored values, 3 mm apart; an attribute may be a function of the slice's number."""
    for n, values in enumerate(stored):
        own = {name: value(n) if callable(value) else value for name, value in attributes.items()}
        place = PLACE | {"ImagePositionPatient": [*ORIGIN[:2], ORIGIN[2] + 3.0 * n]}
        save(dataset(values, **{"instance": n + 1, **place, **own}), folder / f"{n:03}.dcm")
    return folder


def stored_values(dtype, low, high, count=4):
    return RNG.integers(low, high, (count, *SIZE), endpoint=True).astype(dtype)


class TestScale:
    def test_a_slope_of_each_slice_gives_fractional_values(self, tmp_path):
        stored, slopes = stored_values(np.uint16, 0, 32767), [1.0, 0.00123, 0.25, 1e-6]
        volume = read_dicom(write(tmp_path, stored, kind=PET, RescaleSlope=lambda n: slopes[n], RescaleIntercept=0))
        assert volume.array.dtype == np.float32
        np.testing.assert_allclose(volume.array, stored * np.reshape(slopes, (-1, 1, 1)), rtol=1e-6)

    @pytest.mark.parametrize("lacking", [0, 2])
    def test_an_intercept_that_one_slice_lacks_is_zero_there_only(self, tmp_path, lacking):
        stored = stored_values(np.uint16, 0, 4095)
        volume = read_dicom(
            write(
                tmp_path,
                stored,
                RescaleSlope=lambda n: None if n == lacking else 1,
                RescaleIntercept=lambda n: None if n == lacking else -1024,
            )
        )
        expected = stored.astype(int) - 1024
        expected[lacking] += 1024
        np.testing.assert_array_equal(volume.array, expected)
        assert volume.array.dtype == np.int16

    @pytest.mark.parametrize(
        ("dtype", "low", "high", "intercept", "expected"),
        [
            (np.uint8, 0, 255, 0, np.int16),
            (np.uint16, 0, 4095, -1024, np.int16),
            (np.uint16, 0, 65535, -1024, np.int32),
            (np.int16, -2000, 3000, 0, np.int16),
            (np.uint32, 0, 2**32 - 1, 0, np.int64),
        ],
    )
    def test_whole_values_stay_whole_in_the_smallest_type(self, tmp_path, dtype, low, high, intercept, expected):
        stored = stored_values(dtype, low, high)
        volume = read_dicom(write(tmp_path, stored, RescaleSlope=1, RescaleIntercept=intercept))
        assert volume.array.dtype == expected
        np.testing.assert_array_equal(volume.array, stored.astype(np.int64) + intercept)

    def test_slices_may_differ_in_whether_values_have_a_sign(self, tmp_path):
        stored = [*stored_values(np.int16, -1000, 1000, 2), *stored_values(np.uint16, 40000, 65535, 2)]
        np.testing.assert_array_equal(
            read_dicom(write(tmp_path, stored)).array, np.stack([s.astype(int) for s in stored])
        )

    def test_a_modality_lookup_table_is_applied(self, tmp_path):
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = (
            [4, 0, 16],
            "HU",
            np.uint16([10, 20, 40, 80]).tobytes(),
        )
        stored = stored_values(np.uint16, 0, 3)
        volume = read_dicom(write(tmp_path, stored, ModalityLUTSequence=Sequence([table])))
        np.testing.assert_array_equal(volume.array, np.array([10, 20, 40, 80])[stored])


class TestBits:
    def test_a_sign_in_twelve_of_sixteen_bits(self, tmp_path):
        values = stored_values(np.int16, -2048, 2047)
        stored = (values & 0x0FFF).astype(np.int16)
        np.testing.assert_array_equal(read_dicom(write(tmp_path, stored, BitsStored=12, HighBit=11)).array, values)

    def test_overlays_in_unused_bits_are_no_values(self, tmp_path):
        values = stored_values(np.uint16, 0, 4095)
        volume = read_dicom(write(tmp_path, values | 0x9000, BitsStored=12, HighBit=11))
        np.testing.assert_array_equal(volume.array, values)

    def test_values_in_the_upper_bits(self, tmp_path):
        values = stored_values(np.uint16, 0, 4095)
        volume = read_dicom(write(tmp_path, values << 4, BitsStored=12, HighBit=15))
        np.testing.assert_array_equal(volume.array, values)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_other_orders_of_bytes(tmp_path, syntax):
    assert_true(read_dicom(write_scan(tmp_path, even(), syntax=syntax)))


@pytest.mark.parametrize("syntax", [None, ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_files_without_a_preamble(tmp_path, syntax):
    write_scan(tmp_path, even(), **({} if syntax is None else {"syntax": syntax}))
    for path in tmp_path.iterdir():
        content = path.read_bytes()[132:]
        path.write_bytes(content[12 + int.from_bytes(content[8:12], "little") :])  # the meta information goes too
    assert_true(read_dicom(tmp_path))


def compressed_by_itk(values, compressor, path):
    """The transfer syntax and the pixel data of a slice in a file that ITK compresses."""
    before = locale.setlocale(locale.LC_ALL)  # ITK's DICOM writer, which GenReg doesn't use, leaves the "C" locale
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(path))
    writer.Execute(sitk.GetImageFromArray(values))
    locale.setlocale(locale.LC_ALL, before)
    file = dcmread(path)
    return file.file_meta.TransferSyntaxUID, file.PixelData


@pytest.fixture
def compressed(tmp_path):
    """Writes slices compressed in one of several ways to the folder "scan"; returns it."""

    def write_compressed(stored, way, **attributes):
        folder = write(tmp_path / "scan", stored, **attributes)
        for n, path in enumerate(sorted(folder.iterdir())):
            file = dcmread(path)
            if way in (RLELossless, JPEGLSLossless):
                file.compress(way)
            else:
                syntax, file.PixelData = compressed_by_itk(stored[n], way, tmp_path / "itk.dcm")
                file["PixelData"].VR, file.file_meta.TransferSyntaxUID = "OB", syntax
            file.save_as(path)
        return folder

    return write_compressed


class TestCompression:
    @pytest.mark.parametrize(
        ("way", "syntax"),
        [
            (RLELossless, RLELossless),
            (JPEGLSLossless, JPEGLSLossless),
            ("JPEG", JPEGLosslessSV1),
            ("JPEG2000", JPEG2000Lossless),
        ],
    )
    @pytest.mark.parametrize("dtype", [np.uint16, np.int16])
    def test_compressed_slices(self, compressed, way, syntax, dtype):
        stored = stored_values(dtype, 0 if dtype == np.uint16 else -2000, 4000)
        folder = compressed(stored, way, RescaleSlope=2, RescaleIntercept=-1000)
        assert dcmread(next(folder.iterdir())).file_meta.TransferSyntaxUID == syntax
        np.testing.assert_array_equal(read_dicom(folder).array, stored.astype(int) * 2 - 1000)

    @pytest.mark.parametrize("way", ["JPEG", "JPEG2000", JPEGLSLossless])
    def test_frames_of_one_compressed_file_are_found_in_any_order(self, tmp_path, way):
        places, order = even(5), [3, 1, 4, 0, 2]
        stored = np.rint([truth(plane_points(places[n])) * 100 for n in order]).astype(np.uint16)
        scale = {"PixelValueTransformationSequence": {"RescaleSlope": 0.01, "RescaleIntercept": 0}}
        file = enhanced(stored, [places[n] for n in order], shared=scale)
        if way == JPEGLSLossless:
            file.compress(way)
        else:
            made = [compressed_by_itk(values, way, tmp_path / "itk.dcm") for values in stored]
            streams = [get_frame(data, 0, number_of_frames=1) for _, data in made]
            file.file_meta.TransferSyntaxUID, file.PixelData = made[0][0], encapsulate(streams)
            file["PixelData"].VR = "OB"
        assert_true(read_dicom(save(file, tmp_path / "e.dcm")))

    @pytest.mark.parametrize("way", ["JPEG", "JPEG2000", JPEGLSLossless])
    @pytest.mark.parametrize("damage", ["cut off", "zeros", "noise"])
    def test_a_damaged_stream_is_refused(self, compressed, refused, way, damage):
        folder = compressed(stored_values(np.uint16, 0, 4000), way)
        path = sorted(folder.iterdir())[1]
        file = dcmread(path)
        stream = get_frame(file.PixelData, 0, number_of_frames=1)
        damaged = {
            "cut off": stream[: len(stream) // 2],
            "zeros": stream[:30] + bytes(len(stream) - 32) + b"\xff\xd9",
            "noise": stream[:4] + np.random.default_rng(1).bytes(len(stream) - 6) + b"\xff\xd9",
        }[damage]
        file.PixelData = encapsulate([damaged])
        file.save_as(path)
        refused(folder, "Slice 2 of 4 of the DICOM series is damaged or incomplete")


class TestPadding:
    def test_the_padding_value_is_returned_in_the_unit_of_the_values(self, tmp_path):
        stored = stored_values(np.int16, 0, 4000)
        stored[:, 0, :3] = -2000
        volume = read_dicom(write(tmp_path, stored, PixelPaddingValue=-2000, RescaleSlope=2, RescaleIntercept=-1024))
        assert volume.padding == -5024
        np.testing.assert_array_equal(volume.array == volume.padding, stored == -2000)
        np.testing.assert_array_equal(volume.array, stored.astype(int) * 2 - 1024)

    def test_a_range_of_padding_becomes_one_value(self, tmp_path):
        stored = stored_values(np.int16, 0, 4000)
        stored[:, 0, :3] = [-2000, -1999, -1990]
        volume = read_dicom(write(tmp_path, stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990))
        assert (volume.array[:, 0, :3] == volume.padding).all()
        assert (volume.array == volume.padding).sum() == 12

    def test_a_declared_value_that_no_voxel_has_is_not_returned(self, tmp_path):
        assert read_dicom(write(tmp_path, stored_values(np.int16, 0, 9), PixelPaddingValue=-2000)).padding is None

    def test_padding_does_not_blur_into_what_is_resampled(self, tmp_path):
        places = [p + [0, 1.3 * n, 0] for n, p in enumerate(even())]
        write_scan(tmp_path, places, PixelPaddingValue=65000)

        for path in tmp_path.iterdir():
            file = dcmread(path)
            stored = file.pixel_array.copy()
            stored[3:5, 4:6] = 65000
            file.PixelData = stored.tobytes()
            file.save_as(path)
        volume = read_dicom(tmp_path)
        assert volume.padding == pytest.approx(650.0)
        assert_true(volume)


def dose(offsets, scale=1e-4, axes=AXIAL, position=ORIGIN, **attributes):
    """An RT dose of the scan's values; its frames lie where relative offsets say."""
    normal = np.cross(axes[:3], axes[3:])
    places = [np.array(position) + (o - offsets[0]) * normal for o in offsets]
    stored = np.rint([truth(plane_points(p, axes)) / scale for p in places]).astype(np.uint32)
    attributes = {"DoseGridScaling": scale, "GridFrameOffsetVector": [float(o) for o in offsets]} | attributes
    place = {
        "ImagePositionPatient": list(position),
        "ImageOrientationPatient": list(axes),
        "PixelSpacing": list(SPACING),
    }
    return dataset(stored, **{"kind": DOSE, "Modality": "RTDOSE", "DoseUnits": "GY", **place, **attributes})


class TestDose:
    @pytest.mark.parametrize("step", [3.0, -3.0], ids=["rising", "falling"])
    @pytest.mark.parametrize("axes", [AXIAL, (1, 0, 0, 0, -1, 0), (0, 1, 0, 0, 0, 1)])
    def test_relative_offsets(self, tmp_path, step, axes):
        volume = read_dicom(save(dose([step * n for n in range(8)], axes=axes), tmp_path / "dose.dcm"))
        assert_true(volume, 1e-3)
        assert volume.geometry.spacing == pytest.approx((1.5, 2.0, 3.0))
        assert volume.warnings == ()

    @pytest.mark.parametrize("step", [3.0, -3.0], ids=["rising", "falling"])
    def test_absolute_offsets(self, tmp_path, step):
        offsets = [ORIGIN[2] + step * n for n in range(8)]
        assert_true(read_dicom(save(dose(offsets), tmp_path / "dose.dcm")), 1e-3)

    def test_uneven_offsets_are_resampled(self, tmp_path):
        volume = read_dicom(save(dose([0, 3, 6, 10, 13, 16]), tmp_path / "dose.dcm"))
        assert [doubt.name for doubt in volume.warnings] == ["slices_uneven"]
        assert_true(volume, 1e-3)

    def test_a_relative_dose_is_said(self, tmp_path):
        volume = read_dicom(save(dose([0, 3, 6], DoseUnits="RELATIVE"), tmp_path / "dose.dcm"))
        assert [doubt.name for doubt in volume.warnings] == ["dose_relative"]

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"DoseGridScaling": None}, "no DoseGridScaling"),
            ({"GridFrameOffsetVector": None}, "no position in space"),
            ({"GridFrameOffsetVector": [0.0, 3.0]}, "not 8 finite numbers"),
            ({"GridFrameOffsetVector": [77.0 + 3 * n for n in range(8)]}, "fit neither form"),
        ],
    )
    def test_a_dose_of_unknown_scale_or_places_is_refused(self, tmp_path, refused, change, match):
        refused(save(dose([3.0 * n for n in range(8)], **change), tmp_path / "dose.dcm"), match)


def test_the_slices_of_a_scan_without_any_scale_are_as_stored(tmp_path):
    stored = stored_values(np.uint16, 0, 900)
    np.testing.assert_array_equal(read_dicom(write(tmp_path, stored, kind=MR)).array, stored)


@pytest.mark.parametrize("inserted", [b"\r\r", b"\x07" * 24])
def test_bytes_put_in_between_the_voxels_are_noticed(tmp_path, refused, inserted):
    places = even(6)
    stored = np.stack([truth(plane_points(place)) for place in places])[None].astype(np.uint16)
    path = save(enhanced(stored[0], places), tmp_path / "e.dcm")
    content = path.read_bytes()
    path.write_bytes(content[:-40] + inserted + content[-40:])
    refused(path, "damaged")
