"""Progress as a bar on a terminal and as plain lines elsewhere."""

import io
from types import SimpleNamespace

import pytest

from GenRegLogic.cli.progress import Meter
from GenRegLogic.progress import WRITING


class Terminal(io.StringIO):
    def isatty(self):
        return True


def report(stage, fraction, seconds_left=None):
    return SimpleNamespace(stage=stage, fraction=fraction, seconds_left=seconds_left)


def test_a_plain_line_is_printed_once_per_stage_and_tenth():
    stream = io.StringIO()
    with Meter(stream=stream) as meter:
        for hundredth in range(101):
            meter(report("prepare" if hundredth < 15 else "refine", hundredth / 100))
    shares = [int(line.split()[0]) for line in stream.getvalue().splitlines()]
    assert shares == [0, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100]


@pytest.mark.parametrize(("seconds", "text"), [(5.4, "  5 s left"), (125, "  2 min 05 s left"), (0.2, "")])
def test_the_time_left_is_shown(seconds, text):
    stream = io.StringIO()
    with Meter(stream=stream) as meter:
        meter(report("refine", 0.5, seconds))
    assert stream.getvalue() == f" 50 %  refine{text}\n"


def test_a_terminal_gets_one_bar_with_stage_and_time():
    stream = Terminal()
    with Meter(stream=stream) as meter:
        meter(report("refine", 0.42, 12))
    text = stream.getvalue()
    assert "refine" in text
    assert "42 %" in text
    assert "12 s left" in text
    assert "\n" not in text.strip("\r\n \x1b[A")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["plain", "terminal"])
def test_writing_is_shown_after_the_last_stage(stream):
    with Meter(stream=stream) as meter:
        meter(report("finish", 1.0, 0.0))
        meter(WRITING)
    text = stream.getvalue()
    assert "writing" in text[text.index("finish") :]
    assert "0 s left" not in text


def test_quiet_shows_nothing():
    stream = Terminal()
    with Meter(quiet=True, stream=stream) as meter:
        meter(report("refine", 0.5))
    assert stream.getvalue() == ""


def test_a_closed_standard_error_shows_nothing(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with Meter() as meter:
        meter(SimpleNamespace(stage="linear", fraction=0.5, seconds_left=None))
