"""Devices by name, and their memory."""

import pytest
import torch

from GenRegLogic.errors import InputError
from GenRegLogic.machine.device import choose_device, device_name, free_memory, peak_memory_mb

CPU = torch.device("cpu")


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
