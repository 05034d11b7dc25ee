"""Files out and in again, through SimpleITK as well, and what happens when they cannot be written."""

import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError, ResourceError
from GenRegLogic.files import images as files
from GenRegLogic.files.images import (
    check_writable,
    read_transform,
    read_volume,
    replacing,
    write_transform,
    write_volume,
)
from GenRegLogic.space.field import AffineTransform, CompositeTransform, DisplacementField, sample_transform

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


class TestFields:
    @pytest.mark.parametrize("ending", IMAGE_ENDINGS)
    def test_a_file_holds_exactly_the_rounded_field(self, tmp_path, grid, make_field, ending):
        field = make_field(grid)
        write_transform(field, tmp_path / f"t{ending}")
        back = read_transform(tmp_path / f"t{ending}")
        assert back.geometry.is_close(grid, HEADER_TOLERANCE)
        np.testing.assert_array_equal(back.array, field.rounded().array)

    @pytest.mark.parametrize("ending", [*IMAGE_ENDINGS, ".h5", ".tfm"])
    def test_simpleitk_moves_points_alike_with_every_file(self, tmp_path, grid, make_field, make_points, ending):
        field = make_field(grid).rounded()
        path = str(tmp_path / f"t{ending}")
        write_transform(field, path)
        if ending in IMAGE_ENDINGS:
            itk = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
        else:
            itk = sitk.ReadTransform(path)
        points = make_points(grid, margin=0.5)
        expected = [itk.TransformPoint(p) for p in points.tolist()]
        np.testing.assert_allclose(field(points), expected, atol=1e-3 * min(grid.spacing))

    @pytest.mark.parametrize("ending", [".h5", ".tfm"])
    def test_an_itk_transform_file_gives_the_field_back(self, tmp_path, grid, make_field, ending):
        field = make_field(grid)
        write_transform(field, tmp_path / f"t{ending}")
        np.testing.assert_array_equal(read_transform(tmp_path / f"t{ending}").array, field.array)

    def test_a_nifti_field_is_byte_for_byte_what_itk_writes(self, tmp_path, grid, make_field):
        field = make_field(grid).rounded()
        write_transform(field, tmp_path / "ours.nii")
        sitk.WriteImage(field.to_image(), str(tmp_path / "itk.nii"))
        assert (tmp_path / "ours.nii").read_bytes() == (tmp_path / "itk.nii").read_bytes()

    def test_a_compressed_field_of_several_blocks_is_whole(self, tmp_path, oblique_grid, make_field, monkeypatch):
        monkeypatch.setattr("GenRegLogic.files.nifti.GZIP_BLOCK_BYTES", 5000)
        field = make_field(oblique_grid)
        write_transform(field, tmp_path / "t.nii.gz")
        image = sitk.ReadImage(str(tmp_path / "t.nii.gz"), sitk.sitkVectorFloat32)
        assert image.GetMetaData("intent_code") == "1007"  # NIfTI's code for a vector at each voxel
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), field.rounded().array)
        np.testing.assert_array_equal(read_transform(tmp_path / "t.nii.gz").array, field.rounded().array)

    def test_the_same_field_gives_the_same_file(self, tmp_path, oblique_grid, make_field):
        for name in ("a", "b"):
            write_transform(make_field(oblique_grid), tmp_path / f"{name}.nii.gz")
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()

    def test_a_scalar_image_is_no_field(self, tmp_path, oblique_grid, make_volume):
        write_volume(make_volume(oblique_grid), tmp_path / "v.nii.gz")
        with pytest.raises(InputError, match="not a displacement field"):
            read_transform(tmp_path / "v.nii.gz")

    def test_a_text_file_is_no_transform(self, tmp_path):
        (tmp_path / "t.tfm").write_text("hello\n")
        with pytest.raises(InputError, match="no transform that ITK can read"):
            read_transform(tmp_path / "t.tfm")

    def test_a_missing_transform_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"t\.h5 does not exist"):
            read_transform(tmp_path / "t.h5")


class TestLinearTransforms:
    @pytest.mark.parametrize("ending", [".h5", ".tfm"])
    def test_a_linear_transform_survives_a_file(self, tmp_path, affine, ending):
        write_transform(affine, tmp_path / f"t{ending}")
        np.testing.assert_allclose(read_transform(tmp_path / f"t{ending}").matrix, affine.matrix, atol=1e-9)

    def test_a_composite_survives_a_file(self, tmp_path, affine, oblique_grid, make_field, make_points):
        both = CompositeTransform((make_field(oblique_grid), affine))
        write_transform(both, tmp_path / "t.h5")
        points = make_points(oblique_grid)
        np.testing.assert_allclose(read_transform(tmp_path / "t.h5")(points), both(points), atol=1e-9)

    def test_without_a_grid_it_is_not_written_as_an_image(self, tmp_path, affine):
        with pytest.raises(InputError, match="has no grid"):
            write_transform(affine, tmp_path / "t.nii.gz")
        assert not list(tmp_path.iterdir())

    def test_with_a_grid_it_is_sampled(self, tmp_path, affine, oblique_grid):
        write_transform(affine, tmp_path / "t.nii.gz", geometry=oblique_grid)
        expected = sample_transform(affine, oblique_grid).rounded()
        np.testing.assert_array_equal(read_transform(tmp_path / "t.nii.gz").array, expected.array)


class TestCheckWritable:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [("t.png", "transform"), ("t", "transform"), ("v.h5", "image"), ("v.mhd", "image"), ("r.txt", "report")],
    )
    def test_an_ending_that_does_not_suit_is_refused(self, tmp_path, name, kind):
        with pytest.raises(InputError, match=f"not one that a {kind} can have"):
            check_writable(tmp_path / name, kind)

    def test_a_missing_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="does not exist; create it first"):
            check_writable(tmp_path / "nowhere" / "t.nii.gz", "transform")

    def test_a_folder_of_that_name_is_refused(self, tmp_path):
        (tmp_path / "t.nii.gz").mkdir()
        with pytest.raises(InputError, match="is a folder"):
            check_writable(tmp_path / "t.nii.gz", "transform")

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
    def test_a_read_only_folder_is_refused(self, tmp_path, monkeypatch, code):
        monkeypatch.setattr(files.tempfile, "TemporaryFile", failing(code))
        with pytest.raises(InputError, match="read-only for you; choose another folder"):
            check_writable(tmp_path / "t.nii.gz", "transform")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission_is_refused(self, tmp_path):
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(InputError, match="read-only for you"):
                check_writable(tmp_path / "t.nii.gz", "transform")
        finally:
            tmp_path.chmod(0o700)

    def test_a_full_disk_is_a_lack_of_resources(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files.tempfile, "TemporaryFile", failing(errno.ENOSPC))
        with pytest.raises(ResourceError, match="the disk is full"):
            check_writable(tmp_path / "t.nii.gz", "transform")

    def test_checking_leaves_nothing_and_touches_nothing(self, tmp_path):
        (tmp_path / "t.nii.gz").write_text("mine")
        assert check_writable(tmp_path / "t.nii.gz", "transform").read_text() == "mine"
        assert [p.name for p in tmp_path.iterdir()] == ["t.nii.gz"]


def failing(code):
    def fail(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return fail


class TestNothingHalfWritten:
    def test_a_failure_keeps_the_old_file_and_leaves_no_other(self, tmp_path):
        path = tmp_path / "t.nii.gz"
        path.write_text("old")

        def write_half():
            with replacing(path) as temporary:
                temporary.write_text("half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_half()
        assert [p.name for p in tmp_path.iterdir()] == ["t.nii.gz"]
        assert path.read_text() == "old"

    def test_too_little_space_is_noticed_before_writing(self, tmp_path, oblique_grid, make_field, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
        for ending in (*IMAGE_ENDINGS, ".h5", ".tfm"):
            with pytest.raises(ResourceError, match="the disk is full"):
                write_transform(make_field(oblique_grid), tmp_path / f"t{ending}")
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
    @pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"], ids=["our own writer", "ITK's writer"])
    def test_a_disk_that_fills_up_while_writing_leaves_nothing(self, tmp_path, ending):
        script = """
import resource, sys
import numpy as np
from GenRegLogic.errors import ResourceError
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.files.images import write_transform
from GenRegLogic.space.volume import Geometry
geometry = Geometry((32, 32, 32))
field = DisplacementField(np.random.default_rng(0).normal(size=(*geometry.shape, 3)), geometry)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_transform(field, sys.argv[1])
except ResourceError as error:
    print(error)
"""
        path = tmp_path / f"t{ending}"
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=True, env=with_package()
        )
        assert done.stdout.strip().endswith("free some space or choose another folder.")
        assert done.stderr == ""
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
    def test_a_program_killed_while_writing_leaves_nothing_under_the_final_name(self, tmp_path):
        script = """
import os, signal, sys
from pathlib import Path
from GenRegLogic.files.images import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
        path = tmp_path / "t.nii.gz"
        subprocess.run([sys.executable, "-c", script, path], check=False, env=with_package())
        assert not path.exists()


def with_package():
    """The environment for a Python of its own that imports what this one imports."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_a_field_with_a_nan_in_its_file_is_refused(tmp_path, oblique_grid, make_field):
    image = make_field(oblique_grid).to_image()
    image[1, 2, 3] = (np.nan, 0.0, 0.0)
    sitk.WriteImage(image, str(tmp_path / "t.nrrd"))
    with pytest.raises(InputError, match=r"t\.nrrd: The displacement field holds NaN"):
        read_transform(tmp_path / "t.nrrd")


def test_identity_is_written_and_read(tmp_path):
    write_transform(AffineTransform.identity(), tmp_path / "t.tfm")
    np.testing.assert_array_equal(read_transform(tmp_path / "t.tfm").matrix, np.eye(4))


def test_the_kind_of_a_transform_does_not_change_in_a_file(tmp_path, oblique_grid, make_field):
    write_transform(make_field(oblique_grid), tmp_path / "t.h5")
    assert isinstance(read_transform(tmp_path / "t.h5"), DisplacementField)
