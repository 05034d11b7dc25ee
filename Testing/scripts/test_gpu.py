"""What `scripts/gpu` keeps of a device, and goes on with."""

import json

import pytest
import torch

from .conftest import load_script


@pytest.fixture(scope="module")
def gpu():
    return load_script("gpu")


AGREEMENT = {
    "device": {"dice": 0.81, "folds_pct": 0.0},
    "cpu": {"dice": 0.82, "folds_pct": 0.0},
    "apart_mean_mm": 0.0123,
    "apart_p99_mm": 0.25,
}
SPEED = {
    run: {"seconds": seconds, "stages": {"linear": 0.5, "refine": seconds - 0.5}, "peak_mb": 900.0}
    for run, seconds in (("cold", 3.0), ("warm", 1.5))
}


def test_a_finished_part_is_not_run_again(gpu, tmp_path, capsys):
    gpu.Results(tmp_path, "cpu").do("speed 64 x 64 x 64", lambda: SPEED)
    gpu.Results(tmp_path, "cpu").do("speed 64 x 64 x 64", lambda: pytest.fail("it was run again"))
    (facts,) = json.loads((tmp_path / "gpu.json").read_text()).values()
    assert facts["parts"] == {"speed 64 x 64 x 64": SPEED}


def test_parts_of_another_engine_are_made_again(gpu, tmp_path, monkeypatch):
    gpu.Results(tmp_path, "cpu").do("tests", lambda: {"passed": True, "summary": "20 passed"})
    monkeypatch.setattr(gpu, "fingerprint", lambda *_: "another")
    assert gpu.Results(tmp_path, "cpu").of("tests") == {}


def test_the_page_shows_each_part_of_each_device(gpu, tmp_path):
    results = gpu.Results(tmp_path, "cpu")
    results.do("tests", lambda: {"passed": True, "summary": "20 passed"})
    results.do("agreement hippocampus_001_006", lambda: AGREEMENT)
    results.do("speed 64 x 64 x 64", lambda: SPEED)
    page = (tmp_path / "gpu.md").read_text()
    assert "20 passed" in page
    assert "| hippocampus_001_006 | dice 0.81, folds_pct 0 | dice 0.82, folds_pct 0 | 0.012 | 0.250 |" in page
    assert "| 64 x 64 x 64 | 3.00 | 1.50 | linear 0.50, refine 1.00 | 900 |" in page


def test_without_a_gpu_one_sentence_says_what_to_do(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(gpu.MeasuringError, match="--device cpu tries the script"):
        gpu.found_device()
