"""Files are whole or not there, and refused before any work where they cannot be written."""

import errno
import os
import shutil
import subprocess
import sys

import pytest

from GenRegLogic.errors import InputError, ResourceError
from GenRegLogic.files import atomic as files
from GenRegLogic.files.atomic import check_writable, replacing
from GenRegLogic.files.transforms import write_transform

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
HEADER_TOLERANCE = 1e-4
"""Of a voxel: NIfTI keeps its geometry in single precision."""


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
from GenRegLogic.files.transforms import write_transform
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
from GenRegLogic.files.atomic import replacing
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
