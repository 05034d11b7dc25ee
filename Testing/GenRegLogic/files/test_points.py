"""Landmark files and what landmarks must be."""

import json

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.files.points import check_landmarks, read_points, write_points

POINTS = np.array([[1.5, -2.25, 3.0], [-40.0, 50.0, 60.125], [0.0, 0.0, -7.5]])
ENDINGS = (".csv", ".txt", ".fcsv", ".mrk.json", ".json")


@pytest.mark.parametrize("ending", ENDINGS)
def test_points_survive_a_file_of_every_kind(tmp_path, ending):
    write_points(POINTS, tmp_path / f"p{ending}")
    np.testing.assert_allclose(read_points(tmp_path / f"p{ending}"), POINTS, atol=1e-6)


@pytest.fixture
def read_text(tmp_path):
    def read(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        return read_points(tmp_path / name)

    return read


class TestCsv:
    @pytest.mark.parametrize(
        "text",
        [
            "1,2,3\n4,5,6\n",
            "# x,y,z in LPS mm\n1,2,3\n\n4,5,6  # the second\n",
            "x,y,z\n1, 2, 3\n4, 5, 6",
            "1 2 3\n4\t5 6\n",
            "1,2,3,a name\n4,5,6,another\n",
            "\ufeffx;y;z\r\n1;2;3\r\n4;5;6\r\n",
        ],
        ids=["plain", "comments", "column names", "blanks", "a fourth column", "a spreadsheet's"],
    )
    def test_rows_are_lps_points(self, read_text, text):
        np.testing.assert_array_equal(read_text("p.csv", text), [[1, 2, 3], [4, 5, 6]])

    @pytest.mark.parametrize(
        "text",
        [
            "id,x,y,z\n7,1,2,3\n8,4,5,6\n",
            "id;name;z;y;x\n7;a;3;2;1\n8;b;6;5;4\n",
            '"X","Y","Z","t","label"\n1,2,3,0,1\n4,5,6,0,2\n',
            "l,p,s,weight\n1,2,3,1\n4,5,6,1\n",
        ],
        ids=["a number first", "another order", "columns behind", "anatomical names"],
    )
    def test_a_line_of_names_says_which_columns_are_meant(self, read_text, text):
        np.testing.assert_array_equal(read_text("p.csv", text), [[1, 2, 3], [4, 5, 6]])

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("7,1,2,3\n8,4,5,6\n", "4 columns of numbers and no line that names them"),
            ("id,a,b,c\n7,1,2,3\n", "none are named x, y and z"),
            ("r,a,s\n1,2,3\n", "save the points in LPS"),
            ("F-1,1,2,3\n", "line 1: expected x,y,z"),
        ],
    )
    def test_columns_that_could_be_anything_are_refused(self, read_text, text, said):
        with pytest.raises(InputError, match=said):
            read_text("p.csv", text)

    @pytest.mark.parametrize("row", ["1,2", "1,two,3", "4;5"])
    def test_a_row_that_is_no_point_is_named_by_its_line(self, read_text, row):
        with pytest.raises(InputError, match=r"line 3: expected x,y,z"):
            read_text("p.csv", f"# points\n1,2,3\n{row}\n")

    @pytest.mark.parametrize("value", ["nan", "inf"])
    def test_a_point_that_is_not_finite_is_refused(self, read_text, value):
        with pytest.raises(InputError, match="NaN or infinite"):
            read_text("p.csv", f"1,2,{value}\n")

    @pytest.mark.parametrize("text", ["", "# nothing\n", "x,y,z\n"])
    def test_a_file_without_points_is_refused(self, read_text, text):
        with pytest.raises(InputError, match="holds no points"):
            read_text("p.csv", text)


class TestFcsv:
    ROW = "vtkMRMLMarkupsFiducialNode_0,1,2,3,0,0,0,1,1,1,0,F-1,,\n"

    @pytest.mark.parametrize("system", ["LPS", "1"])
    def test_lps_is_taken_as_it_is(self, read_text, system):
        points = read_text(
            "p.fcsv", f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {system}\n{self.ROW}"
        )
        np.testing.assert_array_equal(points, [[1, 2, 3]])

    @pytest.mark.parametrize("header", ["# CoordinateSystem = RAS\n", "# CoordinateSystem = 0\n", ""])
    def test_ras_is_turned_to_lps(self, read_text, header):
        np.testing.assert_array_equal(read_text("p.fcsv", header + self.ROW), [[-1, -2, 3]])

    def test_voxel_indices_are_refused(self, read_text):
        with pytest.raises(InputError, match="coordinate system '2'"):
            read_text("p.fcsv", f"# CoordinateSystem = 2\n{self.ROW}")

    def test_a_row_without_numbers_is_refused(self, read_text):
        with pytest.raises(InputError, match="not a valid Slicer fiducial list"):
            read_text("p.fcsv", "F-1,one,2,3\n")


class TestMarkups:
    @staticmethod
    def markups(system, **point):
        control = {"label": "F-1", "position": [1.0, 2.0, 3.0]} | point
        return json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": [control]}]})

    def test_lps_is_taken_as_it_is(self, read_text):
        np.testing.assert_array_equal(read_text("p.mrk.json", self.markups("LPS")), [[1, 2, 3]])

    def test_ras_is_turned_to_lps(self, read_text):
        np.testing.assert_array_equal(read_text("p.mrk.json", self.markups("RAS")), [[-1, -2, 3]])

    def test_points_that_were_never_placed_are_left_out(self, read_text):
        with pytest.raises(InputError, match="holds no points"):
            read_text("p.mrk.json", self.markups("LPS", positionStatus="undefined"))

    @pytest.mark.parametrize(
        "text",
        [
            "{",
            "[]",
            '{"markups": 3}',
            '{"markups": [{"controlPoints": [{}]}]}',
            '{"markups": [{"controlPoints": [{"position": [1' + "0" * 400 + ", 2, 3]}]}]}",
            "[" * 100_000,
        ],
        ids=["no JSON", "a list", "a number", "no position", "a number too large", "deep"],
    )
    def test_other_json_is_refused(self, read_text, text):
        with pytest.raises(InputError, match="not a valid Slicer markups file"):
            read_text("p.json", text)


class TestFiles:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"p\.csv does not exist"):
            read_points(tmp_path / "p.csv")

    def test_an_unknown_ending_is_refused(self, tmp_path):
        (tmp_path / "p.xlsx").write_bytes(b"PK")
        with pytest.raises(InputError, match="not a known kind of point file"):
            read_points(tmp_path / "p.xlsx")

    def test_a_binary_file_is_refused(self, tmp_path):
        (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00\x81")
        with pytest.raises(InputError, match="cannot be read as a text file"):
            read_points(tmp_path / "p.csv")


class TestCheckLandmarks:
    def test_landmarks_inside_both_scans_are_good(self, grid, oblique_grid, make_points):
        check_landmarks(make_points(grid, 3), make_points(oblique_grid, 3), grid, oblique_grid)

    def test_unequal_counts_are_refused(self, grid, make_points):
        with pytest.raises(InputError, match="5 fixed but 4 moving landmarks"):
            check_landmarks(make_points(grid, 5), make_points(grid, 4), grid, grid)

    def test_fewer_than_three_are_refused(self, grid, make_points):
        with pytest.raises(InputError, match="only 2 landmarks; give at least 3"):
            check_landmarks(make_points(grid, 2), make_points(grid, 2), grid, grid)

    @pytest.mark.parametrize("role", ["fixed", "moving"])
    def test_one_outside_its_scan_is_refused_and_counted(self, grid, make_points, role):
        points = {"fixed": make_points(grid, 5), "moving": make_points(grid, 5)}
        points[role][2] += 1000.0
        with pytest.raises(InputError, match=rf"1 of 5 {role} landmarks lie outside .*the first is number 3"):
            check_landmarks(points["fixed"], points["moving"], grid, grid)
