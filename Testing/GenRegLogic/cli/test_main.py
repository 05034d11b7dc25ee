"""The entry point: help, exit codes, unexpected errors, and shell completion."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from GenRegLogic.cli import main
from GenRegLogic.cli import warp as warp_command
from GenRegLogic.cli.main import SHELLS, build_parser

from .conftest import is_one_sentence

COMMANDS = ("register", "repair", "warp", "warp-points", "evaluate", "report", "demo", "info")


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_is_there_and_exits_with_zero(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    assert "usage: genreg" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["register", "--help"], ["demo", "--help"]])
def test_help_documents_the_exit_codes(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    text = capsys.readouterr().out
    for code in ("  0 ", "  2 ", "  3 ", "  130 "):
        assert code in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_that_can_be_copied(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    _before, heading, lines = re.split(r"^(examples?:)\n", capsys.readouterr().out, flags=re.MULTILINE)
    examples = [shlex.split(line) for line in lines.strip().splitlines()]
    assert (heading == "examples:") == (len(examples) > 1)
    for program, *words in examples:
        assert (program, words[0]) == ("genreg", command)
        assert callable(build_parser().parse_args(words).run)


def test_every_command_is_among_those_tested(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    ([a-z-]+)(?: |$)", capsys.readouterr().out, flags=re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


def test_help_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from GenRegLogic.cli import main\n"
        "try: main(['register', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'SimpleITK', 'numpy', 'matplotlib', 'tqdm', 'shtab'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("words", [[], ["regster"], ["register"], ["register", "a", "b"], ["info", "--loud"]])
def test_wrong_arguments_are_one_sentence_that_points_to_help(words, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert is_one_sentence(captured.err)
    assert "--help'" in captured.err


@pytest.fixture
def broken(monkeypatch):
    """Makes `genreg warp` fail with any exception."""

    def fail_with(error):
        def run(args):
            raise error

        monkeypatch.setattr(warp_command, "run_image", run)
        return main(["warp", "image", "-t", "transform", "-r", "reference", "-o", "out"])

    return fail_with


def test_an_unexpected_error_is_reported_with_one_sentence_and_a_hint(broken, capsys, monkeypatch):
    monkeypatch.delenv("GENREG_DEBUG", raising=False)
    assert broken(ZeroDivisionError("division by zero")) == 1
    error = capsys.readouterr().err
    assert is_one_sentence(error)
    assert "ZeroDivisionError: division by zero" in error
    assert "GENREG_DEBUG=1" in error


def test_the_debug_variable_adds_the_traceback(broken, capsys, monkeypatch):
    monkeypatch.setenv("GENREG_DEBUG", "1")
    broken(ZeroDivisionError("division by zero"))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "not enough memory"),
        (OSError(28, "No space left on device"), 2, "disk is full"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
        (RuntimeError("first line\nsecond line"), 1, "first line"),
    ],
)
def test_known_failures_have_an_exit_code_and_one_sentence(broken, capsys, error, code, expected):
    assert broken(error) == code
    message = capsys.readouterr().err
    assert is_one_sentence(message)
    assert expected in message
    assert "second line" not in message


@pytest.mark.parametrize("shell", SHELLS)
class TestCompletion:
    @pytest.fixture
    def script(self, shell, capsys):
        with pytest.raises(SystemExit) as stopped:
            main(["--print-completion", shell])
        assert stopped.value.code == 0
        return capsys.readouterr().out

    def test_the_script_contains_every_command_and_its_options(self, script):
        for word in (*COMMANDS, "--keep-rigid", "--linear-only", "describe"):
            assert word in script

    def test_no_placeholder_with_a_colon_is_in_the_script(self, script, shell):
        assert "cuda[:N]" not in script

    def test_the_script_has_no_syntax_errors(self, script, shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        ran = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_a_missing_shtab_is_reported_with_one_sentence(self, shell, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "shtab", None)
        assert main(["--print-completion", shell]) == 2
        error = capsys.readouterr().err
        assert is_one_sentence(error)
        assert "pip install shtab" in error


def test_bash_completes_commands_options_and_files(tmp_path, capsys):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    (tmp_path / "genreg.sh").write_text(capsys.readouterr().out)
    (tmp_path / "scan.nii.gz").touch()

    def completed(*words):
        line = f"source ./genreg.sh; COMP_WORDS=({' '.join(shlex.quote(word) for word in words)})"
        line += f'; COMP_CWORD={len(words) - 1}; "$(complete -p genreg | sed "s/.*-F \\([^ ]*\\).*/\\1/")" genreg'
        ran = subprocess.run(
            ["bash", "-c", f"{line}; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        return ran.stdout.split()

    assert completed("genreg", "warp") == ["warp", "warp-points"]
    assert completed("genreg", "register", "--lin") == ["--linear-only"]
    assert "scan.nii.gz" in completed("genreg", "register", "sc")


def test_the_program_can_be_run_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "GenRegLogic.cli", "--version"], capture_output=True, text=True)
    assert ran.returncode == 0
    assert ran.stdout.startswith("genreg ")
