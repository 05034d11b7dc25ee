"""Cuts: correct anatomical directions for every storage order, correct proportions, and correct values."""

import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.htmlreport.cuts import ORIENTATIONS, Scan, crop, tilt_degrees, whole
from GenRegLogic.htmlreport.illustrations import Plates
from GenRegLogic.htmlreport.worst_places import body_of
from GenRegLogic.space.field import AffineTransform, sample_transform
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from ..conftest import rotation, stored_otherwise

AXIAL, CORONAL, SAGITTAL = ORIENTATIONS
GRID = Geometry((20, 24, 16), (2.0, 1.0, 3.0), (-20.0, 30.0, 100.0))


@pytest.fixture
def octant():
    """A scan of one bright octant: left, back, head."""
    array = np.zeros(GRID.shape, np.float32)
    array[8:, 12:, 10:] = 1.0
    return Volume(array, GRID)


def shown(volume, orientation, point=None, pixels=3000):
    point = volume.geometry.center if point is None else point
    return Scan.of(volume).shades(whole(volume.geometry, orientation, point, pixels))[0]


def halves(picture):
    """Mean shade of the left, right, upper and lower half."""
    rows, columns = (n // 2 for n in picture.shape)
    return [part.mean() for part in (picture[:, :columns], picture[:, -columns:], picture[:rows], picture[-rows:])]


@pytest.mark.parametrize(
    ("order", "flips"),
    [((0, 1, 2), ()), ((0, 1, 2), (0,)), ((0, 1, 2), (0, 1)), ((2, 0, 1), (1,)), ((1, 0, 2), (2,)), ((2, 1, 0), (2,))],
)
class TestAnatomy:
    """The same in every axis order and with either handedness."""

    @pytest.mark.parametrize(
        ("orientation", "bright"),
        [(AXIAL, {"L", "P"}), (CORONAL, {"L", "S"}), (SAGITTAL, {"P", "S"})],
        ids=["axial", "coronal", "sagittal"],
    )
    def test_the_directions_of_the_body_lie_at_their_letters(self, octant, order, flips, orientation, bright):
        scan = stored_otherwise(octant, order, flips)
        point = GRID.to_world((15, 18, 12))  # inside the octant
        left, right, top, bottom = halves(shown(scan, orientation, point))
        at = dict(zip(orientation.letters, (left, right, top, bottom)))
        assert {letter for letter, shade in at.items() if shade > 0.3} == bright

    def test_a_scan_stored_otherwise_gives_the_same_pictures(self, octant, order, flips):
        scan = stored_otherwise(octant, order, flips)
        for orientation in ORIENTATIONS:
            point = GRID.to_world((15, 18, 12))
            np.testing.assert_allclose(shown(scan, orientation, point), shown(octant, orientation, point), atol=1e-4)


class TestProportions:
    @pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: o.name)
    @pytest.mark.parametrize("turn", [np.eye(3), rotation(0.3, -0.2, 0.4)], ids=["straight", "oblique"])
    def test_a_ball_is_round_for_any_voxel_shape(self, orientation, turn):
        grid = Geometry((40, 60, 16), (1.5, 1.0, 4.0), (7.0, -20.0, 3.0), turn)
        k, j, i = np.indices(grid.shape)
        distance = np.linalg.norm(grid.to_world(np.stack([i, j, k], axis=-1)) - grid.center, axis=-1)
        ball = Volume(np.clip(20.5 - distance, 0, 1).astype(np.float32), grid)
        picture = shown(ball, orientation, pixels=20_000) > 0.5
        rows, columns = picture.any(axis=1).sum(), picture.any(axis=0).sum()
        assert rows == pytest.approx(columns, rel=0.08)

    @pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: o.name)
    def test_the_whole_scan_is_in_the_picture(self, orientation):
        cut = whole(GRID, orientation, GRID.center, 10_000)
        extent = GRID.extent_mm
        assert cut.width_mm == pytest.approx(extent[orientation.across], rel=0.02)
        assert cut.rows * cut.pixel_mm == pytest.approx(extent[orientation.down], rel=0.02)
        assert cut.rows * cut.columns == pytest.approx(10_000, rel=0.05)

    def test_the_width_of_a_picture_is_limited(self):
        cut = whole(Geometry((2000, 10, 10)), AXIAL, (0.0, 0.0, 0.0), 90_000)
        assert cut.columns <= 640

    def test_the_point_of_a_crop_is_at_its_center(self):
        point = GRID.to_world((4, 5, 6))
        cut = crop(GRID, CORONAL, point, 12.0, 9)
        assert cut.width_mm == pytest.approx(12.0)
        np.testing.assert_allclose(cut.points().numpy().T[9 * 4 + 4], point, atol=1e-9)


class TestValues:
    def test_values_equal_those_of_simpleitk(self, make_volume, oblique_grid):
        volume = make_volume(oblique_grid)
        cut = crop(oblique_grid, SAGITTAL, oblique_grid.center, 8.0, 12)
        values, inside = Scan.of(volume).values(cut)
        image = volume.to_sitk()
        assert cut.oversampling == 1
        for point, value in zip(cut.points().numpy().T, values.ravel(), strict=True):
            assert value == pytest.approx(image.EvaluateAtPhysicalPoint(point.tolist(), sitk.sitkLinear), abs=0.05)
        assert inside.all()

    def test_a_moving_scan_is_sampled_through_the_transform(self, octant):
        shift = np.eye(4)
        shift[:3, 3] = (5.0, -3.0, 6.0)
        moved = Volume(octant.array, Geometry(GRID.size, GRID.spacing, tuple(np.add(GRID.origin, shift[:3, 3]))))
        cut = whole(GRID, CORONAL, GRID.to_world((15, 18, 12)), 2000)
        straight, _ = Scan.of(octant).shades(cut)
        through, inside = Scan.of(moved).shades(cut, AffineTransform(shift))
        np.testing.assert_allclose(through, straight, atol=1e-4)
        assert inside.all()

    def test_pixels_outside_the_scan_are_black_and_marked_as_outside(self, octant):
        bright = Volume(octant.array + 5, GRID)
        cut = crop(GRID, AXIAL, GRID.to_world((0, 12, 8)), 40.0, 20)
        shades, inside = Scan.of(bright).shades(cut)
        assert inside[:, 11:].any()
        assert not inside[:, :9].any()
        assert (shades[~inside] == 0).all()

    def test_texture_finer_than_pixels_is_averaged(self):
        grid = Geometry((400, 400, 4), (0.5, 0.5, 1.0))
        stripes = np.zeros(grid.shape, np.float32)
        stripes[..., ::2] = 1.0
        picture = shown(Volume(stripes, grid), AXIAL, pixels=100**2)
        assert picture[5:-5, 5:-5].std() < 0.05


def test_the_tilt_is_the_angle_to_the_bodys_axes():
    assert tilt_degrees(GRID) == pytest.approx(0.0, abs=1e-6)
    assert tilt_degrees(Geometry((4, 4, 4), direction=rotation(0.0, 0.0, np.radians(12)))) == pytest.approx(12.0)
    assert tilt_degrees(Geometry((4, 4, 4), direction=np.diag([-1.0, 1.0, -1.0]))) == pytest.approx(0.0, abs=1e-6)


class TestMiddle:
    """The point through which the planes of the whole scan go."""

    @pytest.fixture
    def halves_apart(self):
        """Two blocks to the left and right of an empty gap, far from the center of the grid."""
        array = np.zeros((20, 30, 40), np.float32)
        array[10:18, 12:28, 20:38] = 1.0
        array[:, :, 29] = 0.0
        array += np.linspace(0, 1e-3, 40, dtype=np.float32)
        return Volume.from_array(array, spacing=(1.0, 1.0, 2.0))

    @pytest.fixture
    def middle(self, halves_apart):
        still = sample_transform(AffineTransform.identity(), halves_apart.geometry)
        plates = Plates(halves_apart, halves_apart, still, None, body_of(halves_apart))
        return halves_apart.geometry.to_index(plates.middle)

    def test_the_middle_lies_in_the_body(self, middle):
        assert 22 < middle[0] < 36
        assert 14 < middle[1] < 26
        assert 11 < middle[2] < 17

    def test_the_middle_does_not_lie_in_a_gap(self, middle):
        assert middle[0] != pytest.approx(29)
