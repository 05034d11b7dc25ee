"""The source files that scripts/house counts, and the lines that are repeated in them."""

from __future__ import annotations

import ast
import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from measuring import MeasuringError

ENGINE, MODULE = "GenRegLogic", "GenRegModule"

WINDOW = 6
"""Lines that count as repeated."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One file: its path in the checkout, with slashes, and its text."""

    path: str
    text: str

    @property
    def is_plain(self) -> bool:
        """Whether it is neither `__init__.py` nor `__main__.py`."""
        return not self.path.endswith(("/__init__.py", "/__main__.py"))

    @property
    def module(self) -> str:
        """Dotted name to import it by; Slicer has GenRegModule itself on its search path."""
        return self.path.removeprefix(f"{MODULE}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @functools.cached_property
    def lines(self) -> list[str]:
        """All lines, stripped."""
        return [line.strip() for line in self.text.splitlines()]

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Syntax tree, empty for a shell script; raises MeasuringError if the file is not valid Python."""
        if not self.path.endswith(".py") and "python" not in self.lines[0]:
            return ast.Module([], [])
        try:
            return ast.parse(self.text)
        except SyntaxError as error:
            raise MeasuringError(f"{self.path}, line {error.lineno}: this is not valid Python.") from None


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A run of lines that occurs more than once: its number of lines, and its places ("file:first-last")."""

    lines: int
    places: list[str]


def sources_in(root: Path, *folders: str) -> list[Source]:
    """The .py files below some folders, and the programs with a #! line."""
    found = []
    for path in itertools.chain(*(sorted((root / folder).rglob("*")) for folder in folders)):
        is_program = not path.suffix and path.is_file() and path.read_bytes().startswith(b"#!")
        if path.suffix == ".py" or is_program:
            found.append(Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")))
    return found


def is_code(line: str) -> bool:
    """Whether a stripped line is neither blank nor only a comment."""
    return bool(line) and not line.startswith("#")


def repeated_in(sources: Iterable[Source]) -> list[Repeated]:
    """Runs of at least six lines that occur at two or more places, sorted by the number of repeated lines."""
    rows = {source.path: comparable(source) for source in sources}
    runs = collections.defaultdict(set)
    for (path, other, shift), starts in pairs_of_windows(rows).items():
        for first, last in stretches(starts):
            end = last + WINDOW
            run = tuple(text for _, text in rows[path][first:end])
            runs[run].add(place(path, rows[path][first:end]))
            runs[run].add(place(other, rows[other][first + shift : end + shift]))
    found = [Repeated(len(run), sorted(places)) for run, places in runs.items()]
    return sorted(found, key=lambda repeated: (-repeated.lines * (len(repeated.places) - 1), repeated.places))


def comparable(source: Source) -> list[tuple[int, str]]:
    """Number and text of the lines that are compared."""
    statements = [node for node in ast.walk(source.tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imports = {number for node in statements for number in range(node.lineno, node.end_lineno + 1)}
    return [
        (number, line)
        for number, line in enumerate(source.lines, start=1)
        if is_code(line) and number not in imports and any(character.isalnum() for character in line)
    ]


def pairs_of_windows(rows: dict[str, list[tuple[int, str]]]) -> dict[tuple[str, str, int], list[int]]:
    """Pairs of places with the same window of lines.

    Returns:
        By (first file, second file, offset of the second place): the first rows of the windows in the first file.
    """
    windows = collections.defaultdict(list)
    for path, lines in rows.items():
        for start in range(len(lines) - WINDOW + 1):
            windows[tuple(text for _, text in lines[start : start + WINDOW])].append((path, start))
    pairs = collections.defaultdict(list)
    for places in windows.values():
        for (path, start), (other, other_start) in itertools.combinations(places, 2):
            if path != other or other_start - start >= WINDOW:
                pairs[path, other, other_start - start].append(start)
    return pairs


def stretches(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    for _, group in itertools.groupby(enumerate(sorted(numbers)), key=lambda entry: entry[1] - entry[0]):
        stretch = [number for _, number in group]
        yield stretch[0], stretch[-1]


def place(path: str, rows: Sequence[tuple[int, str]]) -> str:
    """ "file:first-last"."""
    return f"{path}:{rows[0][0]}-{rows[-1][0]}"
