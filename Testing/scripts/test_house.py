"""The figures and checks of scripts/house, on checkouts of a few lines each."""

import json
import subprocess
import sys

import pytest

from .conftest import SCRIPTS, load_script

CLIENT, SERVER = "GenRegLogic/worker/client.py", "GenRegLogic/worker/server.py"
PANEL = "GenRegModule/GenRegPanel"


@pytest.fixture
def house():
    return load_script("house")


@pytest.fixture
def checkout(tmp_path):
    """Writes files, {path: text}, into a checkout that has no problems without them."""

    def write(files=None, *, folder="checkout"):
        root = tmp_path / folder
        tidy = {f"GenRegLogic/{name}.py": "" for name in ("__init__", "one", "two", "three")}
        for path, text in (tidy | (files or {})).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return root

    return write


def room(path, number):
    return {f"{path}/file{n}.py": "" for n in range(number)}


def guide(*walks):
    """CONTRIBUTING.md with the walks, each a title and its items."""
    lists = ["\n".join([f"**{title}**", "", *(f"1. {item}" for item in items), ""]) for title, *items in walks]
    return {"CONTRIBUTING.md": "\n".join(["# Contributing", "## From Run to grid", "", *lists, "## Else", "- no item"])}


def circles(house, root):
    return [circle.files for circle in house.figures_of(root).circles]


def walk_problems(house, root):
    return [walk.problems for walk in house.figures_of(root).walks]


# Rooms --------------------------------------------------------------------------------------------------------------


def test_a_packages_own_files_are_not_counted_in_its_room(house, checkout):
    files = room("GenRegLogic/cli", 4) | {"GenRegLogic/cli/__init__.py": "", "GenRegLogic/cli/__main__.py": ""}
    assert house.figures_of(checkout(files)).rooms == {"GenRegLogic": 3, "GenRegLogic/cli": 4}


@pytest.mark.parametrize(("number", "is_wrong"), [(2, True), (3, False), (12, False), (13, True)])
def test_a_room_holds_three_to_twelve_files(house, checkout, number, is_wrong):
    problems = house.room_problems(house.figures_of(checkout(room("GenRegLogic/cli", number))))
    assert problems == [f"GenRegLogic/cli holds {number} files, not 3 to 12"] * is_wrong


def test_the_folder_of_slicers_module_file_may_hold_one_file(house, checkout):
    assert not house.room_problems(house.figures_of(checkout({"GenRegModule/GenReg.py": ""})))


# Import circles -----------------------------------------------------------------------------------------------------


def test_files_that_import_each_other_through_a_third_are_one_circle(house, checkout):
    files = {
        "GenRegLogic/one.py": "from .two import a\n",
        "GenRegLogic/two.py": "import GenRegLogic.three\n",
        "GenRegLogic/three.py": "from GenRegLogic.one import b\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/one.py", "GenRegLogic/three.py", "GenRegLogic/two.py"]]


def test_a_file_imported_from_a_circle_is_not_part_of_it(house, checkout):
    files = {
        "GenRegLogic/one.py": "from .two import a\n",
        "GenRegLogic/two.py": "from .one import b\nfrom .three import c\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/one.py", "GenRegLogic/two.py"]]


def test_imports_in_one_direction_are_no_circle(house, checkout):
    files = {"GenRegLogic/one.py": "from . import two\n", "GenRegLogic/two.py": "from . import three\n"}
    assert circles(house, checkout(files)) == []


def test_an_import_in_a_function_closes_a_circle(house, checkout):
    files = {
        "GenRegLogic/one.py": "from . import two\n",
        "GenRegLogic/two.py": "def later():\n    from . import one\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/one.py", "GenRegLogic/two.py"]]


@pytest.mark.parametrize("name", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_an_import_for_type_checkers_only_closes_no_circle(house, checkout, name):
    files = {
        "GenRegLogic/one.py": "from . import two\n",
        "GenRegLogic/two.py": f"if {name}:\n    from . import one\n",
    }
    assert circles(house, checkout(files)) == []


def test_an_import_in_the_else_branch_of_type_checking_counts(house, checkout):
    files = {
        "GenRegLogic/one.py": "from . import two\n",
        "GenRegLogic/two.py": "if TYPE_CHECKING:\n    pass\nelse:\n    from . import one\n",
    }
    assert len(circles(house, checkout(files))) == 1


def test_an_import_of_a_module_does_not_count_for_its_package(house, checkout):
    files = {
        "GenRegLogic/__init__.py": "from .one import a\n",
        "GenRegLogic/one.py": "from GenRegLogic.two import b\n",
    }
    assert circles(house, checkout(files)) == []


def test_a_name_that_is_no_module_is_imported_from_the_package_itself(house, checkout):
    files = {
        "GenRegLogic/__init__.py": "from .one import a\n",
        "GenRegLogic/one.py": "from . import __version__\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/__init__.py", "GenRegLogic/one.py"]]


def test_a_package_that_imports_a_name_from_itself_is_no_circle(house, checkout):
    assert circles(house, checkout({"GenRegLogic/__init__.py": "from . import __version__\n"})) == []


def test_relative_imports_from_a_package_above_are_followed(house, checkout):
    files = room("GenRegLogic/cli", 3) | {
        "GenRegLogic/one.py": "from .cli import file0\n",
        "GenRegLogic/cli/file0.py": "from ..one import a\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/cli/file0.py", "GenRegLogic/one.py"]]


def test_a_packages_own_file_imports_relative_to_itself(house, checkout):
    files = {
        "GenRegLogic/cli/__init__.py": "from .main import a\n",
        "GenRegLogic/cli/main.py": "import GenRegLogic.cli\n",
    }
    assert circles(house, checkout(files)) == [["GenRegLogic/cli/__init__.py", "GenRegLogic/cli/main.py"]]


def test_the_panel_is_imported_by_the_name_that_slicer_gives_it(house, checkout):
    files = {
        "GenRegModule/GenReg.py": "from GenRegPanel.panel import Panel\n",
        f"{PANEL}/panel.py": "import GenReg\n",
    }
    assert circles(house, checkout(files)) == [["GenRegModule/GenReg.py", f"{PANEL}/panel.py"]]


# Direction ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "statement", "forbidden"),
    [
        ("GenRegLogic/one.py", "from .mrml.run import Run", "GenRegLogic.mrml"),
        ("GenRegLogic/one.py", "from . import mrml", "GenRegLogic.mrml"),
        ("GenRegLogic/one.py", "from slicer.util import getNode", "slicer"),
        ("GenRegLogic/worker/one.py", "import qt", "qt"),
        ("GenRegLogic/one.py", "import ctk", "ctk"),
        ("GenRegLogic/one.py", "from GenRegPanel import words", "GenRegPanel"),
        ("GenRegLogic/one.py", "from GenRegModule.GenRegPanel import words", "GenRegModule"),
        ("GenRegLogic/mrml/run.py", "import qt", "qt"),
        ("GenRegLogic/mrml/run.py", "import ctk", "ctk"),
        ("GenRegLogic/mrml/nodes/run.py", "from GenRegPanel.words import a", "GenRegPanel"),
    ],
)
def test_an_import_against_the_direction_is_named_with_its_line(house, checkout, path, statement, forbidden):
    root = checkout({path: f"\n{statement}\n"})
    assert house.figures_of(root).violations == [f"{path}:2 imports {forbidden}"]


@pytest.mark.parametrize(
    ("path", "statement"),
    [
        ("GenRegLogic/one.py", "import slicerless"),
        ("GenRegLogic/mrml/run.py", "import slicer, vtk\nfrom . import views\nfrom ..one import a"),
        (f"{PANEL}/panel.py", "import qt, ctk, slicer\nfrom GenRegLogic.mrml import run"),
    ],
)
def test_an_import_in_the_right_direction_is_accepted(house, checkout, path, statement):
    assert house.figures_of(checkout({path: statement})).violations == []


# Lines --------------------------------------------------------------------------------------------------------------


def test_blank_lines_and_comments_are_no_lines_of_code(house, checkout):
    root = checkout({"GenRegLogic/one.py": "# why\n\na = 1  # how\n    # indented\nb = 2\n"})
    assert house.figures_of(root).lines["product"] == {"code": 2, "total": 5}


def test_tests_and_scripts_are_counted_separately_including_shell_scripts(house, checkout):
    root = checkout(
        {
            "Testing/GenRegLogic/test_one.py": "a = 1\n",
            "scripts/shared.py": "a = 1\nb = 2\n",
            "scripts/measure": "#!/usr/bin/env python3\na = 1\n",
            "scripts/test": "#!/bin/sh\nif true; then\n  ls\nfi\n",
            "scripts/notes": "neither\n",
        }
    )
    lines = house.figures_of(root).lines
    assert [lines[area]["code"] for area in ("product", "tests", "scripts")] == [0, 1, 6]


# Repeated places ----------------------------------------------------------------------------------------------------

SIX = "".join(f"step_{n}()\n" for n in range(6))
SEVEN = SIX + "step_6()\n"


def repeated(house, root):
    return [(run.lines, run.places) for run in house.figures_of(root).repeated]


def test_six_lines_at_two_places_are_found_with_their_lines(house, checkout):
    root = checkout({"GenRegLogic/one.py": "a = 1\n" + SIX, "GenRegLogic/two.py": SIX + "b = 2\n"})
    assert repeated(house, root) == [(6, ["GenRegLogic/one.py:2-7", "GenRegLogic/two.py:1-6"])]


def test_five_lines_at_two_places_are_too_few(house, checkout):
    five = SIX.partition("\n")[2]
    assert repeated(house, checkout({"GenRegLogic/one.py": five, "GenRegLogic/two.py": five})) == []


def test_a_longer_run_is_one_run(house, checkout):
    root = checkout({"GenRegLogic/one.py": SEVEN, "GenRegLogic/two.py": SEVEN})
    assert repeated(house, root) == [(7, ["GenRegLogic/one.py:1-7", "GenRegLogic/two.py:1-7"])]


def test_the_same_run_at_three_places_is_counted_once(house, checkout):
    root = checkout({f"GenRegLogic/{name}.py": SIX for name in ("one", "two", "three")})
    assert repeated(house, root) == [(6, [f"GenRegLogic/{name}.py:1-6" for name in ("one", "three", "two")])]


def test_a_run_repeated_within_a_file_is_found(house, checkout):
    root = checkout({"GenRegLogic/one.py": SIX + "between()\n" + SIX})
    assert repeated(house, root) == [(6, ["GenRegLogic/one.py:1-6", "GenRegLogic/one.py:8-13"])]


def test_a_run_that_overlaps_itself_is_no_repetition(house, checkout):
    assert repeated(house, checkout({"GenRegLogic/one.py": "step()\n" * 11})) == []


def test_indentation_blank_lines_comments_and_brackets_hide_no_repetition(house, checkout):
    other = "def f():\n" + "".join(f"    {line}\n\n    # why\n    ()\n" for line in SIX.splitlines())
    root = checkout({"GenRegLogic/one.py": SIX, "GenRegLogic/two.py": other})
    assert [lines for lines, _ in repeated(house, root)] == [6]


def test_imports_are_not_compared_on_any_of_their_lines(house, checkout):
    names = "".join(f"    name_{n},\n" for n in range(8))
    imports = f"from .three import (\n{names})\n"
    assert repeated(house, checkout({"GenRegLogic/one.py": imports, "GenRegLogic/two.py": imports})) == []


# Sizes --------------------------------------------------------------------------------------------------------------


def test_a_file_is_long_from_501_lines(house, checkout):
    root = checkout({"GenRegLogic/one.py": "\n" * 500, "GenRegLogic/two.py": "\n" * 501})
    assert house.figures_of(root).long_files["product"] == ["GenRegLogic/two.py (501)"]


def test_a_file_is_short_below_50_lines_unless_it_is_a_packages_own(house, checkout):
    files = {"GenRegLogic/one.py": "\n" * 49, "GenRegLogic/two.py": "\n" * 50, "GenRegLogic/three.py": "\n" * 90}
    assert house.figures_of(checkout(files)).short_files == ["GenRegLogic/one.py (49)"]


def test_a_function_is_long_from_61_lines(house, checkout):
    def function(name, lines):
        return f"def {name}():\n" + "    pass\n" * (lines - 1)

    root = checkout({"scripts/measure": "#!/usr/bin/env python3\n" + function("fits", 60) + function("runs_on", 61)})
    assert house.figures_of(root).long_functions["scripts"] == ["scripts/measure:62 runs_on (61)"]


# Walks --------------------------------------------------------------------------------------------------------------


def test_imports_in_either_direction_connect_a_walk(house, checkout):
    files = {"GenRegLogic/one.py": "from . import two\n", "GenRegLogic/three.py": "from .two import a\n"}
    items = [f"`GenRegLogic/{name}.py`: why" for name in ("one", "two", "three")]
    walk, *others = house.figures_of(checkout(files | guide(["Run to `register()`", *items]))).walks
    assert (walk.title, walk.files, walk.problems, others) == ("Run to `register()`", 3, [], [])


def test_a_file_that_is_listed_twice_counts_once(house, checkout):
    walk = house.figures_of(checkout(guide(["Way", "`GenRegLogic/one.py`", "`GenRegLogic/one.py`"]))).walks[0]
    assert (walk.files, walk.problems) == (1, [])


@pytest.mark.parametrize("marker", ["1.", "-", "*"])
def test_items_are_numbered_or_bulleted(house, checkout, marker):
    text = f"## From Run to grid\n**Way**\n{marker} `GenRegLogic/one.py`, why,\n   and `more`.\n"
    assert [walk.files for walk in house.figures_of(checkout({"CONTRIBUTING.md": text})).walks] == [1]


def test_each_bold_line_begins_a_walk(house, checkout):
    root = checkout(guide(["There", "`GenRegLogic/one.py`"], ["Back", "`GenRegLogic/two.py`"]))
    assert [walk.title for walk in house.figures_of(root).walks] == ["There", "Back"]
    assert walk_problems(house, root) == [[], []]


def test_files_that_do_not_import_each_other_break_a_walk(house, checkout):
    root = checkout(guide(["Way", "`GenRegLogic/one.py`", "`GenRegLogic/two.py`"]))
    assert walk_problems(house, root) == [["GenRegLogic/one.py and GenRegLogic/two.py do not import each other"]]


def test_a_file_that_does_not_exist_breaks_a_walk(house, checkout):
    root = checkout(guide(["Way", "`GenRegLogic/one.py`", "`GenRegLogic/gone.py`"]))
    assert walk_problems(house, root) == [["GenRegLogic/gone.py does not exist"]]


def test_an_item_without_a_path_breaks_a_walk(house, checkout):
    assert walk_problems(house, checkout(guide(["Way", "the panel"]))) == [["item 1 begins with no path"]]


def test_a_section_without_a_list_is_a_broken_walk(house, checkout):
    assert walk_problems(house, checkout(guide())) == [["the section holds no list"]]


def test_the_two_ends_of_the_workers_channel_are_connected(house, checkout):
    root = checkout({CLIENT: "", SERVER: ""} | guide(["Way", f"`{CLIENT}`", f"`{SERVER}`"]))
    assert walk_problems(house, root) == [[]]


def test_a_ui_file_is_connected_with_its_neighbors(house, checkout):
    ui = "GenRegModule/Resources/UI/GenReg.ui"
    root = checkout({ui: ""} | guide(["Way", "`GenRegLogic/one.py`", f"`{ui}`", "`GenRegLogic/two.py`"]))
    assert walk_problems(house, root) == [[]]


# The program --------------------------------------------------------------------------------------------------------


def test_a_checkout_without_walks_is_reported_as_such(house, checkout, capsys):
    assert house.main([str(checkout())]) == 0
    assert "| walks | no walks written down |" in capsys.readouterr().out


def test_a_broken_walk_gives_exit_status_1(house, checkout, capsys):
    assert house.main([str(checkout(guide(["Way", "`GenRegLogic/gone.py`"])))]) == 1
    assert "- walk “Way”: GenRegLogic/gone.py does not exist" in capsys.readouterr().out


def test_only_a_broken_walk_fails_without_check(house, checkout):
    assert house.main([str(checkout({"GenRegLogic/one.py": "import qt\n"}))]) == 0


def test_check_prints_nothing_for_a_checkout_without_problems(house, checkout, capsys):
    assert house.main([str(checkout()), "--check"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (room("GenRegLogic/cli", 2), "GenRegLogic/cli holds 2 files, not 3 to 12"),
        ({"GenRegLogic/one.py": "import qt\n"}, "against the direction: GenRegLogic/one.py:1 imports qt"),
        (
            {"GenRegLogic/one.py": "from . import two\n", "GenRegLogic/two.py": "from . import one\n"},
            "import circle: GenRegLogic/one.py, GenRegLogic/two.py",
        ),
        (guide(["Way", "`GenRegLogic/gone.py`"]), "walk “Way”: GenRegLogic/gone.py does not exist"),
    ],
)
def test_check_prints_only_the_problems_and_fails(house, checkout, capsys, files, problem):
    assert house.main([str(checkout(files)), "--check"]) == 1
    assert capsys.readouterr().out == problem + "\n"


def test_two_checkouts_are_shown_side_by_side(house, checkout, capsys):
    before = checkout(room("GenRegLogic/old", 4), folder="before")
    house.main([str(checkout(room("GenRegLogic/new", 3))), "--before", str(before)])
    shown = capsys.readouterr().out
    assert "| Room: number of files | before | now |" in shown
    assert "| `GenRegLogic/old` | 4 | – |" in shown
    assert "| `GenRegLogic/new` | – | 3 |" in shown


def test_the_figures_are_written_as_json_without_the_folders_name(house, checkout, tmp_path, capsys):
    root, output = checkout(guide(["Way", "`GenRegLogic/one.py`"])), tmp_path / "figures.json"
    house.main([str(root), "--json", str(output)])
    figures = json.loads(output.read_text(encoding="utf-8"))["now"]
    assert figures["rooms"] == {"GenRegLogic": 3}
    assert figures["walks"] == [{"title": "Way", "files": 1, "problems": []}]
    assert str(root) not in output.read_text(encoding="utf-8") + capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "sentence"),
    [({"GenRegLogic/one.py": "def\n"}, "GenRegLogic/one.py, line 1: this is not valid Python."), (None, "no folder")],
)
def test_an_unreadable_checkout_is_refused_with_one_sentence(house, checkout, tmp_path, capsys, files, sentence):
    with pytest.raises(SystemExit, match="2"):
        house.main([str(checkout(files) if files else tmp_path)])
    assert sentence in capsys.readouterr().err


def test_the_script_runs_without_the_projects_packages():
    command = [sys.executable, "-S", "-B", str(SCRIPTS / "house"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["joined files", "allowed rooms"])
def test_every_exception_names_an_existing_path(house, name):
    listed = {path for pair in house.JOINED for path in pair} if name == "joined files" else house.ALLOWED_ROOMS
    assert [path for path in listed if not (SCRIPTS.parent / path).exists()] == []
