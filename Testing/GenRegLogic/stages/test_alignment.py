"""The choice of the linear alignment, against known mappings."""

import numpy as np
import pytest
import torch

from GenRegLogic.errors import Cancelled
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.smoothing import smooth
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages import alignment
from GenRegLogic.stages.alignment import align
from GenRegLogic.stages.linear import AFFINE, RIGID, SIMILARITY, Candidate
from GenRegLogic.stages.prepare import prepare

from ..conftest import Scene, centered, rotation
from .conftest import CPU, FIXED_GRID, MOVING_GRID, SCENE, error, rigid, scans


class TestRecovery:
    def test_a_translation_of_half_the_field_of_view_is_recovered(self):
        truth = rigid(shift=(60.0, -45.0, 55.0))
        fixed, moving = scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(60.0, -45.0, 55.0)))
        best, _ = align(fixed, moving)
        assert error(best.matrix, truth) < 1.0

    def test_a_translation_to_the_edge_of_the_scan_is_recovered(self):
        truth = rigid(shift=(0.0, 0.0, 35.0))
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.5

    @pytest.mark.parametrize("axis", range(3))
    def test_a_rotation_of_12_degrees_is_recovered(self, axis):
        angles = np.zeros(3)
        angles[axis] = np.radians(12)
        truth = rigid(angles)
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.0

    def test_a_scaling_is_recovered(self):
        truth = np.diag([1.1, 0.93, 1.05, 1.0])
        best, _ = align(*scans(truth))
        assert error(best.matrix, truth) < 1.5

    def test_headers_hundreds_of_mm_apart_are_aligned(self):
        truth = rigid(shift=(900.0, -700.0, 400.0))
        best, _ = align(*scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(905.0, -690.0, 398.0))))
        assert error(best.matrix, truth) < 1.0

    def test_a_header_that_is_right_is_kept(self):
        best, _ = align(*scans(np.eye(4)))
        assert error(best.matrix, np.eye(4)) < 1.0

    def test_a_header_that_is_right_is_kept_on_an_oblique_grid(self):
        best, _ = align(*scans(np.eye(4), MOVING_GRID))
        assert error(best.matrix, np.eye(4)) < 1.0


@pytest.fixture(scope="module")
def given_start():
    """A rotation that is not found without it, given as a start; and the two values that `align` returns."""
    truth = rigid((0.3, -0.4, 1.5), (10.0, 20.0, -5.0))
    return truth, *align(*scans(truth), given=[("initial", truth)])


@pytest.fixture(scope="module")
def unrelated():
    """What `align` returns for scans of two scenes that have nothing in common."""
    moving = Scene(seed=77).scan(MOVING_GRID)
    return align(*(prepare(volume, mask=None, device=CPU) for volume in (SCENE.scan(FIXED_GRID), moving)))


class TestResult:
    def test_the_result_is_not_worse_than_the_header(self, pair):
        fixed, moving = (prepare(volume, mask=None, device=CPU) for volume in (pair.fixed, pair.moving))
        best, level = align(fixed, moving)
        assert best.objective <= level.objective(np.eye(4))

    def test_the_result_is_not_worse_than_the_header_of_unrelated_scans(self, unrelated):
        best, level = unrelated
        assert best.objective <= level.turned(np.eye(4)).objective(np.eye(4))

    def test_the_result_is_not_worse_than_a_given_start(self, given_start):
        truth, best, level = given_start
        assert best.objective <= level.objective(truth)

    def test_a_given_start_that_is_right_is_kept(self, given_start):
        truth, best, _ = given_start
        assert best.name == "initial"
        assert error(best.matrix, truth) < 1.5

    def test_the_returned_objective_is_that_of_the_returned_matrix(self):
        best, level = align(*scans(rigid(shift=(5.0, 0.0, 0.0))))
        assert best.objective == pytest.approx(level.objective(best.matrix), abs=1e-6)


class TestInit:
    def test_init_none_keeps_the_header(self):
        best, _ = align(*scans(rigid(shift=(8.0, 0.0, 0.0))), init="none")
        np.testing.assert_array_equal(best.matrix, np.eye(4))

    def test_init_none_keeps_a_given_start(self):
        given = rigid((0.05, 0.0, 0.0), (3.0, 2.0, 1.0))
        best, _ = align(*scans(np.eye(4)), init="none", given=[("initial", given)])
        np.testing.assert_array_equal(best.matrix, given)

    def test_init_header_refines_the_header(self):
        truth = rigid(shift=(6.0, -4.0, 3.0))
        best, _ = align(*scans(truth), init="header")
        assert best.name == "header"
        assert error(best.matrix, truth) < 1.0

    def test_init_center_starts_from_the_centers_of_the_scans(self):
        truth = rigid(shift=(300.0, 0.0, 0.0))
        best, _ = align(
            *scans(truth, centered(MOVING_GRID.size, MOVING_GRID.spacing, center=(302.0, 1.0, 0.0))), init="center"
        )
        assert best.name == "center"
        assert error(best.matrix, truth) < 1.0

    def test_the_reported_fractions_rise_and_do_not_exceed_one(self):
        fractions = []
        align(*scans(np.eye(4)), tell=fractions.append)
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] < fractions[-1] <= 1


TURNED = {
    "axes exchanged": np.eye(3)[[1, 2, 0]],
    "a third of a turn about no axis": rotation(1.2, -0.9, 2.0),
}


class TestInProportion:
    """The voxels of the first scales of a scan of 76,000."""

    def test_a_small_scan_has_fewer_in_proportion(self):
        fixed, moving = scans(np.eye(4))
        share = alignment.in_proportion(100_000, fixed, moving) / 100_000
        assert 0.1 < share < 0.5
        assert alignment.in_proportion(150_000, fixed, moving) == pytest.approx(share * 150_000, rel=0.01)

    def test_it_has_no_fewer_than_can_be_aligned(self):
        assert alignment.in_proportion(9_000, *scans(np.eye(4))) == alignment.LEAST_LEVEL_VOXELS
        assert alignment.in_proportion(5_000, *scans(np.eye(4))) == 5_000

    def test_a_scan_that_fills_the_last_scale_has_them_all(self, monkeypatch):
        monkeypatch.setattr(alignment, "LEVEL_VOXELS", (4_000, 6_000))
        assert alignment.in_proportion(4_000, *scans(np.eye(4))) == 4_000


class TestRivals:
    PERIOD, VOXEL = 8, 3.0

    def pair(self, *, symmetric):
        """Scans that repeat along z, the moving one longer; symmetric: the same after a quarter of a turn about z."""
        random = torch.Generator().manual_seed(0)
        part = smooth(torch.randn((self.PERIOD, 32, 32), generator=random), 1.2)
        if symmetric:
            part = sum(torch.rot90(part, turn, (1, 2)) for turn in range(4)) / 2
        repeated = 200 * part.repeat(8, 1, 1).numpy()
        return (
            prepare(Volume(array, Geometry(array.shape[::-1], (self.VOXEL,) * 3)), mask=None, device=CPU)
            for array in (repeated[: 6 * self.PERIOD], repeated)
        )

    def test_places_that_look_alike_are_rivals(self):
        best, _ = align(*self.pair(symmetric=False))
        periods = [(rival.matrix - best.matrix)[2, 3] / (self.PERIOD * self.VOXEL) for rival in best.rivals]
        assert periods
        assert np.round(periods).all()
        assert periods == pytest.approx(np.round(periods), abs=0.1)

    def test_those_of_a_doubted_pose_are_doubted_too(self):
        best, _ = align(*self.pair(symmetric=True), init="any")
        assert best.doubted
        assert best.rivals
        assert all(rival.doubted for rival in best.rivals)

    def test_a_clear_place_has_none(self):
        assert align(*scans(rigid((0.1, 0.0, 0.05), (5.0, 0.0, -4.0))))[0].rivals == ()


class TestAnyPose:
    @pytest.mark.parametrize("name", TURNED)
    def test_a_header_turned_by_any_angle_is_found_out(self, name):
        truth = np.eye(4)
        truth[:3, :3], truth[:3, 3] = TURNED[name], (30.0, -20.0, 15.0)
        fixed, moving = scans(truth, centered((34, 34, 34), (3.9, 3.9, 3.9), center=truth[:3, 3]))
        best, _ = align(fixed, moving)
        assert best.name.startswith("pose")
        assert error(best.matrix, truth) < 1.5

    def test_a_pose_that_convinces_is_not_searched_for(self, monkeypatch):
        monkeypatch.setattr(alignment, "_poses", lambda *scans: pytest.fail("searched"))
        best, _ = align(*scans(rigid((0.1, 0.0, 0.05), (5.0, 0.0, -4.0))))
        assert not best.doubted

    def test_any_searches_even_then(self, monkeypatch):
        searched = []
        monkeypatch.setattr(alignment, "_poses", lambda *scans: (searched.append(1) or [], False))
        align(*scans(np.eye(4)), init="any")
        assert searched

    def test_of_unrelated_scans_every_pose_is_doubted(self, unrelated):
        best, _ = unrelated
        assert best.doubted

    def test_a_search_can_be_cancelled(self):
        told = []

        def tell(fraction):
            told.append(fraction)
            if told.count(fraction) > 10:  # only the search over poses tells so often that nothing has changed
                raise Cancelled("enough")

        with pytest.raises(Cancelled):
            align(*scans(np.eye(4)), init="any", tell=tell)


@pytest.mark.parametrize(("gain", "other", "clear"), [(0.5, 0.3, True), (0.5, 0.45, False), (-0.1, -0.2, False)])
def test_a_mapping_is_clear_whose_gain_is_positive_and_exceeds_that_of_others(gain, other, clear):
    turned = np.eye(4)
    turned[:3, :3] = rotation(1.0, 0.0, 0.0)
    best, others = Candidate(np.eye(4), 1 - gain, "a"), [Candidate(turned, 1 - other, "b")]
    assert alignment._clear(best, others, 1.25) is clear


def test_a_mapping_that_is_turned_little_is_not_another():
    near = np.eye(4)
    near[:3, :3] = rotation(0.3, 0.0, 0.0)
    assert alignment._clear(Candidate(np.eye(4), 0.5, "a"), [Candidate(near, 0.5, "b")], 1.25)


class TestFreedom:
    TRUTH = rigid((0.08, -0.05, 0.1), (6.0, -5.0, 4.0)) @ np.diag([1.08, 1.08, 1.08, 1.0])

    @pytest.mark.parametrize(("freedom", "scale"), [(RIGID, 1.0), (SIMILARITY, 1.08)])
    def test_a_mapping_has_the_freedom_that_was_asked_for(self, freedom, scale):
        best, _ = align(*scans(self.TRUTH), freedom=freedom)
        linear = best.matrix[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, np.eye(3) * (linear @ linear.T)[0, 0], atol=1e-9)
        assert np.cbrt(np.linalg.det(linear)) == pytest.approx(scale, abs=0.01 if freedom == SIMILARITY else 1e-9)

    @pytest.mark.parametrize("freedom", [RIGID, SIMILARITY])
    def test_a_given_start_is_reduced_about_the_center(self, freedom):
        given = self.TRUTH.copy()
        given[0, 1] += 0.1
        best, level = align(*scans(np.eye(4)), init="none", freedom=freedom, given=[("initial", given)])
        linear = best.matrix[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, np.eye(3) * (linear @ linear.T)[0, 0], atol=1e-9)
        np.testing.assert_allclose(best.matrix @ level.center, given @ level.center, atol=1e-9)

    def test_an_affine_start_is_kept_with_all_freedom(self):
        given = self.TRUTH.copy()
        given[0, 1] += 0.1
        best, _ = align(*scans(np.eye(4)), init="none", freedom=AFFINE, given=[("initial", given)])
        np.testing.assert_array_equal(best.matrix, given)
