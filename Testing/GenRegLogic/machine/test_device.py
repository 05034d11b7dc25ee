"""Devices by name, and their memory."""

from types import SimpleNamespace

import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.machine.device import (
    Listed,
    choose_device,
    device_name,
    free_memory,
    list_devices,
    peak_memory_mb,
)

CPU = torch.device("cpu")


class TestChoice:
    def test_the_cpu_can_be_chosen_by_name(self):
        assert choose_device("cpu") == CPU

    def test_auto_chooses_the_gpu_where_one_is_available(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert choose_device("auto") == torch.device("cuda:0")

    def test_auto_chooses_the_cpu_without_a_gpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert choose_device("auto") == CPU

    @pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:3"])
    def test_cuda_without_a_gpu_is_refused(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match=r"No CUDA GPU is available here; use --device cpu or auto\.$"):
            choose_device(name)

    def test_a_gpu_index_that_does_not_exist_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert choose_device("cuda:1") == torch.device("cuda:1")
        with pytest.raises(InputError, match="no GPU cuda:2; there are 2"):
            choose_device("cuda:2")

    def test_an_unavailable_apple_gpu_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(InputError, match="No Apple GPU"):
            choose_device("mps")

    def test_the_name_of_a_gpu_includes_its_model(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card 9000")
        assert device_name(CPU) == "cpu"
        assert device_name(torch.device("cuda:0")) == "cuda:0 (Card 9000)"


class TestMemory:
    def test_the_free_memory_of_the_cpu_is_the_free_main_memory(self, monkeypatch):
        monkeypatch.setattr("GenRegLogic.machine.device.free_ram", lambda: 12345)
        assert free_memory(CPU) == 12345

    def test_the_peak_memory_includes_a_large_array_that_was_freed(self):
        pytest.importorskip("resource", reason="the peak memory is not known on this system")
        torch.ones(80 * 2**18)  # 80 MB
        assert peak_memory_mb(CPU) > 80

    def test_blocks_that_torch_keeps_for_reuse_count_as_free(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 8000))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 6000)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)
        assert free_memory(torch.device("cuda:0")) == 6500


class TestList:
    @pytest.fixture
    def card(self, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        properties = SimpleNamespace(name="Card 9000", total_memory=8000)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: properties)

    def test_a_gpu_not_in_use_is_listed_with_its_total_memory_and_gets_no_context(self, card, monkeypatch):
        def creates_a_context(device):
            raise AssertionError("querying the free memory creates a context")

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch._C, "_cuda_hasPrimaryContext", lambda number: False, raising=False)
        monkeypatch.setattr(torch.cuda, "mem_get_info", creates_a_context)
        assert list_devices()[1:] == [Listed("cuda:0", "Card 9000", 8000, "total")]

    def test_a_gpu_in_use_is_listed_with_its_free_memory(self, card, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch._C, "_cuda_hasPrimaryContext", lambda number: True, raising=False)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 8000))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 600)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
        assert list_devices()[1:] == [Listed("cuda:0", "Card 9000", 1500, "free")]
