"""The reader's guard and the fast writer of NIfTI files."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.nifti import check_nifti, non_finite, write_nifti
from GenRegLogic.space.geometry import Geometry

GEOMETRY = Geometry((9, 8, 7), (1.0, 1.5, 2.0))


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(size=GEOMETRY.shape).astype(np.float32)


@pytest.fixture
def compressed(tmp_path, array, monkeypatch):
    """A compressed file of several gzip members, and where each begins."""
    monkeypatch.setattr("GenRegLogic.files.nifti.GZIP_BLOCK_BYTES", 600)
    path = tmp_path / "v.nii.gz"
    write_nifti(array, GEOMETRY, path)
    content = path.read_bytes()
    starts = [n for n in range(len(content)) if content.startswith(b"\x1f\x8b\x08\x00", n)]
    assert len(starts) > 3
    return path, starts


def test_a_file_of_several_members_is_one_gzip_file(compressed, array):
    path, _ = compressed
    check_nifti(path)
    assert len(gzip.decompress(path.read_bytes())) == 352 + array.nbytes
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), array)


def test_a_file_cut_between_two_members_is_truncated_all_the_same(compressed):
    path, starts = compressed
    path.write_bytes(path.read_bytes()[: starts[-1]])
    with pytest.raises(InputError, match="truncated"):
        check_nifti(path)


def test_a_byte_gone_wrong_is_damage(compressed):
    path, starts = compressed
    content = bytearray(path.read_bytes())
    content[starts[1] + 40] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        check_nifti(path)


def test_more_data_than_needed_is_no_damage(tmp_path, array):
    write_nifti(array, GEOMETRY, tmp_path / "v.nii")
    longer = (tmp_path / "v.nii").read_bytes() + b"\0" * 100
    (tmp_path / "v.nii").write_bytes(longer)
    check_nifti(tmp_path / "v.nii")
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(longer))
    check_nifti(tmp_path / "v.nii.gz")


def test_a_header_of_the_other_byte_order_is_understood(tmp_path):
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into(">hh", header, 70, 4, 16)
    struct.pack_into(">8f", header, 76, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into(">f", header, 108, 352.0)
    (tmp_path / "v.nii").write_bytes(header + bytes(128))
    with pytest.raises(InputError, match=r"spacing \(1, 0, 1\) mm"):
        check_nifti(tmp_path / "v.nii")


def test_a_file_that_is_not_nifti_1_is_left_to_itk(tmp_path):
    (tmp_path / "v.nii").write_bytes(struct.pack("<i", 540) + bytes(600))
    check_nifti(tmp_path / "v.nii")


def test_one_thread_writes_the_same_file_as_many(tmp_path, array):
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        for count in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            write_nifti(array, GEOMETRY, tmp_path / f"{count}.nii.gz")
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert (tmp_path / "1.nii.gz").read_bytes() == (tmp_path / "3.nii.gz").read_bytes()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_found_where_they_are(tmp_path, monkeypatch, ending, dtype):
    monkeypatch.setattr("GenRegLogic.files.nifti.SCAN_BLOCK_BYTES", 1000)  # several blocks
    array = np.random.default_rng(0).normal(size=GEOMETRY.shape).astype(dtype)
    array[0, 0, 3], array[4, 5, 6], array[6, 7, 8] = np.nan, np.inf, -np.inf
    write_nifti(array, GEOMETRY, tmp_path / f"v{ending}")
    places, values = non_finite(tmp_path / f"v{ending}")
    np.testing.assert_array_equal(places, [3, (4 * 8 + 5) * 9 + 6, array.size - 1])
    np.testing.assert_array_equal(values, [np.nan, np.inf, -np.inf])


def test_non_finite_values_of_the_other_byte_order_are_found(tmp_path):
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 2, 2, 2, 1, 1, 1, 1)
    struct.pack_into(">hh", header, 70, 16, 32)
    struct.pack_into(">f", header, 108, 352.0)
    values = np.arange(8, dtype=">f4")
    values[5] = np.nan
    (tmp_path / "v.nii").write_bytes(header + values.tobytes())
    assert non_finite(tmp_path / "v.nii")[0].tolist() == [5]


def test_whole_numbers_are_not_searched_for_nan(tmp_path):
    write_nifti(np.full(GEOMETRY.shape, -1, np.int16), GEOMETRY, tmp_path / "v.nii")
    assert len(non_finite(tmp_path / "v.nii")[0]) == 0
