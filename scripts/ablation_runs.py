"""One pair of the ablation: prepared, aligned and proposed for once, then refined in many ways; with what each took.

Key names: `Pair`, `taking` (CPU seconds, wall seconds and peak memory of one step).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ablation_tables import CHOICES, DESCRIPTOR, DESCRIPTORS, IDENTITY, INTENSITY, MIXED, NETWORK, SEARCH
from measuring import ENGINE, Bench, fingerprint

from GenRegLogic import refine, register
from GenRegLogic.files import write_transform
from GenRegLogic.finish import full_field
from GenRegLogic.grid import Image
from GenRegLogic.linear import align
from GenRegLogic.prepare import prepare, working_grid
from GenRegLogic.propose import Proposal, Proposer, identity, propose, score, search_proposal
from GenRegLogic.settings import Settings
from GenRegLogic.volume import Volume

DESCRIBED_BY = dict(zip(DESCRIPTORS, (refine.DESCRIPTOR, refine.NETWORK, refine.BOTH)))
LADDERS = {refine.DESCRIPTOR: DESCRIPTOR, refine.INTENSITY: INTENSITY}
MADE = {name: (refine.DESCRIPTOR, descriptor) for name, descriptor in DESCRIBED_BY.items()}
MADE |= {MIXED.format(name): (refine.INTENSITY, descriptor) for name, descriptor in DESCRIBED_BY.items()}
MADE |= {"intensity": (refine.INTENSITY_ONLY, refine.DESCRIPTOR)}
"""What a run compares, as `refine.schedule` takes it: the ladder, and the descriptor of its descriptor rungs."""

RESET_PEAK = "5"
"""Written to clear_refs, it makes the largest resident size that of this moment (proc(5))."""


def engine_state() -> str:
    """Changes with the engine's files that this process has loaded: not with those of the panel, say."""
    files = {Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
    return fingerprint(*sorted(file for file in files if file.is_relative_to(ENGINE)))


# What a step takes --------------------------------------------------------------------------------------------------


def taking(step: Callable[[], object]) -> tuple[object, dict]:
    """A step's result, and {"cpu_s", "wall_s", "peak_mb"}: CPU seconds of all threads, largest resident memory."""
    _reset_peak()
    cpu, wall = time.process_time(), time.perf_counter()
    result = step()
    cost = {"cpu_s": round(time.process_time() - cpu, 3), "wall_s": round(time.perf_counter() - wall, 3)}
    return result, cost | {"peak_mb": _peak_mb()}


def _reset_peak() -> None:
    """Give what was freed back to the system, and let the largest resident size start from here."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)


def _peak_mb() -> float | None:
    """Largest resident size since it was reset, MB (10^6 bytes); None where the system doesn't say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return None


# A pair -------------------------------------------------------------------------------------------------------------


class Pair:
    """A pair of scans, prepared and aligned linearly on the CPU.

    Args:
        fixed, moving: The scans.
        learned: The network at work (`learned.Learned`).
        max_voxels: Of the finest working grid.
    """

    def __init__(self, fixed: Volume, moving: Volume, learned, max_voxels: int) -> None:
        import torch

        device = torch.device("cpu")
        self._geometry, self._learned = fixed.geometry, learned
        self._fixed = prepare(fixed, mask=None, device=device)
        self._moving = prepare(moving, mask=None, device=device, role="moving")
        self._linear, self._level = align(self._fixed, self._moving)
        self.spacing, _ = register._finest_spacing(self._fixed, self._moving, Settings(device="cpu"), max_voxels)
        self.proposals: dict[str, Proposal] = {}

    @property
    def voxels(self) -> int:
        """Of the finest working grid."""
        return int(np.prod(working_grid(self._fixed, self.spacing).size))

    def propose(self) -> dict:
        """Make every proposal; what the tables need to know of them and of the choices between them."""
        makers: dict[str, Proposer] = {IDENTITY: identity, SEARCH: search_proposal, NETWORK: self._learned.propose}
        costs = {}
        for name, maker in makers.items():
            made, cost = taking(lambda maker=maker: self._scored(maker))
            self.proposals[name] = made
            costs[name] = cost | {"objective": round(made.objective, 5)}
        return {"spacing_mm": round(self.spacing, 4), "voxels": self.voxels, "proposals": costs,
                "chosen": {choice: self._chosen(names) for choice, names in CHOICES.items()},
                "ladder": {name: self._ladder(proposal) for name, proposal in self.proposals.items()}}  # fmt: skip

    def _scored(self, maker: Proposer) -> Proposal:
        return score(self._level, self._linear.matrix, maker(self._level, self._linear.matrix))

    def _chosen(self, names: Sequence[str]) -> str:
        """By the pipeline's own rule."""
        ready = [lambda level, linear, name=name: self.proposals[name] for name in names]
        return propose(self._level, self._linear.matrix, ready)[0].name

    def _ladder(self, proposal: Proposal) -> str:
        return LADDERS[register._measure(self._level, self._fixed, self._linear, proposal)]

    def refined(self, start: str, made: str, count: int) -> Image:
        """A proposal after so many iterations (of the coarsest scale) of a comparison."""
        field = self.proposals[start].field
        if count == 0:
            return field
        measure, descriptor = MADE[made]
        levels = refine.schedule(measure, self.spacing, count, descriptor=descriptor)
        refiner = refine.Refiner(self._fixed, self._moving, self._linear.matrix, describer=self._learned)
        return refiner.run(levels, field)

    def run(self, bench: Bench, case: str, start: str, made: str, count: int) -> dict:
        """One run: what it took, and the referee's score of the whole mapping."""
        field, cost = taking(lambda: self.refined(start, made, count))
        forward, repaired = full_field(field, self._linear.matrix, self._geometry)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "field.nii"
            write_transform(forward, path)
            return {"score": bench.score(case, path), "repaired": repaired} | cost
