"""The host's effects on its process: nothing is loaded before `boot()`, and the process ends cleanly."""

import subprocess
import sys
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]


def run(code):
    """Runs the code in a new Python with Testing/ on sys.path, as the scripts have it; its result."""
    start = f"import sys; sys.path.insert(0, {str(TESTING)!r})\n"
    return subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, timeout=300)


def test_importing_the_host_loads_neither_slicer_nor_qt():
    done = run("import host; print([m for m in ('slicer', 'vtk', 'PySide6', 'qt', 'ctk') if m in sys.modules])")
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_script_with_panel_and_views_ends_without_output_or_error(host):
    done = run(
        f"""
import host
host.boot()
import numpy as np, slicer
widget = host.openWidget(host.loadModule({str(TESTING / "host" / "toy" / "Toy.py")!r}))
widget.parameters.fixed = slicer.util.addVolumeFromArray(np.ones((4, 5, 6), np.float32))
if host.views.available() is None:
    red = host.views.SliceView()
    red.show(widget.parameters.fixed)
    red.grab()
    host.views.ThreeDView().grab()
print("the end")
"""
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "the end", "")


def test_no_folder_of_the_tests_is_part_of_the_package_slicer(host):
    done = run("import host; host.boot(); import slicer; print(slicer.__path__)")
    assert done.returncode == 0, done.stderr
    assert str(TESTING) not in done.stdout


def test_booting_does_not_change_threads_environment_or_folder():
    done = run(
        """
import os, host
import SimpleITK as sitk
from pathlib import Path
before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), dict(os.environ), os.getcwd()
if host.available() is None:
    host.boot()
    assert "torch" not in sys.modules
assert before == (sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), dict(os.environ), os.getcwd())
"""
    )
    assert done.returncode == 0, done.stderr
