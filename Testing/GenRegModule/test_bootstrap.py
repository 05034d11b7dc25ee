"""The engine is found beside the installed module and above a checkout's, and nowhere else."""

import sys

import pytest


@pytest.fixture
def bootstrap(part):
    return part("bootstrap")


def _package(folder):
    (folder / "GenRegLogic").mkdir(parents=True)
    (folder / "GenRegLogic" / "__init__.py").touch()


class TestMakeEngineImportable:
    def test_an_installed_module_finds_the_engine_beside_itself(self, bootstrap, tmp_path):
        _package(tmp_path / "modules")
        path = []
        assert bootstrap.makeEngineImportable(tmp_path / "modules", path) == (tmp_path / "modules").resolve()
        assert path == [str((tmp_path / "modules").resolve())]

    def test_a_checkout_finds_the_engine_above_the_module(self, bootstrap, tmp_path):
        _package(tmp_path)
        (tmp_path / "GenRegModule").mkdir()
        path = []
        assert bootstrap.makeEngineImportable(tmp_path / "GenRegModule", path) == tmp_path.resolve()
        assert path == [str(tmp_path.resolve())]

    def test_the_copy_beside_the_module_takes_precedence(self, bootstrap, tmp_path):
        _package(tmp_path)
        path = ["/elsewhere"]
        bootstrap.makeEngineImportable(tmp_path, path)
        assert path == [str(tmp_path.resolve()), "/elsewhere"]

    def test_a_second_call_changes_nothing(self, bootstrap, tmp_path):
        _package(tmp_path)
        path = []
        bootstrap.makeEngineImportable(tmp_path, path)
        bootstrap.makeEngineImportable(tmp_path, path)
        assert len(path) == 1

    def test_a_folder_of_that_name_without_the_package_is_ignored(self, bootstrap, tmp_path):
        (tmp_path / "modules" / "GenRegLogic").mkdir(parents=True)
        _package(tmp_path)
        assert bootstrap.makeEngineImportable(tmp_path / "modules", []) == tmp_path.resolve()

    def test_a_missing_engine_is_reported_with_what_to_do(self, bootstrap, tmp_path):
        with pytest.raises(ImportError, match="install the extension again"):
            bootstrap.makeEngineImportable(tmp_path / "modules", [])

    def test_this_checkout_is_found_by_default(self, bootstrap, slicerModule):
        folder = bootstrap.makeEngineImportable()
        assert (folder / "GenRegLogic" / "settings.py").is_file()
        assert str(folder) in sys.path
