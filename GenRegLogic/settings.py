"""The settings of a registration: one frozen dataclass with unit, default and check of every field."""

from __future__ import annotations

import dataclasses
import math
import re

from .errors import InputError, shown_value

__all__ = ["DEFAULT_ITERATIONS", "INITS", "KINDS", "NETWORK_USES", "Settings"]

DEFAULT_ITERATIONS = 40
"""Chosen by measurement (Resources/benchmark/iterations.md): from 20 to 40 iterations the mean Dice gains 0.0023, from
40 to 80 only 0.0010, for half as much time again."""

INITS = ("auto", "any", "header", "center", "none")
KINDS = ("deformable", "affine", "similarity", "rigid")
NETWORK_USES = ("auto", "off", "propose", "describe", "both")
MAX_ITERATIONS = 10_000
SMOOTHNESS_RANGE = (0.25, 4.0)
DEVICE_PATTERN = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a registration; the defaults are meant for every modality and body region.

    Attributes:
        iterations: Iterations of the optimization at its coarsest scale. Each finer scale, where an iteration costs
            eight times as much, has half as many as the one before. None: the default. 0: the proposed field only.
        init: "auto" tries header, centers and a search over all translations, and where no pose fits clearly better
            than others do, a search over all rotations too; "any" always does that; "header" and "center" refine that
            one start; "none" keeps the header (or the initial transform) and skips the linear alignment.
        linear_only: Stop after the linear alignment: an older name of `kind` "affine".
        smoothness: Factor on the smoothing of the deformation, 0.25 to 4; 1 is the default.
        resolution_mm: Finest voxel size of the refinement, mm. None: chosen from the scans and the free memory.
        transform_spacing_mm: Largest voxel size of the resulting transform, mm; axes on which the fixed scan's own is
            larger keep it. 0: a vector for every voxel of the fixed scan. None: the same, as long as the field has at
            most 200 MB; else the finest grid that has no more (`space.fieldgrid`).
        network: The role of the trained network. "propose": it improves the proposed field, where that scores better.
            "describe": where the two scans differ in contrast, its descriptors are compared beside MIND-SSC on the
            coarse scales. "both", or "off". "auto" is "both", chosen by measurement (Resources/benchmark/ablation.md).
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        seed: Recorded in the report, without any effect, because the engine draws no random numbers. It exists so that
            older scripts and scenes still work.
        threads: CPU threads, at most. None: torch's own choice. A small scan is registered by one.
        kind: Of the transform. "deformable"; or linear: "affine" (12 degrees of freedom), "similarity" (7: rotation,
            translation and one scale) or "rigid" (6).
        one_way: Refine from fixed to moving only, in half of the time. By default the way back is refined too, and
            where both nearly agree their mean is taken, whose error is smaller.
        tolerance_mm: The error, mm, that is small enough for the purpose: the verdict says in what share of the body
            the alignment lies within it. None: the larger of two voxels and 2 mm, less than that only for a body
            of under 100 mm (`quality.verdict.default_tolerance`). It changes no transform.

    Raises:
        InputError: A value is of the wrong type or out of its range.
    """

    iterations: int | None = None
    init: str = "auto"
    linear_only: bool = False
    smoothness: float = 1.0
    resolution_mm: float | None = None
    transform_spacing_mm: float | None = None
    network: str = "auto"
    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    kind: str = "deformable"
    one_way: bool = False
    tolerance_mm: float | None = None

    def __post_init__(self) -> None:
        _check_count("iterations", self.iterations, 0, MAX_ITERATIONS)
        _check_count("threads", self.threads, 1, 4096)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise InputError(f"The seed must be a whole number from 0, not {self.seed!r}.")
        for name in ("linear_only", "one_way"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, not {getattr(self, name)!r}.")
        for name, known in (("init", INITS), ("network", NETWORK_USES), ("kind", KINDS)):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, not {shown_value(value)}.")
        if not _is_number(self.smoothness) or not SMOOTHNESS_RANGE[0] <= self.smoothness <= SMOOTHNESS_RANGE[1]:
            low, high = SMOOTHNESS_RANGE
            raise InputError(f"The smoothness must be a number from {low} to {high}, not {self.smoothness!r}.")
        if self.resolution_mm is not None and not (_is_number(self.resolution_mm) and self.resolution_mm > 0):
            raise InputError(f"The resolution must be a positive number of mm, not {self.resolution_mm!r}.")
        if self.tolerance_mm is not None and not (_is_number(self.tolerance_mm) and self.tolerance_mm > 0):
            raise InputError(f"The tolerance must be a positive number of mm, not {self.tolerance_mm!r}.")
        spacing = self.transform_spacing_mm
        if spacing is not None and not (_is_number(spacing) and spacing >= 0):
            raise InputError(f"The transform's spacing must be a number of mm, or 0 for every voxel, not {spacing!r}.")
        if not isinstance(self.device, str) or not DEVICE_PATTERN.fullmatch(self.device):
            raise InputError(f"Unknown device {self.device!r}; use auto, cpu, cuda, cuda:N or mps.")

    @property
    def linear(self) -> bool:
        """Whether the run stops after the linear alignment."""
        return self.linear_only or self.kind != "deformable"

    @property
    def linear_kind(self) -> str:
        """The kind of the linear alignment: "affine", "similarity" or "rigid"."""
        return "affine" if self.kind == "deformable" else self.kind

    @property
    def proposes(self) -> bool:
        """Whether the network may improve the best proposal."""
        return self.network in ("auto", "propose", "both")

    @property
    def describes(self) -> bool:
        """Whether the network's descriptors are compared beside MIND-SSC on the coarse scales, if contrasts differ."""
        return self.network in ("auto", "describe", "both")

    @property
    def coarse_iterations(self) -> int:
        """Iterations at the coarsest scale: `iterations`, or the default where it is None."""
        return DEFAULT_ITERATIONS if self.iterations is None else self.iterations

    def resolved(self) -> dict:
        """All settings by name, for the report: None and "auto" are replaced by the values chosen for them."""
        network = "both" if self.network == "auto" else self.network
        kind = self.linear_kind if self.linear else self.kind
        chosen = {"iterations": self.coarse_iterations, "network": network, "kind": kind, "linear_only": self.linear}
        return dataclasses.asdict(self) | chosen


def _check_count(name: str, value, low: int, high: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
