"""Waiting threads where torch was loaded first."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from GenRegLogic.machine import waiting

ROOT = Path(__file__).parents[3]


def parked():
    return [thread for thread in threading.enumerate() if thread.name == "genreg-parked"]


@pytest.fixture
def gnu(monkeypatch):
    """As if torch had been loaded first, with GNU's OpenMP library."""
    import torch

    monkeypatch.setattr(waiting, "_too_late", True)
    assert torch is not None
    library = waiting._openmp()
    if library is None or hasattr(library, "kmp_set_blocktime"):
        pytest.skip("torch has another OpenMP library here")


def test_a_team_is_parked_for_as_long_as_it_is_needed(gnu):
    with waiting.sleeping_threads():
        assert len(parked()) == 1
    assert not parked()


def test_a_failing_run_parks_nothing_for_good(gnu):
    with pytest.raises(ValueError, match="fails"), waiting.sleeping_threads():
        raise ValueError("fails")
    assert not parked()


def test_nothing_is_parked_where_the_variables_came_in_time(monkeypatch):
    monkeypatch.setattr(waiting, "_too_late", False)
    with waiting.sleeping_threads():
        assert not parked()


@pytest.mark.parametrize(
    ("first", "late"),
    [("pass", False), ("import torch", True), ("import torch, os; os.environ['GOMP_SPINCOUNT'] = '7'", False)],
)
def test_only_a_torch_that_was_there_first_and_nobody_told_is_too_late(first, late):
    script = (
        "import os; [os.environ.pop(name, None) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')]\n"
        f"{first}\nimport GenRegLogic\nfrom GenRegLogic.machine import waiting\nassert waiting._too_late is {late}"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
