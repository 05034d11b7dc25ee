"""Shared by the scripts that measure trust: runs with the signs of their errors, stored so that they can be resumed.

Key functions: `observe` (register, and record what the expected error is computed from), `damaged` (the same for a
result that is spoiled by hand), `Observations` (finished runs as compressed arrays), `sample` (the signs and the true
errors at random places of a run).

The observations contain image data; they stay in the work folder, which is not published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from GenRegLogic.quality import signs as signs_module
from GenRegLogic.quality.confidence import expected_error_of
from GenRegLogic.quality.findings import make_report, similarity
from GenRegLogic.quality.report import plain
from GenRegLogic.quality.signs import Signs, evidence, gather
from GenRegLogic.quality.verdict import default_tolerance
from GenRegLogic.settings import Settings
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import Image, resample
from GenRegLogic.space.volume import Volume

register_module = importlib.import_module("GenRegLogic.register")  # the package's attribute is the function

FIELDS = ("weight", "inside", "fixed", "warped", "u", "back", "followed", "apart")
SAMPLED = 600
"""Places of a run at which signs and true errors are compared; each run counts as much, however large its body."""

SAME_SUBJECTS = {
    "brain_head_1000_1001": "brain_malf_1000_1001",
    "brain_t1_us_warp": "brain_t1_t2_warp",
    "brain_t1_ct_warp": "brain_mni_colin_afids",
    "abdomen_ct_mr": "abdomen_ct_ircad",
}
"""Pairs that share a scan or a subject with another one."""

SHIFT, FLOW = 2.5, 3.0
"""Tolerances by which a damaged field is off: everywhere, or on average."""


@dataclasses.dataclass
class Kept:
    """What a run leaves for its observation.

    Attributes:
        arguments: Of `gather`.
        signs: What it returned.
        level: The scale of the proposals.
        began: CPU time at which the signs were begun.
        cost: CPU time of the expected error as a share of that of the whole run.
    """

    arguments: tuple = ()
    signs: Signs | None = None
    level: object = None
    began: float = math.nan
    cost: float = math.nan


def observe(fixed: Volume, moving: Volume, settings: Settings, **options) -> tuple[dict, dict, object, Kept]:
    """Register and record the input of the expected error.

    Args:
        fixed, moving: The scans.
        settings: Settings of the run.
        options: Further arguments of `register`.

    Returns:
        The arrays of its `Signs`, the report, the result, and what `damaged` needs.
    """
    kept = Kept()

    def gathered(*arguments):
        kept.began = time.process_time()
        kept.arguments, kept.signs = arguments, gather(*arguments)
        return kept.signs

    def expected(signs):
        error = expected_error_of(signs)
        kept.cost = time.process_time() - kept.began
        return error

    def reporter(inputs, prepared, forward, found, device):
        kept.level = found.level
        return make_report(inputs, prepared, forward, found, device)

    began = time.process_time()
    watched = {"gather": gathered, "expected_error_of": expected, "make_report": reporter}
    with mock.patch.multiple(register_module, **watched):
        result = register_module.register(fixed, moving, settings, **options)
    kept.cost /= time.process_time() - began
    return arrays_of(kept.signs, kept.arguments[2]), result.report, result, kept


def arrays_of(signs: Signs, linear: np.ndarray) -> dict:
    """The signs as arrays, and the linear part of their registration."""
    found = {name: getattr(signs, name) for name in FIELDS}
    arrays = {name: value.cpu().numpy() for name, value in found.items() if value is not None}
    facts = {"voxel_mm": np.array(signs.voxel_mm), "grid": np.array(json.dumps(signs.geometry.to_dict()))}
    return arrays | facts | {"linear": linear}


def signs_of(arrays: dict) -> Signs:
    """The `Signs` that `observe` recorded."""
    tensors = {name: torch.from_numpy(arrays[name]).float() if name in arrays else None for name in FIELDS}
    return Signs(geometry=grid_of(arrays), voxel_mm=float(arrays["voxel_mm"]), **tensors)


def grid_of(arrays: dict) -> Geometry:
    """The grid of the signs."""
    return Geometry.from_dict(json.loads(str(arrays["grid"])))


def mapped(arrays: dict, points: np.ndarray | None = None) -> np.ndarray:
    """Where a recorded registration leads: (n, 3) LPS mm for (n, 3) points, or for the voxels of its signs' grid."""
    grid, u = grid_of(arrays), torch.from_numpy(arrays["u"]).float()
    if points is None:
        points = _places(grid)
        moved = u.reshape(3, -1).numpy().T
    else:
        index = np.rint(grid.to_index(points)).astype(int).clip(0, np.array(grid.size) - 1)
        moved = u.numpy()[:, index[:, 2], index[:, 1], index[:, 0]].T
    there = points + moved @ grid.direction.T
    return there @ arrays["linear"][:3, :3].T + arrays["linear"][:3, 3]


def _places(grid: Geometry) -> np.ndarray:
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    return grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))


def with_truth(arrays: dict, forward: Callable, truth: Callable | None, points) -> dict:
    """The arrays with "error" (k, j, i), mm, or with "points" and "point_errors", where the truth is known."""
    out = dict(arrays)
    if truth is not None:
        grid = grid_of(arrays)
        places = _places(grid)
        error = np.linalg.norm(forward(places) - truth(places), axis=1)
        out["error"] = error.reshape(grid.shape).astype(np.float32)
    if points is not None:
        out |= {"points": points[0], "point_errors": np.linalg.norm(forward(points[0]) - points[1], axis=1)}
    return out


def damaged(kept: Kept, report: dict, seed: int) -> Iterator[tuple[str, dict, dict]]:
    """Name, arrays and report of a result that is shifted, or moved by a smooth random flow, by several tolerances."""
    fixed, moving, linear, field, settings, monitor, *_ = kept.arguments
    tolerance = default_tolerance(fixed.image.geometry, moving.image.geometry)
    for number, kind in enumerate(("shift", "flow")):
        random = np.random.default_rng([seed, number])
        if kind == "shift":
            vector = random.normal(size=3)
            vector *= SHIFT * tolerance / np.linalg.norm(vector)
            extra = torch.tensor(vector, dtype=torch.float32).view(3, 1, 1, 1).expand_as(field.tensor).contiguous()
        else:
            noise = torch.from_numpy(random.normal(size=(1, 3, 6, 6, 6)).astype(np.float32))
            size = field.tensor.shape[1:]
            extra = torch.nn.functional.interpolate(noise, size=size, mode="trilinear", align_corners=True)[0]
            extra *= FLOW * tolerance / float(extra.norm(dim=0).mean())
        spoiled = Image(field.tensor + extra, field.geometry)
        with torch.inference_mode():
            signs = gather(fixed, moving, linear, spoiled, settings, monitor)
            by = resample(Image(extra, field.geometry), signs.geometry, smooth=False).tensor
            u = resample(spoiled, kept.level.fixed_geometry, smooth=False).tensor
            shown = resample(fixed.image, kept.level.fixed_geometry).tensor
            after = similarity(kept.level, shown, linear, u)
        whole = torch.from_numpy(linear[:3, :3] @ signs.geometry.direction).float()
        error = (whole @ by.reshape(3, -1)).norm(dim=0).reshape(by.shape[1:]).numpy()
        found = plain({"before": report["similarity"]["before"], "after": after})
        yield kind, arrays_of(signs, linear) | {"error": error}, report | {"similarity": found}


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Random places of one run in the fixed body, the same number for each run.

    Attributes:
        name: Name of the run.
        about: The stored description and report; {"refused"} instead of a report where there is no result.
        grid: The signs' grid.
        voxel_mm: Mean spacing of the coarser scan.
        evidence: {name: (n,)}, see `signs.evidence`; with `calibration.MEDIAN` before the name (1,), of the body.
        inside: (n,) whether the mapped place lies in the moving scan.
        error: (n,) true error, mm; None if it is unknown.
        landmarks: Evidence and true error at landmarks, or None.
    """

    name: str
    about: dict
    grid: Geometry
    voxel_mm: float
    evidence: dict[str, np.ndarray]
    inside: np.ndarray
    error: np.ndarray | None
    landmarks: tuple[dict[str, np.ndarray], np.ndarray] | None

    @property
    def group(self) -> str:
        """Kind of the run."""
        return self.about["group"]

    @property
    def scan(self) -> str:
        """The pair whose scans it was made of."""
        return self.about["scan"]

    @property
    def families(self) -> frozenset[str]:
        """The pairs whose scans or subjects it shows; a fit that is tested on it must not have seen any of them."""
        pairs = (self.scan, self.about.get("other", self.scan))
        return frozenset(SAME_SUBJECTS.get(pair, pair) for pair in pairs)


def sample(observations: Observations, name: str, kept: Path) -> Sample | None:
    """Sample places of a run, stored in the folder `kept`; None if the run ended without a result."""
    source = inspect.getsource(signs_module.evidence) + inspect.getsource(signs_module._pull)
    path = kept / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.npz"
    if not path.exists():
        arrays, about = observations.get(name)
        if "grid" not in arrays:
            return None
        kept.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, about=np.array(json.dumps(about)), **_drawn(arrays))
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    at, marks, medians = (_named(arrays, kind) for kind in ("at_", "mark_", "median_"))
    return Sample(
        name,
        json.loads(str(arrays["about"])),
        grid_of(arrays),
        float(arrays["voxel_mm"]),
        at | {f"median_{key}": value for key, value in medians.items()},
        arrays["inside"],
        arrays.get("error"),
        (marks, arrays["point_errors"]) if "point_errors" in arrays else None,
    )


def read_samples(work: Path) -> list[Sample]:
    """Of all finished runs that have a result, in the folder of `scripts/trust`."""
    observations = Observations(work / "runs")
    found = (sample(observations, name, work / "samples") for name in observations.names())
    return [one for one in found if one is not None]


def _drawn(arrays: dict) -> dict:
    signs = signs_of(arrays)
    with torch.inference_mode():
        found = {key: value.numpy() for key, value in evidence(signs).items()}
    body = np.flatnonzero(arrays["weight"].ravel() > 0)
    some = np.random.default_rng(0).permutation(body)[:SAMPLED]
    out = {f"at_{key}": value.ravel()[some] for key, value in found.items()}
    out |= {f"median_{key}": np.median(value.ravel()[body]) for key, value in found.items()}
    out |= {"inside": arrays["inside"].ravel()[some] > 0, "grid": arrays["grid"], "voxel_mm": arrays["voxel_mm"]}
    if "error" in arrays:
        out["error"] = arrays["error"].ravel()[some]
    if "points" in arrays:
        index = np.rint(signs.geometry.to_index(arrays["points"])).astype(int)
        index = tuple(index.clip(0, np.array(signs.geometry.size) - 1).T[::-1])
        out |= {f"mark_{key}": value[index] for key, value in found.items()}
        out["point_errors"] = arrays["point_errors"]
    return out


def _named(arrays: dict, kind: str) -> dict:
    return {key.removeprefix(kind): value for key, value in arrays.items() if key.startswith(kind)}


class Observations:
    """Finished runs by name, in one compressed file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, name: str) -> bool:
        """Whether the run is finished."""
        return (self.folder / f"{name}.npz").exists()

    def put(self, name: str, arrays: dict, **about) -> None:
        """Keep a run; it appears only when it is complete."""
        temporary = self.folder / f".{name}.part.npz"
        np.savez_compressed(temporary, about=np.array(json.dumps({"name": name, **about})), **arrays)
        temporary.replace(self.folder / f"{name}.npz")

    def get(self, name: str) -> tuple[dict, dict]:
        """The arrays and the description of a run."""
        with np.load(self.folder / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        return arrays, json.loads(str(arrays.pop("about")))

    def names(self) -> list[str]:
        """Of all finished runs."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.npz"))
