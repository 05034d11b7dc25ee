"""A run for which memory is short."""

import importlib
import itertools

import pytest
import torch

from GenRegLogic.errors import ResourceError
from GenRegLogic.register import register
from GenRegLogic.settings import Settings

register_module = importlib.import_module("GenRegLogic.register")

QUICK = Settings(init="none", iterations=2)


class TestMemory:
    def run_out(self, monkeypatch, times, error=None):
        """Lets the stage of refinement run out of memory the first few times."""
        from GenRegLogic.stages import refine

        real, count = refine.Refiner.run, itertools.count()

        def run(self, *args, **kwargs):
            if next(count) < times:
                raise error or torch.OutOfMemoryError("CUDA out of memory.")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(refine.Refiner, "run", run)

    def test_when_it_runs_out_a_smaller_plan_is_taken_and_said(self, pair, monkeypatch):
        self.run_out(monkeypatch, 1)
        result = register(pair.fixed, pair.moving, Settings(init="none"))
        assert any("Memory ran out" in note for note in result.report["notes"])
        assert pair.error(result.forward).mean() < pair.start.mean()

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
            RuntimeError("MPS backend out of memory"),
        ],
    )
    def test_the_cpus_end_of_memory_is_the_same(self, pair, monkeypatch, error):
        self.run_out(monkeypatch, 1, error)
        result = register(pair.fixed, pair.moving, QUICK)
        assert any("Memory ran out" in note for note in result.report["notes"])

    def test_when_it_runs_out_twice_it_is_refused_with_one_sentence(self, pair, monkeypatch):
        self.run_out(monkeypatch, 2)
        with pytest.raises(ResourceError, match="memory is too small") as caught:
            register(pair.fixed, pair.moving, QUICK)
        assert "\n" not in str(caught.value)

    def test_another_error_is_not_taken_for_it(self, pair, monkeypatch):
        self.run_out(monkeypatch, 1, RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"):
            register(pair.fixed, pair.moving, QUICK)

    def test_a_smaller_plan_before_the_run_is_said(self, pair, monkeypatch):
        monkeypatch.setattr(register_module, "free_memory", lambda device: 24_000_000)
        monkeypatch.setattr("GenRegLogic.machine.estimate.SMALLEST_PLAN", 1000)
        result = register(pair.fixed, pair.moving, QUICK)
        assert any("coarser working grid" in note for note in result.report["notes"])

    def test_without_any_memory_it_is_refused_before_the_run(self, pair, monkeypatch):
        monkeypatch.setattr(register_module, "free_memory", lambda device: 1000)
        with pytest.raises(ResourceError, match="close other programs"):
            register(pair.fixed, pair.moving)

    def test_the_progress_never_goes_back_after_running_out(self, pair, monkeypatch):
        self.run_out(monkeypatch, 1)
        told = []
        register(pair.fixed, pair.moving, QUICK, on_progress=told.append)
        assert all(0 <= progress.fraction <= 1 for progress in told)
