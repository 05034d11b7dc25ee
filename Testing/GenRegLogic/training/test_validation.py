"""Validation on real pairs: their scores, the kept arrays, and that the network does not learn from them."""

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
from GenRegLogic.training.loop import Recipe, Trainer
from GenRegLogic.training.validation import DevelopmentPair, load_pairs, validate

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
CPU = torch.device("cpu")
SHAPE = (20, 22, 24)
SHIFT = (3.0, -2.0, 1.0)
"""Displacement, voxels (x, y, z), of the synthetic pair after the linear part."""

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
    """Label map of two adjacent boxes, 1 and 2; the corner of the first is (x, y, z)."""
    labels = np.zeros(SHAPE, np.int16)
    x, y, z = (int(c) for c in corner)
    labels[z : z + 6, y : y + 6, x : x + 6] = 1
    labels[z : z + 6, y : y + 6, x + 6 : x + 10] = 2
    return labels


@pytest.fixture
def pair() -> DevelopmentPair:
    """A pair displaced by SHIFT; the moving scan's world is rotated, its label map has another grid."""
    random = np.random.default_rng(0)
    to_moving = np.eye(4)
    to_moving[:3, :3], to_moving[:3, 3] = 2.0 * TURN, (5, 6, 7)
    fixed_points = random.uniform(6, 16, (9, 3))
    to_labels = np.eye(4)
    to_labels[:3, 3] = (-2, -1, -3)
    scan = random.normal(size=SHAPE).astype(np.float32)
    return DevelopmentPair(
        "synthetic",
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
    """Replaces the network: the same constant field for every pair, at half resolution."""

    def __init__(self, vector=SHIFT):
        super().__init__()
        self.vector = nn.Parameter(torch.tensor(vector))

    def forward(self, fixed, moving):
        shape = [-(-n // STRIDES[0]) for n in fixed.shape[2:]]
        return Output([self.vector.view(1, 3, 1, 1, 1).expand(1, 3, *shape)], [], [])


class TestScore:
    def test_the_true_field_has_a_perfect_score(self, pair):
        figures = pair.score(constant(SHIFT))
        assert figures["dice"] == 1.0
        assert figures["tre_mm"] == pytest.approx(0.0, abs=1e-4)

    def test_the_landmark_error_of_no_field_is_the_displacement_in_mm(self, pair):
        figures = pair.score(constant((0, 0, 0)))
        assert figures["tre_mm"] == pytest.approx(2.0 * np.linalg.norm(SHIFT))
        assert 0 < figures["dice"] < 0.6

    def test_labels_that_neither_scan_has_are_not_averaged(self, pair):
        only = dataclasses.replace(pair, fixed_labels=pair.fixed_labels * 3, moving_labels=pair.moving_labels * 3)
        assert only.score(constant(SHIFT))["dice"] == 1.0

    def test_a_field_that_leads_outside_the_label_map_has_no_overlap(self, pair):
        assert pair.score(constant((500, 0, 0)))["dice"] == 0.0

    def test_a_field_of_nan_is_scored_without_an_error(self, pair):
        figures = pair.score(constant((float("nan"), 0, 0)))
        assert figures["dice"] == 0.0
        assert np.isnan(figures["tre_mm"])

    def test_only_labels_and_landmarks_that_exist_are_scored(self, pair):
        assert set(dataclasses.replace(pair, fixed_labels=None).score(constant(SHIFT))) == {"tre_mm"}
        assert set(dataclasses.replace(pair, fixed_points=None).score(constant(SHIFT))) == {"dice"}


class TestValidate:
    def test_the_rows_compare_the_networks_field_with_no_field(self, pair):
        rows = {row.figure: row for row in validate(Shifting(), [pair])}
        assert rows["dice"].network == 1.0 > rows["dice"].still
        assert rows["tre_mm"].network == pytest.approx(0.0, abs=1e-4)
        assert rows["tre_mm"].still == pytest.approx(2.0 * np.linalg.norm(SHIFT))
        assert {row.pair for row in rows.values()} == {"synthetic"}

    def test_validation_computes_no_gradients(self, pair):
        network = Network()
        rows = validate(network, [pair])
        assert [row.figure for row in rows] == ["dice", "tre_mm"]
        assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
        assert torch.is_grad_enabled()


BLOBS = (((0, 0, 0), 14, 100), ((5, 3, -2), 5, 80), ((-6, 2, 4), 4, -60), ((1, -7, 3), 4, 50))
"""Center, radius (both mm) and intensity."""


def scan(geometry: Geometry, offset) -> np.ndarray:
    """The blobs, shifted by `offset` mm, on a dark background."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.size), indexing="ij"), axis=-1)
    places = geometry.to_world(index) - offset
    value = np.zeros(places.shape[:3])
    for center, radius, height in BLOBS:
        value += height * (np.linalg.norm(places - center, axis=-1) < radius)
    return value.transpose(2, 1, 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small synthetic development pair: the moving scan is shifted by 4 mm and has other axes."""
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
    def test_a_loaded_pair_is_aligned_linearly_on_one_grid(self, folder, tmp_path):
        (pair,) = load_pairs(folder, tmp_path / "kept", CPU)
        figures = pair.score(torch.zeros((3, *pair.fixed.shape)))
        assert figures["tre_mm"] < 1.0
        assert figures["dice"] > 0.9
        for image in (pair.fixed, pair.moving):
            assert image.shape == pair.fixed_labels.shape
            assert image.mean() == pytest.approx(0, abs=1e-4)
            assert image.std() == pytest.approx(1, abs=1e-3)
        assert np.corrcoef(pair.fixed.ravel(), pair.moving.ravel())[0, 1] > 0.9

    def test_a_pair_that_was_prepared_is_not_prepared_again(self, folder, tmp_path):
        lines = []
        (first,) = load_pairs(folder, tmp_path / "kept", CPU, lines.append)
        assert len(lines) == 1
        (second,) = load_pairs(folder, tmp_path / "kept", CPU, lines.append)
        assert len(lines) == 1
        for field in dataclasses.fields(DevelopmentPair):
            assert np.array_equal(getattr(first, field.name), getattr(second, field.name))

    @pytest.mark.parametrize("what", ["another label is scored", "the file is damaged"])
    def test_a_kept_pair_that_does_not_fit_is_prepared_again(self, folder, tmp_path, what):
        kept = tmp_path / "kept"
        load_pairs(folder, kept, CPU)
        if what == "the file is damaged":
            (kept / "miniature.npz").write_bytes(b"PK\x03\x04 damaged")
        else:
            write_cases(folder, [{**read_case(folder), "labels": [[7, 7], [8, 8]]}])
        lines = []
        (pair,) = load_pairs(folder, kept, CPU, lines.append)
        assert len(lines) == 1
        assert pair.fixed_labels.any()

    def test_a_kept_pair_has_no_pickled_object(self, folder, tmp_path):
        load_pairs(folder, tmp_path / "kept", CPU)
        with np.load(tmp_path / "kept" / "miniature.npz", allow_pickle=False) as file:
            assert {"fixed", "moving", "to_moving"} <= set(file.files)
            assert all(file[name].dtype.kind in "fiU" for name in file.files)


class TestRefusals:
    def test_a_missing_folder_is_refused_before_anything_is_created(self, tmp_path):
        with pytest.raises(InputError, match=r"holds no cases\.json; give the folder"):
            load_pairs(tmp_path / "nowhere", tmp_path / "kept", CPU)
        assert not (tmp_path / "kept").exists()

    def test_a_file_of_cases_that_is_not_json_is_refused(self, folder, tmp_path):
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
    def test_an_unusable_pair_is_refused(self, folder, tmp_path, change, sentence):
        write_cases(folder, [{**read_case(folder), **change}])
        with pytest.raises(InputError, match=sentence):
            load_pairs(folder, tmp_path / "kept", CPU)

    def test_a_pair_without_labels_and_landmarks_is_refused(self, folder, tmp_path):
        case = {key: value for key, value in read_case(folder).items() if key not in ("labels", "fixed_points")}
        write_cases(folder, [case])
        with pytest.raises(InputError, match="neither labels nor landmarks"):
            load_pairs(folder, tmp_path / "kept", CPU)

    def test_an_empty_list_of_pairs_is_refused(self, folder, tmp_path):
        write_cases(folder, [])
        with pytest.raises(InputError, match="lists no development pairs"):
            load_pairs(folder, tmp_path / "kept", CPU)


class TestTraining:
    RECIPE = Recipe(size=32, warm_up=2)

    def run(self, folder: Path, pairs, steps: int, lines: list[str] | None = None) -> Trainer:
        trainer = Trainer(folder, self.RECIPE, CPU, say=(lines if lines is not None else []).append, development=pairs)
        trainer.run(steps, develop_every=2)
        return trainer

    def test_the_scores_are_written_regularly_also_after_resuming(self, pair, tmp_path):
        lines = []
        self.run(tmp_path, [pair], 3, lines)
        self.run(tmp_path, [pair], 4, lines)  # resumes at step 3
        with open(tmp_path / "development.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["step"], row["pair"], row["figure"]) for row in rows] == [
            (step, "synthetic", figure) for step in ("2", "4") for figure in ("dice", "tre_mm")
        ]
        still = pair.score(constant((0, 0, 0)))
        assert all(float(row["still"]) == pytest.approx(still[row["figure"]], rel=1e-4) for row in rows)
        logged = [line for line in lines if line.startswith("development")]
        assert len(logged) == 2
        assert "dice" in logged[0]
        assert "tre_mm" in logged[0]

    def test_the_weights_are_the_same_with_and_without_development_pairs(self, pair, tmp_path):
        with_pairs = self.run(tmp_path / "with", [pair], 2)
        without = self.run(tmp_path / "without", [], 2)
        assert (tmp_path / "with" / "development.csv").exists()
        assert not (tmp_path / "without" / "development.csv").exists()
        for one, other in zip(with_pairs.network.parameters(), without.network.parameters()):
            assert torch.equal(one, other)


@pytest.mark.skipif(not (DATA / "cases.json").is_file(), reason="the development pairs are not beside the checkout")
def test_a_real_pair_has_the_scores_of_its_linear_alignment(tmp_path):
    case = next(
        case for case in json.loads((DATA / "cases.json").read_text())["cases"] if case["name"] == "lung_ct_elastix"
    )
    case = {key: str(DATA / value) if (DATA / str(value)).is_file() else value for key, value in case.items()}
    write_cases(tmp_path, [case])
    (pair,) = load_pairs(tmp_path, tmp_path / "kept", CPU)
    figures = pair.score(torch.zeros((3, *pair.fixed.shape)))
    assert figures["tre_mm"] == pytest.approx(4.84, abs=0.3)  # the value of the referee for the linear mapping
    assert figures["dice"] == pytest.approx(0.943, abs=0.01)
