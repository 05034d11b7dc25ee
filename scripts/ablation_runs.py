"""One pair of the ablation: prepared, aligned and proposed for once, then refined in many ways, with the cost of each.

Key names: `Pair`, `Referee` (scores of a mapping), `taking` (CPU seconds, wall seconds and peak memory of a step).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ablation_tables import (
    CHOICES,
    COARSE_BOTH,
    DESCRIPTOR,
    IDENTITY,
    IMPROVED,
    INTENSITY,
    MIXED,
    NETWORK,
    SEARCH,
    WITHOUT,
)
from measuring import DEFAULT_DIGITS, ENGINE, Bench, fingerprint

from GenRegLogic.files.transforms import write_transform
from GenRegLogic.register import _finest_spacing
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.grid import Image
from GenRegLogic.space.jacobian import jacobian_figures
from GenRegLogic.space.volume import Volume
from GenRegLogic.stages import refine
from GenRegLogic.stages import schedule as ladders
from GenRegLogic.stages.alignment import align
from GenRegLogic.stages.finish import full_field
from GenRegLogic.stages.hypotheses import Hypothesis
from GenRegLogic.stages.prepare import prepare, working_grid
from GenRegLogic.stages.propose import Proposal, identity, propose, score, search_proposal

LADDERS = {ladders.DESCRIPTOR: DESCRIPTOR, ladders.INTENSITY: INTENSITY}
ALL_SCALES = 0.0
"""Smallest voxel size, as a multiple of the finest one, at which the network's descriptors are used: all sizes."""

MADE: dict[str, tuple[str, dict]] = {
    "mind": (ladders.DESCRIPTOR, {}),
    "network": (ladders.DESCRIPTOR, {"descriptor": ladders.NETWORK, "finest_learned": ALL_SCALES}),
    "both": (ladders.DESCRIPTOR, {"descriptor": ladders.BOTH, "finest_learned": ALL_SCALES}),
    COARSE_BOTH: (ladders.DESCRIPTOR, {"descriptor": ladders.BOTH}),
    "intensity": (ladders.INTENSITY_ONLY, {}),
    MIXED: (ladders.INTENSITY, {}),
}
"""Arguments of `stages.schedule.schedule` for each run: the ladder, and the descriptor of its descriptor levels."""

RESET_PEAK = "5"
"""Writing this to clear_refs resets the peak resident size to the present size (proc(5))."""


def engine_state() -> str:
    """Fingerprint of the engine's files that this process has loaded; other files do not change it."""
    files = {Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
    return fingerprint(*sorted(file for file in files if file.is_relative_to(ENGINE)))


# Cost of a step -----------------------------------------------------------------------------------------------------


def taking(step: Callable[[], object]) -> tuple[object, dict]:
    """A step's result, and {"cpu_s", "wall_s", "peak_mb"}: CPU seconds of all threads, largest resident memory."""
    _reset_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    result = step()
    cost = {"cpu_s": round(time.process_time() - cpu, 3), "wall_s": round(time.perf_counter() - wall, 3)}
    return result, cost | {"peak_mb": _peak_mb()}


def _reset_peak() -> None:
    """Return freed memory to the system, and reset the peak resident size."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def _peak_mb() -> float | None:
    """Peak resident size since the reset, MB (10^6 bytes); None if the system does not report it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None


# Scores -------------------------------------------------------------------------------------------------------------


class Referee:
    """The referee's Dice and TRE of one pair, and the engine's own percentages of folding.

    Computing the referee's nine determinants per voxel and reading the scans again would take longer than most runs:
    its Jacobian figures are disabled during the call, and the images of the pair are read once.
    """

    def __init__(self, bench: Bench, case: str) -> None:
        self._bench, self._case = bench, case
        self._kept: dict[tuple, object] = {}

    def score(self, forward: DisplacementField) -> dict:
        """Figures of a mapping on the fixed scan's grid, measured on the file that it is written to."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "field.nii"
            write_transform(forward, path)
            with self._quick():
                figures = self._bench.score(self._case, path)
        folds = jacobian_figures(forward)
        return figures | {key: round(folds[key], DEFAULT_DIGITS) for key in ("folds_pct", "ndv_pct")}

    @contextlib.contextmanager
    def _quick(self) -> Iterator[None]:
        referee = self._bench.referee
        before = referee.sitk, referee.jacobian_figures
        referee.sitk, referee.jacobian_figures = _Reading(before[0], self), lambda *_: {}
        try:
            yield
        finally:
            referee.sitk, referee.jacobian_figures = before

    def read(self, sitk, path: str, *kind) -> object:
        """Read an image; images of the pair are read once."""
        if not Path(path).is_relative_to(self._bench.data):
            return sitk.ReadImage(path, *kind)
        if (path, *kind) not in self._kept:
            self._kept[(path, *kind)] = narrowed(sitk, sitk.ReadImage(path, *kind))
        return self._kept[(path, *kind)]


class _Reading:
    """SimpleITK with `ReadImage` replaced by `Referee.read`."""

    def __init__(self, sitk, referee: Referee) -> None:
        self._sitk, self.ReadImage = sitk, lambda path, *kind: referee.read(sitk, path, *kind)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sitk, name)


def narrowed(sitk, image):
    """A label map as uint8 if its labels fit, because comparisons are faster; other images unchanged."""
    values = sitk.GetArrayViewFromImage(image)
    fits = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= np.iinfo(np.uint8).max
    return sitk.Cast(image, sitk.sitkUInt8) if fits else image


# A pair -------------------------------------------------------------------------------------------------------------


class Pair:
    """A pair of scans, prepared and aligned linearly on the CPU.

    Args:
        fixed, moving: The scans.
        learned: The network (`network.apply.Learned`).
        max_voxels: Largest number of voxels of the finest working grid.
    """

    def __init__(self, fixed: Volume, moving: Volume, learned, max_voxels: int) -> None:
        import torch

        device = torch.device("cpu")
        self._geometry, self._learned = fixed.geometry, learned
        self._fixed = prepare(fixed, mask=None, device=device)
        self._moving = prepare(moving, mask=None, device=device, role="moving")
        self._linear, self._level = align(self._fixed, self._moving)
        self.spacing, _ = _finest_spacing(self._fixed, self._moving, Settings(device="cpu"), max_voxels)
        self.proposals: dict[str, Proposal] = {}

    @property
    def voxels(self) -> int:
        """Number of voxels of the finest working grid."""
        return int(np.prod(working_grid(self._fixed, self.spacing).size))

    def propose(self) -> dict:
        """Make every proposal; returns the facts that the tables need: costs, objectives and the pipeline's choices."""
        makers = {IDENTITY: identity, SEARCH: search_proposal, NETWORK: self._learned.propose, IMPROVED: self._improved}
        costs = {}
        for name, maker in makers.items():
            made, cost = taking(lambda maker=maker: score(*self._where, maker(*self._where)))
            self.proposals[name] = made
            costs[name] = cost | {"objective": round(made.objective, 5)}
        return {
            "spacing_mm": round(self.spacing, 4),
            "voxels": self.voxels,
            "proposals": costs,
            "chosen": {choice: self._chosen(*names) for choice, names in CHOICES.items()},
            "ladder": {name: self._ladder(proposal) for name, proposal in self.proposals.items()},
        }

    @property
    def _where(self) -> tuple:
        """The arguments of a proposer."""
        return self._level, self._linear.matrix

    def _improved(self, *where) -> Proposal:
        """The network's improvement of the better one of the two proposals without the network, as in the pipeline."""
        return self._learned.improve(*where, self.proposals[self._chosen(*CHOICES[WITHOUT])])

    def _chosen(self, proposers: Sequence[str], improvers: Sequence[str]) -> str:
        """The name of the proposal that the pipeline's own rule chooses."""
        best, _ = propose(
            *self._where,
            [lambda *_, name=name: self.proposals[name] for name in proposers],
            [lambda *_, name=name: self.proposals[name] for name in improvers],
        )
        return next(name for name in (*proposers, *improvers) if self.proposals[name].field is best.field)

    def _ladder(self, proposal: Proposal) -> str:
        field = Hypothesis(self._linear, self._level, proposal, []).field_on_level()
        agreement = ladders.contrast_agreement(self._level, self._fixed, self._linear.matrix, field)
        return LADDERS[ladders.measure_for(agreement)]

    def warm_up(self) -> None:
        """Run the first steps untimed, because they include one-time costs."""
        self.propose()
        self.refined(IDENTITY, "both", 1, coarsest_only=1)

    def refined(self, start: str, made: str, count: int, *, coarsest_only: int | None = None) -> Image:
        """A proposal after `count` iterations (at the coarsest scale) of a comparison."""
        field = self.proposals[start].field
        if count == 0:
            return field
        measure, described = MADE[made]
        levels = ladders.schedule(measure, self.spacing, count, coarsest_only=coarsest_only, **described)
        refiner = refine.Refiner(self._fixed, self._moving, self._linear.matrix, describer=self._learned)
        return refiner.run(levels, field)

    def run(self, referee: Referee, start: str, made: str, count: int) -> dict:
        """One run: its cost, and the score of the whole mapping."""
        field, cost = taking(lambda: self.refined(start, made, count))
        forward, repaired = full_field(field, self._linear.matrix, self._geometry)
        return {"score": referee.score(forward), "repaired": repaired} | cost
