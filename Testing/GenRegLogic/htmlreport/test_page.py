"""The page: well formed, self-contained, private, and with the content of its registration."""

import re

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.htmlreport import build_html, page
from GenRegLogic.quality.maps import Place
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

from .conftest import Page

PICTURES = 24


@pytest.fixture
def read(small_pictures):
    """Makes the page of a registration and parses it; its confidence is used unless another is given."""

    def make_and_read(registration, **options):
        options = {"confidence": registration.confidence} | options
        return Page(build_html(*registration.parts, **options))

    return make_and_read


class TestForm:
    def test_every_element_is_closed_and_nested_correctly(self, plain, read):
        found = read(plain)
        assert found.wrong == []
        assert found.source.startswith('<!DOCTYPE html>\n<html lang="en">')
        assert [name for name, _ in found.tags].count("title") == 1

    @pytest.mark.parametrize("name", ["oblique and anisotropic", "left-handed", "in another axis order", "of a mouse"])
    def test_a_scan_on_any_grid_gives_a_complete_page(self, make, read, name):
        from ..conftest import GRIDS

        found = read(make(GRIDS[name]))
        assert found.wrong == []
        assert len([alt for alt, _ in found.pictures() if "plane" in alt]) == PICTURES
        assert all(np.ptp(pixels) > 50 for alt, pixels in found.pictures() if "fixed scan" not in alt)

    @pytest.mark.parametrize(
        "geometry",
        [
            Geometry((3, 3, 3), (0.01, 0.01, 0.01)),
            Geometry((2, 40, 2), (1.0, 1.0, 1.0)),
            Geometry((200, 4, 30), (0.5, 5.0, 0.5), (5000.0, -900.0, 30.0)),
        ],
        ids=["tiny", "a rod", "a slab far away"],
    )
    def test_scans_of_unusual_size_give_a_complete_page(self, make, read, geometry):
        found = read(make(geometry))
        assert found.wrong == []
        assert len(found.pictures()) >= PICTURES

    def test_every_picture_has_its_size_and_a_unique_description(self, plain, read):
        found = read(plain)
        descriptions = [image["alt"] for image in found.all("img")]
        assert len(descriptions) == len(set(descriptions)) >= PICTURES
        for image, (_, pixels) in zip(found.all("img"), found.pictures()):
            assert (int(image["height"]), int(image["width"])) == pixels.shape[:2]

    def test_every_header_cell_has_a_scope(self, plain, read):
        cells = read(plain).all("th")
        assert cells
        assert all(cell.get("scope") in ("row", "col") for cell in cells)

    def test_markup_in_a_report_is_escaped(self, plain, read):
        plain.report["notes"] = ['<script>alert("1")</script>']
        plain.report["details"] = ["<b>"]
        plain.report["device"] = "<img src=http://example.org/x.png>"
        plain.report["settings"]["<b>"] = "</td>"
        plain.report["stages"][0]["name"] = "<i>"
        found = read(plain, names=("<script>", '"><img src=x>'))
        assert found.wrong == []
        assert not found.all("script")
        assert len(found.all("img")) >= PICTURES
        assert all(image["src"].startswith("data:") for image in found.all("img"))
        assert '<script>alert("1")</script>' in found.text


class TestComplete:
    def test_the_page_has_no_external_resources(self, plain, read):
        found = read(plain)
        assert len(found.all("img")) >= PICTURES
        assert all(image["src"].startswith("data:image/png;base64,") for image in found.all("img"))
        tags = {name for name, _ in found.tags}
        assert not tags & {"script", "link", "iframe", "object", "embed", "audio", "video", "base", "form"}
        assert not tags & {"image", "use"}  # of a drawing, which could refer to another file
        attributes = {name for _, given in found.tags for name in given}
        assert not {"href", "xlink:href", "srcset", "action", "background", "poster"} & attributes
        assert not [name for name in attributes if name.startswith("on")]
        without_pictures = re.sub(r"data:image/png;base64,[\w+/=]+", "", found.source)
        assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face", without_pictures)

    def test_the_security_policy_forbids_loading(self, plain, read):
        (policy,) = [meta["content"] for meta in read(plain).all("meta") if "http-equiv" in meta]
        assert policy.startswith("default-src 'none'")

    def test_the_style_has_rules_for_printing(self, plain, read):
        style = read(plain).source.partition("<style>")[2].partition("</style>")[0]
        assert "@media print" in style
        assert "@page" in style

    def test_a_page_of_noisy_scans_is_below_the_size_limit(self, make):
        registration = make(Geometry((240, 240, 40)))
        noise = np.random.default_rng(0).integers(0, 1000, (2, 40, 240, 240), np.int16)
        registration.fixed, registration.moving = (Volume(array, registration.fixed.geometry) for array in noise)
        found = Page(build_html(*registration.parts, confidence=registration.confidence))
        assert 1_000_000 < len(found.source.encode()) < 3_000_000

    def test_a_page_that_is_too_large_gets_smaller_pictures(self, plain, read, monkeypatch):
        large = read(plain).all("img")[0]
        monkeypatch.setattr(page, "MAX_BYTES", 1)
        small = read(plain).all("img")[0]
        assert int(small["width"]) < int(large["width"])


class TestPrivate:
    def test_no_names_appear_by_default(self, plain, read):
        found = read(plain)
        assert "Moving scan " not in found.text.partition("Scans")[0]
        assert "no patient's name" in found.text

    def test_given_names_appear(self, plain, read):
        found = read(plain, names=("Fixed Fred", "Moving Mary"))
        assert found.text.count("Fixed Fred") >= 2
        assert found.text.count("Moving Mary") >= 2
        assert "no patient's name" not in found.text


class TestVerdict:
    @pytest.mark.parametrize(("status", "heading"), page.HEADINGS.items())
    def test_the_verdict_comes_first_with_its_reasons(self, make, read, status, heading):
        found = read(make(Geometry((12, 12, 12), (4.0, 4.0, 4.0)), status=status))
        first = found.text.index(heading)
        assert first < found.text.index("A reason & <another>.") < found.text.index("Figures")
        assert f'class="verdict {status}"' in found.source
        assert found.wrong == []

    def test_a_report_without_a_verdict_is_shown_as_not_judged(self, plain, read):
        plain.report = {}
        found = read(plain)
        assert "was not judged" in found.text
        assert "not certain that it belongs to them" in found.text
        assert not [heading for heading in page.HEADINGS.values() if heading in found.text]
        assert found.wrong == []

    def test_a_report_of_scans_at_other_positions_gives_a_warning(self, plain, read):
        assert "made for scans of other voxels" not in read(plain).text
        plain.report["inputs"]["moving"]["origin_lps_mm"] = [0.0, 0.0, 500.0]
        assert "made for scans of other voxels" in read(plain).text

    def test_warnings_are_shown_with_the_verdict(self, plain, read):
        plain.report["warnings"] = ["Mind the gap."]
        text = read(plain).text
        assert text.index("Mind the gap.") < text.index("Figures")

    def test_a_transform_that_covers_only_a_part_gives_a_warning(self, plain, read):
        grid = plain.forward.geometry
        half = Geometry((grid.size[0] // 2, *grid.size[1:]), grid.spacing, grid.origin, grid.direction)
        plain.forward = DisplacementField(plain.forward.array[:, :, : half.size[0]], half)
        assert "The transform covers 50 % of the fixed scan" in read(plain).text


class TestBoth:
    """The pictures of both scans, and how the page says to read them."""

    @pytest.fixture
    def inverted(self, plain):
        """The registration with a moving scan of which bright is dark."""
        values = plain.moving.array
        plain.moving = Volume(np.where(values > values.min() + 30, 400 - values, 0), plain.moving.geometry)
        return plain

    def test_scans_of_one_contrast_are_blended(self, plain, read):
        plain.report["descriptor"] = "intensity"
        found = read(plain)
        assert "gray is where both are equally bright" in found.text
        assert "edges of" not in found.text
        before = dict(found.pictures())["Axial plane: both, before."].astype(int)
        assert (before[..., 0] == before[..., 2]).all()  # green and magenta alone
        assert np.ptp(before[..., 0] - before[..., 1]) > 50

    @pytest.mark.parametrize("descriptor", ["mind-ssc", "mind-ssc+network"])
    def test_across_contrasts_lines_are_drawn_over_one_of_them(self, plain, read, descriptor):
        plain.report["descriptor"] = descriptor
        found = read(plain)
        assert re.search("edges of the (fixed scan over the moving|moving scan over the fixed) scan", found.text)
        assert "magenta" not in found.text
        after = dict(found.pictures())["Axial plane: both, after."].astype(int)
        colored = after[np.ptp(after, axis=-1) > 20]
        assert len(colored) > 20
        assert (np.diff(colored, axis=-1) < 0).all()  # orange: more red than green than blue

    def test_without_a_descriptor_scans_of_one_contrast_are_blended(self, plain, read):
        del plain.report["descriptor"]
        assert "equally bright" in read(plain).text

    def test_without_a_descriptor_lines_are_drawn_if_bright_is_dark_in_the_other_scan(self, inverted, read):
        del inverted.report["descriptor"]
        text = read(inverted).text
        assert "edges of" in text
        assert "Compared by" not in text


class TestNotes:
    def test_notes_for_programs_are_folded_away(self, plain, read):
        plain.report |= {"notes": ["For you.", "Start: 0.52."], "details": ["Start: 0.52."]}
        found = read(plain)
        assert found.wrong == []
        assert "open" not in found.all("details")[0]
        before, _, after = found.source.partition("<details>")
        assert "For you." in before
        assert "0.52" not in before
        assert "Start: 0.52." in after

    def test_without_such_notes_nothing_is_folded(self, plain, read):
        assert not read(plain).all("details")

    def test_what_is_said_once_is_not_repeated(self, plain, read):
        sentence = "The slices of the scan were resampled to even distances."
        plain.report |= {"warnings": [sentence, sentence], "notes": [sentence]}
        plain.report["verdict"]["reasons"] = [sentence]
        assert read(plain).text.count("resampled to even distances") == 1

    def test_a_warning_that_resembles_another_one_is_not_lost(self, plain, read):
        plain.report |= {"warnings": ["Two slices are missing at the head.", "Two slices are missing at the feet."]}
        text = read(plain).text
        assert "at the head" in text
        assert "at the feet" in text


class TestContent:
    def test_a_constant_scan_is_refused(self, plain):
        flat = Volume(np.zeros_like(plain.fixed.array), plain.fixed.geometry)
        with pytest.raises(InputError, match="fixed image is constant"):
            build_html(flat, *plain.parts[1:])

    def test_figures_of_the_report_are_shown(self, make, read):
        landmarks = {"count": 4, "tre_before_mm": 9.0, "tre_after_mm": 1.2}
        text = read(make(Geometry((12, 12, 12)), landmarks=landmarks)).text
        for expected in ("1.050", "1.150", "mean of 4", "9.0 mm", "1.2 mm", "×0.50 to ×2.00", "mind-ssc", "automatic"):
            assert expected in text

    def test_landmarks_are_not_mentioned_without_landmarks(self, plain, read):
        assert "Landmarks" not in read(plain).text

    def test_no_place_is_shown_without_the_expected_error(self, plain, read):
        found = read(plain, confidence=None)
        assert "was not estimated" in found.text
        assert not [alt for alt, _ in found.pictures() if "xpected error" in alt]
        assert not found.all("article")
        assert len(found.pictures()) == PICTURES

    def test_no_place_is_shown_for_an_expected_error_of_zero(self, plain, read):
        zero = Volume(np.zeros_like(plain.confidence.array), plain.confidence.geometry)
        assert "singles out no place" in read(plain, confidence=zero).text

    def test_given_places_are_shown_in_their_order(self, plain, read):
        center = plain.fixed.geometry.center
        worst = [Place(center, 4.25, "It is odd."), {"point_lps": (center + 4).tolist(), "expected_error_mm": 2.0}]
        found = read(plain, worst=worst)
        assert len(found.all("article")) == 2
        assert found.text.index("1. 4.2 mm") < found.text.index("It is odd.") < found.text.index("2. 2.0 mm")

    def test_scans_that_did_not_overlap_before_get_a_note_in_place_of_the_picture(self, make, read):
        grid = Geometry((16, 16, 16), (2.0, 2.0, 2.0))
        registration = make(grid, moving=Geometry(grid.size, grid.spacing, (500.0, 0.0, 0.0)))
        registration.forward = DisplacementField(np.full((16, 16, 16, 3), (500, 0, 0), np.float32), grid)
        pictures = dict(read(registration, confidence=None).pictures())
        before = [pixels for alt, pixels in pictures.items() if "moving before" in alt and "do not meet" in alt]
        after = [pixels for alt, pixels in pictures.items() if "moving after" in alt]
        assert [pixels.max() for pixels in before] == [0, 0, 0]
        assert len(after) == 3
        assert all(pixels.max() > 100 for pixels in after)

    def test_bodies_that_were_kept_rigid_are_in_a_table(self, plain, read):
        plain.report["rigid"] = [
            {
                "label": 2,
                "volume_change_pct": 0.11,
                "residual_strain_pct": 0.2,
                "rotation_deg": 3.25,
                "translation_mm": [3.0, 4.0, 0.0],
            }
        ]
        text = read(plain).text
        assert "Kept rigid" in text
        assert "5.0 mm" in text

    def test_a_damaged_report_still_gives_a_page(self, plain, read):
        for key in list(plain.report):
            plain.report[key] = {"list": ["x", None]}.get(key, 7)
        assert read(plain).wrong == []

    def test_the_tilt_of_the_planes_is_mentioned(self, make, read):
        from ..conftest import GRIDS

        assert "tilted by up to" in read(make(GRIDS["oblique and anisotropic"])).text
        assert "tilted by up to" not in read(make(GRIDS["in another axis order"])).text
