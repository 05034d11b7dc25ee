"""The extension's files: CMake's lists match the folders, and it configures, builds, installs and lists its tests.

`stub/` replaces Slicer's own CMake macros, which are not available here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).resolve().parent / "stub"
INSTALLED = Path("lib/Slicer-5.12/qt-scripted-modules")
CATALOG_KEYS = {
    "$schema",
    "category",
    "scm_url",
    "scm_revision",
    "scm_type",
    "build_dependencies",
    "build_subdirectory",
    "enabled",
    "tier",
}
"""The keys of the index's schema, version 1.0.1, which allows no others."""

FROM_INSTALLED_FILES = """
import importlib.util, sys, unittest
installed, host_file, checkout = sys.argv[1:]
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
sys.path = [folder for folder in sys.path if not folder.startswith(checkout) or "site-packages" in folder]
spec = importlib.util.spec_from_file_location("host", host_file, submodule_search_locations=[host_file[:-12]])
host = sys.modules["host"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(host)
host.loadModule(installed + "/GenReg.py")
import GenReg, GenRegLogic
result = unittest.TestResult()
GenReg.GenRegTest("test_KnownDeformationIsFoundUnderLinearParents").run(result)
print(result.errors, result.failures, result.skipped)
print(GenRegLogic.__file__)
sys.exit(not result.wasSuccessful())
"""
"""One self-test on the test host, in a process that cannot see the checkout's own packages."""

PNG_SIZE_AND_KIND = slice(16, 26)
"""Bytes of a PNG with width, height, bit depth and color type."""


def listed(cmake_file: Path, variable: str) -> list[str]:
    """The names in `set(variable …)` of a CMakeLists.txt."""
    found = re.search(rf"set\({variable}\s([^)]*)\)", cmake_file.read_text(encoding="utf-8"))
    assert found, f"{cmake_file} does not set {variable}"
    return found[1].split()


def on_disk(folder: Path, *, python: bool) -> list[str]:
    """The files below a folder that an installation needs, with / between folders."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    kept = (path for path in files if path.name != "CMakeLists.txt" and not path.name.startswith("."))
    return sorted(path.relative_to(folder).as_posix() for path in kept if (path.suffix == ".py") is python)


def metadata() -> dict[str, str]:
    """The catalog's variables in the top CMakeLists.txt, parsed as text as the catalog does."""
    return dict(re.findall(r'set\(EXTENSION_(\w+) "([^"]*)"\)', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def cmake() -> Path:
    """pip's cmake of this environment, or the one on the path."""
    beside = shutil.which("cmake", path=os.fspath(Path(sys.executable).parent))
    found = beside or shutil.which("cmake")
    assert found, "CMake is missing: pip install 'cmake<4'."
    return Path(found)


@pytest.fixture(scope="module")
def generator() -> list[str]:
    """A build tool that needs no compiler."""
    beside = shutil.which("ninja", path=os.fspath(Path(sys.executable).parent)) or shutil.which("ninja")
    if beside:
        return ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={beside}"]
    assert shutil.which("make"), "There is no build tool: pip install ninja."
    return ["-G", "Unix Makefiles"]


def run(*command: object) -> str:
    """Run a command and return its output; a failure shows it."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(cmake, generator, tmp_path_factory) -> Path:
    """The extension, configured and built against the stub; the build folder."""
    folder = tmp_path_factory.mktemp("extension")
    run(
        cmake,
        "-S",
        ROOT,
        "-B",
        folder,
        *generator,
        f"-DSlicer_DIR={STUB}",
        f"-DCMAKE_TOOLCHAIN_FILE={STUB / 'toolchain.cmake'}",
    )
    run(cmake, "--build", folder)
    return folder


@pytest.fixture(scope="module")
def installed(cmake, built, tmp_path_factory) -> Path:
    """The folder that Slicer would search for modules after an installation."""
    prefix = tmp_path_factory.mktemp("installed")
    run(cmake, "--install", built, "--prefix", prefix)
    return prefix / INSTALLED


class TestLists:
    """Slicer installs the listed files and no others, so every file must be listed."""

    def test_every_python_file_of_the_module_is_listed(self):
        lists = ROOT / "GenRegModule" / "CMakeLists.txt"
        assert sorted(listed(lists, "MODULE_PYTHON_SCRIPTS")) == on_disk(lists.parent, python=True)

    def test_every_resource_of_the_module_is_listed(self):
        lists = ROOT / "GenRegModule" / "CMakeLists.txt"
        assert sorted(listed(lists, "MODULE_PYTHON_RESOURCES")) == on_disk(lists.parent, python=False)

    def test_every_python_file_of_the_engine_is_listed(self):
        lists = ROOT / "GenRegLogic" / "CMakeLists.txt"
        assert sorted(listed(lists, "PACKAGE_SCRIPTS")) == on_disk(lists.parent, python=True)

    def test_every_other_file_of_the_engine_is_listed(self):
        lists = ROOT / "GenRegLogic" / "CMakeLists.txt"
        assert sorted(listed(lists, "PACKAGE_RESOURCES")) == on_disk(lists.parent, python=False)

    def test_the_module_file_is_the_only_file_in_slicers_module_folder(self):
        assert [path.name for path in (ROOT / "GenRegModule").glob("*.py")] == ["GenReg.py"]


class TestBuild:
    def test_the_module_its_panel_and_the_engine_are_installed_side_by_side(self, installed):
        assert (installed / "GenReg.py").is_file()
        assert (installed / "GenRegPanel" / "__init__.py").is_file()
        assert (installed / "Resources" / "UI" / "GenReg.ui").is_file()
        assert (installed / "GenRegLogic" / "__init__.py").is_file()

    def test_everything_listed_is_installed(self, installed):
        module = on_disk(ROOT / "GenRegModule", python=True) + on_disk(ROOT / "GenRegModule", python=False)
        engine = on_disk(ROOT / "GenRegLogic", python=True) + on_disk(ROOT / "GenRegLogic", python=False)
        wanted = module + [f"GenRegLogic/{name}" for name in engine]
        assert [name for name in wanted if not (installed / name).is_file()] == []

    def test_the_installed_folder_has_one_module_file(self, installed):
        assert [path.name for path in installed.glob("*.py")] == ["GenReg.py"]

    def test_the_installed_bootstrap_finds_the_engine(self, installed, tmp_path):
        code = (
            "from GenRegPanel.bootstrap import makeEngineImportable\n"
            "makeEngineImportable()\n"
            "import GenRegLogic\n"
            "print(GenRegLogic.__file__)"
        )
        command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
        assert Path(done.stdout.strip()).parent == installed / "GenRegLogic", done.stderr

    def test_a_self_test_passes_from_the_installed_files_alone(self, installed, tmp_path):
        import host

        if host.available():
            pytest.skip(host.available())
        command = [sys.executable, "-c", FROM_INSTALLED_FILES, str(installed), host.__file__, str(ROOT)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert Path(done.stdout.splitlines()[-1]).parent == installed / "GenRegLogic"

    def test_the_self_tests_and_the_generic_test_are_registered(self, cmake, built):
        ctest = cmake.with_name(cmake.name.replace("cmake", "ctest"))
        names = re.findall(r"Test\s+#\d+: (\S+)", run(ctest, "--test-dir", built, "-N"))
        generic = "py_nomainwindow_qSlicerGenRegModuleGenericTest"
        assert sorted(names) == ["py_GenReg", "py_nomainwindow_GenReg", generic]

    def test_a_listed_file_that_is_missing_stops_the_configuration(self, cmake, generator, tmp_path):
        copy = tmp_path / "source"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info"))
        (copy / "GenRegLogic" / "errors.py").unlink()
        command = [
            cmake,
            "-S",
            copy,
            "-B",
            tmp_path / "build",
            *generator,
            f"-DSlicer_DIR={STUB}",
            f"-DCMAKE_TOOLCHAIN_FILE={STUB / 'toolchain.cmake'}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode != 0
        assert "errors.py" in done.stderr


class TestCatalogEntry:
    """`GenReg.json` is the entry for Slicer's Extensions Index."""

    @pytest.fixture
    def entry(self) -> dict:
        return json.loads((ROOT / "GenReg.json").read_text(encoding="utf-8"))

    def test_it_has_the_keys_that_the_index_requires_and_no_unknown_one(self, entry):
        assert {"$schema", "category", "scm_url"} <= set(entry) <= CATALOG_KEYS

    def test_its_name_is_the_projects_name(self):
        project = re.search(r"project\s*\(\s*([^\s)]+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
        assert project[1] == "GenReg"
        assert not project[1].lower().startswith("slicer")

    def test_its_dependencies_are_those_of_cmake(self, entry):
        assert entry["build_dependencies"] == metadata()["DEPENDS"].split() == ["PyTorch"]

    def test_its_category_is_that_of_cmake(self, entry):
        assert entry["category"] == metadata()["CATEGORY"] == "Registration"

    def test_all_addresses_are_of_one_repository(self, entry):
        values = metadata()
        repository = values["HOMEPAGE"]
        assert entry["scm_url"] == f"{repository}.git"
        raw = repository.replace("github.com", "raw.githubusercontent.com") + f"/{entry['scm_revision']}/"
        assert all(address.startswith(raw) for address in [values["ICONURL"], *values["SCREENSHOTURLS"].split()])

    def test_the_pictures_that_the_catalog_shows_are_in_the_repository(self):
        values = metadata()
        assert values["ICONURL"]
        assert values["SCREENSHOTURLS"]
        files = [address.split("/main/", 1)[1] for address in [values["ICONURL"], *values["SCREENSHOTURLS"].split()]]
        assert [name for name in files if not (ROOT / name).is_file()] == []

    def test_the_icon_is_a_png_of_128_pixels_with_transparency(self):
        content = (ROOT / "GenRegModule" / "Resources" / "Icons" / "GenReg.png").read_bytes()
        eight_bits, rgba = 8, 6
        assert content[PNG_SIZE_AND_KIND] == (128).to_bytes(4, "big") * 2 + bytes([eight_bits, rgba])

    def test_the_description_has_no_semicolon_which_cmake_reads_as_a_list(self):
        assert ";" not in metadata()["DESCRIPTION"]
