"""The training resumes where it was interrupted, and learns."""

import csv
from pathlib import Path

import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.training.loop import Recipe, Trainer

RECIPE = Recipe(size=32, warm_up=2)


@pytest.fixture(autouse=True)
def one_thread():
    """Pairs this small are not computed faster by more threads, whose synchronization costs time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


def trainer(folder: Path) -> Trainer:
    return Trainer(folder, RECIPE, torch.device("cpu"), say=lambda line: None)


def curve(folder: Path) -> list[dict[str, str]]:
    """The rows of the learning curve."""
    with open(folder / "curve.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_an_interrupted_training_has_the_weights_of_an_uninterrupted_one(tmp_path):
    trainer(tmp_path / "parts").run(2)
    second = trainer(tmp_path / "parts")
    assert second.step == 2
    second.run(4)
    whole = trainer(tmp_path / "whole")
    whole.run(4)
    for one, other in zip(second.averaged.parameters(), whole.averaged.parameters()):
        assert torch.equal(one, other)


@pytest.mark.parametrize("seed", [-1, 100])
def test_a_seed_that_would_train_on_validation_pairs_is_refused(seed):
    with pytest.raises(InputError, match="must be from 0 to 99"):
        Recipe(seed=seed)


def test_every_step_is_in_the_learning_curve(tmp_path):
    trainer(tmp_path).run(3, validate_every=2, validation_pairs=2)
    rows = curve(tmp_path)
    assert [(row["kind"], int(row["step"])) for row in rows] == [
        ("training", 1),
        ("training", 2),
        ("validation", 2),
        ("training", 3),
    ]
    assert all(float(row["loss"]) > 0 for row in rows)


def test_the_loss_falls_when_one_pair_is_trained_repeatedly(tmp_path, monkeypatch):
    learner = trainer(tmp_path)
    pair = learner.pair(1, 0.5)
    monkeypatch.setattr(learner, "pair", lambda seed, amplitude: pair)
    learner.run(8)
    losses = [float(row["loss"]) for row in curve(tmp_path)]
    assert len(losses) == 8
    assert losses[-1] < 0.95 * losses[0]


def test_a_checkpoint_holds_tensors_and_numbers_only(tmp_path):
    trainer(tmp_path).run(1)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert set(state) == {"network", "averaged", "optimizer", "step", "seconds"}


def test_a_training_can_start_with_exported_weights(tmp_path):
    first = trainer(tmp_path / "first")
    first.run(1)
    first.export(tmp_path / "weights.npz")
    second = Trainer(
        tmp_path / "second", RECIPE, torch.device("cpu"), say=lambda line: None, start=tmp_path / "weights.npz"
    )
    assert second.step == 0
    for mine, theirs in zip(first.averaged.parameters(), second.network.parameters()):
        assert torch.equal(mine.half(), theirs.half())
