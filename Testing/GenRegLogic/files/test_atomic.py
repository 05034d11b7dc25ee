"""Files are whole or not there, and refused before any work where they cannot be written."""

import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from GenRegLogic.errors import InputError, ResourceError
from GenRegLogic.files import atomic as files
from GenRegLogic.files.atomic import check_writable, replacing
from GenRegLogic.files.transforms import read_transform, write_transform

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


class TestWhatWasThereBefore:
    def test_a_symbolic_link_stays_one_and_what_it_leads_to_is_replaced(self, tmp_path):
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "v.json").write_text("old")
        (tmp_path / "link.json").symlink_to(tmp_path / "store" / "v.json")
        with replacing(check_writable(tmp_path / "link.json", "report")) as temporary:
            temporary.write_text("new")
        assert (tmp_path / "link.json").is_symlink()
        assert (tmp_path / "store" / "v.json").read_text() == "new"
        assert sorted(p.name for p in tmp_path.rglob("*")) == ["link.json", "store", "v.json"]

    def test_a_link_that_leads_nowhere_yet_makes_its_file(self, tmp_path):
        (tmp_path / "link.json").symlink_to(tmp_path / "v.json")
        with replacing(check_writable(tmp_path / "link.json", "report")) as temporary:
            temporary.write_text("new")
        assert (tmp_path / "link.json").is_symlink()
        assert (tmp_path / "v.json").read_text() == "new"

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
    def test_a_file_keeps_its_mode(self, tmp_path, mode):
        (tmp_path / "v.json").write_text("old")
        (tmp_path / "v.json").chmod(mode)
        with replacing(tmp_path / "v.json") as temporary:
            temporary.write_text("new")
        assert (tmp_path / "v.json").stat().st_mode & 0o777 == mode

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
    def test_a_protected_file_is_refused_and_stays(self, tmp_path):
        (tmp_path / "v.json").write_text("old")
        (tmp_path / "v.json").chmod(0o444)
        with pytest.raises(InputError, match="write-protected"):
            check_writable(tmp_path / "v.json", "report")
        assert (tmp_path / "v.json").read_text() == "old"

    @pytest.mark.parametrize("name", ["T.MHA", "T.NRRD", "T.Nii.GZ", "T.NII"])
    def test_an_ending_in_capitals_leaves_one_whole_file(self, tmp_path, oblique_grid, make_field, name):
        write_transform(make_field(oblique_grid), tmp_path / name)
        assert [p.name for p in tmp_path.iterdir()] == [name]
        np.testing.assert_array_equal(read_transform(tmp_path / name).array, make_field(oblique_grid).rounded().array)


@pytest.mark.parametrize("name", ["x" * 300 + ".json", "a\0b.json"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="is no name for a file"):
        check_writable(tmp_path / name, "report")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system here")
def test_a_pipe_is_no_output(tmp_path):
    os.mkfifo(tmp_path / "p.json")
    with pytest.raises(InputError, match="pipe or a device"):
        check_writable(tmp_path / "p.json", "report")
