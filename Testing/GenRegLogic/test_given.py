"""What may be given for a scan."""

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


class TestKinds:
    def test_a_volume_is_itself(self, scan):
        assert as_volume(scan, "fixed") is scan

    @pytest.mark.parametrize("kind", [str, lambda path: path])
    def test_a_path_is_read(self, scan, file, kind):
        assert_same(as_volume(kind(file), "fixed"), scan)

    def test_a_simpleitk_image_is_taken(self, scan):
        assert_same(as_volume(scan.to_sitk(), "fixed"), scan)

    def test_an_array_is_refused_with_what_to_do(self, scan):
        with pytest.raises(InputError, match=r"fixed is of type ndarray; .*from_array"):
            as_volume(scan.array, "fixed")

    def test_nothing_is_taken_only_for_what_may_be_left_out(self):
        assert as_volume(None, "fixed_mask", optional=True) is None
        with pytest.raises(InputError, match="NoneType"):
            as_volume(None, "fixed")

    def test_register_takes_them(self, pair):
        plain = register(pair.fixed, pair.moving, QUICK)
        result = register(pair.fixed.to_sitk(), pair.moving.to_sitk(), QUICK)
        np.testing.assert_array_equal(result.forward.array, plain.forward.array)


class TestNibabel:
    @pytest.fixture
    def nibabel(self):
        return pytest.importorskip("nibabel", reason="nibabel is not installed")

    def test_an_image_is_the_file_as_it_is_read(self, nibabel, file):
        assert_same(as_volume(nibabel.load(file), "fixed"), Volume.from_file(file))

    def test_a_fourth_axis_of_one_is_dropped(self, nibabel):
        image = nibabel.Nifti1Image(np.zeros((4, 5, 6, 1), np.int16), np.eye(4))
        assert Volume.from_nibabel(image).geometry.size == (4, 5, 6)

    def test_several_volumes_are_refused(self, nibabel):
        with pytest.raises(InputError, match="4D"):
            Volume.from_nibabel(nibabel.Nifti1Image(np.zeros((4, 5, 6, 2), np.int16), np.eye(4)))

    def test_shear_is_refused(self, nibabel):
        affine = np.eye(4)
        affine[0, 1] = 0.3
        with pytest.raises(InputError, match="not perpendicular"):
            Volume.from_nibabel(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), affine))


class TestShown:
    def test_a_volume_shows_size_spacing_and_type(self):
        volume = Volume(np.zeros((4, 5, 6), np.int16), Geometry((6, 5, 4), (1, 1.5, 2)))
        assert repr(volume) == "Volume(6 x 5 x 4 voxels of 1 x 1.5 x 2 mm, int16)"
        assert volume._repr_html_() == f"<code>{volume!r}</code>"

    def test_a_field_shows_its_grid(self):
        field = DisplacementField(np.zeros((4, 5, 6, 3)), Geometry((6, 5, 4)))
        assert repr(field) == "DisplacementField(6 x 5 x 4 voxels of 1 x 1 x 1 mm, float32 mm, fixed to moving)"
