"""Displacement fields as other programs write them: read as what they are, or refused by name."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.transforms import read_transform, read_transform_and_doubts
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry

INTENT_P1, INTENT_CODE, INTENT_NAME, SCL_SLOPE = 56, 68, 328, 112
"""Offsets in the NIfTI-1 header."""

GEOMETRY = Geometry((9, 8, 7), (2.0, 2.5, 3.0), (-10.0, 5.0, 20.0))
RAS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def displacements():
    return np.random.default_rng(0).normal(0, 2, (*GEOMETRY.shape, 3)).astype(np.float32)


@pytest.fixture
def places():
    k, j, i = np.meshgrid(*[np.arange(n) for n in GEOMETRY.shape], indexing="ij")
    return GEOMETRY.to_world(np.stack([i, j, k], axis=-1))


@pytest.fixture
def written(tmp_path):
    """Writes vectors by ITK as NIfTI, and says in the header what they are."""

    def write(vectors, code=1007, name=b"", p1=0.0, slope=None):
        image = sitk.GetImageFromArray(vectors, isVector=True)
        GEOMETRY.copy_to(image)
        path = tmp_path / "field.nii"
        sitk.WriteImage(image, str(path))
        content = bytearray(path.read_bytes())
        struct.pack_into("<f", content, INTENT_P1, p1)
        struct.pack_into("<h", content, INTENT_CODE, code)
        content[INTENT_NAME : INTENT_NAME + 16] = name.ljust(16, b"\0")
        if slope is not None:
            struct.pack_into("<2f", content, SCL_SLOPE, slope, 0.0)
        path.write_bytes(content)
        return path

    return write


def test_the_field_of_itk_is_read_as_it_stands(written, displacements):
    np.testing.assert_array_equal(read_transform(written(displacements)).array, displacements)


def test_displacements_in_ras_are_turned_as_itk_turns_them(written, displacements):
    path = written(displacements, code=1006)
    itk = DisplacementField.from_image(sitk.ReadImage(str(path), sitk.sitkVectorFloat32))
    np.testing.assert_array_equal(read_transform(path).array, itk.array)
    np.testing.assert_array_equal(itk.array, displacements * RAS.astype(np.float32))


@pytest.mark.parametrize("name", [b"NREG_TRANS", b"Mapping"])
def test_positions_of_niftyreg_and_spm_become_displacements(written, displacements, places, name):
    positions = ((places + displacements) * RAS).astype(np.float32)
    field, doubts = read_transform_and_doubts(written(positions, name=name))
    np.testing.assert_allclose(field.array, displacements, atol=1e-4)
    assert [doubt.name for doubt in doubts] == ["field_converted"]


def test_displacements_of_niftyreg_become_lps(written, displacements):
    path = written(displacements * RAS.astype(np.float32), name=b"NREG_TRANS", p1=1.0)
    np.testing.assert_array_equal(read_transform(path).array, displacements)


@pytest.mark.parametrize(
    ("code", "name", "p1", "said"),
    [
        (1007, b"NREG_TRANS", 2.0, "reg_transform"),
        (1007, b"NREG_TRANS", 3.0, "reg_transform"),
        (1007, b"Flow field", 0.0, "DARTEL"),
        (2006, b"", 0.0, "FSL"),
        (2016, b"", 0.0, "FSL"),
    ],
)
def test_what_is_no_field_of_displacements_is_refused_by_name(written, displacements, code, name, p1, said):
    with pytest.raises(InputError, match=said):
        read_transform(written(displacements, code, name, p1))


@pytest.mark.parametrize("sign", [np.ones(3), RAS])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_positions_that_nothing_says_are_positions_are_refused(written, displacements, places, sign, shift):
    with pytest.raises(InputError, match="look like positions"):
        read_transform(written(((places + displacements / 4) * sign + shift).astype(np.float32)))


@pytest.mark.parametrize("scale", [1.5, 0.6])
def test_a_field_that_enlarges_or_shrinks_is_no_position(written, places, scale):
    vectors = ((scale - 1) * (places - places.mean(axis=(0, 1, 2)))).astype(np.float32)
    np.testing.assert_array_equal(read_transform(written(vectors)).array, vectors)


@pytest.mark.parametrize(("dtype", "slope"), [(np.int16, 0.001), (np.float32, 0.5)])
def test_a_scale_of_the_values_is_applied(written, displacements, dtype, slope):
    field = read_transform(written(np.rint(displacements / slope).astype(dtype), slope=slope))
    np.testing.assert_allclose(field.array, displacements, atol=slope)


def test_an_fsl_or_mrtrix_warp_of_three_volumes_is_refused_by_name(tmp_path, displacements):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(displacements, np.eye(4)), tmp_path / "warp.nii.gz")
    with pytest.raises(InputError, match="4D with three volumes"):
        read_transform(tmp_path / "warp.nii.gz")
