"""The fast writer of NIfTI files, read back by ITK and by GenReg."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.files.niftiwriting import write_nifti
from GenRegLogic.space.geometry import Geometry

GEOMETRY = Geometry((9, 8, 7), (1.0, 1.5, 2.0))


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(size=GEOMETRY.shape).astype(np.float32)


@pytest.fixture
def compressed(tmp_path, array, monkeypatch):
    """A compressed file of several gzip members, and where each begins."""
    monkeypatch.setattr("GenRegLogic.files.niftiwriting.GZIP_BLOCK_BYTES", 600)
    path = tmp_path / "v.nii.gz"
    write_nifti(array, GEOMETRY, path)
    content = path.read_bytes()
    starts = [n for n in range(len(content)) if content.startswith(b"\x1f\x8b\x08\x00", n)]
    assert len(starts) > 3
    return path, starts


def test_a_file_of_several_members_is_one_gzip_file(compressed, array):
    path, _ = compressed
    assert len(gzip.decompress(path.read_bytes())) == 352 + array.nbytes
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_a_file_cut_between_two_members_is_truncated_all_the_same(compressed):
    path, starts = compressed
    path.write_bytes(path.read_bytes()[: starts[-1]])
    with pytest.raises(InputError, match=r"truncated: .* in slice 7 of 7"):
        read_volume(path)


def test_a_damaged_byte_is_found_and_the_first_slice_that_is_lost_is_named(compressed):
    path, starts = compressed
    content = bytearray(path.read_bytes())
    content[starts[3] + 40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged: it can be decompressed up to slice \d of 7|its checksum is wrong"):
        read_volume(path)


def test_one_thread_writes_the_same_file_as_many(tmp_path, array):
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        for count in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            write_nifti(array, GEOMETRY, tmp_path / f"{count}.nii.gz")
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert (tmp_path / "1.nii.gz").read_bytes() == (tmp_path / "3.nii.gz").read_bytes()


def test_a_disk_that_is_full_while_the_header_is_made_is_an_error(tmp_path, array, monkeypatch):
    monkeypatch.setattr(sitk, "WriteImage", lambda image, name: Path(name).write_bytes(bytes(100)))
    with pytest.raises(OSError, match="not enough space"):
        write_nifti(array, GEOMETRY, tmp_path / "v.nii")
