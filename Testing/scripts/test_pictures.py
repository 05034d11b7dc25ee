"""The scripts that take the README's pictures and measure the window run with the present panel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import host
import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COARSE = ("--coarseness", "4")


@pytest.fixture(scope="module", autouse=True)
def drawing_is_possible():
    reason = host.available() or host.views.available()
    if reason:
        pytest.skip(reason)


def run_script(name: str, *arguments: object) -> str:
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """The folder that the script wrote to."""
    folder = tmp_path_factory.mktemp("pictures")
    run_script("pictures", "--output", folder, *COARSE)
    return folder


@pytest.mark.parametrize("name", ["panel.png", "slices.png", "inspect.png"])
def test_the_picture_is_written_and_not_empty(pictures, name):
    picture = Image.open(pictures / name).convert("RGB")
    assert min(picture.size) > 750
    assert len(picture.getcolors(maxcolors=picture.width * picture.height)) > 50


def test_only_the_last_column_of_slice_views_shows_the_grid(pictures):
    picture = np.asarray(Image.open(pictures / "slices.png").convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(picture, -1, 0)
    colored = (np.maximum(red, green) > 150) & (blue < 90)  # the grid is yellow to red, the scans are gray to cyan
    thirds = [part.sum() for part in np.array_split(colored, 3, axis=1)]
    assert thirds[2] > 3000
    assert max(thirds[:2]) < 100


def test_stalls_and_cancellation_are_printed_as_figures():
    said = run_script("responsiveness", "--runs", 1, "--no-views", *COARSE)
    assert re.search(r"longest stall over 1 runs: \d+ ms", said)
    assert re.search(r"from Cancel to ended: \d+ ms at most, \d+ ms median", said)
