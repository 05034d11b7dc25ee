"""Former names of modules."""

import importlib
import sys
import warnings
from pathlib import Path

import pytest

import GenRegLogic
from GenRegLogic._moved import MOVED, PACKAGE, install

NEEDS_SLICER = "mrml"


@pytest.fixture
def forgotten():
    """Removes the former names from the imported modules, before and after."""

    def forget():
        for old in MOVED:
            package, _, name = f"{PACKAGE}.{old}".rpartition(".")
            sys.modules.pop(f"{package}.{name}", None)
            if package in sys.modules:
                vars(sys.modules[package]).pop(name, None)

    forget()
    yield
    forget()


@pytest.mark.parametrize(("old", "new"), MOVED.items())
class TestFormerNames:
    def load(self, old):
        if NEEDS_SLICER in old:
            pytest.importorskip("slicer", reason="Slicer's MRML runtime (slicer-core) is not installed")
        return importlib.import_module(f"{PACKAGE}.{old}")

    def test_a_former_name_imports_the_current_module_with_a_warning(self, old, new, forgotten):
        with pytest.warns(DeprecationWarning, match=f"is now {PACKAGE}.{new};"):
            assert self.load(old) is importlib.import_module(f"{PACKAGE}.{new}")

    def test_the_module_keeps_its_current_name(self, old, new, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there"):
            module = self.load(old)
        assert module.__name__ == module.__spec__.name == f"{PACKAGE}.{new}"


class TestWarning:
    def test_the_warning_is_given_once(self, forgotten):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                importlib.import_module("GenRegLogic.volume")
        assert len(caught) == 1

    def test_the_warning_points_to_the_line_with_the_import(self, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there") as caught:
            import GenRegLogic.volume  # noqa: F401
        assert caught[0].filename == __file__

    def test_an_import_from_a_former_name_warns_too(self, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there"):
            from GenRegLogic.volume import Volume
        assert Volume is importlib.import_module("GenRegLogic.space.volume").Volume


def test_a_patch_of_the_former_name_applies_to_the_current_module(forgotten, monkeypatch):
    with pytest.warns(DeprecationWarning, match="import it from there"):
        monkeypatch.setattr("GenRegLogic.warp.warp_image", "patched")
    assert importlib.import_module("GenRegLogic.space.warp").warp_image == "patched"


def test_an_unknown_name_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("GenRegLogic.never")


def test_no_former_name_hides_a_current_module():
    root = Path(GenRegLogic.__file__).parent
    for old in MOVED:
        path = root.joinpath(*old.split("."))
        assert not path.with_suffix(".py").exists()
        assert not path.is_dir()


def test_a_repeated_installation_adds_no_finder():
    before = len(sys.meta_path)
    install()
    assert len(sys.meta_path) == before
