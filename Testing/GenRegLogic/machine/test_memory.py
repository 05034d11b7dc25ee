"""The main memory there is, and how its end is noticed."""

import subprocess
import sys

import pytest
import torch

from GenRegLogic.machine.memory import free_ram, is_out_of_memory, tune_allocator

GB = 2**30


class TestMemory:
    def test_there_is_some(self):
        assert free_ram() > 0

    def test_it_can_be_asked_without_torch(self):
        script = "import sys, GenRegLogic.machine.memory; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script]).returncode == 0

    def test_a_limit_on_the_process_counts(self, monkeypatch):
        resource = pytest.importorskip("resource")
        monkeypatch.setattr("GenRegLogic.machine.memory._virtual_bytes", lambda: 3 * GB)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (3 * GB + 5000, 0))
        assert free_ram() <= 5000

    def test_a_limit_already_passed_leaves_nothing(self, monkeypatch):
        resource = pytest.importorskip("resource")
        monkeypatch.setattr("GenRegLogic.machine.memory._virtual_bytes", lambda: 3 * GB)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (2 * GB, 0))
        assert free_ram() == 0

    def test_tuning_the_allocator_can_be_repeated(self):
        tune_allocator()
        tune_allocator()


class TestOutOfMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError(),
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
            RuntimeError("MPS backend out of memory"),
            RuntimeError("std::bad_alloc"),
        ],
        ids=str,
    )
    def test_each_allocator_is_understood(self, error):
        assert is_out_of_memory(error)

    def test_another_error_is_not_taken_for_it(self):
        assert not is_out_of_memory(RuntimeError("shapes differ"))

    def test_it_works_where_torch_is_not_loaded(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch")
        assert is_out_of_memory(MemoryError())
        assert "torch" not in sys.modules
