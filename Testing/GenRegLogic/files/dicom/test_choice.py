"""Which images make the volume: one stack is read, several are listed, and nothing is mixed."""

import shutil

import numpy as np
import pytest
from pydicom import dcmread

from GenRegLogic.files.dicom import read_dicom
from GenRegLogic.files.images import read_volume
from GenRegLogic.given import as_volume
from GenRegLogic.space.volume import Volume

from .conftest import (
    AXIAL,
    CORONAL,
    MR,
    ROOT,
    SAGITTAL,
    SECONDARY,
    assert_true,
    dataset,
    doubts,
    even,
    heights,
    save,
    true_slice,
    write_scan,
)


def add_slice(folder, name, position, axes=AXIAL, **attributes):
    return save(true_slice(position, axes, **attributes), folder / name)


class TestDuplicates:
    def test_files_stored_twice_are_dropped_and_said(self, tmp_path):
        write_scan(tmp_path, even())
        for path in list(tmp_path.iterdir()):
            shutil.copy(path, tmp_path / f"copy_{path.name}")
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert doubts(volume) == {"duplicates_dropped": False}
        assert "8 of the DICOM images" in volume.warnings[0]

    def test_the_same_image_under_another_identity_is_dropped(self, tmp_path):
        write_scan(tmp_path, even())
        add_slice(tmp_path, "again.dcm", even()[3], instance=99)
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert doubts(volume) == {"duplicates_dropped": False}

    def test_different_images_at_one_position_are_refused(self, tmp_path, refused):
        write_scan(tmp_path, even())
        add_slice(tmp_path, "again.dcm", even()[3], instance=99, RescaleIntercept=50)
        refused(tmp_path, "several images at one position")

    def test_copies_within_one_echo_do_not_hide_the_other(self, tmp_path):
        write_scan(tmp_path, even(), kind=MR, EchoTime=4.6)
        write_scan(tmp_path, even(), kind=MR, EchoTime=9.2, RescaleIntercept=100, instance=51)
        shutil.copy(next(tmp_path.iterdir()), tmp_path / "copy.dcm")
        volume = read_dicom(tmp_path, series="1")
        assert_true(volume)
        assert doubts(volume) == {"duplicates_dropped": False}


WAYS = {
    "echo time": ("EchoTime", [4.6, 9.2], "echo time 4.6 ms", "echo time 9.2 ms"),
    "phase": ("NominalPercentageOfCardiacPhase", [30, 70], "cardiac phase 30", "cardiac phase 70"),
    "time point": ("TemporalPositionIdentifier", [1, 2], "time point 1", "time point 2"),
    "b-value": ("DiffusionBValue", [0.0, 1000.0], "b-value 0", "b-value 1000"),
    "trigger time": ("TriggerTime", [0.0, 40.5], "trigger time 0", "trigger time 40.5"),
    "image type": ("ImageType", [["ORIGINAL", "M"], ["ORIGINAL", "P"]], "image type ORIGINAL/M", "ORIGINAL/P"),
    "acquisition": ("AcquisitionNumber", [1, 2], "acquisition 1", "acquisition 2"),
}


class TestSeveralVolumesInOneSeries:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("number", [0, 1])
    def test_they_are_listed_by_what_differs_and_each_can_be_chosen(self, tmp_path, refused, way, number):
        name, values, *labels = WAYS[way]
        for n in (0, 1):
            changes = {name: values[n], "instance": lambda k, n=n: k * 2 + n + 1, "RescaleIntercept": 300 * n}
            write_scan(tmp_path, even(), kind=MR, **changes)
        text = refused(tmp_path, r"holds 2 DICOM volumes that differ in .*; choose one with --series")
        assert "1: MR" in text
        assert labels[0] in text.split("; ")[0]
        assert labels[1] in text.split("; ")[1]
        volume = read_dicom(tmp_path, series=str(number + 1))
        if number == 0:
            assert_true(volume)
        assert volume.array.mean() == pytest.approx(read_dicom(tmp_path, series="1").array.mean() + 300 * number)
        assert volume.warnings == ()

    def test_directions_of_diffusion_are_told_apart_beside_the_b_value(self, tmp_path, refused):
        directions = [None, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        for n, direction in enumerate(directions):
            changes = {"DiffusionBValue": 1000.0 if direction else 0.0, "DiffusionGradientOrientation": direction}
            write_scan(tmp_path, even(), kind=MR, RescaleIntercept=100 * n, instance=n * 10 + 1, **changes)
        refused(tmp_path, "holds 3 DICOM volumes that differ in")
        means = [read_dicom(tmp_path, series=str(n)).array.mean() for n in (1, 2, 3)]
        assert sorted(np.round(np.array(means) - min(means))) == [0, 100, 200]

    def test_time_points_are_ordered_by_their_times_where_every_slice_has_its_own(self, tmp_path, refused):
        for n in (1, 0):
            write_scan(
                tmp_path,
                even(),
                kind=MR,
                instance=n * 10 + 1,
                RescaleIntercept=300 * n,
                AcquisitionTime=lambda k, n=n: f"1012{10 + 20 * n + k}",
            )
        refused(tmp_path, "time point 1 of 2")
        assert_true(read_dicom(tmp_path, series="1"))

    def test_echoes_between_one_anothers_slices_are_not_one_volume(self, tmp_path, refused):
        write_scan(tmp_path, heights(0, 4, 8, 12, 16), kind=MR, EchoTime=4.6)
        write_scan(tmp_path, heights(2, 6, 10, 14, 18), kind=MR, EchoTime=9.2, instance=51)
        refused(tmp_path, "differ in echo time")
        volume = read_dicom(tmp_path, series="1")
        assert volume.geometry.spacing[2] == pytest.approx(4.0)
        assert_true(volume)

    def test_acquisitions_shifted_by_less_than_a_slice_are_not_one_volume(self, tmp_path, refused):
        write_scan(tmp_path, heights(0, 4, 8, 12, 16), AcquisitionNumber=1)
        write_scan(tmp_path, heights(1.3, 5.3, 9.3, 13.3, 17.3), AcquisitionNumber=2, instance=51)
        refused(tmp_path, "differ in acquisition")

    def test_interleaved_acquisitions_of_one_volume_are_one_volume(self, tmp_path):
        write_scan(tmp_path, even(), AcquisitionNumber=lambda n: n % 2)
        assert_true(read_dicom(tmp_path))

    def test_stacks_beside_one_another_are_told_apart(self, tmp_path, refused):
        write_scan(tmp_path, even(axes=SAGITTAL), SAGITTAL)
        write_scan(tmp_path, even(origin=(-10, 120, 30), axes=SAGITTAL), SAGITTAL, instance=51)
        refused(tmp_path, "place in the plane")
        assert_true(read_dicom(tmp_path, series="2"))


class TestLocalizers:
    @pytest.mark.parametrize("axes", [SAGITTAL, CORONAL])
    def test_a_localizer_among_the_slices_is_left_out_and_said(self, tmp_path, axes):
        write_scan(tmp_path, even(20))
        add_slice(tmp_path, "0.dcm", (0, 0, 90), axes, instance=99)
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert volume.geometry.size[2] == 20
        assert doubts(volume) == {"localizers_left_out": False}

    def test_a_scout_of_another_size_is_left_out_and_said(self, tmp_path):
        write_scan(tmp_path, even(20))
        add_slice(tmp_path, "0.dcm", (0, 0, 30), size=(24, 10), instance=99)
        assert doubts(read_dicom(tmp_path)) == {"localizers_left_out": False}

    def test_a_screenshot_in_the_series_is_left_out_and_said(self, tmp_path):
        write_scan(tmp_path, even(20))
        save(dataset(np.zeros((24, 30), np.uint8), kind=SECONDARY, instance=99), tmp_path / "0.dcm")
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert doubts(volume) == {"localizers_left_out": False}

    def test_stacks_of_several_orientations_are_listed_and_can_be_chosen(self, tmp_path, refused):
        for n, axes in enumerate((AXIAL, SAGITTAL, CORONAL)):
            write_scan(tmp_path, even(6, axes=axes), axes, instance=lambda k, n=n: n * 10 + k + 1)
        text = refused(tmp_path, "3 DICOM volumes that differ in orientation")
        assert all(plane in text for plane in ("axial", "sagittal", "coronal"))
        for number in "123":
            assert_true(read_dicom(tmp_path, series=number))

    def test_stacks_of_two_sizes_are_listed(self, tmp_path, refused):
        write_scan(tmp_path, even(6))
        write_scan(tmp_path, even(6), size=(20, 10), instance=51)
        refused(tmp_path, "2 DICOM volumes that differ in size")

    def test_single_images_of_three_orientations_are_no_scan(self, tmp_path, refused):
        for n, axes in enumerate((AXIAL, SAGITTAL, CORONAL) * 2):
            add_slice(tmp_path, f"{n}.dcm", (0, 0, 0), (np.array(axes) * (1 - 2 * (n > 2))).tolist(), instance=n + 1)
        refused(tmp_path, "differ in orientation")


@pytest.fixture
def two(tmp_path):
    """A folder with two scans and a localizer."""
    write_scan(tmp_path, even(), series=3, SeriesDescription="Doe, arterial")
    write_scan(tmp_path, even(5, 4.0), series=7, SeriesDescription="venous")
    write_scan(tmp_path, even(4, 40.0, axes=CORONAL), CORONAL, series=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    return tmp_path


class TestSeveralSeries:
    def test_the_only_scan_among_other_images_is_read_and_said(self, tmp_path):
        write_scan(tmp_path, even(), series=3)
        write_scan(tmp_path, even(4, 40.0, axes=CORONAL), CORONAL, series=1, ImageType=["ORIGINAL", "X", "LOCALIZER"])
        add_slice(tmp_path, "single.dcm", (0, 0, 0), series=4)
        save(dataset(np.zeros((24, 30, 3), np.uint8)[..., 0], kind=SECONDARY, series=5), tmp_path / "capture.dcm")
        volume = read_dicom(tmp_path)
        assert_true(volume)
        assert doubts(volume) == {"other_series": False}
        assert "4 DICOM series" in volume.warnings[0]

    def test_several_scans_are_listed_without_a_word_of_the_patient(self, two, refused):
        text = refused(two, "holds 3 DICOM volumes: ")
        assert "2: CT, 10 x 12 x 8 voxels of 1.5 x 2 x 3 mm" in text
        assert '3: CT "venous", 10 x 12 x 5 voxels of 1.5 x 2 x 4 mm' in text

    @pytest.mark.parametrize(
        ("choice", "slices"), [("2", 8), ("3", 5), (f"{ROOT}.7", 5), (f"{ROOT}.3", 8), ("7", 5), ("1", 4), (" 7 ", 5)]
    )
    def test_one_is_chosen_by_its_place_in_the_list_its_uid_or_its_number(self, two, choice, slices):
        volume = read_dicom(two, series=choice)
        assert volume.geometry.size[2] == slices
        assert_true(volume)
        assert doubts(volume) == ({"series_by_list_number": False} if choice == "3" else {})

    @pytest.mark.parametrize("choice", ["9", "1.2.3", "", "venous", "-1", "٣"])
    def test_a_choice_that_fits_nothing_is_refused_with_the_list(self, two, refused, choice):
        refused(two, "fits no volume in it, which holds 3 DICOM volumes", series=choice)

    def test_a_series_number_that_two_series_have_is_refused(self, tmp_path, refused):
        for n in (3, 4):
            write_scan(tmp_path, even(), series=n, SeriesNumber=50)
        refused(tmp_path, "--series 50 fits several volumes", series="50")

    def test_a_series_of_several_volumes_is_refused_by_its_uid(self, tmp_path, refused):
        for n in (0, 1):
            write_scan(tmp_path, even(), kind=MR, EchoTime=4.6 + n, RescaleIntercept=n, instance=n * 50 + 1)
        refused(tmp_path, "fits several volumes", series=f"{ROOT}.1")

    def test_a_scan_that_cannot_be_read_is_not_passed_over_for_another(self, tmp_path, refused):
        write_scan(tmp_path, even(), series=3, PixelSpacing=None)
        write_scan(tmp_path, even(), series=4)
        refused(tmp_path, "2 DICOM volumes: 1: .*8 images that can't be read")
        assert_true(read_dicom(tmp_path, series="2"))
        refused(tmp_path, "pixel spacing", series="1")

    def test_long_lists_end_after_ten(self, tmp_path, refused):
        for n in range(12):
            write_scan(tmp_path, even(3), series=n + 1)
        text = refused(tmp_path, "holds 12 DICOM volumes")
        assert "10: " in text
        assert "11: " not in text
        assert "and 2 more" in text


def test_reading_twice_gives_the_same(two):
    one, other = (read_dicom(two, series="3") for _ in range(2))
    np.testing.assert_array_equal(one.array, other.array)
    assert one.geometry.is_close(other.geometry, 0)
    assert one.warnings == other.warnings


def test_every_way_of_reading_takes_the_choice(two):
    volumes = read_volume(two, series="3"), Volume.from_file(two, series="3"), as_volume(two, "fixed", series="3")
    assert [volume.geometry.size[2] for volume in volumes] == [5, 5, 5]


def test_only_headers_of_other_series_are_read(two):
    for path in two.glob("7_*"):
        file = dcmread(path)
        file.PixelData = file.PixelData[:20]
        file.save_as(path)
    assert_true(read_dicom(two, series=f"{ROOT}.3"))
