"""The scripts around the network's training: pictures of samples and curves, and refusals in one sentence."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from .conftest import SCRIPTS, load_script

CURVE = """kind,step,seconds,loss,error,still,right_2,right_8
training,1,1,9,4,5,0.1,0.5
training,2,2,8,4,5,0.1,0.5
validation,2,2,8,4,5,0.1,0.5
training,3,3,9,4,5,0.1,0.5
training,3,3,7,4,5,0.1,0.5
validation,4,4,6,3,5,0.3,0.8
"""
DEVELOPMENT = """step,pair,figure,still,network
2,one,dice,0.5,0.4
2,two,dice,0.7,0.6
2,two,tre_mm,4,5
4,one,dice,0.5,0.6
4,two,dice,0.7,0.8
4,two,tre_mm,4,3
"""


@pytest.fixture
def script():
    return load_script("training_pictures")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "curve.csv").write_text(CURVE)
    (tmp_path / "development.csv").write_text(DEVELOPMENT)
    return tmp_path


def run(name: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def lines_of(cell) -> dict[str, list[float]]:
    return {line.get_label(): [float(y) for y in line.get_ydata()] for line in cell.get_lines()}


class TestPictures:
    def test_a_row_for_every_seed_names_its_seed(self, script):
        figure = script.draw_samples([3, 5], 32)
        assert [cell.get_ylabel() for cell in figure.axes if cell.get_ylabel()] == ["seed 3", "seed 5"]
        assert len(figure.axes) == 12

    def test_the_warped_moving_scan_matches_the_fixed_one(self, script, monkeypatch):
        from GenRegLogic.training import appearance, pairs

        def same(count, generator):
            return (appearance.contrasts(count, generator)[0],) * 2

        monkeypatch.setattr(pairs, "degrade", lambda image, generator: image)
        monkeypatch.setattr(pairs, "contrasts", same)
        figure = script.draw_samples([4], 32)
        fixed, moving, warped = (np.asarray(figure.axes[column].images[0].get_array()) for column in (0, 1, 4))
        assert np.abs(warped - fixed).mean() < 0.5 * np.abs(moving - fixed).mean()

    def test_of_two_runs_of_a_step_the_curve_shows_the_later_one(self, script, folder):
        figure = script.draw_curve(script.read_rows(folder / "curve.csv"), [])
        assert len([cell for cell in figure.axes if cell.axison]) == 3
        loss = lines_of(figure.axes[0])
        assert loss["held-aside pairs, full deformation"] == [8, 6]
        assert loss["training, 100 steps each"] == [pytest.approx((9 + 8 + 7) / 3)]

    def test_the_means_of_development_pairs_are_drawn_beside_the_linear_mapping(self, script, folder):
        rows = [script.read_rows(folder / name) for name in ("curve.csv", "development.csv")]
        dice, tre = script.draw_curve(*rows).axes[3:5]
        assert lines_of(dice)["network's field, mean"] == pytest.approx([0.5, 0.7])
        assert lines_of(dice)["linear only, mean"] == pytest.approx([0.6, 0.6])
        assert lines_of(tre)["network's field, mean"] == [5, 3]

    def test_both_pictures_are_written(self, folder):
        done = run("training_pictures", "--samples", "--seeds", "2", "--curve", folder, "--output", folder / "out")
        assert done.returncode == 0, done.stderr
        for name in ("samples.png", "curve.png"):
            assert np.ptp(np.asarray(Image.open(folder / "out" / name).convert("L"))) > 100


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((), "say what to draw"),
            (("--curve", "nowhere"), "train first with scripts/train"),
            (("--samples", "--seeds", "some"), "is not a range of seeds"),
        ],
    )
    def test_options_that_cannot_be_drawn_are_refused_with_one_sentence(self, tmp_path, arguments, sentence):
        done = run("training_pictures", *arguments, "--output", tmp_path)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_missing_development_pairs_are_refused_with_one_sentence(self, tmp_path):
        done = run(
            "train",
            "--folder",
            tmp_path / "training",
            "--development",
            tmp_path / "nowhere",
            "--steps",
            "1",
            "--device",
            "cpu",
        )
        assert done.returncode == 2
        assert "holds no cases.json" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "training").exists()
