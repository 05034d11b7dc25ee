"""The overview picture: written whole, laid out in true proportions, in radiological convention."""

import numpy as np
import pytest
from PIL import Image

from GenRegLogic.errors import InputError
from GenRegLogic.phantom.overview import PLANES, VIEWS, _oriented, write_overview
from GenRegLogic.space.field import AffineTransform
from GenRegLogic.space.volume import Volume

AXIAL, CORONAL, SAGITTAL = PLANES


@pytest.fixture
def scan():
    """20 x 24 x 16 voxels with one bright octant: left, back, head."""
    array = np.zeros((16, 24, 20), np.float32)
    array[8:, 12:, 10:] = 100.0
    return Volume.from_array(array, spacing=(2.0, 1.0, 3.0))


@pytest.mark.parametrize(
    ("plane", "rows", "columns"),
    [
        (AXIAL, slice(12, None), slice(10, None)),  # back below, patient's left on the right
        (CORONAL, slice(None, 8), slice(10, None)),  # head above, patient's left on the right
        (SAGITTAL, slice(None, 8), slice(12, None)),  # head above, back on the right
    ],
)
def test_slices_are_shown_in_radiological_convention(scan, plane, rows, columns):
    image = plane.cut(scan.array)
    assert (image[rows, columns] == 100).all()
    assert image.sum() == image[rows, columns].sum()


def test_pixels_have_the_proportions_of_the_voxels(scan):
    assert [plane.aspect(scan.geometry) for plane in PLANES] == [0.5, 1.5, 3.0]


def test_a_scan_stored_along_other_axes_is_shown_the_same_way(scan):
    flipped = Volume(scan.array.transpose(1, 0, 2)[:, ::-1], _coronal_geometry(scan))
    np.testing.assert_array_equal(_oriented(flipped).array, scan.array)


def _coronal_geometry(scan):
    """Axes left, down, back of the same voxels: k to the back, j from head to feet."""
    geometry = scan.geometry
    origin = geometry.to_world((0, 0, geometry.size[2] - 1))
    direction = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    size = (geometry.size[0], geometry.size[2], geometry.size[1])
    spacing = (geometry.spacing[0], geometry.spacing[2], geometry.spacing[1])
    return type(geometry)(size, spacing, tuple(origin), direction)


def test_a_picture_with_all_views_is_written(scan, tmp_path):
    write_overview(scan, scan, AffineTransform.identity(), tmp_path / "p.png", title="A title")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 300 * len(VIEWS)
        assert np.asarray(picture.convert("L")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_the_deformation_changes_only_the_views_after_it(scan, tmp_path):
    matrix = np.eye(4)
    matrix[0, 3] = 8.0
    write_overview(scan, scan, AffineTransform.identity(), tmp_path / "still.png")
    write_overview(scan, scan, AffineTransform(matrix), tmp_path / "moved.png")
    still, moved = (np.asarray(Image.open(tmp_path / name).convert("RGB"), int) for name in ("still.png", "moved.png"))
    changed = np.abs(still - moved).sum(axis=(0, 2)) > 0
    width = still.shape[1] // len(VIEWS)
    seen = [changed[n * width + 5 : (n + 1) * width - 5].any() for n in range(len(VIEWS))]
    assert seen == [False, False, True, True, True]


def test_a_constant_scan_can_be_pictured_too(scan, tmp_path):
    flat = Volume(np.ones_like(scan.array), scan.geometry)
    write_overview(flat, scan, AffineTransform.identity(), tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize("name", ["p.jpg", "nowhere/p.png"])
def test_a_path_that_cannot_be_written_is_refused(scan, tmp_path, name):
    with pytest.raises(InputError):
        write_overview(scan, scan, AffineTransform.identity(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
