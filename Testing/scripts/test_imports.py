"""Every script imports only names of the engine and of other scripts that exist, also inside its functions."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def python_scripts() -> list[Path]:
    files = [path for path in sorted(SCRIPTS.iterdir()) if path.is_file()]
    return [path for path in files if path.suffix == ".py" or "python" in path.read_text().partition("\n")[0]]


def imported_names(path: Path) -> list[tuple[str, str]]:
    """(module, name) of every `from module import name` of the engine or of another script."""
    own = {script.stem for script in python_scripts()}
    return [
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module.partition(".")[0] == "GenRegLogic" or node.module in own)
        for alias in node.names
    ]


def exists(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def test_the_scripts_are_found():
    assert {"ablation", "benchmark", "measuring.py", "train"} <= {path.name for path in python_scripts()}


@pytest.mark.parametrize("path", python_scripts(), ids=lambda path: path.name)
def test_every_imported_name_exists(path, monkeypatch):
    if "mrml" in path.read_text(encoding="utf-8"):
        pytest.importorskip("slicer", reason="Slicer's MRML runtime (slicer-core) is not installed")
    monkeypatch.syspath_prepend(SCRIPTS)
    assert [found for found in imported_names(path) if not exists(*found)] == []


@pytest.mark.parametrize("path", python_scripts(), ids=lambda path: path.name)
def test_every_script_is_checked_for_style(path):
    named = f'"scripts/{path.name}"' in (SCRIPTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert path.suffix == ".py" or named  # files without an ending have to be named there
