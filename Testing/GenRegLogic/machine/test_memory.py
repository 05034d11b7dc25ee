"""The main memory there is, and plans that fit into it."""

import subprocess
import sys

import pytest
import torch

from GenRegLogic.errors import ResourceError
from GenRegLogic.machine.memory import (
    BYTES_PER_SCAN_VOXEL,
    BYTES_PER_WORKING_VOXEL,
    LARGEST_PLAN,
    SMALLEST_PLAN,
    USABLE_SHARE,
    free_ram,
    is_out_of_memory,
    plan_memory,
    tune_allocator,
)

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


class TestPlan:
    def test_with_enough_memory_the_plan_is_what_accuracy_asks_for(self):
        plan = plan_memory(2_000_000, 1_000_000, 100 * GB)
        assert plan.max_voxels == 1_000_000
        assert plan.notes == ()

    def test_no_plan_is_larger_than_what_pays(self):
        plan = plan_memory(300_000_000, 150_000_000, 500 * GB)
        assert plan.max_voxels == LARGEST_PLAN
        assert plan.notes == ()

    def test_with_less_memory_the_plan_shrinks_and_says_so(self):
        scans, wanted = 4_000_000, 2_000_000
        free = int((scans * BYTES_PER_SCAN_VOXEL + wanted / 3 * BYTES_PER_WORKING_VOXEL) / USABLE_SHARE)
        plan = plan_memory(scans, wanted, free)
        assert SMALLEST_PLAN < plan.max_voxels < wanted
        assert "coarser working grid" in plan.notes[0]

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
    def test_the_plan_needs_no_more_than_what_may_be_used(self, share):
        free = int(share * 4 * GB)
        assert plan_memory(4_000_000, 6_000_000, free).needed_bytes <= USABLE_SHARE * free

    def test_more_memory_never_gives_a_smaller_plan(self):
        sizes = [plan_memory(4_000_000, 6_000_000, int(gb * GB)).max_voxels for gb in (0.4, 0.5, 0.8, 1, 2, 4, 8)]
        assert sizes == sorted(sizes)

    def test_without_room_for_the_smallest_plan_it_is_refused_with_one_sentence(self):
        with pytest.raises(ResourceError, match=r"need about .* GB .* are free; close other programs") as caught:
            plan_memory(300_000_000, 6_000_000, 2 * GB)
        assert str(caught.value).endswith(".")


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
