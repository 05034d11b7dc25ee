"""The public names of the package, which are loaded only when they are used."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import GenRegLogic

HEAVY = "heavy = {'torch', 'numpy', 'SimpleITK', 'tqdm'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
FUNCTIONS = ("register", "repair", "evaluate")


def run(script):
    """The exit code of a new Python process, and what it wrote to standard error."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return done.returncode, done.stderr


class TestNames:
    @pytest.mark.parametrize("name", GenRegLogic.__all__)
    def test_every_public_name_can_be_loaded_and_is_listed(self, name):
        assert hasattr(GenRegLogic, name)
        assert name in dir(GenRegLogic)

    def test_the_imports_for_type_checkers_name_the_modules_that_are_loaded(self):
        tree = ast.parse(Path(GenRegLogic.__file__).read_text())
        declared = {
            alias.name: node.module
            for branch in tree.body
            if isinstance(branch, ast.If)
            for node in branch.body
            for alias in node.names
        }
        assert {*declared, "__version__"} == set(GenRegLogic.__all__)
        for name, module in declared.items():
            home = importlib.import_module(f"GenRegLogic.{module}")
            assert getattr(GenRegLogic, name) is getattr(home, name)
            assert getattr(GenRegLogic, name).__module__ == home.__name__

    def test_an_unknown_name_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="no attribute 'segment'"):
            GenRegLogic.segment  # noqa: B018

    @pytest.mark.parametrize(
        ("package", "name"),
        [
            ("files", "read_volume"),
            ("files", "replacing"),
            ("network", "Network"),
            ("network", "compose_voxels"),
            ("network", "correlation_volume"),
            ("network", "sample_at"),
            ("network", "upsample_field"),
            ("phantom", "make_pair"),
        ],
    )
    def test_packages_that_were_modules_offer_the_names_of_those_modules(self, package, name):
        assert getattr(importlib.import_module(f"GenRegLogic.{package}"), name).__name__ == name


class TestImportTime:
    def test_importing_the_package_loads_nothing_heavy(self):
        assert run(f"import sys, GenRegLogic, GenRegLogic.files, GenRegLogic.network; {HEAVY}") == (0, "")

    def test_printing_the_version_loads_nothing_heavy(self):
        script = (
            "import sys, contextlib\nfrom GenRegLogic.cli import main\n"
            f"with contextlib.suppress(SystemExit):\n    main(['--version'])\n{HEAVY}"
        )
        assert run(script) == (0, "")

    def test_importing_the_package_sets_the_runtime_variables(self):
        names = "('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')"
        script = f"import os; [os.environ.pop(name, None) for name in {names}]; import GenRegLogic"
        assert run(f"{script}; assert [os.environ[name] for name in {names}] == ['passive', '3000']") == (0, "")

    def test_a_runtime_variable_that_the_caller_set_is_kept(self):
        script = "import os; os.environ.pop('GOMP_SPINCOUNT', None); os.environ['OMP_WAIT_POLICY'] = 'active'"
        kept = "os.environ['OMP_WAIT_POLICY'] == 'active' and 'GOMP_SPINCOUNT' not in os.environ"
        assert run(f"{script}; import GenRegLogic; assert {kept}") == (0, "")


CHECK = """
from GenRegLogic import {name} as given
from GenRegLogic.{name} import {name} as defined
import GenRegLogic, importlib, types
module = importlib.import_module('GenRegLogic.{name}')
assert given is defined is GenRegLogic.{name} is module.{name}
assert isinstance(given, types.FunctionType) and isinstance(module, types.ModuleType)
"""


class TestFunctionsWithTheNamesOfModules:
    @pytest.mark.parametrize(
        "before",
        [
            "",
            "from GenRegLogic import *",
            "import GenRegLogic.register, GenRegLogic.repair, GenRegLogic.evaluate",
            "from GenRegLogic import evaluate, repair, register",
            "from GenRegLogic.evaluate import evaluate; from GenRegLogic.repair import repair",
            "import importlib; [importlib.import_module(f'GenRegLogic.{name}') for name in ('repair', 'register')]",
        ],
    )
    def test_the_package_offers_the_function_whatever_was_imported_before(self, before):
        assert run("\n".join([before, *(CHECK.format(name=name) for name in FUNCTIONS)])) == (0, "")

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_reloading_a_module_replaces_the_function_of_the_package(self, name, monkeypatch):
        old = getattr(GenRegLogic, name)
        monkeypatch.setattr(GenRegLogic, name, old)  # put back at the end
        module = importlib.import_module(f"GenRegLogic.{name}")
        monkeypatch.delitem(sys.modules, module.__name__)
        fresh = importlib.import_module(module.__name__)
        assert getattr(GenRegLogic, name) is getattr(fresh, name) is not old
