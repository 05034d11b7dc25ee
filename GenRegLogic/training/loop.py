"""The training loop: resumable at any step, and reproducible for the same seed on the same device.

The pair of every step follows from the seed and the number of the step alone, so that an interrupted and resumed run
uses the same pairs as an uninterrupted one. The learning rate is constant after a short warm-up, and the exported
weights are a running average, so that a training can be continued at any time. Real pairs are used only for
evaluation (`validation`).
"""

from __future__ import annotations

import csv
import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from ..errors import InputError
from ..network.model import Network
from ..network.weights import load_weights, save_weights
from .losses import losses
from .pairs import Pair, make_pair
from .validation import DevelopmentPair, Row, validate

__all__ = ["Recipe", "Trainer"]

VALIDATION_SEED = 10**9
"""First seed of the validation pairs; the seeds of training pairs are smaller."""

SEED_STRIDE = 10**7
"""Distance between the seeds of the first pairs of two trainings."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parameters of a training.

    Attributes:
        size: Voxels along each axis of the pairs.
        batch: Pairs per step.
        rate: Learning rate of AdamW.
        warm_up: Steps over which the learning rate rises.
        decay: Weight decay of AdamW.
        average: Share of the running average of the weights that is kept in each step.
        ramp: Steps over which the deformations increase to their full size.
        first_amplitude: Size of the deformations at the beginning, as a share of the generator's largest.
        amplitude: Full size of the deformations, as the same share.
        clip: Largest norm of the gradient.
        seed: Seed of the initial weights and of the pairs, from 0 to 99.
        half: Convolutions in bfloat16: several times as fast where the processor supports it.

    Raises:
        InputError: The seed is out of its range.
    """

    size: int = 64
    batch: int = 1
    rate: float = 1e-3
    warm_up: int = 100
    decay: float = 1e-4
    average: float = 0.998
    ramp: int = 2000
    first_amplitude: float = 0.3
    amplitude: float = 1.0
    clip: float = 1.0
    seed: int = 0
    half: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.seed < VALIDATION_SEED // SEED_STRIDE:
            raise InputError(
                f"The seed of a training must be from 0 to {VALIDATION_SEED // SEED_STRIDE - 1}, not "
                f"{self.seed}; the seeds above are those of the pairs it is tried on."
            )


class Trainer:
    """Trains a network; checkpoint, learning curve and validation are kept in a folder.

    Args:
        folder: Holds checkpoint.pt and curve.csv; created where it is missing. A checkpoint in it is resumed.
        recipe: The parameters of the training.
        device: Where to compute.
        say: Called with each line of the log.
        start: Weight file with the initial weights, used where the folder has no checkpoint.
        development: Real pairs on which the network is evaluated regularly (development.csv), without learning.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        device: torch.device,
        say: Callable[[str], None] = print,
        start: Path | None = None,
        development: Sequence[DevelopmentPair] = (),
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.folder, self.recipe, self.device, self._say = Path(folder), recipe, device, say
        self.development = list(development)
        self.network = Network().to(device)
        if start is not None:
            self.network.load_state_dict(load_weights(start).state_dict())
        self.averaged = Network().to(device)
        self.averaged.load_state_dict(self.network.state_dict())
        for network in (self.network, self.averaged):
            network.compute_in(torch.bfloat16 if recipe.half else None)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        self.step, self.seconds = 0, 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._resume()

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(
        self,
        steps: int,
        *,
        limit_s: float = float("inf"),
        save_every: int = 100,
        validate_every: int = 500,
        validation_pairs: int = 16,
        develop_every: int = 1000,
    ) -> None:
        """Train, and save a checkpoint at the end.

        Args:
            steps: Total number of steps, those of earlier runs included.
            limit_s: Seconds after which this run ends.
            save_every: Steps between checkpoints.
            validate_every: Steps between validations on synthetic pairs.
            validation_pairs: Number of these pairs.
            develop_every: Steps between evaluations on the real pairs.
        """
        started = time.perf_counter()
        while self.step < steps and time.perf_counter() - started < limit_s:
            before = time.perf_counter()
            figures = self._step()
            self.step += 1
            self.seconds += time.perf_counter() - before
            self._note("training", figures)
            if self.step % validate_every == 0:
                self._note("validation", self.validate(validation_pairs))
            if self.development and self.step % develop_every == 0:
                self._note_development(validate(self.averaged, self.development))
            if self.step % save_every == 0:
                self.save()
        self.save()

    def _step(self) -> dict[str, float]:
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, (self.step + 1) / recipe.warm_up)
        self.optimizer.zero_grad(set_to_none=True)
        grown = min(1.0, self.step / recipe.ramp)
        amplitude = recipe.first_amplitude + (recipe.amplitude - recipe.first_amplitude) * grown
        total: dict[str, float] = {}
        for number in range(recipe.batch):
            pair = self.pair(recipe.seed * SEED_STRIDE + self.step * recipe.batch + number, amplitude)
            loss, figures = losses(self.network(pair.fixed, pair.moving), pair)
            (loss / recipe.batch).backward()
            for name, value in figures.items():
                total[name] = total.get(name, 0.0) + value / recipe.batch
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        keep = min(recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.network.parameters()):
                mean.lerp_(value, 1 - keep)
        return total

    def pair(self, seed: int, amplitude: float) -> Pair:
        """The synthetic pair of a seed, on the device; `amplitude` is a share of the largest deformations, 0 to 1."""
        generator = torch.Generator(self.device).manual_seed(seed)
        with torch.no_grad():
            return make_pair((self.recipe.size,) * 3, amplitude, generator)

    def validate(self, count: int = 16) -> dict[str, float]:
        """Mean figures (see `losses`) of the averaged network on `count` validation pairs at full amplitude."""
        total: dict[str, float] = {}
        with torch.no_grad():
            for number in range(count):
                pair = self.pair(VALIDATION_SEED + number, self.recipe.amplitude)
                _, figures = losses(self.averaged(pair.fixed, pair.moving), pair)
                for name, value in figures.items():
                    total[name] = total.get(name, 0.0) + value / count
        return total

    def save(self) -> None:
        """Write the checkpoint; the previous one is kept until the new one is complete."""
        temporary = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
            },
            temporary,
        )
        os.replace(temporary, self._checkpoint)

    def export(self, path: Path) -> str:
        """Write the averaged weights as a file for `network.weights.load_weights`, and return its SHA-256."""
        return save_weights(self.averaged, path)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._say(f"Resuming at step {self.step} ({self.seconds / 3600:.2f} h so far).")

    def _note(self, kind: str, figures: dict[str, float]) -> None:
        values = (f"{value:.5g}" for value in figures.values())
        self._append(
            "curve.csv", ["kind", "step", "seconds", *figures], [[kind, self.step, f"{self.seconds:.0f}", *values]]
        )
        if kind == "validation" or self.step % 50 == 0:
            words = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
            self._say(f"{kind} {self.step} ({self.seconds:.0f} s): {words}")

    def _note_development(self, rows: list[Row]) -> None:
        self._append(
            "development.csv",
            ["step", *Row._fields],
            ([self.step, row.pair, row.figure, f"{row.still:.5g}", f"{row.network:.5g}"] for row in rows),
        )
        words = []
        for figure in sorted({row.figure for row in rows}):
            own = [row for row in rows if row.figure == figure]
            still, network = (statistics.fmean(values) for values in zip(*((row.still, row.network) for row in own)))
            words.append(f"{figure} {network:.3f}, linear only {still:.3f} ({len(own)} pairs)")
        self._say(f"development {self.step}: {'; '.join(words)}")

    def _append(self, name: str, header: list[str], rows: Iterable[list]) -> None:
        path = self.folder / name
        new = not path.exists()
        with open(path, "a", newline="") as file:
            csv.writer(file).writerows([header, *rows] if new else rows)
