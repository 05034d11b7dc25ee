"""NRRD and MetaImage files, written by pynrrd or ITK, with faults put into their headers and data."""

import os
import re

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from GenRegLogic.errors import InputError
from GenRegLogic.files.images import read_volume
from GenRegLogic.files.reading import read_pixels
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume

TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
GEOMETRY = Geometry((8, 7, 6), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), TURNED)


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(-1000, 1000, GEOMETRY.shape).astype(np.int16)


@pytest.fixture
def image(values):
    return Volume(values, GEOMETRY).to_sitk()


def doubts(volume):
    return {doubt.name: doubt.guessed for doubt in volume.warnings}


def edited(path, image, compress, *edits):
    """The image in a file in which texts of the header are replaced; each has to be there."""
    sitk.WriteImage(image, str(path), compress)
    content = path.read_bytes()
    for old, new in edits:
        assert re.search(old.encode(), content), content[:500]
        content = re.sub(old.encode(), new.encode(), content, count=1)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["v.nrrd", "v.nhdr", "v.mha", "v.mhd"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_place_and_values_are_those_that_itk_reads(tmp_path, values, name, compress, dtype):
    image = Volume(values.astype(dtype), GEOMETRY).to_sitk()
    sitk.WriteImage(image, str(tmp_path / name), compress)
    volume = read_volume(tmp_path / name)
    assert volume.geometry.is_close(GEOMETRY, 1e-6)
    np.testing.assert_array_equal(volume.array, values.astype(dtype))
    assert volume.array.dtype == dtype
    assert volume.warnings == ()


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_vectors_come_last(tmp_path, name):
    vectors = np.random.default_rng(0).normal(size=(6, 7, 8, 3)).astype(np.float32)
    image = sitk.GetImageFromArray(vectors, isVector=True)
    GEOMETRY.copy_to(image)
    sitk.WriteImage(image, str(tmp_path / name), True)
    pixels = read_pixels(tmp_path / name, vector=True)
    np.testing.assert_array_equal(pixels.array, vectors)
    assert pixels.geometry.is_close(GEOMETRY, 1e-6)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
def test_any_damaged_byte_of_compressed_data_is_found(tmp_path, image, name):
    sitk.WriteImage(image, str(tmp_path / name), True)
    whole = (tmp_path / name).read_bytes()
    start = whole.index(b"\n\n") + 14 if name == "v.nrrd" else whole.index(b"LOCAL\n") + 8
    places = np.linspace(start, len(whole) - 1, 40).astype(int)
    for place in places:
        content = bytearray(whole)
        content[place] ^= 0x10
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"damaged|truncated"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    "entry", [b"CompressedDataSiz = 1", b"CompressedDataSize = 20", b"CompressedDataSize = 9999999"]
)
def test_a_compressed_size_that_is_missing_or_wrong_is_refused(tmp_path, image, entry):
    path = tmp_path / "v.mha"
    sitk.WriteImage(image, str(path), useCompression=True)
    content = re.sub(rb"CompressedDataSize = \d+", entry, path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_volume(path)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_a_file_that_ends_early_is_refused(tmp_path, image, name, compress, share):
    sitk.WriteImage(image, str(tmp_path / name), compress)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[: int((tmp_path / name).stat().st_size * share)])
    with pytest.raises(InputError, match=r"damaged|truncated"):
        read_volume(tmp_path / name)


class TestNrrdHeaders:
    @pytest.mark.parametrize(
        ("space", "to_lps"),
        [
            ("right-anterior-superior", np.diag([-1, -1, 1])),
            ("RAS", np.diag([-1, -1, 1])),
            ("left-anterior-superior", np.diag([1, -1, 1])),
            ("left-posterior-superior", np.eye(3)),
        ],
    )
    def test_frames_of_the_patient_become_lps(self, tmp_path, values, space, to_lps):
        header = {"space": space, "space directions": np.diag([1.0, 2, 3]), "space origin": [10.0, 20, 30]}
        nrrd.write(str(tmp_path / "v.nrrd"), values.transpose(), {**header, "kinds": ["domain"] * 3})
        geometry = read_volume(tmp_path / "v.nrrd").geometry
        np.testing.assert_allclose(geometry.to_world((1, 1, 1)), to_lps @ [11, 22, 33])

    def test_another_frame_is_a_guess(self, tmp_path, image):
        path = edited(tmp_path / "v.nrrd", image, False, ("left-posterior-superior", "scanner-xyz"))
        assert doubts(read_volume(path)) == {"frame_unknown": True}

    def test_without_directions_the_place_is_a_guess(self, tmp_path, values):
        nrrd.write(str(tmp_path / "v.nrrd"), values.transpose(), {"spacings": [1.0, 2.0, 3.0]})
        volume = read_volume(tmp_path / "v.nrrd")
        assert volume.geometry.spacing == (1, 2, 3)
        assert doubts(volume) == {"position_unknown": True}

    @pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("um", 1e-3), ("m", 1e3)])
    def test_units_are_converted(self, tmp_path, image, unit, factor):
        edit = ("encoding:", f'space units: "{unit}" "{unit}" "{unit}"\nencoding:')
        volume = read_volume(edited(tmp_path / "v.nrrd", image, False, edit))
        assert volume.geometry.spacing == pytest.approx((factor, 2 * factor, 3 * factor))
        assert set(doubts(volume)) == (set() if factor == 1 else {"units_converted"})

    def test_an_unknown_unit_is_refused(self, tmp_path, image):
        edit = ("encoding:", 'space units: "s" "s" "s"\nencoding:')
        with pytest.raises(InputError, match="no unit of length"):
            read_volume(edited(tmp_path / "v.nrrd", image, False, edit))

    @pytest.mark.parametrize("vector", ["(nan,0,0)", "(0,0,0)", "(inf,0,0)"])
    def test_directions_that_are_not_usable_are_refused(self, tmp_path, image, vector):
        edit = (r"space directions: \([^)]*\)", f"space directions: {vector}")
        with pytest.raises(InputError, match=r"NaN or infinite|must be positive|damaged"):
            read_volume(edited(tmp_path / "v.nrrd", image, False, edit))

    def test_overlapping_segments_are_refused_as_such(self, tmp_path):
        layers = np.zeros((2, 8, 7, 6), np.uint8)
        directions = np.vstack([[np.nan] * 3, np.eye(3)])
        header = {"kinds": ["list", "domain", "domain", "domain"], "space": "left-posterior-superior"}
        header |= {"space directions": directions, "space origin": [0.0, 0, 0], "Segment0_ID": "Segment_1"}
        nrrd.write(str(tmp_path / "v.seg.nrrd"), layers, header)
        with pytest.raises(InputError, match="segments overlap"):
            read_volume(tmp_path / "v.seg.nrrd")

    def test_one_layer_of_segments_is_a_label_map(self, tmp_path):
        labels = np.random.default_rng(0).integers(0, 3, (8, 7, 6)).astype(np.uint8)
        header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [0.0, 0, 0]}
        nrrd.write(str(tmp_path / "v.seg.nrrd"), labels, {**header, "Segment0_ID": "Segment_1"})
        np.testing.assert_array_equal(read_volume(tmp_path / "v.seg.nrrd").array, labels.T)

    def test_several_volumes_are_refused(self, tmp_path):
        header = {"kinds": ["domain", "domain", "domain", "list"], "space": "left-posterior-superior"}
        header |= {"space directions": np.vstack([np.eye(3), [np.nan] * 3]), "space origin": [0.0, 0, 0]}
        nrrd.write(str(tmp_path / "v.nrrd"), np.zeros((8, 7, 6, 4), np.float32), header)
        with pytest.raises(InputError, match="4 values per voxel"):
            read_volume(tmp_path / "v.nrrd")


class TestMetaHeaders:
    @pytest.mark.parametrize("spacing", ["nan 2 3", "inf 2 3", "0 2 3"])
    def test_a_spacing_that_is_not_usable_is_refused(self, tmp_path, image, spacing):
        edit = ("ElementSpacing = 1 2 3", f"ElementSpacing = {spacing}")
        with pytest.raises(InputError, match="must be positive"):
            read_volume(edited(tmp_path / "v.mha", image, False, edit))

    @pytest.mark.parametrize("key", ["Offset", "TransformMatrix"])
    def test_without_its_place_it_is_guessed(self, tmp_path, image, key):
        volume = read_volume(edited(tmp_path / "v.mha", image, False, (rf"{key} = [^\n]*\n", "")))
        assert doubts(volume) == {"position_unknown": True}

    @pytest.mark.parametrize(
        "edit", [("NDims = 3", "NDims = 5"), ("MET_SHORT", "MET_HALF"), ("DimSize = 8", "DimSize = 0")]
    )
    def test_a_header_that_contradicts_itself_is_refused(self, tmp_path, image, edit):
        with pytest.raises(InputError, match="damaged"):
            read_volume(edited(tmp_path / "v.mha", image, False, edit))

    def test_a_size_larger_than_the_data_is_refused(self, tmp_path, image):
        for compress in (False, True):
            with pytest.raises(InputError, match="truncated"):
                read_volume(edited(tmp_path / "v.mha", image, compress, ("DimSize = 8 7 6", "DimSize = 8 7 600")))

    def test_a_fourth_axis_of_one_is_dropped_and_a_longer_one_refused(self, tmp_path, image):
        for count in (1, 3):
            sitk.WriteImage(sitk.JoinSeries([image] * count), str(tmp_path / f"{count}.mha"))
        assert read_volume(tmp_path / "1.mha").geometry.is_close(GEOMETRY)
        with pytest.raises(InputError, match="4D"):
            read_volume(tmp_path / "3.mha")


def detached(tmp_path, values):
    """A .nhdr whose voxels are in v.raw."""
    header = {"space directions": np.eye(3), "space": "left-posterior-superior", "encoding": "raw"}
    nrrd.write(str(tmp_path / "v.nhdr"), values, header, detached_header=True, index_order="C")
    assert (tmp_path / "v.raw").is_file()
    return tmp_path / "v.nhdr"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system here")
def test_a_pipe_in_place_of_the_voxels_is_not_waited_for(tmp_path, values):
    path = detached(tmp_path, values)
    (tmp_path / "v.raw").unlink()
    os.mkfifo(tmp_path / "v.raw")
    with pytest.raises(InputError, match=r"v\.raw, is not beside the header"):
        read_volume(path)


@pytest.mark.parametrize("line", ["line skip: 9000000000000000000", "byte skip: 9000000000000000000"])
def test_a_skip_beyond_the_end_of_the_file_is_refused_at_once(tmp_path, image, line):
    path = edited(tmp_path / "v.nrrd", image, False, ("endian:", f"{line}\nendian:"))
    with pytest.raises(InputError, match="damaged"):
        read_volume(path)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.mhd"])
def test_bytes_put_in_before_the_voxels_are_noticed_by_the_length(tmp_path, image, name):
    sitk.WriteImage(image, str(tmp_path / name), False)
    data = tmp_path / ("v.raw" if name == "v.mhd" else name)
    content = data.read_bytes()
    data.write_bytes(content[:-300] + b"\r" + content[-300:])
    with pytest.raises(InputError, match="holds more than the voxels"):
        read_volume(tmp_path / name)
