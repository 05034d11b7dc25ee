"""Volumes to files and back."""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.files.images import read_volume, write_volume

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
HEADER_TOLERANCE = 1e-4
"""Of a voxel: NIfTI keeps its geometry in single precision."""


class TestVolumes:
    @pytest.mark.parametrize("ending", IMAGE_ENDINGS)
    def test_a_volume_survives_a_file_of_every_kind(self, tmp_path, grid, make_volume, ending):
        volume = make_volume(grid, np.int16)
        write_volume(volume, tmp_path / f"v{ending}")
        back = read_volume(tmp_path / f"v{ending}")
        assert back.array.dtype == np.int16
        assert back.geometry.is_close(grid, HEADER_TOLERANCE)
        np.testing.assert_array_equal(back.array, volume.array)

    @pytest.mark.parametrize("ending", IMAGE_ENDINGS)
    def test_simpleitk_reads_the_same_values_at_the_same_places(self, tmp_path, grid, make_volume, ending):
        volume = make_volume(grid)
        write_volume(volume, tmp_path / f"v{ending}")
        image = sitk.ReadImage(str(tmp_path / f"v{ending}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.array)
        place = image.TransformIndexToPhysicalPoint((3, 5, 7))
        np.testing.assert_allclose(place, grid.to_world((3, 5, 7)), atol=HEADER_TOLERANCE * grid.spacing[0])

    @pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
    def test_nifti_keeps_every_type(self, tmp_path, oblique_grid, make_volume, dtype):
        volume = make_volume(oblique_grid, dtype)
        write_volume(volume, tmp_path / "v.nii.gz")
        back = read_volume(tmp_path / "v.nii.gz")
        assert back.array.dtype == volume.array.dtype
        np.testing.assert_array_equal(back.array, volume.array)

    def test_a_metaimage_with_its_data_in_another_file_is_read(self, tmp_path, oblique_grid, make_volume):
        volume = make_volume(oblique_grid)
        sitk.WriteImage(volume.to_sitk(), str(tmp_path / "v.mhd"))
        np.testing.assert_array_equal(read_volume(tmp_path / "v.mhd").array, volume.array)

    def test_an_ending_in_capitals_is_an_ending(self, tmp_path, oblique_grid, make_volume):
        write_volume(make_volume(oblique_grid), tmp_path / "V.NII.GZ")
        assert read_volume(tmp_path / "V.NII.GZ").geometry.is_close(oblique_grid, HEADER_TOLERANCE)
