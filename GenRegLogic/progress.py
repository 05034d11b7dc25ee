"""Progress reports of a running registration, and how the caller stops it."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from .errors import Cancelled, InputError, shown_value
from .machine.device import peak_memory_mb
from .space.field import DisplacementField

__all__ = ["BAR", "WRITING", "Monitor", "MonitorPart", "Progress", "listening"]

BAR = "bar"
"""The value of `on_progress` that shows a progress bar."""

SHARES = {"prepare": 0.02, "linear": 0.16, "propose": 0.15, "refine": 0.54, "finish": 0.13}
"""Share of the run's time that each stage takes, the median of Resources/benchmark/benchmark.json; used to estimate the
time left."""

ESTIMATE_FROM = 0.08
"""Fraction of the work that must be done before the time left is estimated from the elapsed time."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """One report of a running registration.

    Attributes:
        stage: "prepare", "linear", "propose", "refine" or "finish".
        fraction: Fraction of the whole run that is done, 0 to 1.
        seconds_left: Estimated time left, or None while there is no estimate yet.
        objective: Objective of the refinement, lower is better; None in other stages.
        level: Resolution level of the refinement, counted from 0, the coarsest; None in other stages.
        iteration: Iteration within that level, counted from 0; None in other stages.
        field: Returns the current displacement field on the grid of the current level (LPS mm, fixed -> moving,
            including the linear part), or None if there is none yet. The field is computed only when this is called.
    """

    stage: str
    fraction: float
    seconds_left: float | None
    objective: float | None = None
    field: Callable[[], DisplacementField | None] = lambda: None
    level: int | None = None
    iteration: int | None = None


WRITING = Progress("writing", 1.0, None)
"""Reported by programs that write files after the run; writing is not part of the run's time."""


@contextlib.contextmanager
def listening(on_progress: Callable[[Progress], None] | str | None) -> Iterator[Callable[[Progress], None] | None]:
    """Turn the argument `on_progress` into a function that receives the reports.

    Args:
        on_progress: A function, which is used as it is; "bar" for a progress bar, which is closed at the end, also
            after an error; or None.

    Yields:
        The function, or None.

    Raises:
        InputError: `on_progress` is neither a function nor "bar" nor None.
    """
    if on_progress is None or callable(on_progress):
        yield on_progress
        return
    if not isinstance(on_progress, str) or on_progress != BAR:
        raise InputError(f"on_progress must be a function or {BAR!r}, not {shown_value(on_progress)}.")
    from tqdm.auto import tqdm  # a widget in notebooks

    with tqdm(total=100, unit="%", bar_format="{desc:<10} {percentage:3.0f} % |{bar}| {elapsed}") as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.stage, refresh=False)
            bar.update(round(100 * progress.fraction) - bar.n)

        yield show


class _Reporter(abc.ABC):
    """The method with which a stage reports its progress, for a whole stage and for a part of one."""

    def tell(
        self,
        fraction: float,
        objective: float | None = None,
        field: Callable[[], DisplacementField | None] | None = None,
        *,
        level: int | None = None,
        iteration: int | None = None,
    ) -> None:
        """Report progress to the caller, and ask the caller whether to go on.

        Args:
            fraction: Fraction of the stage, or of its part, that is done; 0 to 1.
            objective: See `Progress`, as for the following.
            field: See `Progress`.
            level: See `Progress`.
            iteration: See `Progress`.

        Raises:
            Cancelled: The caller answered "abort".
        """
        details = {"objective": objective, "level": level, "iteration": iteration}
        self._report(fraction, details if field is None else details | {"field": field})

    @abc.abstractmethod
    def _report(self, fraction: float, details: dict) -> None:
        """Report a fraction, and `details`, which are further attributes of `Progress`."""


class Monitor(_Reporter):
    """Reports progress to the caller, asks the caller whether to stop, and records the stages' times.

    Args:
        device: Device whose peak memory is recorded.
        on_progress: Receives each `Progress`.
        cancel: Returns None (go on), "keep" (stop and keep the best result so far) or "abort" (give up).
        clock: Returns the time in seconds.
        shares: Stage -> share of the run's time.

    Attributes:
        stages: {"name", "seconds", "peak_memory_mb"} of each finished stage; the memory is the peak of the process
            up to the end of that stage.
        keep: Whether the caller has answered "keep".
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
        """Run a stage within this context, to record its time and memory."""
        self._stage, start = name, self._clock()
        self.tell(0.0)
        yield
        self.stages.append(
            {"name": name, "seconds": self._clock() - start, "peak_memory_mb": peak_memory_mb(self._device)}
        )
        self._done += self._shares[name]

    def within(self, start: float, stop: float, *, with_objective: bool = False) -> MonitorPart:
        """A part of the current stage, which reports fractions of its own.

        Args:
            start: Fraction of the stage at which the part begins.
            stop: Fraction of the stage at which the part ends.
            with_objective: Whether the part's objective and field are reported too.
        """
        return MonitorPart(self, start, stop, with_objective)

    def _report(self, fraction: float, details: dict) -> None:
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
        self._on_progress(Progress(self._stage, total, left, **details))


@dataclasses.dataclass(frozen=True)
class MonitorPart(_Reporter):
    """A part of a stage; made by `Monitor.within`, which describes the attributes."""

    whole: Monitor
    start: float
    stop: float
    with_objective: bool = False

    @property
    def keep(self) -> bool:
        """Whether the caller has answered "keep"."""
        return self.whole.keep

    def _report(self, fraction: float, details: dict) -> None:
        fraction = self.start + (self.stop - self.start) * fraction
        self.whole._report(fraction, details if self.with_objective else {})
