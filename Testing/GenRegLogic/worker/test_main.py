"""The worker's program imports the package in which it is stored, and prepares the process before torch loads."""

import shutil
from pathlib import Path

import pytest

import GenRegLogic
from GenRegLogic.worker import process

from .conftest import do, make_job


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package in another folder, as an application installs it; workers then run this copy."""
    package = tmp_path / "modules of an application" / "GenRegLogic"
    shutil.copytree(Path(GenRegLogic.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "version.py").write_text('__version__ = "99.0"\n')
    monkeypatch.setattr(process, "MAIN", package / "worker" / "__main__.py")
    return package


def test_the_program_runs_the_package_in_which_it_is_stored(make_worker, copied, scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters, arrays = make_job(*scans, settings={"linear_only": True, "init": "none"})
    report = do(make_worker(), "register", parameters, arrays).end["report"]
    assert report["versions"]["genreg"] == "99.0"


def test_files_beside_the_program_do_not_hide_modules_of_the_same_names(make_worker, copied):
    for name in ("queue", "threading", "random", "torch", "numpy"):
        (copied / "worker" / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    assert do(make_worker(), "devices").end["report"]["devices"]


def test_thread_waiting_and_page_size_are_set_before_torch_loads(make_worker, tmp_path, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "THP_MEM_ALLOC_ENABLE"):
        monkeypatch.delenv(name, raising=False)
    message = "''.join(os.environ[n] for n in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'THP_MEM_ALLOC_ENABLE'))"
    (tmp_path / "torch.py").write_text(f"import os\nraise ImportError({message}, name='torch')\n")
    recorder = do(make_worker(environment={"PYTHONPATH": str(tmp_path)}), "devices")
    assert any("passive30001" in line for line in recorder.lines)
