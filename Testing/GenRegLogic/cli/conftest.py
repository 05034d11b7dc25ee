"""Small scans, and a stand-in for the engine, so that the command line is tested without it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from GenRegLogic.cli import main
from GenRegLogic.files.images import write_volume
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.volume import Volume

SHAPE = (18, 20, 22)
SPACING = (2.0, 2.0, 2.5)
SHIFT_MM = (1.0, 0.0, 0.0)


def blob(shift=0.0, seed=0):
    """A (k, j, i) float32 image of a soft ball with texture."""
    k, j, i = np.indices(SHAPE)
    middle = [(n - 1) / 2 for n in SHAPE]
    radius = np.sqrt(((k - middle[0]) * 1.1) ** 2 + (j - middle[1]) ** 2 + (i - middle[2] - shift) ** 2)
    texture = np.random.default_rng(seed).normal(0, 8, SHAPE)
    return (500 / (1 + np.exp(radius - 6)) + texture).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A folder with a fixed and a moving scan, and an empty one for results."""
    write_volume(Volume.from_array(blob(), spacing=SPACING), tmp_path / "fixed.nii.gz")
    write_volume(Volume.from_array(blob(0.5, seed=1), spacing=SPACING), tmp_path / "moving.nii.gz")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def genreg(folder, monkeypatch, capfd):
    """Runs `genreg` in the folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(folder)

    def run(*words):
        code = main([str(word) for word in words])
        return SimpleNamespace(code=code, **capfd.readouterr()._asdict())

    return run


@pytest.fixture
def engine(monkeypatch):
    """A stand-in for `register`: records its arguments and returns a translation."""
    fake = FakeEngine()
    monkeypatch.setitem(sys.modules, "GenRegLogic.register", SimpleNamespace(register=fake))
    return fake


class FakeEngine:
    def __init__(self):
        self.calls = []
        self.status = "trustworthy"
        self.before_return = lambda on_progress, cancel: None

    def __call__(self, fixed, moving, settings=None, *, on_progress=None, cancel=None, **guidance):
        self.calls.append(SimpleNamespace(fixed=fixed, moving=moving, settings=settings, **guidance))
        self.before_return(on_progress, cancel)
        return FakeRegistration(fixed, moving, self.status)

    @property
    def call(self):
        (only,) = self.calls
        return only


class FakeRegistration:
    def __init__(self, fixed, moving, status):
        matrix = np.eye(4)
        matrix[:3, 3] = SHIFT_MM
        self.fixed, self.moving = fixed, moving
        self.linear = AffineTransform(matrix)
        self.forward = constant_field(fixed.geometry, SHIFT_MM)
        self.confidence = None
        self.report = {
            "verdict": {"status": status, "reasons": ["A reason."]},
            "warnings": ["A warning."],
            "notes": [],
            "seconds": 1.0,
        }

    def inverse(self):
        return constant_field(self.moving.geometry, [-v for v in SHIFT_MM])

    def report_with_inverse(self):
        return self.report | {"inverse_error": {"mean_mm": 0.01, "max_mm": 0.1}}

    def warped(self, interpolation="linear"):
        return Volume(self.moving.array, self.fixed.geometry)

    def expected_error(self):
        return Volume(np.full(self.fixed.geometry.shape, 1.5, np.float32), self.fixed.geometry)


def constant_field(geometry, shift):
    return DisplacementField(np.full((*geometry.shape, 3), shift, np.float32), geometry)


def names(folder):
    """Names of all files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


def is_one_sentence(text):
    """Whether standard error holds one line that begins with the program's name and ends like a sentence."""
    lines = text.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("genreg: ") and lines[0].endswith((".", "'"))
