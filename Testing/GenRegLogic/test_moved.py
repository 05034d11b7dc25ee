"""Old names of modules."""

import importlib
import sys
import warnings

import pytest

from GenRegLogic._moved import MOVED, PACKAGE, install

NEEDS_SLICER = "mrml"


@pytest.fixture
def forgotten():
    """Forgets that an old name was imported, before and after."""

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
class TestOldNames:
    def load(self, old):
        if NEEDS_SLICER in old:
            pytest.importorskip("slicer", reason="Slicer's MRML runtime (slicer-core) is not installed")
        return importlib.import_module(f"{PACKAGE}.{old}")

    def test_it_is_the_new_module(self, old, new, forgotten):
        with pytest.warns(DeprecationWarning, match=f"is now {PACKAGE}.{new};"):
            assert self.load(old) is importlib.import_module(f"{PACKAGE}.{new}")

    def test_the_new_module_keeps_its_own_name(self, old, new, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there"):
            module = self.load(old)
        assert module.__name__ == module.__spec__.name == f"{PACKAGE}.{new}"


class TestWarning:
    def test_it_comes_once(self, forgotten):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                importlib.import_module("GenRegLogic.volume")
        assert len(caught) == 1

    def test_it_shows_whose_import_it_was(self, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there") as caught:
            import GenRegLogic.volume  # noqa: F401
        assert caught[0].filename == __file__

    def test_from_the_package_is_an_old_name_too(self, forgotten):
        with pytest.warns(DeprecationWarning, match="import it from there"):
            from GenRegLogic.volume import Volume
        assert Volume is importlib.import_module("GenRegLogic.space.volume").Volume


def test_a_patch_under_the_old_name_is_one_of_the_new_module(forgotten, monkeypatch):
    with pytest.warns(DeprecationWarning, match="import it from there"):
        monkeypatch.setattr("GenRegLogic.warp.warp_image", "patched")
    assert importlib.import_module("GenRegLogic.space.warp").warp_image == "patched"


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("GenRegLogic.never")


def test_no_old_name_is_in_the_way_of_a_module_of_today():
    from pathlib import Path

    import GenRegLogic

    root = Path(GenRegLogic.__file__).parent
    for old in MOVED:
        path = root.joinpath(*old.split("."))
        assert not path.with_suffix(".py").exists()
        assert not path.is_dir()


def test_the_finder_is_installed_once():
    install()
    assert sum(type(finder).__name__ == "_MovedFinder" for finder in sys.meta_path) == 1
