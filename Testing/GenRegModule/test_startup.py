"""What happens when Slicer has started: two sample pairs are offered, and fields that are loaded stay linear."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import vtk

SOURCE = Path(__file__).resolve().parents[2] / "GenRegModule" / "GenRegPanel" / "startup.py"


def _load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module under test, by path: its package needs Slicer, it does not."""
    if "slicer.i18n" not in sys.modules:
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        if "slicer" not in sys.modules:
            monkeypatch.setitem(sys.modules, "slicer", ModuleType("slicer"))
        monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    spec = importlib.util.spec_from_file_location("startup_under_test", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(monkeypatch) -> list[dict]:
    """What was registered with a SampleData that knows titles, as Slicer 5.12's does."""
    registered: list[dict] = []
    logic = SimpleNamespace(
        registerCustomSampleDataSource=lambda **source: registered.append(source),
        registerCustomSampleDataCategory=lambda category, title: None,
    )
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    _load(monkeypatch).registerSampleData()
    return registered


def test_two_pairs_are_registered_under_one_category(sources):
    assert [source["sampleName"] for source in sources] == ["GenRegBrainTumor", "GenRegBrainCTMR"]
    assert {source["category"] for source in sources} == {"GenReg"}


def test_each_pair_is_two_volumes_with_names(sources):
    assert [source["nodeNames"] for source in sources] == [["MRBrainTumor1", "MRBrainTumor2"], ["CTBrain", "MRBrainT1"]]
    assert all(len(source["uris"]) == len(source["fileNames"]) == 2 for source in sources)


def test_every_file_has_the_checksum_that_its_address_names(sources):
    for source in sources:
        for address, checksum in zip(source["uris"], source["checksums"], strict=True):
            assert re.fullmatch(r"SHA256:[0-9a-f]{64}", checksum)
            assert address.endswith(checksum.removeprefix("SHA256:"))


def test_the_files_come_from_slicers_own_public_data(sources):
    public = "https://github.com/Slicer/SlicerTestingData/releases/download/"
    assert all(address.startswith(public) for source in sources for address in source["uris"])


def test_a_slicer_without_titles_of_categories_gets_the_pairs_too(monkeypatch):
    registered: list[dict] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    _load(monkeypatch).registerSampleData()
    assert len(registered) == 2


def aField(scene):
    """A transform node with a field whose values are marked as GenReg's are."""
    from GenRegLogic.mrml.nodes.transforms import setField
    from GenRegLogic.space.geometry import Geometry

    array = np.zeros((8, 9, 10, 3), np.float32)
    array[2:-2, 2:-2, 2:-2] = 517 / 1024
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "field")
    setField(node, array, Geometry((10, 9, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)))
    return node


def throughAFile(scene, node, path):
    """The node, saved and loaded."""
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().WriteData(node)
    loaded = scene.AddNewNodeByClass("vtkMRMLTransformNode", "loaded")
    loaded.AddDefaultStorageNode()
    loaded.GetStorageNode().SetFileName(str(path))
    assert loaded.GetStorageNode().ReadData(loaded)
    return loaded


def test_a_field_is_linear_again_after_loading(slicerModule, tmp_path):
    import slicer
    from GenRegPanel.startup import keepFieldsLinear

    keepFieldsLinear()
    loaded = throughAFile(slicer.mrmlScene, aField(slicer.mrmlScene), tmp_path / "field.h5")
    assert loaded.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION


def test_asked_twice_it_watches_once(slicerModule):
    import slicer
    from GenRegPanel.startup import KEEPER, keepFieldsLinear

    keepFieldsLinear()
    keeper = getattr(slicer.modules, KEEPER)
    keepFieldsLinear()
    assert getattr(slicer.modules, KEEPER) is keeper


def test_the_modules_logic_is_enough(slicerModule):
    import GenReg
    import slicer
    from GenRegPanel.startup import KEEPER

    logic = GenReg.GenRegLogic()
    assert hasattr(slicer.modules, KEEPER)
    logic.cleanup()
