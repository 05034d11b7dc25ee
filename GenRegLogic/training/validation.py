"""Validation on real pairs during the training; the network does not learn from them.

Each pair is prepared and aligned linearly once, by the stages of the engine, and kept as arrays on one grid: that of
the proposals, about 200,000 voxels. The network's field is scored without any refinement, beside the linear mapping
alone: mean Dice of the labels, mean distance of the landmarks.

Places on the grid are voxels (x, y, z) along the fixed scan's canonical axes. A field maps fixed to moving before the
linear part: a place x of the fixed grid is mapped to M (x + u(x)) in the moving scan.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..errors import InputError
from ..files.atomic import replacing
from ..files.images import read_volume
from ..files.points import read_points
from ..network.model import Network, double, sample_places
from ..space.geometry import Geometry
from ..space.grid import resample
from ..space.registrable import check_registrable
from ..stages.alignment import align
from ..stages.prepare import prepare

__all__ = ["DevelopmentPair", "Row", "load_pairs", "validate"]

CASES = "cases.json"
FORMAT = 1
"""Version of the kept arrays; those of another version are prepared again."""


class Row(NamedTuple):
    """One figure of one pair, with no field (the linear mapping alone) and with the network's."""

    pair: str
    figure: str
    still: float
    network: float


@dataclasses.dataclass(frozen=True, eq=False)
class DevelopmentPair:
    """Two real scans on one grid, with the labels and landmarks by which a field is scored.

    Attributes:
        name: Name of the pair.
        fixed: (D, H, W) float32, zero mean and unit standard deviation over the grid, as in training.
        moving: The same of the moving scan under the linear mapping.
        to_moving: (4, 4) float64, M, from voxels of the grid (x, y, z, 1) to the moving scan, LPS mm.
        fixed_points: (n, 3) float64 landmarks, voxels (x, y, z) of the grid; None without landmarks.
        moving_points: (n, 3) float64, LPS mm, row by row the same places.
        fixed_labels: (D, H, W) int16: 1, 2, … for the labels to score, 0 elsewhere; None without labels.
        moving_labels: (d, h, w) int16 on a grid of its own, with the same numbers.
        to_labels: (4, 4) float64, from voxels of the grid to those of `moving_labels` (x, y, z, 1).
    """

    name: str
    fixed: np.ndarray
    moving: np.ndarray
    to_moving: np.ndarray
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    fixed_labels: np.ndarray | None = None
    moving_labels: np.ndarray | None = None
    to_labels: np.ndarray | None = None

    def score(self, u: torch.Tensor) -> dict[str, float]:
        """Score a field.

        Args:
            u: (3, D, H, W) displacement, voxels (x, y, z), fixed -> moving.

        Returns:
            "dice", the mean over the labels, where the pair has labels; "tre_mm", the mean, where it has landmarks.
        """
        figures = {}
        if self.fixed_labels is not None:
            figures["dice"] = _dice(self.fixed_labels, _looked_up(self.moving_labels, self.to_labels, u))
        if self.fixed_points is not None:
            figures["tre_mm"] = self._distance(u)
        return figures

    def _distance(self, u: torch.Tensor) -> float:
        places = torch.from_numpy(self.fixed_points.T).float().reshape(1, 3, -1, 1, 1)
        moved = self.fixed_points + sample_places(u.float().cpu()[None], places).reshape(3, -1).T.numpy()
        there = moved @ self.to_moving[:3, :3].T + self.to_moving[:3, 3]
        return float(np.linalg.norm(there - self.moving_points, axis=1).mean())


def _looked_up(labels: np.ndarray, to_labels: np.ndarray, u: torch.Tensor) -> np.ndarray:
    """(D, H, W): the label nearest to the place to which a field (3, D, H, W) maps each voxel; 0 outside the map."""
    matrix = torch.from_numpy(to_labels).float()
    z, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in u.shape[1:]), indexing="ij")
    places = (torch.stack([x, y, z]) + u.float().cpu()).reshape(3, -1)
    index = torch.addmm(matrix[:3, 3:], matrix[:3, :3], places).round()
    inside = ((index >= 0) & (index < torch.tensor(labels.shape[::-1])[:, None])).all(dim=0).numpy()
    i, j, k = index.numpy()[:, inside].astype(np.int64)
    found = np.zeros(inside.shape, labels.dtype)
    found[inside] = labels[k, j, i]
    return found.reshape(tuple(u.shape[1:]))


def _dice(fixed: np.ndarray, moving: np.ndarray) -> float:
    """Mean Dice over the labels that at least one map has; NaN where there is none."""
    count = int(max(fixed.max(), moving.max())) + 1
    sizes = np.bincount(fixed.ravel(), minlength=count) + np.bincount(moving.ravel(), minlength=count)
    both = np.bincount(fixed[fixed == moving], minlength=count)
    present = sizes > 0
    present[0] = False
    return float((2 * both[present] / sizes[present]).mean()) if present.any() else float("nan")


@torch.no_grad()
def validate(network: Network, pairs: list[DevelopmentPair]) -> list[Row]:
    """Score the network's field and the linear mapping alone on every pair.

    It runs without gradients, so that the weights cannot learn from these pairs.
    """
    device = next(network.parameters()).device
    rows = []
    for pair in pairs:
        fixed, moving = (torch.from_numpy(scan)[None, None].to(device) for scan in (pair.fixed, pair.moving))
        u = double(network(fixed, moving).fields[-1], pair.fixed.shape)[0].cpu()
        still, moved = pair.score(torch.zeros_like(u)), pair.score(u)
        rows += [Row(pair.name, figure, still[figure], moved[figure]) for figure in moved]
    return rows


# Preparing and keeping ----------------------------------------------------------------------------------------------


def load_pairs(
    folder: Path, kept: Path, device: torch.device, say: Callable[[str], None] = lambda line: None
) -> list[DevelopmentPair]:
    """The prepared pairs of a folder's cases.json; pairs that were prepared before are read from `kept`.

    Args:
        folder: Holds cases.json: {"cases": [{"name", "fixed", "moving", and "fixed_labels", "moving_labels", "labels"
            or "fixed_points", "moving_points"}]}, paths relative to the folder.
        kept: Folder of the prepared pairs (.npz); created where it is missing.
        device: Where to compute the preparation.
        say: Called with a line for every pair that has to be prepared.

    Raises:
        InputError: The folder or one of its files is missing or unusable.
    """
    folder, kept = Path(folder), Path(kept)
    cases = _read_cases(folder)
    kept.mkdir(parents=True, exist_ok=True)
    pairs = []
    for case in cases:
        path, source = kept / f"{case['name']}.npz", _fingerprint(case, folder)
        pair = _read_kept(path, case["name"], source)
        if pair is None:
            say(f"Preparing {case['name']}, for development.")
            pair = _prepared(case, folder, device)
            _keep(pair, path, source)
        pairs.append(pair)
    return pairs


def _read_cases(folder: Path) -> list[dict]:
    path = folder / CASES
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    except OSError:
        raise InputError(f"{folder} holds no {CASES}; give the folder of the development pairs.") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a list of development pairs.") from None
    if not isinstance(cases, list) or not cases:
        raise InputError(f"{path} lists no development pairs.")
    for number, case in enumerate(cases, start=1):
        problem = _problem(case)
        if problem:
            raise InputError(f"{path}, pair {number}: {problem}")
    return cases


def _problem(case: object) -> str | None:
    """Why a case is unusable, in a sentence, or None."""
    if not isinstance(case, dict) or not isinstance(case.get("name"), str) or not case["name"]:
        return "every pair needs a name."
    if Path(case["name"]).name != case["name"]:
        return f"'{case['name']}' cannot be a name; kept files are called by it."
    if not case.get("labels") and "fixed_points" not in case:
        return f"{case['name']} has neither labels nor landmarks to be scored by."
    missing = [key for key in _files(case) if not isinstance(case.get(key), str)]
    return f"{case['name']} lacks {missing[0]}." if missing else None


def _files(case: Mapping) -> list[str]:
    """Keys of the files that a case must name."""
    keys = ["fixed", "moving"]
    keys += ["fixed_labels", "moving_labels"] if case.get("labels") else []
    return keys + (["fixed_points", "moving_points"] if "fixed_points" in case else [])


def _fingerprint(case: Mapping, folder: Path) -> str:
    """A checksum that changes with the files of a case and with the format of the kept arrays."""
    digest = hashlib.sha256(json.dumps([FORMAT, case], sort_keys=True).encode())
    for key in _files(case):
        path = folder / case[key]
        if not path.is_file():
            raise InputError(f"{case['name']}: {path} does not exist.")
        state = path.stat()
        digest.update(f"{state.st_size} {state.st_mtime_ns} ".encode())
    return digest.hexdigest()


def _keep(pair: DevelopmentPair, path: Path, source: str) -> None:
    arrays = {field.name: getattr(pair, field.name) for field in dataclasses.fields(pair)}
    arrays = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, source=np.array(source), **arrays)


def _read_kept(path: Path, name: str, source: str) -> DevelopmentPair | None:
    """A kept pair; None where it is missing, damaged or was prepared from other files."""
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if str(arrays.pop("source")) == source:
            return DevelopmentPair(name, **arrays)
    return None


def _prepared(case: Mapping, folder: Path, device: torch.device) -> DevelopmentPair:
    scans = {role: check_registrable(read_volume(folder / case[role]), role) for role in ("fixed", "moving")}
    fixed, moving = (prepare(scan, mask=None, device=device, role=role) for role, scan in scans.items())
    linear, level = align(fixed, moving)
    grid = level.fixed_geometry
    image, (warped, _) = resample(fixed.image, grid).tensor, level.intensities(linear.matrix, None)
    to_moving = linear.matrix @ grid.index_to_world
    return DevelopmentPair(
        case["name"],
        _standardized(image),
        _standardized(warped),
        to_moving,
        **_landmarks(case, folder, grid),
        **_labels(case, folder, grid, to_moving),
    )


def _standardized(image: torch.Tensor) -> np.ndarray:
    return ((image - image.mean()) / image.std().clamp(min=1e-6)).cpu().numpy()


def _landmarks(case: Mapping, folder: Path, grid: Geometry) -> dict[str, np.ndarray]:
    if "fixed_points" not in case:
        return {}
    fixed, moving = (read_points(folder / case[key]) for key in ("fixed_points", "moving_points"))
    if len(fixed) != len(moving):
        raise InputError(f"{case['name']} has {len(fixed)} fixed but {len(moving)} moving landmarks.")
    return {"fixed_points": grid.to_index(fixed), "moving_points": moving}


def _labels(case: Mapping, folder: Path, grid: Geometry, to_moving: np.ndarray) -> dict[str, np.ndarray]:
    if not case.get("labels"):
        return {}
    scored = [pair if isinstance(pair, list) else [pair, pair] for pair in case["labels"]]
    volumes = [read_volume(folder / case[key]) for key in ("fixed_labels", "moving_labels")]
    fixed, moving = (_numbered(volume.array, [pair[role] for pair in scored]) for role, volume in enumerate(volumes))
    still = torch.zeros((3, *grid.shape))
    to_fixed = volumes[0].geometry.world_to_index @ grid.index_to_world
    moving, shift = _cropped(moving)
    return {
        "fixed_labels": _looked_up(fixed, to_fixed, still),
        "moving_labels": moving,
        "to_labels": shift @ volumes[1].geometry.world_to_index @ to_moving,
    }


def _numbered(labels: np.ndarray, values: list[int]) -> np.ndarray:
    """Labels renumbered by their position in `values`, from 1; 0 for all others."""
    order = np.argsort(values)
    at = np.searchsorted(values, labels, sorter=order).clip(max=len(values) - 1)
    number = order[at]
    return np.where(np.asarray(values)[number] == labels, number + 1, 0).astype(np.int16)


def _cropped(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels cropped to their bounding box, and the (4, 4) matrix from indices (x, y, z, 1) to those in the box."""
    shift = np.eye(4)
    for axis in range(3):
        used = np.flatnonzero(labels.any(axis=tuple(other for other in range(3) if other != axis)))
        if len(used):
            labels = labels.take(range(used[0], used[-1] + 1), axis=axis)
            shift[2 - axis, 3] = -used[0]
    return labels, shift
