"""NIfTI, Analyze and .mgz files, written by nibabel or ITK, with faults put into their headers and data."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

SCL_SLOPE, XYZT_UNITS, QFORM_CODE, SFORM_CODE, QUATERN_B, QOFFSET_X, SROW_X = 112, 123, 252, 254, 256, 268, 280
MAGIC, PIXDIM, DIM, DATATYPE = 344, 76, 40, 70
"""Offsets in the NIfTI-1 header."""

GEOMETRY = Geometry((8, 7, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(0, 100, GEOMETRY.shape).astype(np.float32)


@pytest.fixture
def edited(tmp_path, values):
    """Writes the scan by ITK, with numbers of its header changed: offset -> (format, values)."""

    def write(edits, name="v.nii", geometry=GEOMETRY, array=None):
        path = tmp_path / "plain.nii"
        sitk.WriteImage(Volume(values if array is None else array, geometry).to_sitk(), str(path))
        content = bytearray(path.read_bytes())
        for offset, (kind, *numbers) in edits.items():
            struct.pack_into("<" + kind, content, offset, *numbers)
        content = bytes(content)
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return tmp_path / name

    return write


def doubts(volume):
    return {doubt.name: doubt.guessed for doubt in volume.warnings}


@pytest.mark.parametrize("turn", [np.eye(3), TURNED, np.diag([-1, 1, -1.0]), np.diag([1, 1, -1.0]), TURNED[[2, 0, 1]]])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_place_and_values_are_those_that_itk_reads(tmp_path, values, turn, ending):
    geometry = Geometry(GEOMETRY.size, (0.7, 1.3, 2.9), (-81.5, 33.25, 7.125), turn)
    sitk.WriteImage(Volume(values, geometry).to_sitk(), str(tmp_path / f"v{ending}"))
    read, itk = read_volume(tmp_path / f"v{ending}"), sitk.ReadImage(str(tmp_path / f"v{ending}"))
    assert read.geometry.is_close(Geometry.from_sitk(itk), 1e-5)
    np.testing.assert_array_equal(read.array, sitk.GetArrayFromImage(itk))
    assert read.warnings == ()


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (2, 2), (4, 4), (1, 4), (1, 0), (0, 2)])
def test_of_two_positions_the_one_that_itk_takes_is_taken_and_the_difference_said(edited, codes):
    path = edited({QFORM_CODE: ("2h", *codes), SROW_X + 12: ("f", 30.0)})
    volume = read_volume(path)
    assert volume.geometry.is_close(Geometry.from_sitk(sitk.ReadImage(str(path))), 1e-5)
    assert doubts(volume) == ({"forms_disagree": True} if min(codes) > 0 else {})
    assert all("40 mm" in sentence for sentence in volume.warnings)


def test_two_positions_that_agree_are_no_doubt(edited):
    assert doubts(read_volume(edited({QFORM_CODE: ("2h", 1, 4)}))) == {}


def test_a_sheared_sform_gives_way_to_the_qform(edited):
    volume = read_volume(edited({SROW_X + 4: ("f", 0.5)}))
    assert volume.geometry.is_close(GEOMETRY)
    assert doubts(volume) == {"forms_disagree": True}


def test_a_scan_without_any_position_is_guessed_where_itk_puts_it(edited):
    path = edited({QFORM_CODE: ("2h", 0, 0)})
    volume = read_volume(path)
    assert volume.geometry.is_close(Geometry.from_sitk(sitk.ReadImage(str(path))))
    assert doubts(volume) == {"position_unknown": True}


@pytest.mark.parametrize("offset", [QUATERN_B, QOFFSET_X, QOFFSET_X + 8, SROW_X, SROW_X + 12])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_position_that_is_not_finite_is_refused(edited, offset, value):
    with pytest.raises(InputError, match="NaN or infinite numbers; correct the header"):
        read_volume(edited({offset: ("f", value)}))


def test_a_quaternion_that_is_no_rotation_is_refused(edited):
    with pytest.raises(InputError, match="is no rotation"):
        read_volume(edited({QUATERN_B: ("3f", 0.9, 0.9, 0.9)}))


@pytest.mark.parametrize("magic", [b"n+9\0", b"abcd", b"\0\0\0\0", b"ni1\0"])
def test_a_damaged_magic_is_refused(edited, magic):
    with pytest.raises(InputError, match="damaged"):
        read_volume(edited({MAGIC: ("4s", magic)}))


@pytest.mark.parametrize(("dim", "size"), [((0, 8), None), ((9, 8), None), ((3, -8), None), ((3, 0), None)])
def test_sizes_that_cannot_be_are_refused(edited, dim, size):
    with pytest.raises(InputError, match="damaged"):
        read_volume(edited({DIM: ("2h", *dim)}))


def test_a_huge_size_is_refused_as_truncated_before_memory_is_taken(edited):
    for name in ("v.nii", "v.nii.gz"):
        with pytest.raises(InputError, match="truncated"):
            read_volume(edited({DIM: ("4h", 3, 30000, 30000, 30000)}, name))


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_other_units_of_length_are_converted(edited, code, factor):
    path = edited({XYZT_UNITS: ("B", code)})
    volume = read_volume(path)
    assert volume.geometry.is_close(Geometry.from_sitk(sitk.ReadImage(str(path))), 1e-4)
    assert volume.geometry.spacing[2] == pytest.approx(3 * factor)
    assert set(doubts(volume)) == (set() if factor == 1 else {"units_converted"})


@pytest.mark.parametrize(("slope", "intercept"), [(2.0, 0.0), (0.5, -1024.0), (-1.0, 3.0), (1.0, 5.0)])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.int32])
def test_a_scale_is_applied(edited, values, slope, intercept, dtype):
    stored = np.abs(values).clip(0, 200).astype(dtype)
    volume = read_volume(edited({SCL_SLOPE: ("2f", slope, intercept)}, array=stored))
    np.testing.assert_allclose(volume.array, stored * slope + intercept, rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_a_scale_of_zero_or_nan_is_none(edited, values, slope):
    np.testing.assert_array_equal(read_volume(edited({SCL_SLOPE: ("2f", slope, 7.0)})).array, values)


def test_nan_and_infinity_stay_where_they_are(edited, values):
    values[0, 0, 3], values[4, 5, 6], values[5, 6, 7] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(read_volume(edited({}, "v.nii.gz", array=values)).array, values)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_both_byte_orders_of_both_versions_are_read(tmp_path, values, order, kind):
    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    affine[:3, 3] = -10, -20, 30
    image = getattr(nib, kind)(values.T, affine, getattr(nib, kind).header_class(endianness=order))
    image.header.set_data_dtype(np.float32)
    nib.save(image, tmp_path / "v.nii.gz")
    volume = read_volume(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(volume.array, values)
    assert volume.array.dtype.isnative
    assert volume.geometry.is_close(GEOMETRY)


def test_bytes_after_the_last_voxel_and_after_the_header_are_skipped(tmp_path, values):
    image = nib.Nifti1Image(values.T, np.diag([-1.0, -2.0, 3.0, 1.0]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a note"))
    nib.save(image, tmp_path / "v.nii")
    content = (tmp_path / "v.nii").read_bytes() + b"\0" * 100
    (tmp_path / "w.nii.gz").write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(read_volume(tmp_path / "w.nii.gz").array, values)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_ends_early_is_refused(edited, name, share):
    path = edited({}, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"truncated|decompressed up to slice \d of 6 only|checksum"):
        read_volume(path)


def test_a_compressed_file_whose_checksum_is_wrong_is_refused(edited):
    path = edited({}, "v.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum is wrong"):
        read_volume(path)


def test_a_compressed_file_under_an_uncompressed_name_is_read(edited, values):
    path = edited({}, "v.nii.gz")
    np.testing.assert_array_equal(read_volume(path.rename(path.with_name("w.nii"))).array, values)


@pytest.mark.parametrize(
    ("shape", "match"), [((8, 7, 6, 1, 3), "3 values per voxel"), ((8, 7, 6, 4), "4D .4 volumes"), ((8, 7), "2D")]
)
def test_other_kinds_of_image_are_refused(tmp_path, shape, match):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(InputError, match=match):
        read_volume(tmp_path / "v.nii")


@pytest.mark.parametrize("dtype", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_complex_numbers_and_colors_are_refused(tmp_path, dtype):
    nib.save(nib.Nifti1Image(np.zeros((8, 7, 6), dtype), np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(InputError, match=r"complex numbers|color"):
        read_volume(tmp_path / "v.nii")


class TestPairs:
    @pytest.fixture
    def pair(self, tmp_path, values):
        nib.save(nib.Nifti1Pair(values.T, np.diag([-1.0, -2.0, 3.0, 1.0])), tmp_path / "v.hdr")
        return tmp_path

    @pytest.mark.parametrize("ending", [".hdr", ".img"])
    def test_either_file_may_be_given(self, pair, values, ending):
        volume = read_volume(pair / f"v{ending}")
        np.testing.assert_array_equal(volume.array, values)
        assert volume.geometry.spacing == (1, 2, 3)

    @pytest.mark.parametrize(("given", "lost"), [(".hdr", ".img"), (".img", ".hdr")])
    def test_a_missing_partner_is_named(self, pair, given, lost):
        (pair / f"v{lost}").unlink()
        with pytest.raises(InputError, match=f"v{lost} is not beside it"):
            read_volume(pair / f"v{given}")

    def test_an_image_cut_off_is_refused(self, pair):
        (pair / "v.img").write_bytes((pair / "v.img").read_bytes()[:-1])
        with pytest.raises(InputError, match="truncated"):
            read_volume(pair / "v.hdr")

    def test_an_analyze_pair_is_read_and_its_orientation_doubted(self, tmp_path, values):
        nib.save(nib.AnalyzeImage(values.T, np.diag([-1.0, 2.0, 3.0, 1.0])), tmp_path / "v.hdr")
        volume = read_volume(tmp_path / "v.hdr")
        np.testing.assert_array_equal(volume.array, values)
        assert volume.geometry.spacing == (1, 2, 3)
        assert doubts(volume) == {"orientation_unknown": True}

    def test_an_analyze_spacing_of_zero_is_refused(self, tmp_path, values):
        nib.save(nib.AnalyzeImage(values.T, np.diag([-1.0, 2.0, 3.0, 1.0])), tmp_path / "v.hdr")
        content = bytearray((tmp_path / "v.hdr").read_bytes())
        struct.pack_into("<f", content, PIXDIM + 8, 0.0)
        (tmp_path / "v.hdr").write_bytes(content)
        with pytest.raises(InputError, match="must be positive"):
            read_volume(tmp_path / "v.hdr")


class TestMgh:
    AFFINE = np.array([[0.0, 0, -3, 10], [-1, 0, 0, 20], [0, 2, 0, -30], [0, 0, 0, 1]])

    @pytest.fixture
    def path(self, tmp_path, values):
        nib.save(nib.MGHImage(values.T, self.AFFINE), tmp_path / "v.mgz")
        return tmp_path / "v.mgz"

    def test_place_and_values_are_those_of_the_affine(self, path, values):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, values)
        np.testing.assert_allclose(volume.geometry.index_to_world, np.diag([-1, -1, 1, 1]) @ self.AFFINE, atol=1e-5)
        assert volume.warnings == ()

    def test_without_its_orientation_the_usual_one_is_a_guess(self, path):
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(">h", content, 28, 0)
        path.write_bytes(gzip.compress(content))
        assert doubts(read_volume(path)) == {"position_unknown": True}

    @pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
    def test_a_file_that_ends_early_is_refused(self, path, share):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(InputError, match=r"damaged|truncated"):
            read_volume(path)

    def test_several_volumes_are_refused(self, tmp_path):
        nib.save(nib.MGHImage(np.zeros((8, 7, 6, 2), np.float32), self.AFFINE), tmp_path / "v.mgz")
        with pytest.raises(InputError, match="4D"):
            read_volume(tmp_path / "v.mgz")


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_file_longer_than_its_header_says_is_doubted(edited, name):
    path = edited({}, name)
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    longer = content[:400] + b"\r" + content[400:]
    path.write_bytes(gzip.compress(longer) if name.endswith(".gz") else longer)
    volume = read_volume(path)
    assert doubts(volume) == {"longer_than_its_header": True}
    assert "1 bytes longer" in volume.warnings[0]
