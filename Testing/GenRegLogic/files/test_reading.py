"""Files that are not what they should be: each is refused with one sentence, and ITK stays silent."""

import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.files.transforms import read_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

PIXDIM, SFORM_CODE, QFORM_CODE, SROW_X = 76, 254, 252, 280
"""Offsets in the NIfTI-1 header."""

GEOMETRY = Geometry((8, 7, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0))


@pytest.fixture
def image():
    values = np.random.default_rng(0).normal(size=GEOMETRY.shape).astype(np.float32)
    return Volume(values, GEOMETRY).to_sitk()


@pytest.fixture
def refused(capfd):
    """Checks that reading is refused in one sentence that names the file, and that nothing else is said."""

    def check(path, match):
        with pytest.raises(InputError, match=match) as caught:
            read_volume(path)
        text = str(caught.value)
        assert text.startswith(str(path))
        assert text.endswith(".")
        assert "\n" not in text
        assert capfd.readouterr() == ("", "")

    return check


class TestNotAnImage:
    def test_a_missing_file(self, tmp_path, refused):
        refused(tmp_path / "nowhere.nii.gz", "does not exist")

    @pytest.mark.parametrize("name", ["t.nii", "t.nii.gz", "t.nrrd", "t.mha", "t.txt", "t"])
    @pytest.mark.parametrize("content", [b"", b"hello", b"hello" * 200], ids=["empty", "short", "long"])
    def test_a_text_under_any_name(self, tmp_path, refused, name, content):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "not an image that GenReg reads, or its beginning is damaged")

    def test_a_folder_without_dicom(self, tmp_path, refused):
        (tmp_path / "notes.txt").write_text("hello")
        refused(tmp_path, "no DICOM images")

    def test_a_series_of_what_is_no_dicom_scan(self, tmp_path, image):
        sitk.WriteImage(image, str(tmp_path / "v.nii"))
        with pytest.raises(InputError, match="no DICOM scan, so it has no series"):
            read_volume(tmp_path / "v.nii", series="1")


class TestOtherKindsOfImage:
    @pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
    def test_a_2d_image(self, tmp_path, refused, ending):
        sitk.WriteImage(sitk.Image((8, 8), sitk.sitkUInt8), str(tmp_path / f"v{ending}"))
        refused(tmp_path / f"v{ending}", "2D")

    @pytest.mark.parametrize("ending", [".png", ".vtk", ".tif", ".gipl"])
    def test_a_format_that_cannot_be_proven_whole(self, tmp_path, refused, image, ending):
        picture = sitk.Cast(image[:, :, 0], sitk.sitkUInt8) if ending == ".png" else image
        sitk.WriteImage(picture, str(tmp_path / f"v{ending}"))
        refused(tmp_path / f"v{ending}", "not an image that GenReg reads")

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
    def test_a_single_slice(self, tmp_path, refused, ending):
        sitk.WriteImage(sitk.Image((8, 8, 1), sitk.sitkUInt8), str(tmp_path / f"v{ending}"))
        refused(tmp_path / f"v{ending}", "2D|single slice")

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
    def test_a_4d_image(self, tmp_path, refused, ending):
        sitk.WriteImage(sitk.Image((8, 8, 8, 3), sitk.sitkUInt8), str(tmp_path / f"v{ending}"))
        refused(tmp_path / f"v{ending}", "4D|values per voxel")

    @pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
    def test_a_color_image(self, tmp_path, refused, ending):
        sitk.WriteImage(sitk.Image((8, 8, 8), sitk.sitkVectorUInt8, 3), str(tmp_path / f"v{ending}"))
        refused(tmp_path / f"v{ending}", "color or vector")

    def test_a_displacement_field(self, tmp_path, refused):
        sitk.WriteImage(sitk.Image((8, 8, 8), sitk.sitkVectorFloat32, 3), str(tmp_path / "v.nii.gz"))
        refused(tmp_path / "v.nii.gz", "color or vector")


class TestDamage:
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
    def test_a_truncated_file(self, tmp_path, image, refused, ending):
        path = tmp_path / f"v{ending}"
        sitk.WriteImage(image, str(path), ending in (".nrrd", ".mha"))
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        refused(path, "truncated|damaged")

    def test_a_compressed_file_that_was_truncated_before_compression(self, tmp_path, image, refused):
        import gzip

        sitk.WriteImage(image, str(tmp_path / "v.nii"))
        (tmp_path / "v.nii.gz").write_bytes(gzip.compress((tmp_path / "v.nii").read_bytes()[:-100]))
        refused(tmp_path / "v.nii.gz", "truncated")

    def test_a_metaimage_without_its_data_file(self, tmp_path, image, refused):
        sitk.WriteImage(image, str(tmp_path / "v.mhd"))
        (tmp_path / "v.raw").unlink()
        refused(tmp_path / "v.mhd", "v.raw, is not beside the header")


class TestNotANumber:
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
    def test_nan_and_infinity_survive_reading(self, tmp_path, image, ending):
        values = sitk.GetArrayFromImage(image)
        values[1, 2, 3], values[4, 5, 6], values[5, 0, 0] = np.nan, np.inf, -np.inf
        changed = sitk.GetImageFromArray(values)
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(tmp_path / f"v{ending}"))
        volume = read_volume(tmp_path / f"v{ending}")
        np.testing.assert_array_equal(volume.array, values)
        assert volume.geometry.is_close(GEOMETRY)

    @pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
    def test_a_displacement_field_with_nan_is_refused(self, tmp_path, ending):
        values = np.zeros((*GEOMETRY.shape, 3), np.float32)
        values[1, 2, 3, 1] = np.nan
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(tmp_path / f"v{ending}"))
        with pytest.raises(InputError, match="NaN or infinite"):
            read_transform(tmp_path / f"v{ending}")


@pytest.fixture
def nifti(tmp_path, image):
    """Writes the image with numbers of its header replaced: {offset: (format, values…)}."""

    def write(changes):
        path = tmp_path / "v.nii"
        sitk.WriteImage(image, str(path))
        content = bytearray(path.read_bytes())
        for offset, (form, *values) in changes.items():
            struct.pack_into("=" + form, content, offset, *values)
        path.write_bytes(content)
        return path

    return write


NO_QFORM = {QFORM_CODE: ("h", 0)}


class TestHeaders:
    def test_the_header_as_written_is_read(self, nifti):
        assert read_volume(nifti({})).geometry.is_close(GEOMETRY)

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_nifti_spacing_that_is_not_positive(self, nifti, refused, value):
        refused(nifti({PIXDIM + 4: ("f", value)}), "spacing .* must be positive; correct the image's header")

    @pytest.mark.parametrize(
        "row",
        [(0.0, 0.0, 0.0, 0.0), (-1.0, 0.5, 0.0, 0.0), (float("nan"), 0.0, 0.0, 0.0)],
        ids=["singular", "sheared", "not a number"],
    )
    def test_a_nifti_direction_that_no_grid_can_have(self, nifti, refused, row):
        refused(nifti(NO_QFORM | {SROW_X: ("4f", *row)}), "not perpendicular unit vectors|NaN or infinite numbers")

    @pytest.mark.parametrize("spacing", ["0 2 3", "-1 2 3"])
    def test_a_metaimage_spacing_that_is_not_positive(self, tmp_path, image, refused, spacing):
        refused(edited(tmp_path / "v.mha", image, "ElementSpacing = 1 2 3", f"ElementSpacing = {spacing}"), "positive")

    @pytest.mark.parametrize("row", ["1 0 0 1 0 0 0 0 1", "1 0 0 0.6 0.8 0 0 0 1", "0 0 0 0 0 0 0 0 0"])
    def test_a_metaimage_direction_that_no_grid_can_have(self, tmp_path, image, refused, row):
        path = edited(tmp_path / "v.mha", image, "TransformMatrix = 1 0 0 0 1 0 0 0 1", f"TransformMatrix = {row}")
        refused(path, "not perpendicular unit vectors")

    @pytest.mark.parametrize(
        ("vector", "match"), [("(0,0,0)", "positive"), ("(0,2,0)", "perpendicular"), ("(1,2,0)", "perpendicular")]
    )
    def test_nrrd_axes_that_no_grid_can_have(self, tmp_path, image, refused, vector, match):
        refused(edited(tmp_path / "v.nrrd", image, "(1,0,0)", vector), match)


def edited(path, image, old, new):
    """The image in a file whose text header is changed; `old` has to be there."""
    sitk.WriteImage(image, str(path))
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    return path


class TestPathsThatAreNoFiles:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system here")
    def test_a_pipe_is_not_waited_for(self, tmp_path, refused):
        os.mkfifo(tmp_path / "v.nii.gz")
        refused(tmp_path / "v.nii.gz", "pipe or a device")

    def test_links_in_a_circle(self, tmp_path):
        (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
        (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
        with pytest.raises(InputError, match=r"cannot be opened|does not exist"):
            read_volume(tmp_path / "a.nii")

    @pytest.mark.parametrize("name", ["x" * 5000 + ".nii", "a\0b.nii"])
    def test_a_name_that_no_file_can_have(self, tmp_path, name):
        with pytest.raises(InputError, match=r"cannot be opened|does not exist") as caught:
            read_volume(tmp_path / name)
        assert len(str(caught.value)) < 400
