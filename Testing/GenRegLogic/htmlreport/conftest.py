"""Small registrations to make pages of, and a strict parser of pages."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from GenRegLogic.htmlreport import page
from GenRegLogic.quality.report import build_report
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

VOID = {"meta", "img", "br"}
SELF_CLOSED = {"line", "path", "circle", "polyline"}
PARENTS = {
    "tr": {"thead", "tbody"},
    "td": {"tr"},
    "th": {"tr"},
    "li": {"ul"},
    "figcaption": {"figure"},
    "caption": {"table"},
    "thead": {"table"},
    "tbody": {"table"},
}


class Page(HTMLParser):
    """Parses a page; collects its text, its elements, and in `wrong` every violation of its form."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.source, self.wrong, self.tags, self.text = text, [], [], ""
        self._open = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self._open]

    def all(self, tag):
        """Attributes of every element with a tag."""
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self):
        """Alternative text and pixels of every picture."""
        return [(image["alt"], decoded(image["src"])) for image in self.all("img")]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.wrong.append(f"<{tag}> has an attribute twice")
        if tag in SELF_CLOSED:
            self.wrong.append(f"<{tag}> of a drawing is not closed")
        if tag in PARENTS and (not self._open or self._open[-1] not in PARENTS[tag]):
            self.wrong.append(f"<{tag}> inside {self._open[-1:]}")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        if tag not in SELF_CLOSED:
            self.wrong.append(f"<{tag}/> closes itself")
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.text += data + " "


def decoded(source):
    """Pixels of a picture from its `src`."""
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
        return np.asarray(picture)


class Registration:
    """An artificial registration on a grid: two blobs, a smooth field, a report."""

    def __init__(self, geometry, *, moving=None, status="trustworthy", **parts):
        self.fixed = Volume(blob(geometry), geometry)
        moving = moving or geometry
        self.moving = Volume(blob(moving, 0.05) * 3 + 20, moving)
        self.forward = bent(geometry)
        self.confidence = Volume(np.abs(self.forward.array[..., 0]), geometry)
        self.report = build_report(
            **{
                "fixed": geometry,
                "moving": moving,
                "settings": {"iterations": None, "smoothness": 1.0, "linear_only": False, "seed": 7},
                "device": "cpu",
                "descriptor": "mind-ssc",
                "linear_matrix": np.eye(4),
                "stages": [{"name": "prepare", "seconds": 0.5, "peak_memory_mb": None}],
                "objective": [{"level": n // 4, "iteration": n % 4, "objective": 1 / (1 + n)} for n in range(12)],
                "similarity_before": {"nmi": 1.05, "lncc": 0.2},
                "similarity_after": {"nmi": 1.15, "lncc": 0.4},
                "jacobian": {"folds_pct": 0.0, "ndv_pct": 0.0, "sdlogj": 0.1, "min_det": 0.5, "max_det": 2.0},
                "inverse_error": {"mean_mm": 0.01, "max_mm": 0.2},
                "confidence": {"mean_mm": 0.5, "p95_mm": 1.5},
                **parts,
            }
        )
        self.report["verdict"] = {"status": status, "reasons": ["A reason & <another>."]}

    @property
    def parts(self):
        """The required arguments of `build_html`."""
        return self.fixed, self.moving, self.forward, self.report


def blob(geometry, shift=0.0):
    """(k, j, i) float32: a soft ellipsoid with stripes, on a dark background."""
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in geometry.shape), indexing="ij")
    radius = np.sqrt(k**2 + j**2 + (i - shift) ** 2)
    body = 100 * np.clip(4 * (0.8 - radius), 0, 1) * (1 + 0.3 * np.sin(9 * i + 5 * k))
    return (body + 2 * (1 + j)).astype(np.float32)


def bent(geometry):
    """A smooth field of up to a tenth of the smallest extent, largest in the scan's first half along i."""
    k, j, i = np.meshgrid(*(np.linspace(0, np.pi, n) for n in geometry.shape), indexing="ij")
    wave = (np.sin(k) * np.sin(j) * np.sin(i) * np.exp(-i)).astype(np.float32)
    return DisplacementField(wave[..., None] * np.float32(geometry.extent_mm.min() / 10) * [1, 0.5, -0.5], geometry)


@pytest.fixture
def small_pictures(monkeypatch):
    """Makes pages in a fraction of the time."""
    monkeypatch.setattr(page, "PIXELS_TO_TRY", (4_000, 2_000))


@pytest.fixture
def plain():
    """A registration on a plain grid."""
    return Registration(Geometry((24, 20, 18), (2.0, 2.0, 2.5), (-20.0, -20.0, 10.0)))


@pytest.fixture
def make():
    """Makes a registration on a grid."""
    return Registration
