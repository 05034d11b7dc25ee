"""The waiting of idle threads where torch was loaded before GenReg."""

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
def gnu():
    """Skips the test where torch does not use GNU's OpenMP library."""
    import torch  # noqa: F401 (its library is looked for)

    library = waiting.loaded_openmp()
    if library is None or hasattr(library, "kmp_set_blocktime"):
        pytest.skip("torch has another OpenMP library here")


def test_an_idle_team_exists_only_inside_the_block(gnu):
    with waiting.sleeping_threads(needed=True):
        assert len(parked()) == 1
    assert parked() == []


def test_the_idle_team_ends_when_the_block_fails(gnu):
    with pytest.raises(ValueError, match="fails"), waiting.sleeping_threads(needed=True):
        raise ValueError("fails")
    assert parked() == []


def test_no_idle_team_is_created_where_threads_sleep_anyway(gnu):
    with waiting.sleeping_threads(needed=False):
        assert parked() == []


@pytest.mark.parametrize(
    ("first", "too_early"),
    [("pass", False), ("import torch", True), ("import torch, os; os.environ['GOMP_SPINCOUNT'] = '7'", False)],
)
def test_torch_was_loaded_too_early_only_if_it_came_first_and_without_a_wait_variable(first, too_early):
    script = (
        "import os; [os.environ.pop(name, None) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')]\n"
        f"{first}\nimport GenRegLogic\nfrom GenRegLogic.machine.waiting import torch_was_loaded_too_early\n"
        f"assert torch_was_loaded_too_early() is {too_early}"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
