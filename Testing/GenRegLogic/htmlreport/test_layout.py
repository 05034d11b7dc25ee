"""Pictures on the page: how many in a row, and what stands around them."""

import re

import numpy as np
import pytest

from GenRegLogic.htmlreport.cuts import ORIENTATIONS, whole
from GenRegLogic.htmlreport.layout import figure, per_row, rows
from GenRegLogic.htmlreport.style import STYLE
from GenRegLogic.space.geometry import Geometry

from .conftest import Page

AXIAL, CORONAL, SAGITTAL = ORIENTATIONS
PAGE_PIXELS = 1032
"""Width of the page's content on a screen."""

THIN = {
    "a heart of 10 slices": Geometry((216, 256, 10), (1.5625, 1.5625, 10.0)),
    "20 slices of 3 mm": Geometry((240, 240, 20), (1.0, 1.0, 3.0)),
    "12 sagittal slices": Geometry((12, 256, 256), (5.0, 0.9, 0.9)),
    "15 coronal slices": Geometry((256, 15, 256), (1.0, 4.0, 1.0)),
}


def cut_of(geometry, orientation):
    return whole(geometry, orientation, geometry.center, 20_000)


def shown(cut, **options):
    """The parsed page of one figure."""
    pixels = np.zeros((cut.rows, cut.columns), np.uint8)
    return Page(f"<body>{figure(cut, pixels, 'Fixed', 'axial plane.', **options)}</body>")


class TestSize:
    @pytest.mark.parametrize("geometry", THIN.values(), ids=THIN.keys())
    @pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: o.name)
    def test_a_thin_scan_is_large_enough_in_every_plane(self, geometry, orientation):
        cut = cut_of(geometry, orientation)
        count = per_row(cut)
        column = PAGE_PIXELS / count - 34  # letters, margins
        share = float(re.search(r"--share:([\d.]+)", shown(cut, in_row=count).all("div")[1]["style"])[1])
        width, height = share * column, share * column * cut.rows / cut.columns
        assert min(width, height) > 60
        assert max(width, height) > 190

    @pytest.mark.parametrize(
        ("size", "count"), [((60, 60, 60), 4), ((60, 60, 20), 2), ((60, 60, 8), 1), ((20, 60, 60), 8)]
    )
    def test_flat_pictures_are_fewer_in_a_row_and_slim_ones_more(self, size, count):
        assert per_row(cut_of(Geometry(size), CORONAL)) == count

    def test_a_tall_picture_is_made_narrower_than_its_column(self):
        cut = cut_of(Geometry((60, 60, 120)), CORONAL)
        assert "--share:0.485" in shown(cut, in_row=4).source


class TestAround:
    CUT = cut_of(Geometry((60, 60, 60), (1.5, 1.5, 1.5)), AXIAL)

    def test_letters_and_bar_have_places_beside_the_picture_and_each_other(self):
        areas = dict(re.findall(r"\.?(\w+) \{ grid-area: (\d / \d)", STYLE))
        assert areas.keys() == {"img", "w", "e", "n", "s", "bar"}
        assert len(set(areas.values())) == 6
        assert not re.search(r"\.bar \{[^}]*position", STYLE)

    def test_every_side_has_the_letter_of_its_direction(self):
        assert [(b["class"]) for b in shown(self.CUT).all("b")] == ["w", "e", "n", "s"]
        assert shown(self.CUT).text.split() == ["Fixed", "R", "L", "A", "P"]

    def test_the_bar_is_as_long_as_it_says(self):
        found = shown(self.CUT, bar=True, lettered=False)
        share = float(found.all("i")[0]["style"].removeprefix("width:").removesuffix("%")) / 100
        assert share * self.CUT.width_mm == pytest.approx(20.0, rel=0.01)
        assert found.text.split() == ["Fixed", "20", "mm"]

    def test_where_nothing_is_seen_the_reason_stands_in_place_of_the_letters(self):
        found = shown(self.CUT, missing="No voxels.")
        assert not found.all("b")
        assert "No voxels." in found.text
        assert found.all("img")[0]["alt"] == "Axial plane. No voxels."


class TestRows:
    FIGURES = tuple(f"<p>{n}</p>" for n in range(8))

    @pytest.mark.parametrize(("count", "number"), [(8, 1), (4, 2), (2, 4), (1, 8)])
    def test_all_figures_are_shown_once(self, count, number):
        found = Page(rows(self.FIGURES, count))
        assert len(found.all("div")) == number
        assert sorted(found.text.split()) == list("01234567")

    def test_two_in_a_row_belong_together(self):
        assert Page(rows(self.FIGURES, 2)).text.split() == list("03124567")

    def test_pictures_of_both_are_larger_than_the_last_two_where_asked_for(self):
        found = Page(rows(self.FIGURES, 4, large_both=True))
        assert [div["class"] for div in found.all("div")] == ["row four", "row large", "pile"]
        assert found.wrong == []
        assert found.text.split() == list("01234567")
