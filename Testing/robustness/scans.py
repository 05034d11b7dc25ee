"""Scans whose grids or intensities are unusual or unusable, registered with themselves shifted; pairs without hope.

What can be registered has to be, with a finite result; what can't is refused in one sentence. A pair without hope is
never called trustworthy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np
import SimpleITK as sitk

from GenRegLogic.files.transforms import read_transform

from .samples import TURN, ball, write
from .trial import BAD_INPUT, DONE, TRUSTED, WRONG, Case, Place, Ran, expect

FAST = ("--iterations", "0", "--linear-only", "--network", "off", "--quiet")
SIZES = (1, 2, 3, 12)
SPACINGS = (1e-6, 1e-3, 1e-2, 100, 1e3, 1e6)


def register(place: Place, fixed: str, moving: str, *options) -> tuple[Ran, dict | None]:
    """Register two files; returns what the command printed, and its report if it wrote one."""
    words = ("register", fixed, moving, "-o", "out/t.nii.gz", "--report", "out/r.json", *options)
    ran = place.genreg(*words)
    if ran.code == BAD_INPUT:
        return ran, None
    report = json.loads((place.out / "r.json").read_text())
    field = sitk.GetArrayFromImage(sitk.ReadImage(str(place.out / "t.nii.gz")))
    expect(bool(np.isfinite(field).all()), WRONG, "the transform isn't finite")
    if ran.code == DONE:  # a field that has failed may collapse space, which reading refuses
        read_transform(place.out / "t.nii.gz")
    return ran, report


# Geometry ------------------------------------------------------------------------------------------------------------

DIRECTIONS = {
    "left-handed": (np.diag([1.0, 1.0, -1.0]), True),
    "oblique": (TURN, True),
    "oblique and left-handed": (TURN @ np.diag([-1.0, 1.0, 1.0]), True),
    "in another order": (np.eye(3)[:, [2, 0, 1]], True),
    "turned by 45 degrees": (np.array([[1, -1, 0], [1, 1, 0], [0, 0, 2**0.5]]) / 2**0.5, True),
    "sheared": (TURN @ [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]], False),
    "scaled": (2 * np.eye(3), False),
    "singular": (np.diag([1.0, 0.0, 1.0]), False),
    "nothing": (np.zeros((3, 3)), False),
}


def geometry_cases() -> Iterator[Case]:
    for axis in range(3):
        for n in SIZES[:3]:
            yield Case("geometry", f"{n} voxels on axis {axis}, fixed", _thin(axis, n, "fixed"), n != 3)
            yield Case("geometry", f"{n} voxels on axis {axis}, moving", _thin(axis, n, "moving"), n == 2)
    for n in SIZES[1:3]:
        yield Case("geometry", f"{n} voxels on every axis", _thin(None, n, "fixed"))
    for spacing in SPACINGS:
        yield Case("geometry", f"spacing {spacing:g}", _placed(spacing=(spacing,) * 3), spacing in (1e-6, 1e6))
        for axis in range(3):
            own = tuple(spacing if n == axis else 2.0 for n in range(3))
            yield Case("geometry", f"spacing {spacing:g} on axis {axis}", _placed(spacing=own), axis == 0)
        yield Case("geometry", f"spacing {spacing:g} against 2", _unlike(spacing), spacing in (1e-3, 1e3))
    for name, (direction, possible) in DIRECTIONS.items():
        for number, form in enumerate(("v.mha", "v.nrrd")):
            check = _directed(direction, possible, form)
            yield Case("geometry", f"direction {name}, {form}", check, number == 0)
    for name, origin in {
        "1e7": (1e7, -1e7, 1e7),
        "1e7 on one axis": (1e7, 0, 0),
        "1e12": (1e12, 0, 0),
        "1e30": (0, 1e30, 0),
        "-1e5": (-1e5,) * 3,
    }.items():
        yield Case("geometry", f"origin {name}", _placed(origin=origin))
        yield Case("geometry", f"origin {name}, moving only", _placed(origin=origin, both=False), name == "1e7")
    for unit, factor in {"um": 1e-3, "km": None, "m": 1e3, "nonsense": None}.items():
        yield Case("geometry", f"mm against {unit}", _in_unit(unit, factor))


def _thin(axis: int | None, n: int, role: str) -> Callable:
    def check(place: Place) -> None:
        whole = ball(12)
        thin = whole[4 : 4 + n, 4 : 4 + n, 4 : 4 + n] if axis is None else whole.take(range(4, 4 + n), axis)
        write(thin, "thin.mha"), write(ball(12, 0.5, 1), "whole.mha")
        names = ("thin.mha", "whole.mha") if role == "fixed" else ("whole.mha", "thin.mha")
        ran, _ = register(place, *names, *FAST)
        expect(n > 1 or ran.code == BAD_INPUT, WRONG, "a single slice was registered")

    return check


def _placed(spacing=(2.0, 2.0, 2.0), origin=(0.0, 0.0, 0.0), both: bool = True) -> Callable:
    """The grid with a spacing and an origin; the translation that is found must be one of the size of the scan."""

    def check(place: Place) -> None:
        write(ball(12), "fixed.mha", spacing, origin if both else (0, 0, 0))
        write(ball(12, 0.5, 1), "moving.mha", spacing, origin)
        register(place, "fixed.mha", "moving.mha", *FAST)

    return check


def _unlike(spacing: float) -> Callable:
    def check(place: Place) -> None:
        write(ball(12), "fixed.mha"), write(ball(12, 0.5, 1), "moving.mha", (spacing,) * 3)
        _, report = register(place, "fixed.mha", "moving.mha", "--network", "off", "--iterations", "1", "--quiet")
        status = report["verdict"]["status"] if report else "refused"
        expect(status != "trustworthy", TRUSTED, f"a scan of {12 * spacing:g} mm against one of 24 mm")

    return check


def _directed(direction: np.ndarray, possible: bool, form: str) -> Callable:
    def check(place: Place) -> None:
        write(ball(12, 0.5, 1), "moving.mha")
        write(ball(12), form)
        numbers = np.asarray(direction, float)
        content = (place.folder / form).read_bytes()
        if form.endswith("mha"):
            old, new = b"TransformMatrix = 1 0 0 0 1 0 0 0 1", " ".join(f"{x:.17g}" for x in numbers.T.ravel())
            new = f"TransformMatrix = {new}"
        else:
            old = b"space directions: (2,0,0) (0,2,0) (0,0,2)"
            rows = " ".join("({})".format(",".join(f"{x:.17g}" for x in 2 * row)) for row in numbers.T)
            new = f"space directions: {rows}"
        assert old in content, content[:600]
        (place.folder / form).write_bytes(content.replace(old, new.encode()))
        ran, _ = register(place, form, "moving.mha", *FAST)
        scaled = form.endswith("nrrd") and np.array_equal(direction, 2 * np.eye(3))  # there it is a spacing
        expect((ran.code != BAD_INPUT) == (possible or scaled), WRONG, f"exit code {ran.code}; {ran.err}")

    return check


def _in_unit(unit: str, factor: float | None) -> Callable:
    """A NRRD in another unit: brought to mm, with a warning, or refused."""

    def check(place: Place) -> None:
        write(ball(12, 0.5, 1), "moving.mha")
        write(ball(12), "v.nrrd")
        content = (place.folder / "v.nrrd").read_bytes()
        units = f'space units: "{unit}" "{unit}" "{unit}"\n'.encode()
        (place.folder / "v.nrrd").write_bytes(content.replace(b"kinds:", units + b"kinds:"))
        ran, _ = register(place, "v.nrrd", "moving.mha", *FAST)
        expect(ran.code == BAD_INPUT or factor is not None, WRONG, f"exit code {ran.code}; {ran.err}")
        expect(factor is None or unit in ran.err, WRONG, f"no warning of the unit: {ran.err}")

    return check


# Intensity -----------------------------------------------------------------------------------------------------------


def _with_share(value: float, share: float, scattered: bool = True) -> Callable:
    def make(array, random):
        array = array.copy()
        count = int(share * array.size)
        places = random.sample(range(array.size), count) if scattered else range(count)
        array.ravel()[list(places)] = value
        return array

    return make


def _padded(value: float) -> Callable:
    def make(array, random):
        _, j, i = np.indices(array.shape) - (np.array(array.shape)[:, None, None, None] - 1) / 2
        return np.where(j**2 + i**2 > (array.shape[0] / 2) ** 2, value, array).astype(array.dtype)

    return make


REFUSED, TAKEN, EITHER = "refused", "taken", "either"
INTENSITIES = {
    "as it is": (lambda a, r: a, TAKEN),
    "constant 0": (lambda a, r: np.zeros_like(a), REFUSED),
    "constant 1e300": (lambda a, r: np.full(a.shape, 1e300), REFUSED),
    "constant NaN": (lambda a, r: np.full_like(a, np.nan), REFUSED),
    "constant inf": (lambda a, r: np.full_like(a, np.inf), REFUSED),
    "constant -0.0 and 0.0": (lambda a, r: np.where(a > 200, -0.0, 0.0), REFUSED),
    "two values": (lambda a, r: (a > 250).astype(np.uint8), TAKEN),
    "two values next to each other": (lambda a, r: np.where(a > 250, np.nextafter(1.0, 2.0), 1.0), EITHER),
    "two values far apart": (lambda a, r: np.where(a > 250, 1e30, -1e30), EITHER),
    "one voxel": (lambda a, r: np.where(a == a.max(), 1.0, 0.0), EITHER),
    "0.1 % NaN": (_with_share(np.nan, 0.001), TAKEN),
    "0.9 % NaN": (_with_share(np.nan, 0.009), TAKEN),
    "2 % NaN": (_with_share(np.nan, 0.02), REFUSED),
    "50 % NaN": (_with_share(np.nan, 0.5), REFUSED),
    "NaN around it": (_padded(np.nan), EITHER),
    "0.5 % inf": (_with_share(np.inf, 0.005), TAKEN),
    "2 % -inf": (_with_share(-np.inf, 0.02), REFUSED),
    "one voxel of 1e300": (lambda a, r: _with_share(1e300, 0.001)(a.astype(np.float64), r), EITHER),
    "one voxel of -1e300": (lambda a, r: _with_share(-1e300, 0.001)(a.astype(np.float64), r), EITHER),
    "one voxel of 3e38": (_with_share(3e38, 0.001), EITHER),
    "times 1e300": (lambda a, r: a.astype(np.float64) * 1e300 / a.max(), EITHER),
    "times 1e36": (lambda a, r: a.astype(np.float64) * 1e35, EITHER),
    "times 1e-300": (lambda a, r: a.astype(np.float64) * 1e-300, EITHER),
    "times 1e-40": (lambda a, r: (a.astype(np.float64) * 1e-40).astype(np.float32), EITHER),
    "plus 1e10": (lambda a, r: a.astype(np.float64) + 1e10, EITHER),
    "plus 1e16": (lambda a, r: a.astype(np.float64) + 1e16, EITHER),
    "negative": (lambda a, r: -a, TAKEN),
    "negative zeros": (lambda a, r: np.where(a < 100, np.float32(-0.0), a), TAKEN),
    "uint8": (lambda a, r: np.clip(a / 3, 0, 255).astype(np.uint8), TAKEN),
    "int8": (lambda a, r: np.clip(a / 5, -128, 127).astype(np.int8), TAKEN),
    "uint16 at its end": (lambda a, r: (65535 - np.clip(a, 0, 600)).astype(np.uint16), TAKEN),
    "int32 at its end": (lambda a, r: (2**31 - 1 - np.clip(a, 0, 600)).astype(np.int32), EITHER),
    "int64 at its end": (lambda a, r: 2**63 - 1 - np.clip(a, 0, 600).astype(np.int64), EITHER),
    "uint64 at its end": (lambda a, r: np.uint64(2**64 - 1) - np.clip(a, 0, 600).astype(np.uint64), EITHER),
    "uint64": (lambda a, r: np.clip(a, 0, None).astype(np.uint64), TAKEN),
    "padded with -2000": (_padded(-2000), TAKEN),
    "padded with -32768": (_padded(-32768), TAKEN),
    "padded with 63536": (_padded(63536), TAKEN),
    "padded with 1e30": (_padded(1e30), TAKEN),
    "padded with -1e30": (_padded(-1e30), TAKEN),
    "saturated": (lambda a, r: np.clip(a, 0, 80), TAKEN),
    "nearly all saturated": (lambda a, r: np.clip(a, None, a.min() + 1), EITHER),
    "noise only": (lambda a, r: np.random.default_rng(5).normal(size=a.shape).astype(np.float32), EITHER),
    "salt and pepper": (lambda a, r: np.random.default_rng(5).choice([0.0, 4095.0], a.shape), EITHER),
    "a ramp": (lambda a, r: np.indices(a.shape)[0].astype(np.float32), EITHER),
    "stripes": (lambda a, r: (np.indices(a.shape)[0] % 2).astype(np.float32), EITHER),
    "a plane": (lambda a, r: (np.indices(a.shape)[0] == 6).astype(np.float32), EITHER),
}


def intensity_cases() -> Iterator[Case]:
    for name, (make, wanted) in INTENSITIES.items():
        for number, roles in enumerate((("fixed",), ("moving",), ("fixed", "moving"))):
            check = _intensities(make, wanted, roles)
            yield Case("intensity", f"{name}, {' and '.join(roles)}", check, number == _third(name))
    for kind in ("float16", "bool", "longdouble", "big-endian", "complex64", "object", "str"):
        yield Case("intensity", f"an array of {kind}", _array_type(kind))


def _third(name: str) -> int:
    return sum(name.encode()) % 3


def _intensities(make: Callable, wanted: str, roles: tuple[str, ...]) -> Callable:
    def check(place: Place) -> None:
        for number, role in enumerate(("fixed", "moving")):
            array = ball(12, 0.5 * number, number)
            array = make(array, place.random) if role in roles else array
            write(np.ascontiguousarray(array), f"{role}.nrrd")
        with np.errstate(all="ignore"):
            ran, _ = register(place, "fixed.nrrd", "moving.nrrd", *FAST)
        if wanted != EITHER:
            expect((ran.code == BAD_INPUT) == (wanted == REFUSED), WRONG, f"exit code {ran.code}; {ran.err[-300:]}")

    return check


def _array_type(kind: str) -> Callable:
    def check(place: Place) -> None:
        from GenRegLogic.register import register as run
        from GenRegLogic.settings import Settings
        from GenRegLogic.space.volume import Volume

        arrays = [ball(12), ball(12, 0.5, 1)]
        changed = [a > 200 if kind == "bool" else a.astype(">f4" if kind == "big-endian" else kind) for a in arrays]
        settings = Settings(iterations=0, linear_only=True, network="off")
        result = place.read(lambda: run(*(Volume.from_array(a, spacing=(2, 2, 2)) for a in changed), settings=settings))
        possible = kind in ("float16", "bool", "longdouble", "big-endian")
        expect(isinstance(result, str) != possible, WRONG, f"{result}")

    return check


# Pairs without hope --------------------------------------------------------------------------------------------------

SIDE, LARGER = 20, 32
"""Voxels of an edge. The larger ones have more voxels than `verdict.MIN_VOXELS`, so that other figures must tell."""


def _noise(side: int, seed: int, smooth: float = 0.0) -> np.ndarray:
    array = np.random.default_rng(seed).normal(size=(side,) * 3).astype(np.float32)
    if smooth:
        array = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(array), smooth))
    return array


def organ(side: int, seed: int, blobs: int = 14) -> np.ndarray:
    """(k, j, i) of a made-up organ: an ellipsoid with blobs in it; another seed is another organ."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij"), -1)
    axes = random.uniform(0.45, 0.9, 3)
    inside = 1 / (1 + np.exp((np.linalg.norm(grid / axes, axis=-1) - 1) * 14))
    texture = sum(
        random.normal() * np.exp(-((grid - random.uniform(-0.7, 0.7, 3)) ** 2).sum(-1) / random.uniform(0.01, 0.06))
        for _ in range(blobs)
    )
    return (inside * (100 + 80 * texture) + random.normal(0, 2, grid.shape[:3])).astype(np.float32)


def _shuffled(array: np.ndarray, block: int, seed: int = 1) -> np.ndarray:
    count = array.shape[0] // block
    whole, array = array, array[(slice(count * block),) * 3]
    blocks = array.reshape(count, block, count, block, count, block).transpose(0, 2, 4, 1, 3, 5)
    blocks = np.random.default_rng(seed).permutation(blocks.reshape(-1, block, block, block))
    whole = whole.copy()
    whole[(slice(count * block),) * 3] = (
        blocks.reshape(count, count, count, block, block, block).transpose(0, 3, 1, 4, 2, 5).reshape(array.shape)
    )
    return whole


def _edge(side: int, thickness: int) -> np.ndarray:
    array = np.zeros((side,) * 3, np.float32)
    inner = (slice(thickness, -thickness),) * 3
    array[inner] = 100
    return array


def _scaled(origin: tuple, side: int) -> tuple:
    """An origin chosen for scans of `SIDE` voxels."""
    return tuple(x * side / SIDE for x in origin)


def hopeless_pairs() -> Iterator[tuple[str, Callable, tuple]]:
    """(name, function of the voxels of an edge that returns (fixed, moving), options) of every pair without hope.

    Each of the two is an array, or an array and keyword arguments of `samples.write`.
    """
    for seed in range(12):
        yield f"noise and noise {seed}", lambda n, s=seed: (_noise(n, s), _noise(n, s + 100)), ()
    for seed in range(8):
        yield (
            f"smooth noise and smooth noise {seed}",
            lambda n, s=seed: (_noise(n, s, 1.5), _noise(n, s + 100, 1.5)),
            (),
        )
    for seed in range(8):
        yield f"an organ and noise {seed}", lambda n, s=seed: (organ(n, s), _noise(n, s)), ()
        yield f"noise and an organ {seed}", lambda n, s=seed: (_noise(n, s), organ(n, s)), ()
    for seed in range(16):
        yield f"two organs {seed}", lambda n, s=seed: (organ(n, s), organ(n, s + 50)), ()
    for seed in range(4):
        for axis in range(3):
            yield (
                f"mirrored {seed} on axis {axis}",
                lambda n, s=seed, a=axis: (organ(n, s), np.flip(organ(n, s), a).copy()),
                (),
            )
    for seed in range(3):
        for block in (1, 2, 4, 5, 10):
            name = f"shuffled {seed} in blocks of {block}"
            yield name, lambda n, s=seed, b=block: (organ(n, s), _shuffled(organ(n, s), b)), ()
    for seed in range(6):
        shift = [(60, 0, 0), (0, 45, 0), (0, 0, 36), (30, 30, 30), (1e4, 0, 0), (38, 0, 0)][seed]
        name = f"no overlap {seed}"
        yield (
            name,
            lambda n, s=seed, o=shift: (organ(n, s), (organ(n, s), {"origin": _scaled(o, n)})),
            ("--init", "none"),
        )
    for seed in range(4):
        name = f"half of it beyond the other {seed}"
        yield (
            name,
            lambda n, s=seed: (organ(n, s), (organ(n, s), {"origin": _scaled((20, 0, 0), n)})),
            ("--init", "none", "--iterations", "0"),
        )
    for number, scale in enumerate((1e-3, 0.05, 20, 1e3)):
        yield f"tiny and huge {number}", lambda n, c=scale: (organ(n, 1), (organ(n, 1), {"spacing": (2 * c,) * 3})), ()
    for seed in range(4):
        yield f"noise in a box and an organ {seed}", lambda n, s=seed: (_edge(n, 3 + s) + _noise(n, s), organ(n, s)), ()
        yield f"boxes of different walls {seed}", lambda n, s=seed: (_edge(n, 2), _edge(n, 5 + s)), ()
    for seed in range(4):
        yield (
            f"a ramp and an organ {seed}",
            lambda n, s=seed: (np.indices((n,) * 3)[s % 3].astype("f4"), organ(n, s)),
            (),
        )
    for seed in range(4):
        name = f"turned by a quarter {seed}"
        yield (
            name,
            lambda n, s=seed: (organ(n, s), np.rot90(organ(n, s), 1, (s % 3, (s + 1) % 3)).copy()),
            ("--init", "none"),
        )


def hopeless_cases() -> Iterator[Case]:
    for number, (name, make, options) in enumerate(hopeless_pairs()):
        for side in (SIDE, LARGER):
            check = _hopeless(make, options, side)
            yield Case("pairs without hope", f"{side}: {name}", check, number % 20 == (0 if side == SIDE else 5))


def _hopeless(make: Callable, options: tuple, side: int) -> Callable:
    def check(place: Place) -> None:
        for role, scan in zip(("fixed", "moving"), make(side)):
            array, where = scan if isinstance(scan, tuple) else (scan, {})
            write(array, f"{role}.nii.gz", **where)
        own = options if "--iterations" in options else (*options, "--iterations", "10")
        _, report = register(place, "fixed.nii.gz", "moving.nii.gz", "--quiet", *own)
        expect(
            report is None or report["verdict"]["status"] != "trustworthy", TRUSTED, str(report and report["verdict"])
        )

    return check


def cases() -> Iterator[Case]:
    yield from geometry_cases()
    yield from intensity_cases()
    yield from hopeless_cases()
