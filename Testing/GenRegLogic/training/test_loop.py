"""The training goes on where it stopped, and learns."""

import csv
from pathlib import Path

import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.training.loop import Recipe, Trainer

RECIPE = Recipe(size=32, warm_up=2)


@pytest.fixture(autouse=True)
def one_thread():
    """Pairs this small gain nothing from more threads, and threads that wait for one another cost much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


def trainer(folder: Path) -> Trainer:
    return Trainer(folder, RECIPE, torch.device("cpu"), say=lambda line: None)


def test_a_run_in_two_parts_gives_the_weights_of_one_run(tmp_path):
    trainer(tmp_path / "parts").run(2)
    second = trainer(tmp_path / "parts")
    assert second.step == 2
    second.run(4)
    whole = trainer(tmp_path / "whole")
    whole.run(4)
    for one, other in zip(second.averaged.parameters(), whole.averaged.parameters()):
        assert torch.equal(one, other)


@pytest.mark.parametrize("seed", [-1, 100])
def test_a_seed_whose_pairs_would_be_those_it_is_tried_on_is_refused(seed):
    with pytest.raises(InputError, match="must be from 0 to 99"):
        Recipe(seed=seed)


def test_every_step_stands_in_the_learning_curve(tmp_path):
    trainer(tmp_path).run(3, validate_every=2, validation_pairs=2)
    with open(tmp_path / "curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], int(row["step"])) for row in rows] == [
        ("training", 1),
        ("training", 2),
        ("validation", 2),
        ("training", 3),
    ]
    assert all(float(row["loss"]) > 0 for row in rows)


def test_one_pair_can_be_learned(tmp_path, monkeypatch):
    learner = trainer(tmp_path)
    pair = learner._pair(1, 0.5)
    monkeypatch.setattr(learner, "_pair", lambda seed, amplitude: pair)
    first = learner._step()["loss"]
    for _ in range(7):
        last = learner._step()["loss"]
    assert last < 0.95 * first


def test_a_checkpoint_holds_tensors_and_numbers_only(tmp_path):
    trainer(tmp_path).run(1)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert set(state) == {"network", "averaged", "optimizer", "step", "seconds"}


def test_weights_that_were_exported_can_be_gone_on_from(tmp_path):
    first = trainer(tmp_path / "first")
    first.run(1)
    first.export(tmp_path / "weights.npz")
    second = Trainer(
        tmp_path / "second", RECIPE, torch.device("cpu"), say=lambda line: None, start=tmp_path / "weights.npz"
    )
    assert second.step == 0
    for mine, theirs in zip(first.averaged.parameters(), second.network.parameters()):
        assert torch.equal(mine.half(), theirs.half())
