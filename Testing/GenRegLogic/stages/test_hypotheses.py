"""What is left open is tried on the coarse scales: which of two places is meant, and whether organs slide."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.guidance.sliding import SlidingRegions
from GenRegLogic.quality.doubts import rivals_doubt
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.smoothing import smooth
from GenRegLogic.space.split import with_linear
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.alignment import align
from GenRegLogic.stages.hypotheses import Trial, choose
from GenRegLogic.stages.linear import Candidate, LinearLevel
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.propose import identity, search_proposal
from GenRegLogic.stages.refine import Refiner
from GenRegLogic.stages.schedule import DESCRIPTOR, INTENSITY, schedule

CPU = torch.device("cpu")
SIZE, SPACING = (48, 48, 60), 3.0
GEOMETRY = Geometry(SIZE, (SPACING,) * 3)
SLID_MM = 21.0
RADIUS_MM = 45.0
PROPOSERS = [identity, search_proposal]


def from_axis(points):
    """Distance, mm, from the axis of the cylinder that slides."""
    return np.linalg.norm(points[..., :2] - GEOMETRY.center[:2], axis=-1)


def slid(points):
    """Fixed points (n, 3), mm, to moving ones: the cylinder's own move along z, the rest stays."""
    return points + np.where(from_axis(points) < RADIUS_MM, SLID_MM, 0.0)[..., None] * np.array([0, 0, 1.0])


def textured(seed=0):
    """Smoothed noise of two widths, longer along z than the scans."""
    random = torch.Generator().manual_seed(seed)
    shape = (SIZE[2] + 20, SIZE[1], SIZE[0])
    return 200 * sum(smooth(torch.randn(shape, generator=random), s) * s**1.5 for s in (1.2, 2.5)).numpy()


def sliding_pair():
    """A block of texture in which a cylinder slides along its axis."""
    wall, organ = textured(0), textured(1) + 150
    i, j = np.meshgrid(np.arange(SIZE[0]) * SPACING, np.arange(SIZE[1]) * SPACING)
    inside = np.hypot(i - GEOMETRY.center[0], j - GEOMETRY.center[1]) < RADIUS_MM
    steps = round(SLID_MM / SPACING)
    arrays = (np.where(inside, organ[start : start + SIZE[2]], wall[10 : 10 + SIZE[2]]) for start in (10, 10 - steps))
    return tuple(prepare(Volume(a.astype(np.float32), GEOMETRY), mask=None, device=CPU) for a in arrays)


@pytest.fixture(scope="module")
def sliding():
    return sliding_pair()


@pytest.fixture(scope="module")
def points():
    low, high = 8 * SPACING, np.array(SIZE) * SPACING - 9 * SPACING
    found = np.random.default_rng(3).uniform(low, high, (400, 3))
    return found[np.abs(from_axis(found) - RADIUS_MM) > 3 * SPACING]


def trial_of(scans):
    return Trial(*scans, schedule(DESCRIPTOR, SPACING, 40), 1.0)


def errors(field, linear, points):
    return np.linalg.norm(with_linear(field, linear)(points) - slid(points), axis=1)


@pytest.fixture(scope="module")
def chosen(sliding):
    linear, level = align(*sliding)
    return choose(linear, level, PROPOSERS, [], trial_of(sliding))


class TestSliding:
    def test_it_is_found(self, chosen):
        assert chosen.sliding

    def test_the_report_says_so(self, chosen):
        assert any("slide" in note for note in chosen.notes)

    def test_the_error_is_less_than_with_smoothing_across(self, sliding, chosen, points):
        levels, means = schedule(INTENSITY, SPACING, 40), []
        for option in (True, False):
            refiner = Refiner(*sliding, chosen.linear.matrix, sliding=option)
            field = refiner.run(levels[1:] if option else levels, chosen.proposal.field)
            means.append(errors(field, chosen.linear.matrix, points).mean())
        assert means[0] < 0.5 * means[1]

    def test_a_pair_that_deforms_smoothly_does_not_slide(self, pair):
        scans = tuple(prepare(v, mask=None, device=CPU) for v in (pair.fixed, pair.moving))
        linear, level = align(*scans)
        assert not choose(linear, level, PROPOSERS, [], Trial(*scans, schedule(DESCRIPTOR, 3.0, 40), 1.0)).sliding

    def test_a_linear_part_that_the_user_gave_is_kept(self, sliding):
        level = LinearLevel(*sliding, 200_000)
        given = Candidate(np.eye(4), 0.5, "initial")
        assert choose(given, level, PROPOSERS, [], trial_of(sliding), rivals=False).linear is given


class TestRivals:
    TRUE, WRONG = np.eye(4), np.eye(4)
    WRONG[2, 3] = 30.0

    @pytest.fixture
    def scans(self):
        volume = Volume(textured()[: SIZE[2]].astype(np.float32), GEOMETRY)
        return tuple(prepare(volume, mask=None, device=CPU) for _ in range(2))

    def choice(self, scans, found, *others, **options):
        level = LinearLevel(*scans, 200_000)
        linear, *rivals = (Candidate(matrix, 0.5, name) for name, matrix in (found, *others))
        linear = dataclasses.replace(linear, rivals=tuple(rivals))
        return choose(linear, level, PROPOSERS, [], trial_of(scans), **options)

    def test_the_one_that_fits_better_when_deformed_is_taken(self, scans):
        chosen = self.choice(scans, ("wrong", self.WRONG), ("true", self.TRUE))
        assert chosen.linear.name == "true"
        assert np.array_equal(chosen.level.axes, np.eye(3))

    def test_one_that_fits_clearly_worse_leaves_no_doubt(self, scans):
        chosen = self.choice(scans, ("true", self.TRUE), ("wrong", self.WRONG))
        assert rivals_doubt(chosen) is None
        assert chosen.linear.name == "true"

    def test_one_that_leads_to_the_same_places_leaves_no_doubt(self, scans):
        nearby = np.eye(4)
        nearby[2, 3] = 6.0
        assert rivals_doubt(self.choice(scans, ("true", self.TRUE), ("nearby", nearby))) is None

    def test_scans_that_repeat_leave_a_doubt(self):
        period = 10  # voxels
        repeated = np.tile(textured()[:period], (8, 1, 1)).astype(np.float32)
        longer = dataclasses.replace(GEOMETRY, size=(*SIZE[:2], len(repeated)))
        volumes = Volume(repeated[: SIZE[2]], GEOMETRY), Volume(repeated, longer)
        scans = tuple(prepare(volume, mask=None, device=CPU) for volume in volumes)
        up = np.eye(4)
        up[2, 3] = period * SPACING
        doubt = rivals_doubt(self.choice(scans, ("header", np.eye(4)), ("up", up)))
        assert doubt.name == "place_unclear"
        assert doubt.guessed

    def test_they_are_not_tried_where_the_user_knows_the_place(self, scans):
        chosen = self.choice(scans, ("wrong", self.WRONG), ("true", self.TRUE), rivals=False)
        assert chosen.linear.name == "wrong"
        assert chosen.objective is None


def test_without_a_trial_the_alignment_and_the_best_proposal_are_taken(sliding):
    level = LinearLevel(*sliding, 200_000)
    found = Candidate(np.eye(4), 0.5, "header")
    chosen = choose(found, level, PROPOSERS, [], None)
    assert chosen.linear is found
    assert (chosen.sliding, chosen.objective, chosen.notes) == (False, None, ())


def test_an_exception_between_the_steps_ends_the_choice(sliding):
    def pulse():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(
            Candidate(np.eye(4), 0.5, "header"),
            LinearLevel(*sliding, 200_000),
            PROPOSERS,
            [],
            trial_of(sliding),
            pulse=pulse,
        )


class TestNamedRegions:
    @pytest.fixture(scope="class")
    @staticmethod
    def named(sliding):
        """The choice where the cylinder is named as a region of its own."""
        i, j = np.meshgrid(np.arange(SIZE[0]) * SPACING, np.arange(SIZE[1]) * SPACING)
        inside = np.hypot(i - GEOMETRY.center[0], j - GEOMETRY.center[1]) < RADIUS_MM
        labels = np.broadcast_to(inside, GEOMETRY.shape).astype(np.int32)
        regions = SlidingRegions(Volume(labels, GEOMETRY), CPU)
        linear, level = align(*sliding)
        return choose(linear, level, PROPOSERS, [], Trial(*sliding, schedule(DESCRIPTOR, SPACING, 40), 1.0, regions))

    def test_a_linear_part_that_one_of_them_bent_is_replaced(self, named):
        assert named.linear.name in ("header", "rigid")
        assert "One of the regions had bent the linear part" in named.notes[-2]

    def test_nothing_else_is_taken_to_slide(self, named):
        assert not named.sliding
