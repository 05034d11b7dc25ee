"""Proposals: the one of the lowest objective is used, and none that is worse than no deformation."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image
from GenRegLogic.stages import propose as propose_module
from GenRegLogic.stages.linear import LinearLevel
from GenRegLogic.stages.prepare import prepare
from GenRegLogic.stages.propose import Proposal, identity, propose, search_proposal

CPU = torch.device("cpu")
NO_MOVE = np.eye(4)
PROPOSAL = Settings(init="none", iterations=0, network="off")
"""No linear alignment, no refinement and no network: the result is the best proposal."""


class Network:
    """A stand-in for a network: proposes a known mapping, changed by an error.

    Args:
        truth: (n, 3) fixed points to (n, 3) moving points, LPS mm.
        damage: Changes the displacement (3, D, H, W).
        coarseness: Spacing of its field's grid, in voxels of the level.
    """

    def __init__(self, truth, damage=lambda u: u, coarseness=1.0):
        self.truth, self.damage, self.coarseness = truth, damage, coarseness

    def __call__(self, level, linear):
        grid = level.fixed_geometry
        size = tuple(int(n / self.coarseness) + 2 for n in grid.size)
        spacing = tuple(s * self.coarseness for s in grid.spacing)
        grid = Geometry(size, spacing, grid.origin, grid.direction)
        k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
        points = grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
        back = np.linalg.inv(linear)
        mapped = self.truth(points) @ back[:3, :3].T + back[:3, 3]
        u = ((mapped - points) @ grid.direction).T.reshape(3, *grid.shape)
        return Proposal("network", Image(self.damage(torch.from_numpy(u).float()), grid))


def rough(u):
    """The field with 10 mm of noise."""
    return u + 10 * torch.randn(u.shape, generator=torch.Generator().manual_seed(0))


def with_nan(u):
    """The field with one value that is not a number."""
    u = u.clone()
    u[(1, *(n // 2 for n in u.shape[1:]))] = float("nan")
    return u


def with_infinity(u):
    """The field with three planes of infinite values."""
    u = u.clone()
    u[:, 3:6] = float("inf")
    return u


@pytest.fixture(scope="module")
def level(pair):
    return LinearLevel(*(prepare(v, mask=None, device=CPU) for v in (pair.fixed, pair.moving)), 60_000)


class TestChoice:
    def test_a_network_with_the_true_field_is_chosen(self, level, pair):
        best, scored = propose(level, NO_MOVE, [identity, search_proposal, Network(pair.truth)])
        assert best.name == "network"
        assert best.objective == min(p.objective for p in scored)

    def test_a_network_with_the_true_field_is_chosen_on_an_oblique_grid(self, oblique_pair):
        prepared = (prepare(v, mask=None, device=CPU) for v in (oblique_pair.fixed, oblique_pair.moving))
        level = LinearLevel(*prepared, 60_000)
        best, _ = propose(level, NO_MOVE, [identity, search_proposal, Network(oblique_pair.truth)])
        assert best.name == "network"

    def test_a_field_on_another_grid_can_be_chosen(self, level, pair):
        best, _ = propose(level, NO_MOVE, [identity, Network(pair.truth, coarseness=2.5)])
        assert best.name == "network"

    @pytest.mark.parametrize(
        "damage",
        [rough, lambda u: -u, lambda u: 5 * u, lambda u: u + 500.0],
        ids=["rough", "backward", "too far", "out of the scan"],
    )
    def test_a_network_with_a_wrong_field_is_not_chosen(self, level, pair, damage):
        best, scored = propose(level, NO_MOVE, [identity, Network(pair.truth, damage)])
        assert best.name == "identity"
        assert scored[1].objective > scored[0].objective

    @pytest.mark.parametrize("damage", [with_nan, with_infinity])
    def test_a_field_that_is_not_finite_is_never_chosen(self, level, pair, damage):
        best, scored = propose(level, NO_MOVE, [identity, Network(pair.truth, damage)])
        assert best.name == "identity"
        assert scored[1].objective == float("inf")

    def test_a_field_that_gains_nothing_does_not_replace_the_simpler_one(self, level):
        best, _ = propose(level, NO_MOVE, [identity, Network(lambda points: points)])
        assert best.name == "identity"

    def test_the_linear_part_is_removed_before_scoring(self, level, pair):
        shift = np.eye(4)
        shift[:3, 3] = (3.0, -2.0, 1.0)
        _, plain = propose(level, NO_MOVE, [identity, Network(pair.truth)])
        _, shifted = propose(level, shift, [identity, Network(pair.truth)])
        assert shifted[1].objective == pytest.approx(plain[1].objective, abs=2e-3)

    def test_the_search_scores_better_than_the_identity(self, level):
        best, scored = propose(level, NO_MOVE, [identity, search_proposal])
        assert best.name == "search"
        assert scored[1].objective < scored[0].objective

    def test_what_lies_outside_a_given_mask_is_not_drawn_into_it(self, pair):
        fixed, moving = (prepare(v, mask=None, device=CPU) for v in (pair.fixed, pair.fixed))
        z, y, x = np.indices(moving.mask.geometry.shape)
        center, reach = np.array(moving.mask.geometry.shape) / 2, min(moving.mask.geometry.shape) / 4
        ball = (z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 < reach**2
        part = dataclasses.replace(moving, mask=Image(torch.from_numpy(ball), moving.mask.geometry), automatic=False)
        level = LinearLevel(fixed, part, 50_000)
        field = search_proposal(level, NO_MOVE).field
        assert float(field.tensor.norm(dim=0).mean()) < 0.05 * field.geometry.spacing[0]

    def test_the_searched_field_reduces_the_error(self, level, pair):
        field = search_proposal(level, NO_MOVE).field
        index = np.rint(field.geometry.to_index(pair.points)).astype(int)
        found = field.tensor.numpy()[(slice(None), *index[:, ::-1].T)].T @ field.geometry.direction.T
        missed = np.linalg.norm(pair.truth(pair.points) - pair.points - found, axis=1)
        assert missed.mean() < 0.75 * pair.start.mean()


class TestInTheRun:
    @pytest.fixture
    def searched_by(self, monkeypatch):
        """Lets runs use another proposer in place of the search."""
        module = importlib.import_module("GenRegLogic.register")  # the name alone is the function
        return lambda proposer: monkeypatch.setattr(module, "search_proposal", proposer)

    def test_the_true_field_is_used(self, pair, searched_by):
        searched_by(Network(pair.truth))
        result = register(pair.fixed, pair.moving, PROPOSAL)
        assert "Proposal: network" in result.report["notes"][-1]
        assert pair.error(result.forward).mean() < 0.3

    @pytest.mark.parametrize("damage", [rough, with_nan], ids=["rough", "not a number"])
    def test_a_wrong_field_is_not_used(self, pair, damage, searched_by):
        searched_by(Network(pair.truth, damage))
        result = register(pair.fixed, pair.moving, PROPOSAL)
        assert "Proposal: identity" in result.report["notes"][-1]
        np.testing.assert_array_equal(result.forward.array, 0)

    def test_linear_only_does_not_search(self, pair, searched_by):
        def fail(level, linear):
            raise AssertionError("the search was called")

        searched_by(fail)
        assert register(pair.fixed, pair.moving, Settings(linear_only=True)).report["objective"] == []


class TestImprovers:
    """The result of an improver is scored like a proposal."""

    def scored_as(self, monkeypatch, objectives):
        monkeypatch.setattr(
            propose_module,
            "score",
            lambda level, linear, proposal: dataclasses.replace(proposal, objective=objectives[proposal.name]),
        )

    def named(self, name):
        return lambda *_: Proposal(name, None)

    def test_an_improver_is_given_the_best_proposal(self, monkeypatch):
        self.scored_as(monkeypatch, {"a": 0.5, "b": 0.3, "c": 0.4, "d": 0.2})
        given = []

        def improver(level, linear, proposal):
            given.append(proposal.name)
            return Proposal("d", None)

        best, scored = propose(None, NO_MOVE, [self.named(n) for n in "abc"], [improver])
        assert given == ["b"]
        assert best.name == "d"
        assert [p.name for p in scored] == ["a", "b", "c", "d"]

    def test_an_improver_that_gains_almost_nothing_is_not_used(self, monkeypatch):
        self.scored_as(monkeypatch, {"a": 0.5, "d": 0.499})
        assert propose(None, NO_MOVE, [self.named("a")], [self.named("d")])[0].name == "a"
