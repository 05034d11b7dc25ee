"""Whatever a file, an option or an argument holds: GenReg reads it truly, or refuses it in one sentence."""

import string
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from GenRegLogic.errors import GenRegError, InputError
from GenRegLogic.files.images import read_volume, write_volume
from GenRegLogic.files.points import read_points, write_points
from GenRegLogic.files.transforms import read_transform, write_transform
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import AffineTransform, DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from robustness.samples import IDENTITY, TURN, ball
from robustness.trial import BAD_INPUT, DOCUMENTED, captured, sentences

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX paths")

trial = settings(derandomize=True, deadline=None, database=None, max_examples=60)
IMAGE_NAMES = ("v.nii", "v.nii.gz", "v.hdr", "v.mgz", "v.nrrd", "v.nhdr", "v.mha", "v.mhd", "v.dcm", "v")
TRANSFORM_NAMES = ("t.tfm", "t.txt", "t.mat", "t.xfm", "t.nii.gz", "t.nrrd")
STARTS = (
    b"",
    b"NRRD0004\n",
    b"NRRD0005\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
    (348).to_bytes(4, "little"),
    (540).to_bytes(4, "little"),
    (1).to_bytes(4, "big"),
    b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n",
    bytes(128) + b"DICM",
    bytes(128) + b"DICM\x02\0\0\0UL\x04\0\x04\0\0\0",
    b"#Insight Transform File V1.0\n",
    b"MNI Transform File\n",
)
"""How files of the formats begin, so that their readers are reached."""

numbers = some.floats(allow_nan=False, allow_infinity=False, width=32, min_value=-1e4, max_value=1e4)
spacings = some.floats(min_value=1e-2, max_value=1e2)
anything = some.one_of(
    some.none(), some.booleans(), some.integers(), some.floats(), some.text(max_size=5), some.lists(some.integers())
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused_or(read, path):
    """What is read, or None where it is refused in one sentence."""
    try:
        return read(path)
    except GenRegError as error:
        text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    return None


@trial
@given(name=some.sampled_from(IMAGE_NAMES), start=some.sampled_from(STARTS), rest=some.binary(max_size=2000))
def test_any_bytes_are_a_scan_or_refused(name, start, rest):
    Path(name).write_bytes(start + rest)
    volume = refused_or(read_volume, name)
    assert volume is None or np.isfinite(volume.geometry.index_to_world).all()


@trial
@given(name=some.sampled_from(TRANSFORM_NAMES), start=some.sampled_from(STARTS), rest=some.binary(max_size=500))
def test_any_bytes_are_a_transform_or_refused(name, start, rest):
    Path(name).write_bytes(start + rest)
    refused_or(read_transform, name)


@trial
@given(name=some.sampled_from(("p.csv", "p.fcsv", "p.mrk.json")), text=some.text('0123456789.,;-+enafxyz# \n\t"[]{}:'))
def test_any_text_is_finite_points_or_refused(name, text):
    Path(name).write_text(text)
    points = refused_or(read_points, name)
    assert points is None or (np.isfinite(points).all() and points.shape[1] == 3)


@trial
@given(
    shape=some.tuples(*[some.integers(2, 6)] * 3),
    spacing=some.tuples(*[spacings] * 3),
    origin=some.tuples(*[numbers] * 3),
    flips=some.tuples(*[some.sampled_from((-1.0, 1.0))] * 3),
    dtype=some.sampled_from(("u1", "i2", "u2", "i4", "f4", "f8")),
    ending=some.sampled_from((".nii", ".nii.gz", ".nrrd", ".mha")),
)
def test_what_is_written_is_read_as_it_was(shape, spacing, origin, flips, dtype, ending):
    array = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    geometry = Geometry(shape[::-1], spacing, origin, TURN * flips)
    write_volume(Volume(array, geometry), f"v{ending}")
    volume = read_volume(f"v{ending}")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == array.dtype
    scale = max(1.0, *map(abs, origin), *(n * s for n, s in zip(shape[::-1], spacing)))
    np.testing.assert_allclose(volume.geometry.index_to_world, geometry.index_to_world, rtol=0, atol=1e-5 * scale)


@trial
@given(
    shift=some.tuples(*[numbers] * 3),
    ending=some.sampled_from((".h5", ".tfm")),
    points=some.lists(some.tuples(*[numbers] * 3), min_size=1, max_size=5),
)
def test_a_matrix_survives_its_file(shift, ending, points):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = TURN, shift
    write_transform(AffineTransform(matrix), f"t{ending}")
    read = read_transform(f"t{ending}")
    np.testing.assert_allclose(read(np.array(points)), AffineTransform(matrix)(np.array(points)), atol=1e-2)


@trial
@given(
    shape=some.tuples(*[some.integers(2, 5)] * 3),
    spacing=some.tuples(*[spacings] * 3),
    ending=some.sampled_from((".nii.gz", ".nrrd", ".mha", ".h5", ".tfm")),
    seed=some.integers(0, 1000),
)
def test_a_field_survives_its_file_within_its_rounding(shape, spacing, ending, seed):
    array = np.random.default_rng(seed).normal(0, 0.1, (*shape, 3)).astype(np.float32)
    field = DisplacementField(array, Geometry(shape[::-1], spacing))
    write_transform(field, f"t{ending}")
    np.testing.assert_allclose(read_transform(f"t{ending}").array, array, atol=1e-3)


@trial
@given(
    points=some.lists(some.tuples(*[numbers] * 3), min_size=1, max_size=8),
    ending=some.sampled_from((".csv", ".fcsv", ".mrk.json")),
)
def test_points_survive_their_file(points, ending):
    write_points(np.array(points), f"p{ending}")
    np.testing.assert_allclose(read_points(f"p{ending}"), points, atol=1e-6)


@trial
@given(
    name=some.sampled_from([*Settings.__dataclass_fields__]),
    value=anything,
)
def test_any_setting_is_taken_as_it_is_or_refused(name, value):
    try:
        made = Settings(**{name: value})
    except InputError:
        return
    assert getattr(made, name) is value
    assert np.isfinite(made.smoothness)


words = some.one_of(
    some.sampled_from(
        ("register", "warp", "warp-points", "evaluate", "report", "repair", "-o", "-t", "-r", "--labels")
    ),
    some.sampled_from(("fixed.nii", "t.tfm", "p.csv", "out.nii.gz", "out.csv", "--quiet", "--invert", "--cubic", "--")),
    some.text(string.printable, max_size=6),
)


@trial
@given(argv=some.lists(words, max_size=7))
def test_any_words_end_with_a_documented_exit_code(argv):
    with tempfile.TemporaryDirectory() as folder:
        write_volume(Volume.from_array(ball(8), spacing=(2, 2, 2)), "fixed.nii")
        Path("t.tfm").write_text(IDENTITY)
        Path("p.csv").write_text("1,2,3\n")
        before = sorted(Path.cwd().iterdir())
        ran = captured(argv)
        assert ran.code in DOCUMENTED
        if ran.code == BAD_INPUT:
            assert len(sentences(ran.err)) == 1
            assert sorted(Path.cwd().iterdir()) == before
        assert not list(Path(folder).iterdir())
        for path in set(Path.cwd().iterdir()) - set(before):
            path.unlink()
