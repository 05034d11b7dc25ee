"""The scales of the refinement and what each of them compares."""

import pytest

from GenRegLogic.stages.schedule import BOTH, DESCRIPTOR, INTENSITY, NETWORK, schedule


@pytest.fixture(params=[INTENSITY, DESCRIPTOR])
def measure(request):
    return request.param


class TestSchedule:
    def test_it_goes_from_coarse_to_fine(self, measure):
        spacings = [level.spacing for level in schedule(measure, 1.5, 40)]
        assert spacings == sorted(spacings, reverse=True)
        assert len(spacings) > 1

    def test_no_iterations_give_no_level(self, measure):
        assert schedule(measure, 1.5, 0) == []

    def test_the_coarsest_level_has_the_iterations_asked_for(self, measure):
        assert schedule(measure, 1.5, 40)[0].iterations == 40

    def test_every_level_has_at_least_one_iteration(self, measure):
        assert min(level.iterations for level in schedule(measure, 1.5, 1)) == 1

    def test_a_networks_descriptors_are_compared_on_the_coarse_levels_only(self):
        levels = schedule(DESCRIPTOR, 1.0, 8, descriptor=BOTH)
        assert [level.measure for level in levels] == [BOTH, BOTH, DESCRIPTOR]

    def test_a_networks_descriptors_can_be_compared_on_all_levels(self):
        levels = schedule(DESCRIPTOR, 1.0, 8, descriptor=NETWORK, finest_learned=0)
        assert [level.measure for level in levels] == [NETWORK] * 3
