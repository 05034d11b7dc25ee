"""Makes modules of the scripts, most of which have no ending."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch):
    """Scripts import their neighbors, some of them late."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def load_script(name):
    """The script of this file name as a module."""
    loader = importlib.machinery.SourceFileLoader(f"script_{name.removesuffix('.py')}", str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    with pytest.MonkeyPatch.context() as patch:  # fixtures of a whole module are made before those of a test
        patch.syspath_prepend(SCRIPTS)
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(module)
    return module
