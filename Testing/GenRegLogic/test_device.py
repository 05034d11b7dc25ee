"""Devices by name, and plans that fit into the memory there is."""

import pytest
import torch

from GenRegLogic.device import (
    BYTES_PER_SCAN_VOXEL,
    BYTES_PER_WORKING_VOXEL,
    LARGEST_PLAN,
    SMALLEST_PLAN,
    USABLE_SHARE,
    choose_device,
    device_name,
    free_memory,
    peak_memory_mb,
    plan_memory,
    tune_allocator,
)
from GenRegLogic.errors import InputError, ResourceError

CPU = torch.device("cpu")
GB = 2**30


class TestChoice:
    def test_the_cpu_is_always_there(self):
        assert choose_device("cpu") == CPU

    def test_auto_takes_the_gpu_where_there_is_one(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert choose_device("auto") == torch.device("cuda:0")

    def test_auto_takes_the_cpu_elsewhere(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert choose_device("auto") == CPU

    @pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
    def test_cuda_without_a_gpu_is_refused(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match=r"No CUDA GPU is available here; use --device cpu or auto\.$"):
            choose_device(name)

    def test_a_gpu_that_is_not_there_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert choose_device("cuda:1") == torch.device("cuda:1")
        with pytest.raises(InputError, match="no GPU cuda:2; there are 2"):
            choose_device("cuda:2")

    def test_an_absent_apple_gpu_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(InputError, match="No Apple GPU"):
            choose_device("mps")

    def test_devices_have_names_for_people(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card 9000")
        assert device_name(CPU) == "cpu"
        assert device_name(torch.device("cuda:0")) == "cuda:0 (Card 9000)"


class TestMemory:
    def test_there_is_some(self):
        assert free_memory(CPU) > 0
        assert peak_memory_mb(CPU) > 10

    def test_a_limit_on_the_process_counts(self, monkeypatch):
        resource = pytest.importorskip("resource")
        monkeypatch.setattr("GenRegLogic.device._virtual_bytes", lambda: 3 * GB)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (3 * GB + 5000, 0))
        assert free_memory(CPU) <= 5000

    def test_a_limit_already_passed_leaves_nothing(self, monkeypatch):
        resource = pytest.importorskip("resource")
        monkeypatch.setattr("GenRegLogic.device._virtual_bytes", lambda: 3 * GB)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (2 * GB, 0))
        assert free_memory(CPU) == 0

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
