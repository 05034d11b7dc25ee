"""Landmarks: reading, writing and checking lists of points.

Three forms are read and written, by their ending:

- ``.csv`` or ``.txt``: one point a line, ``x,y,z`` in LPS mm; ``#`` starts a comment; where there are other columns of
  numbers, a line of names has to say which are x, y and z;
- ``.fcsv``: Slicer's older list, in the coordinate system that its header names;
- ``.mrk.json`` (or ``.json``): Slicer's markups, in the coordinate system that each list names.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..space.field import as_points
from ..space.geometry import Geometry
from .atomic import check_writable, replacing
from .reading import existing_file

__all__ = ["check_landmarks", "read_points", "write_points"]

POINT_ENDINGS = (".csv", ".txt", ".fcsv", ".mrk.json", ".json")
LPS_FROM_RAS = np.array([-1.0, -1.0, 1.0])
SYSTEM_NAMES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
"""How Slicer writes a coordinate system: by name, or in old .fcsv files by number."""

MIN_LANDMARKS = 3
MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def read_points(path: str | Path) -> np.ndarray:
    """Read landmarks.

    Returns:
        (n, 3) float64, LPS mm, in the file's order.

    Raises:
        InputError: The file is missing, of an unknown kind, holds no points or something that is not a number.
    """
    path = existing_file(path)
    ending = _ending(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as a text file of points.") from None
    if ending in (".mrk.json", ".json"):
        points = _parse_markups(text, path)
    elif ending == ".fcsv":
        points = _parse_fcsv(text, path)
    else:
        points = _parse_rows(text, path)
    if not points:
        raise InputError(f"{path} holds no points.")
    array = np.array(points, np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{path} holds a point that is NaN or infinite.")
    return array


def write_points(points: np.ndarray, path: str | Path) -> None:
    """Write (n, 3) LPS points, mm; Slicer's kinds say LPS in the file.

    Raises:
        InputError: The ending is unknown or the folder cannot be written to.
        ResourceError: The disk is full.
    """
    points = as_points(points)
    path = check_writable(path, "points")
    ending = _ending(path)
    if ending in (".mrk.json", ".json"):
        text = _format_markups(points)
    elif ending == ".fcsv":
        text = _format_fcsv(points)
    else:
        text = "# x,y,z in LPS mm\n" + "".join(f"{x:.6f},{y:.6f},{z:.6f}\n" for x, y, z in points)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_landmarks(
    fixed_points: np.ndarray,
    moving_points: np.ndarray,
    fixed_geometry: Geometry,
    moving_geometry: Geometry,
    *,
    least: int = MIN_LANDMARKS,
) -> None:
    """Refuse landmarks that cannot guide or judge a registration.

    Args:
        fixed_points: (n, 3) LPS mm.
        moving_points: (n, 3) LPS mm, in the same order.
        fixed_geometry: Grid of the fixed scan.
        moving_geometry: Grid of the moving scan.

    Raises:
        InputError: Unequal counts, fewer than three, or a point outside its scan.
    """
    fixed_points, moving_points = as_points(fixed_points), as_points(moving_points)
    if len(fixed_points) != len(moving_points):
        raise InputError(
            f"There are {len(fixed_points)} fixed but {len(moving_points)} moving landmarks; "
            "give the same points in the same order for both scans."
        )
    if len(fixed_points) < least:
        raise InputError(f"There are only {len(fixed_points)} landmarks; give at least {least}.")
    for role, points, geometry in (
        ("fixed", fixed_points, fixed_geometry),
        ("moving", moving_points, moving_geometry),
    ):
        outside = np.flatnonzero(~geometry.contains(points))
        if len(outside):
            raise InputError(
                f"{len(outside)} of {len(points)} {role} landmarks lie outside the {role} image (the first is number "
                f"{outside[0] + 1}); check that they belong to this scan and are given in LPS mm."
            )


def _ending(path: Path) -> str:
    name = path.name.lower()
    for ending in sorted(POINT_ENDINGS, key=len, reverse=True):
        if name.endswith(ending):
            return ending
    raise InputError(f"{path} is not a known kind of point file; use one of {', '.join(POINT_ENDINGS)}.")


def _parse_rows(text: str, path: Path) -> list[list[float]]:
    """Rows of numbers; which columns are x, y and z is said by a line of names, or there are no other numbers."""
    points, columns = [], None
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.split(r"\s*[,;]\s*|\s+", line.split("#")[0].strip().strip(",;"))
        if words == [""]:
            continue
        if not points and columns is None and not any(_is_number(word) for word in words):
            columns = _named_columns(words, path)
            continue
        if columns is None:
            columns = _unnamed_columns(words, path, number)
        try:
            points.append([float(words[column]) for column in columns])
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: expected x,y,z in mm.") from None
    return points


def _named_columns(words: list[str], path: Path) -> list[int]:
    """The places of x, y and z among the names of the columns."""
    names = [word.strip("\"' ").lower() for word in words]
    for axes in ("xyz", "lps"):
        if all(axis in names for axis in axes):
            return [names.index(axis) for axis in axes]
    if all(axis in names for axis in "ras"):
        raise InputError(f"{path} names its columns r, a, s; save the points in LPS mm, with columns x, y and z.")
    if len(names) == 3:
        return [0, 1, 2]
    raise InputError(f"{path} has {len(names)} columns, of which none are named x, y and z; name them so.")


def _unnamed_columns(words: list[str], path: Path, number: int) -> list[int]:
    """The first three columns, where those after them are no numbers that could be meant instead."""
    if len(words) < 3 or not all(_is_number(word) for word in words[:3]):
        raise InputError(f"{path}, line {number}: expected x,y,z in mm.")
    if any(_is_number(word) for word in words[3:]):
        raise InputError(
            f"{path} has {len(words)} columns of numbers and no line that names them; put x,y,z (LPS mm) in the "
            "first line, or leave the other columns out."
        )
    return [0, 1, 2]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parse_fcsv(text: str, path: Path) -> list[np.ndarray]:
    system = re.search(r"^#\s*CoordinateSystem\s*=\s*(\w+)", text, re.MULTILINE)
    sign = _sign_to_lps(system.group(1) if system else "RAS", path)  # without a header Slicer means RAS
    rows = [line.split(",") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return [sign * np.array([float(row[1]), float(row[2]), float(row[3])]) for row in rows]
    except (ValueError, IndexError):
        raise InputError(f"{path} is not a valid Slicer fiducial list.") from None


def _parse_markups(text: str, path: Path) -> list[np.ndarray]:
    points = []
    try:
        for markup in json.loads(text)["markups"]:
            sign = _sign_to_lps(markup.get("coordinateSystem", "LPS"), path)
            for point in markup.get("controlPoints", []):
                if point.get("positionStatus", "defined") == "defined":
                    x, y, z = (float(v) for v in point["position"])
                    points.append(sign * np.array([x, y, z]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InputError(f"{path} is not a valid Slicer markups file.") from None
    return points


def _sign_to_lps(system: str, path: Path) -> np.ndarray:
    name = SYSTEM_NAMES.get(str(system).upper())
    if name is None:
        raise InputError(f"{path} gives its points in the coordinate system '{system}'; save them in LPS or RAS.")
    return LPS_FROM_RAS if name == "RAS" else np.ones(3)


def _format_fcsv(points: np.ndarray) -> str:
    head = "# Markups fiducial file version = 5.0\n# CoordinateSystem = LPS\n"
    head += "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = (f"{n},{x:.6f},{y:.6f},{z:.6f},0,0,0,1,1,1,0,F-{n},,\n" for n, (x, y, z) in enumerate(points, start=1))
    return head + "".join(rows)


def _format_markups(points: np.ndarray) -> str:
    controls = [
        {"id": str(n), "label": f"F-{n}", "position": [round(float(v), 6) for v in point], "positionStatus": "defined"}
        for n, point in enumerate(points, start=1)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": controls,
    }
    return json.dumps({"@schema": MARKUPS_SCHEMA, "markups": [markup]}, indent=1) + "\n"
