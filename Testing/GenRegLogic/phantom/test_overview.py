"""The overview picture: its layout, true proportions and radiological convention."""

import numpy as np
import pytest
from PIL import Image

from GenRegLogic.errors import InputError
from GenRegLogic.phantom.overview import PLANES, VIEWS, write_overview
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.volume import Volume

AXIAL, CORONAL, SAGITTAL = PLANES


@pytest.fixture
def scan():
    """20 x 24 x 16 voxels; the octant on the patient's left, back and head side is bright."""
    array = np.zeros((16, 24, 20), np.float32)
    array[8:, 12:, 10:] = 100.0
    return Volume.from_array(array, spacing=(2.0, 1.0, 3.0))


@pytest.mark.parametrize(
    ("plane", "rows", "columns"),
    [
        (AXIAL, slice(12, None), slice(10, None)),  # back at the bottom, patient's left on the right
        (CORONAL, slice(None, 8), slice(10, None)),  # head at the top, patient's left on the right
        (SAGITTAL, slice(None, 8), slice(12, None)),  # head at the top, back on the right
    ],
)
def test_slices_are_shown_in_radiological_convention(scan, plane, rows, columns):
    image = plane.cut(scan.array)
    assert (image[rows, columns] == 100).all()
    assert image.sum() == image[rows, columns].sum()


def test_pixels_have_the_proportions_of_the_voxels(scan):
    assert [plane.aspect(scan.geometry) for plane in PLANES] == [0.5, 1.5, 3.0]


def test_a_scan_stored_along_other_axes_gives_the_same_picture(scan, tmp_path):
    other = Volume(np.ascontiguousarray(scan.array.transpose(1, 0, 2)[:, ::-1]), coronal_geometry(scan))
    for name, fixed in (("scan.png", scan), ("other.png", other)):
        write_overview(fixed, scan, AffineTransform.identity(), tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / "other.png"), pixels(tmp_path / "scan.png"))


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), int)


def coronal_geometry(scan):
    """The grid of the same voxels with axes i to the left, j from head to feet and k to the back."""
    geometry = scan.geometry
    origin = geometry.to_world((0, 0, geometry.size[2] - 1))
    direction = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    size = (geometry.size[0], geometry.size[2], geometry.size[1])
    spacing = (geometry.spacing[0], geometry.spacing[2], geometry.spacing[1])
    return type(geometry)(size, spacing, tuple(origin), direction)


def test_the_picture_has_all_views_and_no_other_file_is_left(scan, tmp_path):
    write_overview(scan, scan, AffineTransform.identity(), tmp_path / "p.png", title="A title")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 300 * len(VIEWS)
        assert np.asarray(picture.convert("L")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_the_transform_changes_only_the_views_after_it(scan, tmp_path):
    matrix = np.eye(4)
    matrix[0, 3] = 8.0
    write_overview(scan, scan, AffineTransform.identity(), tmp_path / "still.png")
    write_overview(scan, scan, AffineTransform(matrix), tmp_path / "moved.png")
    still, moved = (pixels(tmp_path / name) for name in ("still.png", "moved.png"))
    changed = np.abs(still - moved).sum(axis=(0, 2)) > 0
    width = still.shape[1] // len(VIEWS)
    seen = [changed[n * width + 5 : (n + 1) * width - 5].any() for n in range(len(VIEWS))]
    assert seen == [False, False, True, True, True]


def test_a_constant_scan_is_shown_in_one_gray_value(scan, tmp_path):
    flat = Volume(np.ones_like(scan.array), scan.geometry)
    write_overview(flat, scan, AffineTransform.identity(), tmp_path / "p.png")
    picture = pixels(tmp_path / "p.png")
    width, height = picture.shape[1] // len(VIEWS), picture.shape[0]
    middle = picture[height // 2 - 20 : height // 2 + 20, width // 2 - 20 : width // 2 + 20]
    assert (middle == middle[0, 0]).all()


@pytest.mark.parametrize(("name", "sentence"), [("p.jpg", "ending"), ("nowhere/p.png", "does not exist")])
def test_a_path_that_cannot_be_written_is_refused(scan, tmp_path, name, sentence):
    with pytest.raises(InputError, match=sentence):
        write_overview(scan, scan, AffineTransform.identity(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
