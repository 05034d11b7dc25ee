"""Where pictures stand on the page: how many in a row, and what stands around each one.

The letters of the body's directions and the scale bar have places of their own beside a picture, so that they cover
neither the scan nor each other however small the picture is.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .cuts import Cut
from .png import data_uri
from .render import nice

__all__ = ["figure", "per_row", "rows"]

SLIM, SLIM_PER_ROW = 0.45, 8
"""Width relative to height below which a picture counts as slim, and how many of those are in a row."""

FLAT = ((4, 2.1), (2, 4.4))
"""How many pictures are in a row, and up to which width relative to height. Flatter ones, as of few thick slices, are
larger, and the flattest have a row each: no picture is less than 2 cm high unless its scan is an extreme rod."""

SQUARE_TALLEST, SLIM_TALLEST = 0.97, 4.6
"""Largest height of a picture relative to the width of its column; a taller one is made narrower, so that two planes
fit on a sheet of paper."""

PAIRED = (0, 3, 1, 2, 4, 5, 6, 7)
"""Order of the eight pictures of a plane where two are in a row: each row then holds two that belong together."""

WORDS = {1: "one", 2: "two", 4: "four", 8: "eight"}
"""Classes in the style sheet."""

BAR_SHARE = 0.25
"""Length of the scale bar, about, relative to the width of the picture."""


def per_row(cut: Cut) -> int:
    """How many pictures of a cut are in a row: 8, 4, 2 or 1."""
    ratio = cut.columns / cut.rows
    if ratio < SLIM:
        return SLIM_PER_ROW
    return next((count for count, widest in FLAT if ratio <= widest), 1)


def rows(figures: Sequence[str], count: int, *, large_both: bool = False) -> str:
    """HTML of figures in rows.

    Args:
        figures: HTML of each.
        count: How many are in a row, as `per_row` returns it.
        large_both: Make those of both scans, the fifth and the sixth of a plane, twice as large as the last two, where
            four are in a row: their lines are finer than anything else on the page.
    """
    if large_both and count == 4:
        first, both, rest = ("".join(part) for part in (figures[:4], figures[4:6], figures[6:]))
        return f'<div class="row four">{first}</div><div class="row large">{both}<div class="pile">{rest}</div></div>'
    if count == 2 and len(figures) == len(PAIRED):
        figures = [figures[n] for n in PAIRED]
    parts = (figures[n : n + count] for n in range(0, len(figures), count))
    return "".join(f'<div class="row {WORDS[count]}">{"".join(part)}</div>' for part in parts)


def figure(
    cut: Cut,
    pixels: np.ndarray,
    caption: str,
    alt: str,
    *,
    in_row: int = 4,
    bar: bool = False,
    lettered: bool = True,
    missing: str = "",
) -> str:
    """HTML of a picture with its caption, the letters of the body's directions around it, and a scale bar below it.

    Args:
        cut: What the picture shows.
        pixels: (rows, columns) or (rows, columns, 3) uint8.
        caption: Above the picture.
        alt: Describes it to those who do not see it.
        in_row: How many figures are in a row, as `per_row` returns it.
        bar: Whether it has a scale bar.
        lettered: Whether it has letters.
        missing: Why there is nothing to be seen, shown in place of the letters; "" if there is something.
    """
    tallest = SLIM_TALLEST if in_row == SLIM_PER_ROW else SQUARE_TALLEST
    share = min(1.0, tallest * cut.columns / cut.rows) if in_row >= 4 else 1.0
    around = []
    if lettered and not missing:
        around += [
            f'<b class="{side}" aria-hidden="true">{letter}</b>'
            for side, letter in zip("wens", cut.orientation.letters)
        ]
    if bar:
        bar_mm = nice(BAR_SHARE * cut.width_mm)
        around.append(
            f'<span class="bar"><i style="width:{100 * bar_mm / cut.width_mm:.1f}%"></i> {bar_mm:g} mm</span>'
        )
    note = f'<span class="none">{missing}</span>' if missing else ""
    alt = alt[0].upper() + alt[1:] + (f" {missing}" if missing else "")
    return (
        f'<figure><figcaption>{caption}</figcaption><div class="picture"><div class="hug" style="--share:{share:.3f}">'
        f'<img src="{data_uri(pixels)}" width="{cut.columns}" height="{cut.rows}" alt="{escape(alt)}">'
        f"{''.join(around)}</div>{note}</div></figure>"
    )
