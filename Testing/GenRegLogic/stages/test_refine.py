"""The refinement: bounded, without folds, and never worse than its start."""

import dataclasses

import numpy as np
import pytest
import torch

from GenRegLogic.guidance.sliding import SlidingRegions
from GenRegLogic.progress import Monitor
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, Sampler
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.split import disagreement, with_linear
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages.prepare import prepare, working_grid
from GenRegLogic.stages.refine import AGREEING, Composer, Refiner, _Beside
from GenRegLogic.stages.schedule import BOTH, DESCRIPTOR, INTENSITY, NETWORK, schedule

from ..conftest import FIXED_GRID

CPU = torch.device("cpu")
FINEST = 3.0


@pytest.fixture(scope="module")
def scans(pair):
    return tuple(prepare(v, mask=None, device=CPU) for v in (pair.fixed, pair.moving))


@pytest.fixture(scope="module")
def zero(scans):
    grid = working_grid(scans[0], 2 * FINEST)
    return Image(torch.zeros(3, *grid.shape), grid)


@pytest.fixture(params=[INTENSITY, DESCRIPTOR])
def measure(request):
    return request.param


def refined(scans, levels, start, **options):
    """The field and the history of a refinement under no linear part."""
    refiner = Refiner(*scans, np.eye(4), **options)
    return refiner.run(levels, start), refiner.history


class TestField:
    def test_it_reduces_the_error(self, scans, zero, pair, measure):
        field, _ = refined(scans, schedule(measure, FINEST, 40), zero)
        assert pair.error(with_linear(field, np.eye(4))).mean() < 0.6 * pair.start.mean()

    def test_it_does_not_fold(self, scans, zero, measure):
        field, _ = refined(scans, schedule(measure, FINEST, 40), zero)
        figures = jacobian_figures(with_linear(field, np.eye(4)))
        assert figures["folds_pct"] == 0
        assert figures["ndv_pct"] == 0

    def test_unrelated_scans_give_almost_no_folds(self, scans, zero, measure):
        noise = torch.rand(scans[1].image.tensor.shape, generator=torch.Generator().manual_seed(0))
        other = dataclasses.replace(scans[1], image=Image(noise, scans[1].image.geometry))
        field, _ = refined((scans[0], other), schedule(measure, FINEST, 40), zero)
        assert jacobian_figures(with_linear(field, np.eye(4)))["ndv_pct"] < 0.1  # what `full_field` can repair

    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_no_step_is_longer_than_allowed(self, scans, zero, measure, steps):
        level = dataclasses.replace(schedule(measure, FINEST, 40)[0], iterations=steps)
        field, _ = refined(scans, [level], zero)
        assert float(field.tensor.norm(dim=0).max()) <= steps * level.max_step * level.spacing * (1 + 1e-5)

    def test_shorter_steps_can_be_asked_for(self, scans, zero, measure):
        level = dataclasses.replace(schedule(measure, FINEST, 40)[0], iterations=1)
        field, _ = refined(scans, [level], zero, max_step=0.1)
        assert 0 < float(field.tensor.norm(dim=0).max()) <= 0.1 * level.spacing * (1 + 1e-5)

    def test_without_levels_the_start_is_returned(self, scans, zero):
        start = Image(torch.rand_like(zero.tensor), zero.geometry)
        field, history = refined(scans, [], start)
        assert field is start
        assert history == []

    def test_more_smoothness_gives_a_smoother_field(self, scans, zero, measure):
        spread = [
            jacobian_figures(
                with_linear(refined(scans, schedule(measure, FINEST, 20), zero, smoothness=s)[0], np.eye(4))
            )["sdlogj"]
            for s in (0.7, 2.0)
        ]
        assert spread[1] < spread[0]

    def test_the_same_start_gives_the_same_field(self, scans, zero, measure):
        levels = schedule(measure, FINEST, 10)
        a, b = (refined(scans, levels, zero)[0].tensor for _ in range(2))
        assert torch.equal(a, b)

    def test_the_start_is_not_modified(self, scans, zero):
        before = zero.tensor.clone()
        refined(scans, schedule(INTENSITY, FINEST, 5), zero)
        assert torch.equal(zero.tensor, before)


class TestIterations:
    def test_the_field_of_the_lowest_objective_is_returned(self, scans, zero, measure):
        level = dataclasses.replace(schedule(measure, FINEST, 40)[0], iterations=60)
        field, history = refined(scans, [level], zero)
        _, again = refined(scans, [dataclasses.replace(level, iterations=1)], field)
        assert again[0]["objective"] == pytest.approx(min(h["objective"] for h in history), abs=1e-5)

    def test_steps_that_raise_the_objective_are_not_returned(self, scans, pair):
        """Both scans are the same, so every deformation raises the objective."""
        grid = working_grid(scans[0], 2 * FINEST)
        zero = Image(torch.zeros(3, *grid.shape), grid)
        level = dataclasses.replace(schedule(INTENSITY, FINEST, 40)[-1], spacing=2 * FINEST)
        field, _ = refined((scans[0], scans[0]), [level], zero)
        assert float(field.tensor.norm(dim=0).mean()) < 0.05 * FINEST

    def test_a_level_ends_when_the_objective_no_longer_decreases(self, scans, zero, measure):
        level = dataclasses.replace(schedule(measure, FINEST, 40)[0], iterations=1000)
        _, history = refined(scans, [level], zero)
        assert len(history) < 500

    def test_the_history_records_level_and_iteration(self, scans, zero, measure):
        levels = schedule(measure, FINEST, 6)
        _, history = refined(scans, levels, zero)
        assert [h["level"] for h in history] == sorted(h["level"] for h in history)
        assert {h["level"] for h in history} == set(range(len(levels)))
        for number, level in enumerate(levels):
            own = [h["iteration"] for h in history if h["level"] == number]
            assert own == list(range(len(own)))
            assert len(own) <= level.iterations + 1

    def test_keep_ends_the_refinement_with_the_current_field(self, scans, zero):
        answers = iter([*[None] * 8, *["keep"] * 100])
        monitor = Monitor(CPU, cancel=lambda: next(answers))
        refiner = Refiner(*scans, np.eye(4))
        with monitor.stage("refine"):
            field = refiner.run(schedule(INTENSITY, FINEST, 40), zero, monitor)
        assert 1 < len(refiner.history) < 10
        assert float(field.tensor.norm(dim=0).max()) > 0


class TestBothWays:
    def both(self, scans, start, cancel=None, **options):
        """The field and the refiner, after the refinement in both directions."""
        refiner, monitor = Refiner(*scans, np.eye(4), **options), Monitor(CPU, cancel=cancel)
        with monitor.stage("refine"):
            return refiner.run_both_ways(schedule(INTENSITY, FINEST, 20), start, monitor), refiner

    def test_the_mean_of_two_directions_has_a_smaller_error(self, scans, zero, pair):
        one, _ = refined(scans, schedule(INTENSITY, FINEST, 20), zero)
        both, _ = self.both(scans, zero)
        assert pair.error(with_linear(both, np.eye(4))).mean() < pair.error(with_linear(one, np.eye(4))).mean()

    def test_it_moves_no_place_by_more_than_a_quarter_of_what_still_agrees(self, scans, zero):
        one, _ = refined(scans, schedule(INTENSITY, FINEST, 20), zero)
        both, _ = self.both(scans, zero)
        assert 0 < float((both.tensor - one.tensor).norm(dim=0).max()) <= 0.2501 * AGREEING * FINEST

    def test_the_two_directions_disagree_less_afterward(self, scans, zero):
        levels = schedule(INTENSITY, FINEST, 20)
        one, _ = refined(scans, levels, zero)
        forward, _ = self.both(scans, zero)
        start = Image(torch.zeros(3, *scans[1].mask.geometry.shape), scans[1].mask.geometry)
        back, _ = self.both(scans[::-1], start)
        before, after = (disagreement(np.eye(4), field, back).norm(dim=0).median() for field in (one, forward))
        assert float(after) < float(before)

    def test_a_moving_scan_that_lies_elsewhere_is_not_refined_backward(self, scans, zero):
        geometry = scans[1].image.geometry
        far = dataclasses.replace(geometry, origin=tuple(np.array(geometry.origin) + 5000))
        elsewhere = dataclasses.replace(scans[1], image=Image(scans[1].image.tensor, far))
        one, _ = refined((scans[0], elsewhere), schedule(INTENSITY, FINEST, 20), zero)
        both, _ = self.both((scans[0], elsewhere), zero)
        assert torch.equal(one.tensor, both.tensor)

    def test_regions_of_the_fixed_scan_are_refined_forward_only(self, scans, zero):
        labels = (np.arange(FIXED_GRID.shape[2]) > FIXED_GRID.shape[2] // 2) * np.ones((*FIXED_GRID.shape[:2], 1))
        regions = SlidingRegions(Volume(labels.astype(np.int32), FIXED_GRID), CPU)
        one, _ = refined(scans, schedule(INTENSITY, FINEST, 20), zero, regions=regions)
        both, _ = self.both(scans, zero, regions=regions)
        assert torch.equal(one.tensor, both.tensor)

    def test_keep_while_the_way_back_is_refined_keeps_the_forward_field(self, scans, zero):
        one, history = refined(scans, schedule(INTENSITY, FINEST, 20), zero)
        answers = iter([*[None] * (len(history) + 3), *["keep"] * 1000])
        both, _ = self.both(scans, zero, cancel=lambda: next(answers))
        assert torch.equal(one.tensor, both.tensor)


class TestBeside:
    """Descriptors compared beside intensities."""

    LEVELS = schedule(INTENSITY, FINEST, 40, beside=1.0)

    def test_they_reduce_the_error_too(self, scans, zero, pair):
        field, _ = refined(scans, self.LEVELS, zero)
        assert pair.error(with_linear(field, np.eye(4))).mean() < 0.6 * pair.start.mean()

    def test_the_field_does_not_fold(self, scans, zero):
        field, _ = refined(scans, self.LEVELS, zero)
        assert jacobian_figures(with_linear(field, np.eye(4)))["ndv_pct"] == 0

    def test_equal_scans_do_not_move(self, scans, zero):
        field, _ = refined((scans[0], scans[0]), self.LEVELS, zero)
        assert float(field.tensor.norm(dim=0).max()) < 0.01 * FINEST

    def test_they_change_the_field(self, scans, zero):
        field, _ = refined(scans, self.LEVELS, zero)
        without, _ = refined(scans, schedule(INTENSITY, FINEST, 40), zero)
        assert not torch.allclose(field.tensor, without.tensor, atol=1e-3)

    def test_on_levels_of_too_many_voxels_they_are_left_out(self, scans, zero, monkeypatch):
        monkeypatch.setattr("GenRegLogic.stages.refine.MOST_BESIDE", 10)
        field, _ = refined(scans, self.LEVELS, zero)
        without, _ = refined(scans, schedule(INTENSITY, FINEST, 40), zero)
        assert torch.equal(field.tensor, without.tensor)

    def test_their_first_pull_is_as_strong_as_their_weight(self):
        class Measure:
            def pull(self, warped, valid):
                return 0.2, 5 * torch.ones(3, *warped.shape[1:])

        grid = Geometry((4, 4, 4))
        beside = _Beside(0.5, Measure(), torch.zeros(1, 4, 4, 4), Sampler(grid, grid, np.eye(4), CPU))
        pull = torch.zeros(3, 4, 4, 4)
        pull[0] = 3
        value, both = beside.added(0.6, pull.clone(), torch.zeros_like(pull), None)
        assert value == pytest.approx(0.6)
        assert float((both - pull).norm()) == pytest.approx(0.5 * float(pull.norm()), rel=1e-5)


class TestComposer:
    GRID = Geometry((16, 14, 12), (2.5, 2.5, 2.5))

    def test_constant_fields_add_up(self):
        u, v = torch.full((3, 12, 14, 16), 4.0), torch.full((3, 12, 14, 16), 0.5)
        torch.testing.assert_close(Composer(self.GRID, CPU)(u, v), torch.full_like(u, 4.0 + 0.5 * 2.5))

    def test_the_first_field_is_sampled_where_the_second_leads(self):
        z, y, x = torch.meshgrid(*(torch.arange(float(n)) for n in (12, 14, 16)), indexing="ij")
        u = torch.stack([0.3 * x + 0.1 * y, 0.2 * z - 0.1 * x, 0.05 * y])  # linear: interpolated exactly
        v = torch.stack([0.2 * torch.sin(y), 0.3 * torch.cos(x), 0.1 * torch.sin(x + z)])
        moved = x + v[0], y + v[1], z + v[2]
        expected = torch.stack([0.3 * moved[0] + 0.1 * moved[1], 0.2 * moved[2] - 0.1 * moved[0], 0.05 * moved[1]])
        got = Composer(self.GRID, CPU)(u, v) - 2.5 * v
        inner = (slice(None), *[slice(1, -1)] * 3)
        torch.testing.assert_close(got[inner], expected[inner], atol=1e-4, rtol=0)


class TestNetworkDescriptors:
    class Describer:
        """Describes by the intensity and its slopes, and records the shapes of the images."""

        def __init__(self):
            self.shapes = []

        def describe(self, image):
            self.shapes.append(tuple(image.shape))
            return torch.stack([image, *torch.gradient(image)])

    @pytest.mark.parametrize("measure", [NETWORK, BOTH])
    def test_comparing_them_lowers_the_objective(self, scans, zero, measure):
        describer = self.Describer()
        level = schedule(DESCRIPTOR, FINEST, 20, descriptor=measure)[1]
        _, history = refined(scans, [level], zero, describer=describer)
        assert len(describer.shapes) == 2
        assert min(each["objective"] for each in history) < 0.9 * history[0]["objective"]

    def test_levels_with_too_few_voxels_compare_mind_ssc_instead(self, scans, zero):
        describer = self.Describer()
        level = dataclasses.replace(schedule(DESCRIPTOR, FINEST, 3, descriptor=BOTH)[0], spacing=8 * FINEST)
        refiner = Refiner(*scans, np.eye(4), describer=describer)
        refiner.run([level], zero)
        assert describer.shapes == []
        assert refiner.compared == [DESCRIPTOR]
