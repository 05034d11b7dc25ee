"""Slices lie where their headers say, whatever their files are called."""

import numpy as np
import pytest

from GenRegLogic.files.dicom import read_dicom

from .conftest import AXIAL, CORONAL, ORIGIN, SAGITTAL, SIZE, assert_true, doubts, even, heights, write_scan

OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)


@pytest.mark.parametrize(
    "axes",
    [AXIAL, SAGITTAL, CORONAL, OBLIQUE, (-1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0), (0, 1, 0, 1, 0, 0)],
    ids=["axial", "sagittal", "coronal", "oblique", "right to left", "upside down", "rows and columns swapped"],
)
@pytest.mark.parametrize("order", [1, -1], ids=["up", "down"])
def test_slices_of_any_orientation_and_order_are_at_their_places(tmp_path, axes, order):
    volume = read_dicom(write_scan(tmp_path, even(axes=axes)[::order], axes))
    assert_true(volume)
    assert volume.geometry.size == (SIZE[1], SIZE[0], 8)
    assert volume.geometry.spacing == pytest.approx((1.5, 2.0, 3.0))
    assert np.linalg.det(volume.geometry.direction) == pytest.approx(1.0)
    np.testing.assert_allclose(volume.geometry.origin, ORIGIN, atol=1e-6)
    assert volume.warnings == ()


def test_two_slices_are_a_volume(tmp_path):
    assert_true(read_dicom(write_scan(tmp_path, even(2))))


def test_rounded_positions_are_taken_as_even(tmp_path):
    volume = read_dicom(write_scan(tmp_path, heights(0, 3.02, 5.98, 9.01, 12)))
    assert volume.warnings == ()
    assert volume.geometry.spacing[2] == pytest.approx(3.0)


class TestTilt:
    @pytest.mark.parametrize("degrees", [7.0, -18.0])
    @pytest.mark.parametrize("axes", [AXIAL, OBLIQUE])
    def test_a_gantry_tilt_is_straightened_by_the_true_positions(self, tmp_path, degrees, axes):
        sideways = np.tan(np.radians(degrees)) * np.array(axes[3:])
        places = [p + 3.0 * n * sideways for n, p in enumerate(even(axes=axes))]
        volume = read_dicom(write_scan(tmp_path, places, axes))
        assert doubts(volume) == {"gantry_tilt": False}
        assert f"{abs(degrees):g} degrees" in volume.warnings[0]
        assert_true(volume)
        assert volume.geometry.spacing == pytest.approx((1.5, 2.0, 3.0))

    def test_the_slices_of_a_tilted_gantry_are_followed_along_the_table(self, tmp_path):
        tilt = np.radians(15.0)
        axes = (1, 0, 0, 0, np.cos(tilt), np.sin(tilt))
        volume = read_dicom(write_scan(tmp_path, [np.add(ORIGIN, (0, 0, 3.0 * n)) for n in range(8)], axes))
        assert "15 degrees" in volume.warnings[0]
        assert volume.geometry.spacing[2] == pytest.approx(3.0 * np.cos(tilt))
        assert_true(volume)

    def test_what_no_tilted_slice_covers_has_a_value_of_its_own(self, tmp_path):
        volume = read_dicom(write_scan(tmp_path, [p + [0, 1.3 * n, 0] for n, p in enumerate(even())]))
        assert volume.padding is not None
        assert volume.geometry.size[1] > SIZE[0]
        assert (volume.array != volume.padding).sum() >= (SIZE[0] - 1) * SIZE[1] * 8

    def test_a_tilted_series_with_a_gap_is_refused_all_the_same(self, tmp_path, refused):
        places = [p + [0, 1.3 * n, 0] for n, p in enumerate(even(9))]
        write_scan(tmp_path, places[:4] + places[5:])
        refused(tmp_path, "lacks 1 slice;")

    def test_irregular_sideways_shifts_are_refused(self, tmp_path, refused):
        write_scan(tmp_path, [p + [0, 6.0 * (n % 2), 0] for n, p in enumerate(even())])
        refused(tmp_path, "shifted sideways")


class TestUnevenSpacing:
    @pytest.mark.parametrize(
        "places",
        [(0, 3, 6, 10, 13, 16), (0, 3, 6, 9.8, 12.8, 17, 20), (0, 2, 4, 6, 9, 12, 15.5), (0, 3, 6, 6.9, 9.9, 12.9)],
    )
    def test_gaps_below_a_slice_are_resampled_by_the_true_positions(self, tmp_path, places):
        volume = read_dicom(write_scan(tmp_path, heights(*places)))
        assert doubts(volume) == {"slices_uneven": False}
        assert_true(volume)
        covered = (volume.geometry.size[2] - 1) * volume.geometry.spacing[2]
        assert places[-1] - volume.geometry.spacing[2] < covered <= places[-1] + 0.2

    def test_uneven_slices_are_resampled_in_any_order_and_orientation(self, tmp_path):
        places = heights(0, 3, 6, 10, 13, 16, axes=OBLIQUE)
        assert_true(read_dicom(write_scan(tmp_path, places[::-1], OBLIQUE)))

    def test_thin_slices_followed_by_thick_ones_lack_nothing(self, tmp_path):
        places = [*range(0, 10), *range(11, 30, 3)]
        volume = read_dicom(
            write_scan(tmp_path, heights(*places), SliceThickness=lambda n: 1.0 if n < 10 else 3.0),
        )
        assert doubts(volume) == {"slices_uneven": False}
        assert_true(volume)

    def test_a_tilt_and_uneven_spacing_together_are_resampled(self, tmp_path):
        places = [p + [0, 0.3 * d, 0] for p, d in zip(heights(0, 3, 6, 10, 13), (0, 3, 6, 10, 13))]
        volume = read_dicom(write_scan(tmp_path, places))
        assert doubts(volume) == {"slices_uneven": False, "gantry_tilt": False}
        assert_true(volume)

    def test_hopelessly_uneven_slices_are_refused(self, tmp_path, refused):
        write_scan(tmp_path, heights(0, 0.1, 0.2, 0.3, 0.4, 300, 300.1))
        refused(tmp_path, "too unevenly", allow_missing_slices=True)


class TestMissingSlices:
    @pytest.mark.parametrize("lacking", [(3,), (3, 4, 5), (1, 8)])
    def test_a_gap_of_whole_slices_is_refused_with_their_number(self, tmp_path, refused, lacking):
        write_scan(tmp_path, [p for n, p in enumerate(even(10)) if n not in lacking])
        slices = "1 slice" if len(lacking) == 1 else f"{len(lacking)} slices"
        refused(tmp_path, f"lacks {slices};.*--allow-missing-slices")

    @pytest.mark.parametrize("lacking", [(3,), (3, 4, 5), (1, 8)])
    def test_an_allowed_gap_is_interpolated_and_doubted(self, tmp_path, lacking):
        write_scan(tmp_path, [p for n, p in enumerate(even(10)) if n not in lacking])
        volume = read_dicom(tmp_path, allow_missing_slices=True)
        assert doubts(volume) == {"slices_missing": True}
        assert volume.geometry.size[2] == 10
        assert_true(volume)

    def test_every_second_slice_missing_in_a_part_is_noticed(self, tmp_path, refused):
        write_scan(tmp_path, heights(0, 3, 6, 9, 15, 21, 27, 33, 39))
        refused(tmp_path, "lacks 5 slices;")
