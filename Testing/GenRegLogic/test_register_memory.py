"""Registrations with too little memory."""

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
        """Makes the refinement run out of memory in its first `times` calls."""
        from GenRegLogic.stages import refine

        real, count = refine.Refiner.run, itertools.count()

        def run(self, *args, **kwargs):
            if next(count) < times:
                raise error or torch.OutOfMemoryError("CUDA out of memory.")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(refine.Refiner, "run", run)

    def test_after_running_out_of_memory_a_smaller_plan_is_used_with_a_note(self, pair, monkeypatch):
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
    def test_running_out_of_memory_on_the_cpu_is_recognized(self, pair, monkeypatch, error):
        self.run_out(monkeypatch, 1, error)
        result = register(pair.fixed, pair.moving, QUICK)
        assert any("Memory ran out" in note for note in result.report["notes"])

    def test_running_out_of_memory_twice_is_refused_with_one_sentence(self, pair, monkeypatch):
        self.run_out(monkeypatch, 2)
        with pytest.raises(ResourceError, match="memory is too small") as caught:
            register(pair.fixed, pair.moving, QUICK)
        assert "\n" not in str(caught.value)

    def test_another_error_is_raised_unchanged(self, pair, monkeypatch):
        self.run_out(monkeypatch, 1, RuntimeError("a bug"))
        with pytest.raises(RuntimeError, match="a bug"):
            register(pair.fixed, pair.moving, QUICK)

    def test_a_smaller_plan_before_the_run_has_a_note(self, pair, monkeypatch):
        monkeypatch.setattr(register_module, "free_memory", lambda device: 24_000_000)
        monkeypatch.setattr("GenRegLogic.machine.estimate.SMALLEST_PLAN", 1000)
        result = register(pair.fixed, pair.moving, QUICK)
        assert any("coarser working grid" in note for note in result.report["notes"])

    def test_without_free_memory_a_registration_is_refused_before_it_starts(self, pair, monkeypatch):
        monkeypatch.setattr(register_module, "free_memory", lambda device: 1000)
        told = []
        with pytest.raises(ResourceError, match="close other programs"):
            register(pair.fixed, pair.moving, on_progress=told.append)
        assert told == []

    def test_after_running_out_of_memory_the_progress_starts_again_and_ends_at_one(self, pair, monkeypatch):
        self.run_out(monkeypatch, 1)
        told = []
        register(pair.fixed, pair.moving, QUICK, on_progress=told.append)
        stages = [name for name, _ in itertools.groupby(progress.stage for progress in told)]
        assert stages == ["prepare", "linear", "propose", "refine", "prepare", "linear", "propose", "refine", "finish"]
        assert told[-1].fraction == pytest.approx(1)
