"""Transforms to files and back."""

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import write_volume
from GenRegLogic.files.transforms import read_transform, write_transform
from GenRegLogic.space.field import AffineTransform, CompositeTransform, DisplacementField, compose, sample_transform
from GenRegLogic.space.inverse import fit_affine

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
HEADER_TOLERANCE = 1e-4
"""Of a voxel: NIfTI keeps its geometry in single precision."""


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
        monkeypatch.setattr("GenRegLogic.files.niftiwriting.GZIP_BLOCK_BYTES", 5000)
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


class TestTextOfItk:
    SHIFT = "Parameters: 1 0 0 0 1 0 0 0 1 11 -22 33"
    LINES = (
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        SHIFT,
        "FixedParameters: 0 0 0",
    )

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_whole_it_is_read_with_either_line_end(self, tmp_path, end):
        (tmp_path / "t.tfm").write_text(end.join(self.LINES) + end, newline="")
        np.testing.assert_array_equal(read_transform(tmp_path / "t.tfm")(np.zeros((1, 3))), [[11, -22, 33]])

    @pytest.mark.parametrize(
        "text",
        [
            "\n".join(LINES[:4]),
            "\n".join(LINES[:3]),
            "\n".join(LINES).replace(" 33", ""),
            "\n".join(LINES).replace(SHIFT, SHIFT[: len(SHIFT) // 2]),
            "\n".join(LINES).replace("FixedParameters: 0 0 0", "FixedParameters: 0"),
            "\n".join(LINES).replace(" 11 ", " 11,5 "),
            "\n".join(LINES) + "\n#Transform 1\nTransform: AffineTransform_double_3_3\n",
        ],
    )
    def test_cut_off_or_with_a_decimal_comma_it_is_refused(self, tmp_path, text):
        (tmp_path / "t.tfm").write_text(text + "\n")
        with pytest.raises(InputError, match=r"cut off|not a number|no transform that ITK can read"):
            read_transform(tmp_path / "t.tfm")

    @pytest.mark.parametrize("kind", ["Euler3DTransform", "TranslationTransform", "Similarity3DTransform"])
    def test_other_linear_transforms_are_read(self, tmp_path, kind):
        transform = sitk.TranslationTransform(3) if kind.startswith("Trans") else getattr(sitk, kind)()
        sitk.WriteTransform(transform, str(tmp_path / "t.tfm"))
        np.testing.assert_allclose(read_transform(tmp_path / "t.tfm").matrix, np.eye(4))

    def test_a_composite_with_a_field_and_splines_is_whole(self, tmp_path, oblique_grid, make_field, affine):
        splines = sitk.BSplineTransformInitializer(make_field(oblique_grid).to_image()[:, :, :], [3, 3, 3])
        parts = [affine.to_sitk(), make_field(oblique_grid).to_sitk(), splines]
        sitk.WriteTransform(sitk.CompositeTransform(parts), str(tmp_path / "t.tfm"))
        assert len(read_transform(tmp_path / "t.tfm").parts) == 3


class TestTransformsOfOtherPrograms:
    MATRIX = np.array([[0.96, -0.28, 0, 12.0], [0.28, 0.96, 0, -20.0], [0, 0, 1, 30.0], [0, 0, 0, 1]])

    def xfm(self, path, kind="Linear", rows=3):
        numbers = "\n".join(" ".join(f"{x:.9f}" for x in row) for row in self.MATRIX[:rows])
        path.write_text(
            f"MNI Transform File\n% made by a test\n\nTransform_Type = {kind};\nLinear_Transform =\n{numbers};\n"
        )
        return path

    def test_a_linear_xfm_is_ras(self, tmp_path):
        turn = np.diag([-1.0, -1.0, 1.0, 1.0])
        transform = read_transform(self.xfm(tmp_path / "talairach.xfm"))
        np.testing.assert_allclose(transform.matrix, turn @ self.MATRIX @ turn)

    def test_an_xfm_cut_off_or_of_another_kind_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="cut off or damaged"):
            read_transform(self.xfm(tmp_path / "a.xfm", rows=2))
        with pytest.raises(InputError, match="isn't one linear transform"):
            read_transform(self.xfm(tmp_path / "b.xfm", kind="Grid_Transform"))

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("t.txt", '(Transform "BSplineTransform")\n(NumberOfParameters 3)\n', "elastix"),
            ("t.mat", "1 0 0 5\n0 1 0 6\n0 0 1 7\n0 0 0 1\n", "FLIRT"),
            ("t.lta", "type = 1\n", "lta_convert"),
            ("t.m3z", "x", "mri_warp_convert"),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name_with_what_to_do(self, tmp_path, name, text, said):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=said):
            read_transform(tmp_path / name)


class TestBeyondTheGrid:
    @pytest.fixture
    def far(self, oblique_grid):
        return oblique_grid.center + np.array([[3000.0, 100.0, -50.0]])

    @pytest.fixture
    def whole(self, oblique_grid, make_field, affine):
        field = compose(make_field(oblique_grid), affine, geometry=oblique_grid)
        return dataclasses.replace(field, beyond=affine)

    @pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
    def test_a_field_read_from_an_image_goes_on_with_the_linear_transform_nearest_to_it(
        self, tmp_path, whole, far, ending
    ):
        write_transform(whole, tmp_path / f"t{ending}")
        field = read_transform(tmp_path / f"t{ending}")
        np.testing.assert_allclose(field(far), fit_affine(whole)(far), atol=0.1)
        assert np.linalg.norm(field(far) - far) > 1

    @pytest.mark.parametrize("ending", [".h5", ".tfm"])
    def test_in_an_itk_file_the_linear_part_is_exact_and_itk_applies_it(self, tmp_path, whole, affine, far, ending):
        write_transform(whole, tmp_path / f"t{ending}")
        itk = sitk.ReadTransform(str(tmp_path / f"t{ending}"))
        np.testing.assert_allclose(itk.TransformPoint(far[0].tolist()), affine(far)[0], rtol=1e-9)
        np.testing.assert_allclose(read_transform(tmp_path / f"t{ending}")(far), affine(far), rtol=1e-9)
        inside = whole.geometry.center[None]
        np.testing.assert_allclose(itk.TransformPoint(inside[0].tolist()), whole(inside)[0], atol=1e-3)
        np.testing.assert_allclose(read_transform(tmp_path / f"t{ending}")(inside), whole(inside), atol=1e-3)


@pytest.mark.parametrize("parameters", ["1 0 0 0 1 0 0 0 1 0 0 0 7 7", "1 0 0 0 1 0 0 0 1 0 0"])
def test_a_matrix_of_more_or_fewer_numbers_than_it_has_is_refused(tmp_path, parameters):
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
    (tmp_path / "t.tfm").write_text(f"{head}Parameters: {parameters}\nFixedParameters: 0 0 0\n")
    with pytest.raises(InputError, match=r"cut off|no transform that ITK can read"):
        read_transform(tmp_path / "t.tfm")


def test_bytes_that_are_no_text_in_a_text_file_are_refused(tmp_path):
    head = b"#Insight Transform File V1.0\n#Transform 0\nTransform: Aff\xee\xffineTransform_double_3_3\n"
    (tmp_path / "t.tfm").write_bytes(head + b"Parameters: 1\nFixedParameters: 0 0 0\n")
    with pytest.raises(InputError, match="no transform that ITK can read"):
        read_transform(tmp_path / "t.tfm")
