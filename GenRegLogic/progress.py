"""What a caller hears from a running registration, and how the caller stops it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from .errors import Cancelled, InputError
from .machine.device import peak_memory_mb
from .space.field import DisplacementField

__all__ = ["BAR", "WRITING", "Monitor", "MonitorPart", "Progress", "listening"]

BAR = "bar"
"""What `on_progress` may be besides a function."""

SHARES = {"prepare": 0.05, "linear": 0.2, "propose": 0.15, "refine": 0.45, "finish": 0.15}
"""Share of the run's time that a stage takes, as measured on the CPU; for the time left."""

ESTIMATE_FROM = 0.08
"""Fraction of the work after which the elapsed time says something about the rest."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """One report of a running registration.

    Attributes:
        stage: "prepare", "linear", "propose", "refine" or "finish".
        fraction: Of the whole run that is done, 0 to 1.
        seconds_left: Estimate, or None while nothing can be said.
        objective: The refinement's objective, lower is better; None in other stages.
        level: The refinement's scale, counted from 0, the coarsest; None in other stages.
        iteration: Of that scale, counted from 0; None in other stages.
        field: Call it for the current field on the present level's grid (fixed -> moving, the linear part included),
            or None where there is none yet. It costs time only when called.
    """

    stage: str
    fraction: float
    seconds_left: float | None
    objective: float | None = None
    field: Callable[[], DisplacementField | None] = lambda: None
    level: int | None = None
    iteration: int | None = None


WRITING = Progress("writing", 1.0, None)
"""What a program reports that writes files after the run: they take seconds too, and no share of the run's time."""


@contextlib.contextmanager
def listening(on_progress: Callable[[Progress], None] | str | None) -> Iterator[Callable[[Progress], None] | None]:
    """What hears of the progress: a function as it is, and for "bar" a bar that is closed at the end, also on errors.

    Raises:
        InputError: Neither a function nor "bar" nor None.
    """
    if on_progress is None or callable(on_progress):
        yield on_progress
        return
    if on_progress != BAR:
        raise InputError(f"on_progress must be a function or {BAR!r}, not {on_progress!r}.")
    from tqdm.auto import tqdm  # a widget in notebooks

    with tqdm(total=100, unit="%", bar_format="{desc:<10} {percentage:3.0f} % |{bar}| {elapsed}") as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.stage, refresh=False)
            bar.update(round(100 * progress.fraction) - bar.n)

        yield show


class Monitor:
    """Tells the caller, listens for "keep" and "abort", and keeps the times.

    Args:
        device: Whose memory is recorded.
        on_progress: Receives `Progress`.
        cancel: Returns None (go on), "keep" (stop, keep the best so far) or "abort" (give up).
        clock: Seconds.
        shares: Stage -> share of the run's time.

    Attributes:
        stages: {"name", "seconds", "peak_memory_mb"} of the stages that ended; the memory is the most that the process
            had held by then.
        keep: The caller said "keep".
    """

    def __init__(
        self,
        device: torch.device,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], str | None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        shares: Mapping[str, float] = SHARES,
    ) -> None:
        self.stages: list[dict] = []
        self.keep = False
        self._device, self._on_progress, self._cancel, self._clock = device, on_progress, cancel, clock
        self._shares = shares
        self._start = clock()
        self._done, self._stage = 0.0, ""

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage."""
        self._stage, start = name, self._clock()
        self.tell(0.0)
        yield
        self.stages.append(
            {"name": name, "seconds": self._clock() - start, "peak_memory_mb": peak_memory_mb(self._device)}
        )
        self._done += self._shares[name]

    def within(self, start: float, stop: float, *, with_objective: bool = False) -> MonitorPart:
        """A part of the present stage with a fraction of its own: its 0 to 1 is `start` to `stop` here.

        Objective and field of a part are told to the caller only with `with_objective`.
        """
        return MonitorPart(self, start, stop, with_objective)

    def tell(
        self,
        fraction: float,
        objective: float | None = None,
        field: Callable | None = None,
        *,
        level: int | None = None,
        iteration: int | None = None,
    ) -> None:
        """Report that a fraction of the present stage is done.

        Raises:
            Cancelled: The caller gave up.
        """
        answer = self._cancel() if self._cancel is not None else None
        if answer == "abort":
            raise Cancelled("The registration was given up; nothing was changed.")
        self.keep = self.keep or answer == "keep"
        if self._on_progress is None:
            return
        total = min(self._done + self._shares[self._stage] * min(fraction, 1.0), 1.0)
        left = None
        if total > ESTIMATE_FROM:
            left = (self._clock() - self._start) * (1 - total) / total
        self._on_progress(Progress(self._stage, total, left, objective, field or (lambda: None), level, iteration))


@dataclasses.dataclass(frozen=True)
class MonitorPart:
    """What `Monitor.within` gives to a stage's part."""

    whole: Monitor
    start: float
    stop: float
    with_objective: bool = False

    @property
    def keep(self) -> bool:
        """The caller said "keep"."""
        return self.whole.keep

    def tell(
        self,
        fraction: float,
        objective: float | None = None,
        field: Callable | None = None,
        *,
        level: int | None = None,
        iteration: int | None = None,
    ) -> None:
        """Report that a fraction of the part is done; what else is told goes on only where it is the run's own."""
        fraction = self.start + (self.stop - self.start) * fraction
        if self.with_objective:
            self.whole.tell(fraction, objective, field, level=level, iteration=iteration)
        else:
            self.whole.tell(fraction)
