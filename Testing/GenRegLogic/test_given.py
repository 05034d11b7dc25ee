"""The types that are accepted as a scan."""

import nibabel
import numpy as np
import pytest

from GenRegLogic import DisplacementField, Geometry, InputError, Settings, Volume, register, write_volume
from GenRegLogic.given import as_volume

QUICK = Settings(linear_only=True, init="none")


@pytest.fixture
def scan(oblique_grid):
    return Volume(np.random.default_rng(0).normal(size=oblique_grid.shape).astype(np.float32), oblique_grid)


@pytest.fixture
def file(scan, tmp_path):
    write_volume(scan, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def assert_same(one, other):
    np.testing.assert_array_equal(one.array, other.array)
    assert one.geometry.is_close(other.geometry, 1e-3)
    assert one.array.dtype == other.array.dtype


class TestTypes:
    def test_a_volume_is_returned_unchanged(self, scan):
        assert as_volume(scan, "fixed") is scan

    @pytest.mark.parametrize("kind", [str, lambda path: path])
    def test_a_path_is_read(self, scan, file, kind):
        assert_same(as_volume(kind(file), "fixed"), scan)

    def test_a_simpleitk_image_is_converted(self, scan):
        assert_same(as_volume(scan.to_sitk(), "fixed"), scan)

    def test_an_array_is_refused_and_the_message_names_from_array(self, scan):
        with pytest.raises(InputError, match=r"fixed is of type ndarray; .*from_array"):
            as_volume(scan.array, "fixed")

    def test_none_is_accepted_for_optional_scans_only(self):
        assert as_volume(None, "fixed_mask", optional=True) is None
        with pytest.raises(InputError, match="NoneType"):
            as_volume(None, "fixed")

    def test_register_gives_the_same_field_for_simpleitk_images(self, pair):
        plain = register(pair.fixed, pair.moving, QUICK)
        result = register(pair.fixed.to_sitk(), pair.moving.to_sitk(), QUICK)
        np.testing.assert_array_equal(result.forward.array, plain.forward.array)


class TestNibabel:
    def test_a_nibabel_image_equals_the_file_read_by_genreg(self, file):
        assert_same(as_volume(nibabel.load(file), "fixed"), Volume.from_file(file))

    def test_a_fourth_axis_of_length_one_is_dropped(self):
        image = nibabel.Nifti1Image(np.zeros((4, 5, 6, 1), np.int16), np.eye(4))
        assert Volume.from_nibabel(image).geometry.size == (4, 5, 6)

    def test_a_4d_image_is_refused(self):
        with pytest.raises(InputError, match="4D"):
            Volume.from_nibabel(nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.int16), np.eye(4)))

    def test_a_sheared_affine_is_refused(self):
        affine = np.eye(4)
        affine[0, 1] = 0.3
        with pytest.raises(InputError, match="not perpendicular"):
            Volume.from_nibabel(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine))


class TestRepresentation:
    def test_a_volume_is_shown_with_size_spacing_and_type(self):
        volume = Volume(np.zeros((4, 5, 6), np.int16), Geometry((6, 5, 4), (1, 1.5, 2)))
        assert repr(volume) == "Volume(6 x 5 x 4 voxels of 1 x 1.5 x 2 mm, int16)"
        assert volume._repr_html_() == f"<code>{volume!r}</code>"

    def test_a_field_is_shown_with_its_grid(self):
        field = DisplacementField(np.zeros((4, 5, 6, 3)), Geometry((6, 5, 4)))
        assert repr(field) == "DisplacementField(6 x 5 x 4 voxels of 1 x 1 x 1 mm, float32 mm, fixed to moving)"
