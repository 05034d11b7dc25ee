"""What the module offers in Slicer's Sample Data module; SampleData itself is played by a recorder."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "GenRegModule" / "GenRegPanel" / "sampledata.py"


def _load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module under test, by path: its package needs Slicer, it does not."""
    if "slicer.i18n" not in sys.modules:
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        if "slicer" not in sys.modules:
            monkeypatch.setitem(sys.modules, "slicer", ModuleType("slicer"))
        monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    spec = importlib.util.spec_from_file_location("sampledata_under_test", SOURCE)
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
