"""Shared by the scripts that measure trust: scans, pairs with a known deformation, and runs with their evidence.

Key functions: `load_scan` (a real scan on few voxels), `synthetic_pair` (a real scan and itself after a known
deformation and a change of appearance), `observe` (register, and record the input of the expected error),
`Observations` (finished runs as compressed arrays, so that interrupted measurements can be resumed).

The observations contain image data; they stay in the work folder, which is not published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from GenRegLogic.phantom.scans import Flow
from GenRegLogic.quality import confidence as confidence_module
from GenRegLogic.quality.confidence import Signs, expected_error, gather
from GenRegLogic.quality.report import plain
from GenRegLogic.quality.verdict import verdict
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.grid import canonical_image, grid_over, resample
from GenRegLogic.space.volume import Volume

register_module = importlib.import_module("GenRegLogic.register")  # the package's attribute is the function

SCAN_VOXELS = 200_000
"""Voxels of the scans in the synthetic pairs, so that each run takes a few seconds."""


def load_scan(path: Path, voxels: int = SCAN_VOXELS) -> Volume:
    """A scan resampled with smoothing to an isotropic grid of about `voxels` voxels along its canonical axes."""
    image = canonical_image(Volume.from_file(path), torch.device("cpu"))
    geometry = image.geometry
    extent = (np.array(geometry.size) - 1) * geometry.spacing
    spacing = max(float(np.prod(extent) / voxels) ** (1 / 3), geometry.mean_spacing)
    grid = grid_over(geometry, (spacing,) * 3)
    return Volume(resample(image, grid).tensor.numpy(), grid)


@dataclasses.dataclass(frozen=True, eq=False)
class KnownMotion:
    """A flow followed by a rigid motion: fixed points to moving points, (n, 3) LPS mm."""

    flow: Flow
    turn: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return self.flow(points) @ self.turn.T + self.shift


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """How a synthetic pair differs from its scan.

    Attributes:
        motion: Largest displacement of the flow, as a fraction of the scan's shortest edge.
        fine: Fraction of the flow's components with a small width.
        turn: Largest rotation about each axis, radians.
        look: "same", "bent" (gamma and bias), "inverted" or "mixed" (bright and dark tissues both dark).
        noise: Standard deviation as a fraction of the intensity range.
        lesions: Number of lesions that are only in the moving scan.
        cut: Fraction of the moving scan that is cropped at one end.
        iterations: Iterations of the registration.
    """

    motion: float
    fine: float
    turn: float
    look: str
    noise: float
    lesions: int
    cut: float
    iterations: int


def draw_difficulty(random: np.random.Generator) -> Difficulty:
    """A random difficulty, from easy to infeasible; most draws are realistic."""
    return Difficulty(
        motion=float(random.uniform(0.02, 0.12)),
        fine=float(random.choice([0.3, 0.6])),
        turn=float(random.uniform(0, 0.12)),
        look=str(random.choice(["same", "bent", "inverted", "mixed"])),
        noise=float(random.choice([0.01, 0.03, 0.08])),
        lesions=int(random.choice([0, 0, 3])),
        cut=float(random.choice([0, 0, 0.2])),
        iterations=int(random.choice([40, 40, 40, 10, 0])),
    )


def synthetic_pair(scan: Volume, difficulty: Difficulty, random: np.random.Generator):
    """A scan with a little noise, and the same scan after a known deformation and a change of appearance.

    Returns:
        The fixed and the moving volume, and the `KnownMotion` from fixed to moving points.
    """
    geometry = scan.geometry
    flow = _draw_flow(geometry, difficulty, random)
    low, high = np.percentile(scan.array, [1, 99.5])
    values = np.clip((scan.array - low) / max(high - low, 1e-9), 0, 1.2).astype(np.float32)
    body = values > 0.05
    moved = _warped(Volume(values, geometry), flow.inverse())
    moved = _other_look(moved, difficulty, random)
    moved += difficulty.noise * random.standard_normal(moved.shape).astype(np.float32)
    fixed = values + 0.01 * random.standard_normal(values.shape).astype(np.float32)
    turn, shift = _rigid(difficulty, geometry, random)
    cut = round(difficulty.cut * geometry.shape[0])
    first = cut if random.random() < 0.5 else 0
    part = slice(first, geometry.shape[0] - (cut - first))
    origin = turn @ geometry.to_world((0, 0, part.start)) + shift
    moving_grid = Geometry(
        geometry.size[:2] + (moved[part].shape[0],), geometry.spacing, tuple(origin), turn @ geometry.direction
    )
    assert body.any()
    return (
        Volume(fixed, geometry),
        Volume(np.ascontiguousarray(moved[part]), moving_grid),
        KnownMotion(flow, turn, shift),
    )


def _draw_flow(geometry: Geometry, difficulty: Difficulty, random: np.random.Generator) -> Flow:
    edge = float(geometry.extent_mm.min())
    count = 14
    small = random.random(count) < difficulty.fine
    widths = edge * np.where(small, random.uniform(0.05, 0.09, count), random.uniform(0.14, 0.28, count))
    centers = geometry.to_world(random.uniform(0.15, 0.85, (count, 3)) * (np.array(geometry.size) - 1))
    speeds = random.normal(size=(count, 3)) * np.where(small, 0.4, 1.0)[:, None]
    flow = Flow(centers, widths, speeds)
    fastest = np.linalg.norm(flow.velocity(_coarse_points(geometry)), axis=1).max()
    return flow.scaled(difficulty.motion * edge / fastest)


def _coarse_points(geometry: Geometry, per_axis: int = 14) -> np.ndarray:
    lines = [np.linspace(0, n - 1, per_axis) for n in geometry.size]
    return geometry.to_world(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3))


def _warped(scan: Volume, motion: Flow) -> np.ndarray:
    """The scan resampled by a motion on its own grid; the motion is evaluated on a coarser grid."""
    geometry = scan.geometry
    coarse = Geometry(
        tuple(-(-n // 2) + 2 for n in geometry.size),
        tuple(2 * s for s in geometry.spacing),
        geometry.origin,
        geometry.direction,
    )
    k, j, i = np.meshgrid(*(np.arange(n) for n in coarse.shape), indexing="ij")
    points = coarse.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    field = DisplacementField((motion(points) - points).reshape(*coarse.shape, 3), coarse)
    image = scan.to_sitk()
    out = sitk.Resample(image, image, field.to_sitk(), sitk.sitkBSpline, float(scan.array.min()), sitk.sitkFloat32)
    return sitk.GetArrayFromImage(out)


def _other_look(values: np.ndarray, difficulty: Difficulty, random: np.random.Generator) -> np.ndarray:
    values = values.clip(0, 1.2)
    tissue = 1 / (1 + np.exp(-(values - 0.08) / 0.02))
    if difficulty.look == "bent":
        values = values ** random.uniform(0.6, 1.6)
    elif difficulty.look == "inverted":
        values = (1.2 - values) * tissue
    elif difficulty.look == "mixed":
        values = (1 - 2 * np.abs(values - random.uniform(0.35, 0.6))).clip(0) * tissue
    lines = [np.linspace(-1, 1, n) for n in values.shape]
    if difficulty.look != "same":
        slopes = random.uniform(-0.25, 0.25, 3)
        bias = slopes[0] * lines[0][:, None, None] + slopes[1] * lines[1][:, None] + slopes[2] * lines[2]
        values = values * np.exp(bias)
    inside = np.argwhere(values > 0.1)
    for center in inside[random.integers(0, len(inside), difficulty.lesions)]:
        radius = random.uniform(0.04, 0.09) * min(values.shape)
        square = sum(
            (np.arange(n) - c).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2.0
            for axis, (n, c) in enumerate(zip(values.shape, center))
        )
        share = 1 / (1 + np.exp((np.sqrt(square) - radius) / 1.0))
        values = values * (1 - share) + random.uniform(0, 1) * share
    return values.astype(np.float32)


def _rigid(difficulty: Difficulty, geometry: Geometry, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    turn = np.eye(3)
    for axis in range(3):
        angle = random.uniform(-1, 1) * difficulty.turn
        a, b = [n for n in range(3) if n != axis]
        about = np.eye(3)
        about[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ about
    shift = geometry.center - turn @ geometry.center + random.uniform(-0.05, 0.05, 3) * geometry.extent_mm
    return turn, shift


SAMPLED_VOXELS = 2000
SIGNS = ("fixed", "warped", "inside", "weight", "u", "residual")

# Runs and their evidence -------------------------------------------------------------------------------------------


def observe(
    fixed: Volume, moving: Volume, settings: Settings, *, truth=None, points=None, spoil=None, **options
) -> tuple[dict, dict]:
    """Register and record the input of the expected error.

    Args:
        fixed, moving: The scans.
        settings: Settings of the run.
        truth: The true mapping from fixed to moving points, if it is known everywhere.
        points: (fixed, moving) landmarks, if the mapping is known at landmarks.
        spoil: Called with the result; returns changes of its report, which is then judged again.
        options: Further arguments of `register`.

    Returns:
        Arrays (those of `Signs`; with "error" (k, j, i) mm, or "points", "point_errors"), and the report.
    """
    kept: dict = {}

    def recorder(*arguments):
        signs = gather(*arguments)
        kept.update({name: getattr(signs, name).numpy() for name in SIGNS}, geometry=signs.geometry)
        return expected_error(signs)

    original = register_module.estimate_confidence
    register_module.estimate_confidence = recorder
    try:
        result = register_module.register(fixed, moving, settings, **options)
    finally:
        register_module.estimate_confidence = original
    geometry = kept.pop("geometry")
    kept["grid"] = np.array(json.dumps(geometry.to_dict()))
    if truth is not None:
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        places = geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
        error = np.linalg.norm(result.forward(places) - truth(places), axis=1)
        kept["error"] = error.reshape(geometry.shape).astype(np.float32)
    if points is not None:
        kept["points"] = points[0]
        kept["point_errors"] = np.linalg.norm(result.forward(points[0]) - points[1], axis=1)
    report = result.report
    if spoil is not None:
        report = report | plain(spoil(result))
        status, reasons = verdict(report)
        report["verdict"] = {"status": status, "reasons": reasons}
    return kept, report


def signs_of(arrays: dict) -> Signs:
    """The `Signs` that `observe` recorded."""
    tensors = {name: torch.from_numpy(arrays[name]).float() for name in SIGNS}
    return Signs(geometry=Geometry.from_dict(json.loads(str(arrays["grid"]))), **tensors)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Random voxels of one run, in the fixed body.

    Attributes:
        name: Name of the run.
        about: The stored description and report.
        spacing: Spacing of the evidence's grid, mm.
        evidence: {name: (n,)}, see `confidence.evidence`.
        error: (n,) true error in voxels of that grid; None if it is unknown.
        landmarks: Evidence and true error at landmarks, or None.
    """

    name: str
    about: dict
    spacing: float
    evidence: dict[str, np.ndarray]
    error: np.ndarray | None
    landmarks: tuple[dict[str, np.ndarray], np.ndarray] | None


def sample(observations: Observations, name: str, kept: Path) -> Sample | None:
    """Sample voxels of a run, stored in the folder `kept`; None if the run ended without a result."""
    made_of = hashlib.sha256(
        (inspect.getsource(confidence_module.evidence) + inspect.getsource(confidence_module._pull)).encode()
    ).hexdigest()[:8]
    path = kept / f"{name}-{made_of}.npz"
    if not path.exists():
        arrays, about = observations.get(name)
        if "grid" not in arrays:
            return None
        signs = signs_of(arrays)
        with torch.inference_mode():
            found = {key: value.numpy() for key, value in confidence_module.evidence(signs).items()}
        inside = np.flatnonzero(signs.weight.numpy().ravel() > 0)
        chosen = np.random.default_rng(0).permutation(inside)[:SAMPLED_VOXELS]
        out = {f"evidence_{key}": value.ravel()[chosen] for key, value in found.items()}
        if "error" in arrays:
            out["error"] = arrays["error"].ravel()[chosen] / signs.geometry.spacing[0]
        if "points" in arrays:
            index = np.rint(signs.geometry.to_index(arrays["points"])).astype(int)
            index = tuple(index.clip(0, np.array(signs.geometry.size) - 1).T[::-1])
            out |= {f"landmark_{key}": value[index] for key, value in found.items()}
            out["landmark_error"] = arrays["point_errors"] / signs.geometry.spacing[0]
        kept.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, about=np.array(json.dumps(about)), spacing=signs.geometry.spacing[0], **out)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    part = {
        kind: {key.removeprefix(kind): value for key, value in arrays.items() if key.startswith(kind)}
        for kind in ("evidence_", "landmark_")
    }
    errors = part["landmark_"].pop("error", None)
    return Sample(
        name,
        json.loads(str(arrays["about"])),
        float(arrays["spacing"]),
        part["evidence_"],
        arrays.get("error"),
        None if errors is None else (part["landmark_"], errors),
    )


def predicted(found: dict[str, np.ndarray]) -> np.ndarray:
    """The expected error of sampled evidence, voxels."""
    return confidence_module.error_voxels({key: torch.from_numpy(value) for key, value in found.items()}).numpy()


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    first, second = (np.argsort(np.argsort(x)).astype(float) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


class Observations:
    """Finished runs by name, in one compressed file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.npz").exists()

    def put(self, name: str, arrays: dict, report: dict, **more) -> None:
        about = json.dumps({"name": name, "report": report, **more})
        temporary = self.folder / f".{name}.part.npz"
        np.savez_compressed(temporary, about=np.array(about), **arrays)
        temporary.replace(self.folder / f"{name}.npz")

    def get(self, name: str) -> tuple[dict, dict]:
        """The arrays and the description of a run."""
        with np.load(self.folder / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        if "moving" in arrays:
            arrays["warped"] = arrays.pop("moving")
        return arrays, json.loads(str(arrays.pop("about")))

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("[!.]*.npz"))
