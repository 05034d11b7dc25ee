"""Real pairs while the network trains: scored as they should be, kept between runs, and never learned from."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import write_volume
from GenRegLogic.files.points import write_points
from GenRegLogic.network.model import STRIDES, Network, Output
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.training import validation
from GenRegLogic.training.loop import Recipe, Trainer
from GenRegLogic.training.validation import DevelopmentPair, load_pairs, validate

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
CPU = torch.device("cpu")
SHAPE = (20, 22, 24)
SHIFT = (3.0, -2.0, 1.0)
"""Voxels (x, y, z) that the made-up pair's moving scan lies off, after the linear part."""

TURN = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def boxes(corner=(6, 7, 8)) -> np.ndarray:
    """Two boxes side by side, labels 1 and 2; the corner is (x, y, z)."""
    labels = np.zeros(SHAPE, np.int16)
    x, y, z = (int(c) for c in corner)
    labels[z : z + 6, y : y + 6, x : x + 6] = 1
    labels[z : z + 6, y : y + 6, x + 6 : x + 10] = 2
    return labels


@pytest.fixture
def pair() -> DevelopmentPair:
    """Everything lies SHIFT away; the moving scan's world is turned, its label map has another grid."""
    random = np.random.default_rng(0)
    to_moving = np.eye(4)
    to_moving[:3, :3], to_moving[:3, 3] = 2.0 * TURN, (5, 6, 7)
    fixed_points = random.uniform(6, 16, (9, 3))
    to_labels = np.eye(4)
    to_labels[:3, 3] = (-2, -1, -3)
    scan = random.normal(size=SHAPE).astype(np.float32)
    return DevelopmentPair(
        "made up",
        scan,
        scan,
        to_moving,
        fixed_points,
        (fixed_points + SHIFT) @ to_moving[:3, :3].T + to_moving[:3, 3],
        boxes(),
        boxes(np.add((6, 7, 8), SHIFT))[3:, 1:, 2:],
        to_labels,
    )


def constant(vector) -> torch.Tensor:
    return torch.tensor(vector, dtype=torch.float32).view(3, 1, 1, 1).expand(3, *SHAPE).clone()


class Shifting(nn.Module):
    """Stands in for the network: one field for all, at half resolution."""

    def __init__(self, vector=SHIFT):
        super().__init__()
        self.vector = nn.Parameter(torch.tensor(vector))

    def forward(self, fixed, moving):
        shape = [-(-n // STRIDES[0]) for n in fixed.shape[2:]]
        return Output([self.vector.view(1, 3, 1, 1, 1).expand(1, 3, *shape)], [], [])


class TestScore:
    def test_the_true_field_brings_labels_and_landmarks_together(self, pair):
        figures = pair.score(constant(SHIFT))
        assert figures["dice"] == 1.0
        assert figures["tre_mm"] == pytest.approx(0.0, abs=1e-4)

    def test_without_a_field_landmarks_are_as_far_apart_as_they_are_in_mm(self, pair):
        figures = pair.score(constant((0, 0, 0)))
        assert figures["tre_mm"] == pytest.approx(2.0 * np.linalg.norm(SHIFT))
        assert 0 < figures["dice"] < 0.6

    def test_labels_that_neither_scan_has_do_not_count(self, pair):
        only = dataclasses.replace(pair, fixed_labels=pair.fixed_labels * 3, moving_labels=pair.moving_labels * 3)
        assert only.score(constant(SHIFT))["dice"] == 1.0

    def test_a_field_that_leads_out_of_the_label_map_finds_nothing_there(self, pair):
        assert pair.score(constant((500, 0, 0)))["dice"] == 0.0

    def test_a_field_that_is_not_a_number_is_no_reason_to_stop(self, pair):
        figures = pair.score(constant((float("nan"), 0, 0)))
        assert figures["dice"] == 0.0
        assert np.isnan(figures["tre_mm"])

    def test_only_what_is_known_is_scored(self, pair):
        assert set(dataclasses.replace(pair, fixed_labels=None).score(constant(SHIFT))) == {"tre_mm"}
        assert set(dataclasses.replace(pair, fixed_points=None).score(constant(SHIFT))) == {"dice"}


class TestValidate:
    def test_the_networks_field_stands_beside_none(self, pair):
        rows = {row.figure: row for row in validate(Shifting(), [pair])}
        assert rows["dice"].network == 1.0 > rows["dice"].still
        assert rows["tre_mm"].network == pytest.approx(0.0, abs=1e-4)
        assert rows["tre_mm"].still == pytest.approx(2.0 * np.linalg.norm(SHIFT))
        assert {row.pair for row in rows.values()} == {"made up"}

    def test_no_gradient_comes_from_it(self, pair):
        network = Network()
        rows = validate(network, [pair])
        assert all(isinstance(row.network, float) for row in rows)
        assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
        assert torch.is_grad_enabled()


BLOBS = (((0, 0, 0), 14, 100), ((5, 3, -2), 5, 80), ((-6, 2, 4), 4, -60), ((1, -7, 3), 4, 50))
"""Center and radius, mm, and how bright."""


def scan(geometry: Geometry, offset) -> np.ndarray:
    """The blobs, `offset` mm away, on a dark ground."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.size), indexing="ij"), axis=-1)
    places = geometry.to_world(index) - offset
    value = np.zeros(places.shape[:3])
    for center, radius, height in BLOBS:
        value += height * (np.linalg.norm(places - center, axis=-1) < radius)
    return value.transpose(2, 1, 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A made-up miniature of the development pairs: a moving scan 4 mm off, on other axes."""
    folder = tmp_path / "data"
    folder.mkdir()
    other_axes = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    grids = {
        "fixed": Geometry((26, 28, 24), (1.5, 1.4, 1.6), (-19.0, -19.0, -18.0)),
        "moving": Geometry((28, 24, 26), (1.4, 1.6, 1.5), (-15.0, 18.0, -21.0), other_axes),
    }
    landmarks = np.array([center for center, _, _ in BLOBS], float)
    for role, grid in grids.items():
        offset = (0, 0, 0) if role == "fixed" else (4, 0, -2)
        array = scan(grid, offset)
        write_volume(Volume(array.astype(np.float32), grid), folder / f"{role}.nii.gz")
        write_volume(Volume((7 * (array > 60)).astype(np.uint8), grid), folder / f"{role}_labels.nii.gz")
        write_points(landmarks + offset, folder / f"{role}_points.csv")
    files = {
        f"{role}_{kind}": f"{role}_{kind}.{ending}"
        for role in grids
        for kind, ending in (("labels", "nii.gz"), ("points", "csv"))
    }
    case = {"name": "miniature", "fixed": "fixed.nii.gz", "moving": "moving.nii.gz", "labels": [7], **files}
    write_cases(folder, [case])
    return folder


def write_cases(folder: Path, cases: object) -> None:
    (folder / "cases.json").write_text(json.dumps({"cases": cases}))


def read_case(folder: Path) -> dict:
    return json.loads((folder / "cases.json").read_text())["cases"][0]


class TestLoading:
    def test_a_pair_comes_aligned_linearly_on_one_grid(self, folder, tmp_path):
        (pair,) = load_pairs(folder, tmp_path / "kept", CPU)
        figures = pair.score(torch.zeros((3, *pair.fixed.shape)))
        assert figures["tre_mm"] < 1.0
        assert figures["dice"] > 0.9
        for image in (pair.fixed, pair.moving):
            assert image.shape == pair.fixed_labels.shape
            assert image.mean() == pytest.approx(0, abs=1e-4)
            assert image.std() == pytest.approx(1, abs=1e-3)
        assert np.corrcoef(pair.fixed.ravel(), pair.moving.ravel())[0, 1] > 0.9

    def test_a_pair_that_was_prepared_is_not_prepared_again(self, folder, tmp_path, monkeypatch):
        (first,) = load_pairs(folder, tmp_path / "kept", CPU)
        monkeypatch.setattr(validation, "_prepared", None)
        (second,) = load_pairs(folder, tmp_path / "kept", CPU)
        for field in dataclasses.fields(DevelopmentPair):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))

    @pytest.mark.parametrize("what", ["another label is scored", "the file is damaged"])
    def test_what_was_kept_of_something_else_is_prepared_anew(self, folder, tmp_path, what):
        kept = tmp_path / "kept"
        load_pairs(folder, kept, CPU)
        if what == "the file is damaged":
            (kept / "miniature.npz").write_bytes(b"PK\x03\x04 no longer")
        else:
            write_cases(folder, [{**read_case(folder), "labels": [[7, 7], [8, 8]]}])
        lines = []
        (pair,) = load_pairs(folder, kept, CPU, lines.append)
        assert len(lines) == 1
        assert pair.fixed_labels.any()

    def test_what_is_kept_holds_no_pickled_object(self, folder, tmp_path):
        load_pairs(folder, tmp_path / "kept", CPU)
        with np.load(tmp_path / "kept" / "miniature.npz", allow_pickle=False) as file:
            assert all(file[name].dtype.kind in "fiU" for name in file.files)


class TestRefusals:
    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(InputError, match=r"holds no cases\.json; give the folder"):
            load_pairs(tmp_path / "nowhere", tmp_path / "kept", CPU)
        assert not (tmp_path / "kept").exists()

    def test_a_list_that_is_none(self, folder, tmp_path):
        (folder / "cases.json").write_text("[1, 2")
        with pytest.raises(InputError, match="is not a list of development pairs"):
            load_pairs(folder, tmp_path, CPU)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"name": "../outside"}, "cannot be a name"),
            ({"name": None}, "needs a name"),
            ({"moving": 3}, "lacks moving"),
            ({"moving_labels": None}, "lacks moving_labels"),
            ({"fixed": "gone.nii.gz"}, r"gone\.nii\.gz does not exist"),
        ],
    )
    def test_a_pair_that_cannot_be_used(self, folder, tmp_path, change, sentence):
        write_cases(folder, [{**read_case(folder), **change}])
        with pytest.raises(InputError, match=sentence):
            load_pairs(folder, tmp_path / "kept", CPU)

    def test_a_pair_without_anything_to_score_by(self, folder, tmp_path):
        case = {key: value for key, value in read_case(folder).items() if key not in ("labels", "fixed_points")}
        write_cases(folder, [case])
        with pytest.raises(InputError, match="neither labels nor landmarks"):
            load_pairs(folder, tmp_path / "kept", CPU)

    def test_an_empty_list(self, folder, tmp_path):
        write_cases(folder, [])
        with pytest.raises(InputError, match="lists no development pairs"):
            load_pairs(folder, tmp_path / "kept", CPU)


class TestTraining:
    RECIPE = Recipe(size=32, warm_up=2)

    def run(self, folder: Path, pairs, steps: int, lines: list[str] | None = None) -> Trainer:
        trainer = Trainer(folder, self.RECIPE, CPU, say=(lines if lines is not None else []).append, development=pairs)
        trainer.run(steps, develop_every=2)
        return trainer

    def test_every_few_steps_the_pairs_stand_in_a_table(self, pair, tmp_path):
        lines = []
        self.run(tmp_path, [pair], 3, lines)
        self.run(tmp_path, [pair], 4, lines)  # goes on where the first one stopped
        with open(tmp_path / "development.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["step"], row["pair"], row["figure"]) for row in rows] == [
            (step, "made up", figure) for step in ("2", "4") for figure in ("dice", "tre_mm")
        ]
        assert all(float(row["still"]) > 0 and float(row["network"]) >= 0 for row in rows)
        said = [line for line in lines if line.startswith("development")]
        assert len(said) == 2
        assert "dice" in said[0]
        assert "tre_mm" in said[0]

    def test_the_pairs_change_nothing_in_the_weights(self, pair, tmp_path):
        looked = self.run(tmp_path / "with", [pair], 2)
        alone = self.run(tmp_path / "without", [], 2)
        assert not (tmp_path / "without" / "development.csv").exists()
        for one, other in zip(looked.network.parameters(), alone.network.parameters()):
            assert torch.equal(one, other)


@pytest.mark.skipif(not (DATA / "cases.json").is_file(), reason="the development pairs are not beside the checkout")
def test_a_real_pair_is_scored_as_after_linear_alignment(tmp_path):
    case = next(
        case for case in json.loads((DATA / "cases.json").read_text())["cases"] if case["name"] == "lung_ct_elastix"
    )
    case = {key: str(DATA / value) if (DATA / str(value)).is_file() else value for key, value in case.items()}
    write_cases(tmp_path, [case])
    (pair,) = load_pairs(tmp_path, tmp_path / "kept", CPU)
    figures = pair.score(torch.zeros((3, *pair.fixed.shape)))
    assert figures["tre_mm"] == pytest.approx(4.84, abs=0.3)  # the referee's, of the linear mapping alone
    assert figures["dice"] == pytest.approx(0.943, abs=0.01)
