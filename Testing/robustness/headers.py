"""Numbers of headers that are not numbers, zero, negative, huge, or contradict one another, in every format.

A header that states something impossible is refused. What is read without a warning must be what the format's own
library reads, or the sample.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator

import numpy as np

from GenRegLogic.files.points import read_points
from GenRegLogic.files.transforms import read_transform_and_doubts
from GenRegLogic.space.volume import Volume

from .formats import LIBRARIES, _agrees, same_place
from .samples import IDENTITY, IMAGES, dicom_folder, enhanced_dicom, markups, values
from .trial import WRONG, Case, Place, expect

NAN, INF = float("nan"), float("inf")
FLOATS = (NAN, INF, -INF, 0.0, -1.0, 1e30, -3.4e38, 1e-40, 1e-6, 1e6, 2.0)
SHORTS = (0, -1, 1, 2, 3, 7, 8, 9, 32767, -32768, 12345)

NIFTI_FIELDS = {
    **{f"dim[{n}]": (40 + 2 * n, "h") for n in range(8)},
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    **{f"pixdim[{n}]": (76 + 4 * n, "f") for n in range(4)},
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "b"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "quatern_d": (264, "f"),
    "qoffset_x": (268, "f"),
    "qoffset_z": (276, "f"),
    "srow_x[0]": (280, "f"),
    "srow_x[3]": (292, "f"),
    "srow_y[1]": (300, "f"),
    "srow_z[2]": (320, "f"),
    "magic": (344, "i"),
    "sizeof_hdr": (0, "i"),
}
MGH_FIELDS = {
    "version": (0, "i"),
    **{f"dims[{n}]": (4 + 4 * n, "i") for n in range(4)},
    "type": (20, "i"),
    "goodRASFlag": (28, "h"),
    **{f"delta[{n}]": (30 + 4 * n, "f") for n in range(3)},
    "Mdc[0]": (42, "f"),
    "Pxyz_c[0]": (78, "f"),
}
TEXT_NUMBERS = (
    "nan",
    "inf",
    "0",
    "-1",
    "1e400",
    "1e-400",
    "99999999999999999999",
    "",
    "two",
    "1,5",
    "0x10",
    "1" * 5000,
)

NRRD_LINES = ("dimension", "sizes", "space directions", "space origin", "type", "encoding", "endian", "space")
META_LINES = (
    "NDims",
    "DimSize",
    "ElementSpacing",
    "Offset",
    "TransformMatrix",
    "ElementType",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "CompressedData",
    "ElementDataFile",
)
LINES = {
    "NRRD": {
        "line skip: 9000000000000000000": "a line too many",
        "line skip: -1": "",
        "byte skip: 9000000000000000000": "",
        "byte skip: -7": "",
        "data file: /dev/zero": "",
        "data file: nowhere.raw": "",
        "data file: LIST": "",
        "data file: s%03d.raw 1 7 1": "",
        "space units: \"inch\" \"inch\" \"inch\"": "",
        "space units: \"um\" \"um\" \"um\"": "",
        "kinds: vector domain domain": "",
        "measurement frame: (1,0,0) (0,1,0)": "",
        "spacings: 1 2": "",
        "centers: cell": "",
        "nonsense": "",
        "key:=" + "x" * 100_000: "",
    },
    "MHA": {
        "HeaderSize = 9000000000000000000": "",
        "HeaderSize = -5": "",
        "ElementNumberOfChannels = 0": "",
        "ElementNumberOfChannels = 1000000": "",
        "CenterOfRotation = nan nan nan": "",
        "CompressedDataSize = 99999999999": "",
        "ElementSize = 5 5 5": "",
        "nonsense": "",
        "Comment = " + "x" * 100_000: "",
    },
}  # fmt: skip
DICOM_FIELDS = {
    "Rows": (0, 1, 7, 9, 65535),
    "Columns": (0, 1, 8, 65535),
    "BitsAllocated": (0, 1, 8, 12, 32, 64),
    "BitsStored": (0, 8, 12, 17),
    "HighBit": (0, 7, 16),
    "PixelRepresentation": (0, 2),
    "SamplesPerPixel": (0, 3, 255),
    "PhotometricInterpretation": ("", "RGB", "MONOCHROME1", "PALETTE COLOR", "nonsense"),
    "RescaleSlope": ("nan", "inf", "0", "-1", "1e300", "", None),
    "RescaleIntercept": ("nan", "-inf", "1e300", None),
    "PixelSpacing": (["0", "0"], ["-1", "1"], ["nan", "1"], ["1"], ["1e300", "1"], ["1e-300", "1"], "", None),
    "ImagePositionPatient": (["nan", "0", "0"], ["inf", "0", "0"], ["1e300", "0", "0"], ["0", "0"], "", None),
    "ImageOrientationPatient": (
        ["0"] * 6,
        ["1", "0", "0", "1", "0", "0"],
        ["nan"] * 6,
        ["2", "0", "0", "0", "2", "0"],
        ["1", "0", "0"],
        None,
    ),
    "SliceThickness": ("0", "-1", "nan", None),
    "NumberOfFrames": ("0", "-1", "2", "1000000"),
    "SeriesInstanceUID": ("", "nonsense", None),
    "SOPClassUID": ("", "1.2.3", None),
    "PixelData": (b"", b"\0" * 10, None),
    "SpecificCharacterSet": ("nonsense", ["ISO 2022 IR 6", "x"]),
}


def cases() -> Iterator[Case]:
    """Every field of every header with every bad number."""
    yield from _binary_cases()
    yield from _text_cases()
    for name, bad in DICOM_FIELDS.items():
        for value in bad:
            for number, (what, write) in enumerate((("all slices", True), ("one slice", False))):
                check = _dicom(name, value, write)
                yield Case("headers", f"DICOM, {name} {_short(value)}, {what}", check, number == 0)
            yield Case("headers", f"enhanced DICOM, {name} {_short(value)}", _enhanced(name, value), False)
    yield from _point_cases()
    for name, text in TRANSFORM_TEXTS.items():
        yield Case("headers", f"transform, {name}", _transform_text(name, text))


def _short(value) -> str:
    return repr(value)[:40]


def _binary_cases() -> Iterator[Case]:
    for fields, format, order in ((NIFTI_FIELDS, IMAGES[0], "<"), (MGH_FIELDS, IMAGES[6], ">")):
        for name, (offset, kind) in fields.items():
            for number, value in enumerate(FLOATS if kind == "f" else SHORTS):
                if kind == "b" and not -128 <= value < 128:
                    continue
                packed = struct.pack(order + kind, value)
                check = _patched(format, offset, packed)
                yield Case("headers", f"{format.name}, {name} = {value:g}", check, number % 3 == 0)
    pair = IMAGES[5]
    for name in ("dim[0]", "dim[1]", "dim[3]", "datatype", "pixdim[1]", "pixdim[3]", "vox_offset"):
        offset, kind = NIFTI_FIELDS[name]
        for value in FLOATS if kind == "f" else SHORTS:
            check = _patched(pair, offset, struct.pack("<" + kind, value))
            yield Case("headers", f"{pair.name}, {name} = {value:g}", check, False)


def _patched(format, offset: int, packed: bytes) -> Callable:
    def check(place: Place) -> None:
        path, _ = format.write(place.folder)
        content = bytearray(path.read_bytes())
        content[offset : offset + len(packed)] = packed
        path.write_bytes(content)
        _check(place, path, format)

    return check


def _text_cases() -> Iterator[Case]:
    for format, lines, mark in ((IMAGES[8], NRRD_LINES, ":"), (IMAGES[12], META_LINES, "=")):
        for line in lines:
            for number, text in enumerate(TEXT_NUMBERS):
                check = _edited(format, rf"^{line}\s*{mark}\s*", text)
                yield Case("headers", f"{format.name}, {line} {text[:8]!r}", check, number % 3 == 0)
            check = _edited(format, rf"^{line}\s*{mark}.*\n", "", whole=True)
            yield Case("headers", f"{format.name}, no {line}", check)
        for added in LINES[format.name]:
            check = _added(format, added)
            yield Case("headers", f"{format.name} with {added[:40]}", check)


def _edited(format, pattern: str, text: str, *, whole: bool = False) -> Callable:
    """The first number of a line replaced by a text, or the whole line."""

    def check(place: Place) -> None:
        path, _ = format.write(place.folder)
        content = path.read_bytes().decode("latin-1")
        assert re.search(pattern, content, re.MULTILINE), pattern
        expression = pattern if whole else rf"({pattern}\(?)[^\s,()]+"
        replaced = re.compile(expression, re.MULTILINE).sub(
            text if whole else lambda found: found.group(1) + text, content, count=1
        )
        content = replaced
        path.write_bytes(content.encode("latin-1"))
        _check(place, path, format)

    return check


def _added(format, line: str) -> Callable:
    def check(place: Place) -> None:
        path, _ = format.write(place.folder)
        content = path.read_bytes().decode("latin-1")
        mark = "endian" if format.name == "NRRD" else "ElementDataFile"
        path.write_bytes(content.replace(mark, f"{line}\n{mark}", 1).encode("latin-1"))
        _check(place, path, format)

    return check


def _check(place: Place, path, format, *, masked: bool = False) -> None:
    """Read a scan; where `masked`, GenReg drops bits that the header tells to drop, unlike the libraries."""
    volume = place.read(Volume.from_file, path)
    if isinstance(volume, str):
        if place.random.random() < 0.3:
            (place.folder / "identity.tfm").write_text(IDENTITY)
            place.refused("warp", path, "-t", "identity.tfm", "-r", path, "-o", "out/w.nii.gz")
        return
    expect(bool(np.isfinite(volume.geometry.index_to_world).all()), WRONG, f"{volume.geometry}")
    expected = format.geometry
    true_place = expected is not None and same_place(volume.geometry, expected)
    if volume.warnings or (true_place and np.array_equal(volume.array, values())):
        return
    expect(
        masked or any(_agrees(one, path, volume) for one in LIBRARIES),
        WRONG,
        f"{volume} is what no other library reads",
    )


def _dicom(name: str, value, everywhere: bool) -> Callable:
    def check(place: Place) -> None:
        path, _ = dicom_folder(place.folder, lambda file, k: _set(file, name, value) if everywhere or k == 3 else None)
        _check(place, path, IMAGES[16], masked=name == "BitsStored")

    return check


def _enhanced(name: str, value) -> Callable:
    def check(place: Place) -> None:
        path, _ = enhanced_dicom(place.folder, lambda file: _set(file, name, value))
        _check(place, path, IMAGES[17], masked=name == "BitsStored")

    return check


def _set(file, name: str, value) -> None:
    """Set an attribute to a value that pydicom would refuse."""
    from pydicom import config

    if value is None:
        if name in file:
            delattr(file, name)
        return
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        _force(file, name, value)
    finally:
        config.settings.writing_validation_mode = before


def _force(file, name: str, value) -> None:
    try:
        setattr(file, name, value)
        if name == "PixelData":
            file["PixelData"].VR = "OW"
    except (ValueError, TypeError, OverflowError):
        from pydicom.datadict import dictionary_VR, tag_for_keyword
        from pydicom.dataelem import RawDataElement
        from pydicom.tag import Tag

        tag = Tag(tag_for_keyword(name))
        text = "\\".join(value) if isinstance(value, list) else str(value)
        raw = text.encode() + b" " * (len(text) % 2)
        file._dict[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)


# Points and transforms as text ---------------------------------------------------------------------------------------

POINT_TEXTS = {
    "p.csv": {
        "nothing": "",
        "only comments": "# x,y,z\n",
        "only names": "x,y,z\n",
        "two columns": "1,2\n",
        "four columns of numbers": "1,2,3,4\n",
        "words": "a,b,c\nd,e,f\n",
        "not a number": "1,2,nan\n",
        "infinite": "1,inf,3\n",
        "too large": "1,1e999,3\n",
        "huge": "1,1e308,3\n",
        "a word among numbers": "1,2,3\n4,five,6\n",
        "ragged": "1,2,3\n4,5\n",
        "decimal commas": "1,5;2,5;3,5\n",
        "zero bytes": "1,2,3\n\0\0\0\n",
        "hexadecimal": "0x1,0x2,0x3\n",
        "RAS names": "r,a,s\n1,2,3\n",
        "one long line": "1," * 100_000,
        "a long number": "1" * 100_000 + ",2,3\n",
        "Latin-1": b"\xe4,\xf6,\xfc\n1,2,3\n",
        "UTF-16": "x,y,z\n1,2,3\n".encode("utf-16"),
        "an image": bytes(range(256)) * 20,
    },
    "p.fcsv": {
        "nothing": "",
        "an unknown system": "# CoordinateSystem = XYZ\nn,1,2,3\n",
        "too few columns": "# CoordinateSystem = LPS\nn,1,2\n",
        "not a number": "# CoordinateSystem = LPS\nn,1,2,nan\n",
        "words": "# CoordinateSystem = LPS\nn,a,b,c\n",
        "zero bytes": b"# CoordinateSystem = LPS\nn,1,2,\0\n",
    },
    "p.mrk.json": {
        "nothing": "",
        "no JSON": "{",
        "a number": "1",
        "null": "null",
        "a list": "[]",
        "no lists": "{}",
        "an empty list": '{"markups": []}',
        "lists of another type": '{"markups": 5}',
        "deep lists": "[" * 100_000,
        "deep lists that end": "[" * 50_000 + "]" * 50_000,
        "deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "no points": json.dumps(markups(np.zeros((0, 3)))),
        "an unknown system": json.dumps(markups(coordinateSystem="XYZ")),
        "a system that is a number": json.dumps(markups(coordinateSystem=7)),
        "a system that is a list": json.dumps(markups(coordinateSystem=["LPS"])),
        "points that are none": json.dumps(markups(controlPoints=[1, 2, 3])),
        "points without positions": json.dumps(markups(controlPoints=[{}])),
        "positions of two numbers": json.dumps(markups(controlPoints=[{"position": [1, 2]}])),
        "positions of words": json.dumps(markups(controlPoints=[{"position": ["a", "b", "c"]}])),
        "positions that are NaN": '{"markups": [{"controlPoints": [{"position": [NaN, 1, 2]}]}]}',
        "positions that are infinite": '{"markups": [{"controlPoints": [{"position": [1e999, 1, 2]}]}]}',
        "positions of huge integers": '{"markups": [{"controlPoints": [{"position": [1' + "0" * 400 + ", 1, 2]}]}]}",
        "positions of endless integers": '{"markups": [{"controlPoints": [{"position": [' + "1" * 9000 + ", 1, 2]}]}]}",
        "positions of null": json.dumps(markups(controlPoints=[{"position": None}])),
        "a status that is a list": json.dumps(markups(controlPoints=[{"position": [1, 2, 3], "positionStatus": []}])),
        "lists that are null": json.dumps(markups(controlPoints=None)),
        "lone surrogates": '{"markups": "\\ud800"}',
    },
}


def _point_cases() -> Iterator[Case]:
    for file, texts in POINT_TEXTS.items():
        for name, text in texts.items():
            yield Case("headers", f"{file}, {name}", _point_text(file, text))


def _point_text(file: str, text: str | bytes) -> Callable:
    def check(place: Place) -> None:
        path = place.folder / file
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        got = place.read(read_points, path)
        if isinstance(got, str):
            (place.folder / "identity.tfm").write_text(IDENTITY)
            place.refused("warp-points", path, "-t", "identity.tfm", "-o", "out/p.csv")
        else:
            expect(bool(np.isfinite(got).all()) and got.shape[1:] == (3,), WRONG, f"{got}")

    return check


HEAD = "#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: {}\nFixedParameters: {}\n"
AFFINE = "AffineTransform_double_3_3"
TRANSFORM_TEXTS = {
    "NaN": HEAD.format(AFFINE, "nan 0 0 0 1 0 0 0 1 0 0 0", "0 0 0"),
    "infinite": HEAD.format(AFFINE, "1 0 0 0 1 0 0 0 1 inf 0 0", "0 0 0"),
    "singular": HEAD.format(AFFINE, "0 0 0 0 0 0 0 0 0 0 0 0", "0 0 0"),
    "mirrored": HEAD.format(AFFINE, "-1 0 0 0 1 0 0 0 1 0 0 0", "0 0 0"),
    "huge": HEAD.format(AFFINE, "1e300 0 0 0 1e300 0 0 0 1e300 0 0 0", "0 0 0"),
    "too few numbers": HEAD.format(AFFINE, "1 0 0 0 1 0 0 0", "0 0 0"),
    "too many numbers": HEAD.format(AFFINE, "1 0 0 0 1 0 0 0 1 0 0 0 7 7", "0 0 0"),
    "no numbers": HEAD.format(AFFINE, "", ""),
    "decimal commas": HEAD.format(AFFINE, "1,5 0 0 0 1,5 0 0 0 1,5 0 0 0", "0 0 0"),
    "2D": HEAD.format("AffineTransform_double_2_2", "1 0 0 1 0 0", "0 0"),
    "an unknown kind": HEAD.format("MagicTransform_double_3_3", "1 2 3", "0 0 0"),
    "empty composite": HEAD.format("CompositeTransform_double_3_3", "", ""),
    "only its first line": "#Insight Transform File V1.0\n",
    "a rotation that is none": HEAD.format("VersorTransform_double_3_3", "2 2 2", "0 0 0"),
    "a field of a huge grid": HEAD.format(
        "DisplacementFieldTransform_double_3_3", "0", "100000 100000 100000 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1"
    ),
    "a field of a negative grid": HEAD.format(
        "DisplacementFieldTransform_double_3_3", "0", "-1 2 2 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1"
    ),
    "splines without a grid": HEAD.format("BSplineTransform_double_3_3", "", ""),
    "words": HEAD.format(AFFINE, "a b c", "0 0 0"),
    "bytes": bytes(range(256)) * 4,
    "a matrix of FLIRT": "1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n",
    "parameters of elastix": '(Transform "EulerTransform")\n(TransformParameters 0 0 0 0 0 0)\n',
    "MINC, no numbers": "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n;\n",
    "MINC, NaN": "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n nan 0 0 0 0 1 0 0 0 0 1 0;\n",
    "MINC, singular": "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n" + "0 " * 12 + ";\n",
    "MINC, a grid": "MNI Transform File\nTransform_Type = Grid_Transform;\n",
}
UNUSABLE = ("NaN", "infinite", "too few numbers", "too many numbers", "no numbers", "decimal commas", "2D", "words")


def _transform_text(name: str, text: str | bytes) -> Callable:
    def check(place: Place) -> None:
        path = place.folder / ("t.xfm" if name.startswith("MINC") else "t.tfm")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (place.folder / "p.csv").write_text("1,2,3\n")
        got = place.read(read_transform_and_doubts, path)
        for extra in ([], ["--invert"]):
            ran = place.genreg("warp-points", "p.csv", "-t", path, *extra, "-o", f"out/p{len(extra)}.csv")
            expect(ran.code == 2 or not isinstance(got, str), WRONG, "refused in Python, but not by the command")
            expect(ran.code == 2 or name not in UNUSABLE, WRONG, "unusable, but taken")
            if ran.code == 0:
                points = read_points(place.out / f"p{len(extra)}.csv")
                expect(bool(np.isfinite(points).all()), WRONG, f"{points}")

    return check
