"""The program killed, interrupted, or on a full disk. Each test starts the real command as a process."""

import os
import signal
import subprocess
import sys

import pytest

from GenRegLogic.files.transforms import read_transform

from .conftest import is_one_sentence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX signals and limits")

END_SECONDS = 120
REGISTER = ["register", "fixed.nii.gz", "moving.nii.gz", "-o", "out/t.nii.gz", "--warped", "out/w.nii.gz"]
STALL_BEFORE_RENAMING = """
import os, sys, time
from GenRegLogic.cli import main
def stall(source, target):
    print("renaming", flush=True)
    time.sleep(600)
os.replace = stall
sys.exit(main(sys.argv[1:]))
"""


def start(folder, *words, program=None, **options):
    """Start the command as a process of its own with the folder as its working directory."""
    how = ["-m", "GenRegLogic.cli"] if program is None else ["-c", program]
    # A process that is killed, or can write only small files, must not leave an incomplete .pyc file behind.
    environment = os.environ | {"PYTHONPATH": __file__.partition("Testing")[0], "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, *how, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_run_that_is_killed_while_computing_leaves_no_files(folder):
    process = start(folder, *REGISTER)
    assert "%" in process.stderr.readline()
    process.kill()
    process.communicate(timeout=END_SECONDS)
    assert list((folder / "out").iterdir()) == []


def test_a_run_that_is_killed_while_writing_leaves_no_files_under_the_final_names(folder):
    process = start(folder, *REGISTER, program=STALL_BEFORE_RENAMING)
    assert process.stdout.readline() == "renaming\n"
    process.kill()
    process.communicate(timeout=END_SECONDS)
    assert visible(folder / "out") == []


def test_a_run_that_is_interrupted_while_reading_prints_one_sentence_and_leaves_no_files(folder):
    # A background job of a shell ignores Ctrl-C, and processes started by these tests would inherit that.
    restored = "import signal, GenRegLogic.files.images\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program = restored + STALL_BEFORE_RENAMING.replace(
        "os.replace = stall",
        "GenRegLogic.files.images.read_volume = lambda *_, **_options: signal.raise_signal(signal.SIGINT)",
    )
    process = start(folder, *REGISTER, program=program)
    _out, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 130
    assert is_one_sentence(err)
    assert list((folder / "out").iterdir()) == []


def test_a_run_that_is_interrupted_once_writes_its_best_result_so_far(folder):
    process = start(folder, *REGISTER, "--iterations", "10000")
    assert "%" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 130, err
    assert visible(folder / "out") == ["t.nii.gz", "w.nii.gz"]
    read_transform(folder / "out/t.nii.gz")


def test_a_full_disk_is_reported_with_one_sentence_and_leaves_no_files(folder):
    import resource

    def allow_only_small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = ("warp", "moving.nii.gz", "-t", "identity.tfm", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz")
    (folder / "identity.tfm").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: TranslationTransform_double_3_3\n"
        "Parameters: 0 0 0\nFixedParameters:\n"
    )
    process = start(folder, *words, preexec_fn=allow_only_small_files)
    _out, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 2, err
    assert is_one_sentence(err)
    assert "disk is full" in err
    assert list((folder / "out").iterdir()) == []
