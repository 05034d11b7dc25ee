"""Progress display of a running registration, and its interruption by Ctrl-C.

Key names: `Meter` (a progress bar on a terminal, plain lines elsewhere) and `Interruption` (first Ctrl-C: stop and keep
the best result so far; second: give up).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TextIO

__all__ = ["Interruption", "Meter"]

LINE_EVERY_PERCENT = 10
"""Percent of the work between two plain lines."""


class Meter(contextlib.AbstractContextManager):
    """Shows `Progress` reports; to be passed as `on_progress`.

    Args:
        quiet: Show nothing.
        stream: Where the reports are written; standard error by default, so that standard output can be piped.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet or self._stream is None  # closed before the start
        self._bar = None
        self._stage = None
        self._next_percent = 0

    def __enter__(self) -> Meter:
        if not self._quiet and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=100,
                file=self._stream,
                bar_format="{desc:<10} {percentage:3.0f} % |{bar}| {elapsed}{postfix}",
                leave=False,
            )
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress) -> None:
        """Show one `Progress` report."""
        if self._quiet:
            return
        percent = round(100 * progress.fraction)
        if self._bar is not None:
            self._bar.set_description_str(progress.stage, refresh=False)
            self._bar.set_postfix_str(_time_left(progress.seconds_left), refresh=False)
            self._bar.n = percent
            self._bar.refresh()
        elif progress.stage != self._stage or percent >= self._next_percent:
            line = f"{percent:3d} %  {progress.stage}  {_time_left(progress.seconds_left)}"
            with contextlib.suppress(OSError):  # what cannot be shown is no reason to end a run
                print(line.rstrip(), file=self._stream, flush=True)
            self._stage = progress.stage
            self._next_percent = (percent // LINE_EVERY_PERCENT + 1) * LINE_EVERY_PERCENT


class Interruption(contextlib.AbstractContextManager):
    """Turns Ctrl-C into the return values that the engine expects of `cancel`; to be passed as `cancel`.

    The first Ctrl-C stands for "keep", the second for "abort", and a third ends the process, as by default. A request
    to terminate (SIGTERM) stands for "abort".

    Attributes:
        answer: None, "keep" or "abort".
    """

    def __init__(self, *, stream: TextIO | None = None) -> None:
        self.answer: str | None = None
        self._stream = stream or sys.stderr
        self._previous = {}

    def __call__(self) -> str | None:
        """None to go on, "keep" to stop and keep the best result so far, "abort" to give up."""
        return self.answer

    def __enter__(self) -> Interruption:
        with contextlib.suppress(ValueError):  # only the main thread can set handlers; elsewhere the caller handles it
            self._previous[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
            self._previous[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._on_terminate)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_interrupt(self, number, frame) -> None:
        if self.answer is None:
            self.answer = "keep"
            self._say("stopping; the best result so far will be written. Ctrl-C again gives up.")
        else:
            self._on_terminate(number, frame)

    def _on_terminate(self, number, frame) -> None:
        self.answer = "abort"
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._say("giving up; nothing will be written.")

    def _say(self, text: str) -> None:
        if self._stream is None:
            return
        with contextlib.suppress(OSError, RuntimeError):  # a signal may arrive in the middle of a write
            print(f"\ngenreg: {text}", file=self._stream, flush=True)


def _time_left(seconds: float | None) -> str:
    if seconds is None or round(seconds) == 0:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s left" if minutes else f"{seconds} s left"
