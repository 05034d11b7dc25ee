"""Files of every format, whole and damaged: cut off, changed, lengthened, exchanged, renamed, or no files at all.

A damaged file has to be refused, or read with its true values. Two things cannot be noticed by anybody: a change of
voxels that no checksum guards, and a change of a header to another one that is possible too. There, what is read must
be what the format's own library reads.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from GenRegLogic.files.points import read_points
from GenRegLogic.files.transforms import read_transform_and_doubts
from GenRegLogic.space.field import outside
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .samples import (
    FIELDS,
    GRID,
    IDENTITY,
    IMAGES,
    LPS_FROM_RAS,
    POINT_FILES,
    POINTS,
    Format,
    displacements,
    values,
)
from .trial import WRONG, Case, Place, expect

UNCOUNTED = ("mgh",)
"""What follows the voxels has no fixed length there, so that bytes put in between cannot be noticed."""

TEXTS = ("field in tfm", "csv", "fcsv", "mrk.json")
"""A digit that is missing makes another number."""

ROUNDING = 1e-5
"""What single precision in a header may change, relative to the largest number."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """One way to damage a file.

    Attributes:
        name: Of the damage.
        make: Returns the damaged bytes of a file; its arguments are the bytes, the length of the header and the case's
            random numbers.
        changes: Whether it only changes bytes, which no reader can notice where no checksum guards them.
    """

    name: str
    make: Callable[[bytes, int, random.Random], bytes]
    changes: bool = False


def _cut(share: float, off: int = 0) -> Callable:
    return lambda content, header, random: content[: max(0, int(len(content) * share) - off)]


def _flip(start: float, end: float, count: int = 1) -> Callable:
    """Change bits of bytes between two shares of the file."""

    def make(content, header, random):
        changed = bytearray(content)
        for _ in range(count):
            place = random.randrange(int(len(content) * start), max(int(len(content) * end), 1))
            changed[place] ^= 1 << random.randrange(8)
        return bytes(changed)

    return make


def _flip_header(content, header, random):
    changed = bytearray(content)
    place = random.randrange(min(header, len(content)) or len(content))
    changed[place] ^= 1 << random.randrange(8)
    return bytes(changed)


def _zeroed(start: float, length: int) -> Callable:
    def make(content, header, random):
        first = min(int(len(content) * start), len(content) - 1)
        return content[:first] + bytes(min(length, len(content) - first)) + content[first + length :]

    return make


def _flip_tail(content, header, random):
    place = len(content) - 1 - random.randrange(8)
    return content[:place] + bytes([content[place] ^ (1 << random.randrange(8))]) + content[place + 1 :]


DAMAGES = (
    *(Damage(f"cut to {share:g}", _cut(share)) for share in (0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)),
    *(Damage(f"cut by {count} bytes", _cut(1, count)) for count in (1, 2, 4, 8, 9, 100)),
    *(Damage(f"bit of the header changed, {n}", _flip_header, True) for n in range(10)),
    *(Damage(f"bit changed, {n}", _flip(0.3, 1), True) for n in range(6)),
    *(Damage(f"bit of the last bytes changed, {n}", _flip_tail, True) for n in range(3)),
    Damage("20 bits changed", _flip(0, 1, 20), True),
    Damage("20 bits of the data changed", _flip(0.5, 1, 20), True),
    *(Damage(f"64 bytes zeroed at {share:g}", _zeroed(share, 64), True) for share in (0, 0.1, 0.5, 0.9)),
    Damage("second half zeroed", lambda content, *_: content[: len(content) // 2] + bytes(-(-len(content) // 2)), True),
    Damage("one byte appended", lambda content, *_: content + b"\0"),
    Damage("100 bytes appended", lambda content, header, random: content + random.randbytes(100)),
    Damage("appended to itself", lambda content, *_: content * 2),
    Damage("a byte taken out", lambda content, *_: content[: len(content) // 2] + content[len(content) // 2 + 1 :]),
    Damage("a line end inserted", lambda content, *_: content[: len(content) // 3] + b"\r" + content[len(content) // 3 :]),  # noqa: E501
    Damage("as text with other line ends", lambda content, *_: content.replace(b"\n", b"\r\n")),
    Damage("compressed once more", lambda content, *_: gzip.compress(content, mtime=0)),
    Damage("random bytes", lambda content, header, random: random.randbytes(len(content)), True),
    Damage("nothing but zeros", lambda content, *_: bytes(len(content)), True),
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Every format, whole, damaged, under other names, and in the wrong place."""
    for reader, formats in ((_check_image, IMAGES), (_check_field, FIELDS), (_check_points, POINT_FILES)):
        for format in formats:
            yield Case("formats", f"{format.name}, whole", _whole(format, reader))
            for number, damage in enumerate(DAMAGES):
                repeated = damage.name.endswith(tuple(f", {n}" for n in range(2, 10))) or number % 3 == 2
                yield Case("formats", f"{format.name}, {damage.name}", _damaged(format, damage, reader), not repeated)
            for name, replace in NO_FILES.items():
                yield Case("formats", f"{format.name}, {name}", _replaced(format, replace, reader))
    for format in IMAGES:
        for other in ("v.nii", "v.nii.gz", "v.nrrd", "v.mha", "v.mgz", "v.hdr", "v.dcm", "v", "v.NII.GZ", "v.h5"):
            yield Case("formats", f"{format.name} renamed to {other}", _renamed(format, other), other == "v.nii.gz")
    for one in IMAGES[:-2]:
        for other in IMAGES[:-2]:
            if one is not other and one.name[:3] != other.name[:3]:
                yield Case("formats", f"{one.name} in place of {other.name}", _exchanged(one, other), False)


def _whole(format: Format, reader: Callable) -> Callable:
    def check(place: Place) -> None:
        path, _ = format.write(place.folder)
        expect(not isinstance(got := reader(place, path, format, False), str), WRONG, f"refused: {got}")

    return check


def _damaged(format: Format, damage: Damage, reader: Callable) -> Callable:
    def check(place: Place) -> None:
        path, data = format.write(place.folder)
        content = data.read_bytes()
        data.write_bytes(damage.make(content, format.header_bytes, place.random))
        changed = data.read_bytes()
        told = format
        if (
            format.checked
            and changed[: format.header_bytes] != content[: format.header_bytes]
            and not format.all_checked
        ):
            told = dataclasses.replace(format, checked=False)  # the header may be another one that is possible too
        reader(place, path, told, damage.changes or format.name in TEXTS, changed == content)

    return check


def _replaced(format: Format, replace: Callable, reader: Callable) -> Callable:
    def check(place: Place) -> None:
        path, data = format.write(place.folder)
        reader(place, replace(path, data) or path, format, False)

    return check


def _renamed(format: Format, name: str) -> Callable:
    def check(place: Place) -> None:
        path, _ = format.write(place.folder)
        if path.is_dir():
            path = sorted(path.iterdir())[0]  # one slice, which has to be refused under any name
        target = place.folder / "other" / name
        target.parent.mkdir()
        shutil.copy(path, target)
        _check_image(place, target, format, False)

    return check


def _exchanged(one: Format, other: Format) -> Callable:
    """The data of one format in the file of another."""

    def check(place: Place) -> None:
        (place.folder / "a").mkdir(), (place.folder / "b").mkdir()
        (_, data), (path, target) = one.write(place.folder / "a"), other.write(place.folder / "b")
        target.write_bytes(data.read_bytes())
        _check_image(place, path, dataclasses.replace(other, geometry=None), False, loosely=True)

    return check


# What stands where a file should stand ------------------------------------------------------------------------------


def _without(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _as_folder(path: Path, data: Path) -> None:
    _without(data)
    data.mkdir()


def _as_pipe(path: Path, data: Path) -> None:
    _without(data)
    os.mkfifo(data)


def _as_circle(path: Path, data: Path) -> None:
    _without(data)
    data.symlink_to(data.name + "2")
    data.with_name(data.name + "2").symlink_to(data.name)


def _as_dead_link(path: Path, data: Path) -> None:
    _without(data)
    data.symlink_to("nowhere")


def _as_device(path: Path, data: Path) -> None:
    _without(data)
    data.symlink_to("/dev/zero")


NO_FILES = {
    "the file missing": lambda path, data: data.unlink(),
    "a folder in its place": _as_folder,
    "a pipe in its place": _as_pipe,
    "links in a circle in its place": _as_circle,
    "a link to nothing in its place": _as_dead_link,
    "an endless device in its place": _as_device,
    "text in its place": lambda path, data: data.write_text("hello\n" * 40) and None,
    "a name without end": lambda path, data: path.with_name("x" * 5000 + path.name),
    "a path without end": lambda path, data: Path(*["x" * 200] * 40) / path.name,
    "a zero byte in the name": lambda path, data: path.with_name("a\0" + path.name),
    "read through a link": lambda path, data: _linked(path),
}


def _linked(path: Path) -> Path:
    link = path.with_name("link-" + path.name)
    link.symlink_to(path)
    return path if path.name.endswith((".hdr", ".nhdr", ".mhd")) else link


# Reading and comparing ----------------------------------------------------------------------------------------------


def _check_image(
    place: Place, path: Path, format: Format, changed: bool, same: bool = False, *, loosely: bool = False
) -> Volume | str:
    """Read a scan: refused in one sentence, or true, or doubted, or what the format's library says."""
    volume = place.read(Volume.from_file, path)
    if isinstance(volume, str):
        expect(not same, WRONG, f"refused although nothing was changed: {volume}")
        if "\0" not in str(path) and place.random.random() < 0.4:
            (place.folder / "identity.tfm").write_text(IDENTITY)
            place.refused("warp", path, "-t", "identity.tfm", "-r", path, "-o", "out/w.nii.gz")
        return volume
    true_values = volume.array.shape == GRID.shape and np.array_equal(volume.array, values())
    expected = format.geometry
    true_place = expected is None or same_place(volume.geometry, expected)
    if (true_values and true_place) or volume.warnings:
        return volume
    if loosely:  # a whole file of another format is read as what it is
        expect(true_values, WRONG, f"{volume} isn't the sample")
        return volume
    expect(changed or format.name in UNCOUNTED, WRONG, f"{volume} isn't the sample, and there is no warning")
    expect(not format.checked, WRONG, f"{volume} isn't the sample in spite of a checksum")
    agreeing = [library.__name__ for library in LIBRARIES if _agrees(library, path, volume)]
    expect(bool(agreeing), WRONG, f"{volume} is what no other library reads, and there is no warning")
    return volume


def same_place(one: Geometry, other: Geometry) -> bool:
    """Whether two grids lie at one place, but for the rounding of a header in single precision."""
    if one.size != other.size:
        return False
    scale = max(1.0, *np.abs(one.origin), *one.spacing)
    return bool(np.allclose(one.index_to_world, other.index_to_world, rtol=0, atol=ROUNDING * scale))


def _agrees(library: Callable, path: Path, volume: Volume) -> bool:
    try:
        array, geometry = library(path)
    except Exception:  # whatever the library says about a damaged file
        return False
    if not same_place(volume.geometry, geometry):
        return False
    return array.shape == volume.array.shape and np.allclose(array, volume.array, rtol=1e-5, equal_nan=True)


def read_by_itk(path: Path):
    from GenRegLogic.machine.libraries import quiet_itk

    with quiet_itk():
        if path.is_dir():
            names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
            image = sitk.ReadImage(names)
        else:
            image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), Geometry.from_sitk(image)


def read_by_nibabel(path: Path):
    image = nib.load(path)
    matrix = LPS_FROM_RAS @ image.affine
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    geometry = Geometry(image.shape[:3], spacing, matrix[:3, 3], matrix[:3, :3] / spacing)
    return np.asanyarray(image.dataobj).reshape(image.shape[:3]).T, geometry


def read_by_pydicom(path: Path):
    """Slices sorted along their normal; spacing from the positions."""
    import pydicom

    if not path.is_dir():
        file = pydicom.dcmread(path)
        shared = file.SharedFunctionalGroupsSequence[0]
        frames = file.PerFrameFunctionalGroupsSequence
        places = np.array([frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames], float)
        place = shared if "PlaneOrientationSequence" in shared else frames[0]
        axes = np.array(place.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
        pixel = (shared if "PixelMeasuresSequence" in shared else frames[0]).PixelMeasuresSequence[0].PixelSpacing
        array = file.pixel_array
        if "PixelValueTransformationSequence" in shared:
            mapping = shared.PixelValueTransformationSequence[0]
            array = array * float(mapping.RescaleSlope) + float(mapping.RescaleIntercept)
        order = np.argsort(places @ np.cross(*axes))
        array, places = array[order], places[order]
    else:
        files = [pydicom.dcmread(name) for name in path.iterdir()]
        axes = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
        files.sort(key=lambda file: np.cross(*axes) @ np.array(file.ImagePositionPatient, float))
        places = np.array([file.ImagePositionPatient for file in files], float)
        pixel = files[0].PixelSpacing
        array = np.stack([f.pixel_array * float(f.RescaleSlope) + float(f.RescaleIntercept) for f in files])
    step = (places[-1] - places[0]) / (len(places) - 1)
    spacing = (float(pixel[1]), float(pixel[0]), float(np.linalg.norm(step)))
    direction = np.stack([*axes, step / spacing[2]], axis=1)
    return array, Geometry(array.shape[::-1], spacing, places[0], direction)


LIBRARIES = (read_by_itk, read_by_nibabel, read_by_pydicom)


def _check_field(place: Place, path: Path, format: Format, changed: bool, same: bool = False):
    """Read a transform: refused, or the true field; where nothing guards the numbers, any field."""
    got = place.read(read_transform_and_doubts, path)
    if isinstance(got, str):
        expect(not same, WRONG, f"refused although nothing was changed: {got}")
        if "\0" not in str(path):
            (place.folder / "p.csv").write_text("1,2,3\n")
            place.refused("warp-points", "p.csv", "-t", path, "-o", "out/p.csv")
        return got
    transform, doubts = got
    k, j, i = (index.ravel() for index in np.indices(GRID.shape))
    points = GRID.to_world(np.stack([i, j, k], axis=1))
    with np.errstate(all="ignore"):
        found = transform(points) - points
    true = np.allclose(found, displacements().reshape(-1, 3), atol=1e-3) and not outside(transform, points).any()
    expect(true or doubts or (changed and not format.checked), WRONG, "the displacements aren't the true ones")
    return transform


def _check_points(place: Place, path: Path, format: Format, changed: bool, same: bool = False):
    """Read points: refused, or points as they are in the file, which for text that ends early are the first ones."""
    got = place.read(read_points, path)
    if isinstance(got, str):
        expect(not same, WRONG, f"refused although nothing was changed: {got}")
        if "\0" not in str(path):
            (place.folder / "identity.tfm").write_text(IDENTITY)
            place.refused("warp-points", path, "-t", "identity.tfm", "-o", "out/p.csv")
        return got
    expect(np.isfinite(got).all() and got.shape[1] == 3, WRONG, f"{got}")
    if format.name == "mrk.json" and not changed:
        expect(np.array_equal(got, POINTS), WRONG, f"{got} instead of the true points")
    return got
