"""Actions at the start of Slicer: two sample pairs are registered, and loaded fields are kept linear."""

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
    """The module under test, loaded by path, because its package needs Slicer and the module does not."""
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
    """The registered data sets of a SampleData with titles, as in Slicer 5.12."""
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


def test_each_pair_has_two_named_volumes(sources):
    assert [source["nodeNames"] for source in sources] == [["MRBrainTumor1", "MRBrainTumor2"], ["CTBrain", "MRBrainT1"]]
    assert all(len(source["uris"]) == len(source["fileNames"]) == 2 for source in sources)


def test_every_file_has_the_checksum_that_its_address_names(sources):
    for source in sources:
        for address, checksum in zip(source["uris"], source["checksums"], strict=True):
            assert re.fullmatch(r"SHA256:[0-9a-f]{64}", checksum)
            assert address.endswith(checksum.removeprefix("SHA256:"))


def test_the_files_come_from_slicers_own_public_data(sources):
    public = "https://github.com/Slicer/SlicerTestingData/releases/download/"
    addresses = [address for source in sources for address in source["uris"]]
    assert len(addresses) == 4
    assert all(address.startswith(public) for address in addresses)


def test_the_pairs_are_registered_in_a_slicer_without_category_titles(monkeypatch):
    registered: list[dict] = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    _load(monkeypatch).registerSampleData()
    assert len(registered) == 2


def aField(scene):
    """A transform node with a field that is recognized as GenReg's."""
    from GenRegLogic.mrml.nodes.transforms import setField
    from GenRegLogic.space.geometry import Geometry

    array = np.zeros((8, 9, 10, 3), np.float32)
    array[2:-2, 2:-2, 2:-2] = 517 / 1024
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "field")
    setField(node, array, Geometry((10, 9, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)))
    return node


def throughAFile(scene, node, path):
    """The node after saving and loading."""
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().WriteData(node)
    loaded = scene.AddNewNodeByClass("vtkMRMLTransformNode", "loaded")
    loaded.AddDefaultStorageNode()
    loaded.GetStorageNode().SetFileName(str(path))
    assert loaded.GetStorageNode().ReadData(loaded)
    return loaded


def test_a_loaded_field_has_linear_interpolation(slicerModule, tmp_path):
    import slicer
    from GenRegPanel.startup import keepFieldsLinear

    keepFieldsLinear()
    loaded = throughAFile(slicer.mrmlScene, aField(slicer.mrmlScene), tmp_path / "field.h5")
    assert loaded.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION


def test_a_second_call_makes_no_second_observer(slicerModule):
    import slicer
    from GenRegPanel.startup import KEEPER, keepFieldsLinear

    keepFieldsLinear()
    keeper = getattr(slicer.modules, KEEPER)
    keepFieldsLinear()
    assert getattr(slicer.modules, KEEPER) is keeper


def test_the_logic_alone_keeps_fields_linear(slicerModule, monkeypatch):
    import GenReg
    import slicer
    from GenRegPanel.startup import KEEPER

    monkeypatch.delattr(slicer.modules, KEEPER, raising=False)
    logic = GenReg.GenRegLogic()
    try:
        assert hasattr(slicer.modules, KEEPER)
    finally:
        logic.cleanup()
        getattr(slicer.modules, KEEPER).stop()
        delattr(slicer.modules, KEEPER)
