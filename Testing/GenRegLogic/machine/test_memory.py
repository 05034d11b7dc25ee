"""The free main memory, and how running out of memory is recognized."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest
import torch

from GenRegLogic.machine.memory import KEPT_BLOCK_BYTES, free_ram, is_out_of_memory, return_kept_memory, tune_allocator

MB = 2**20


@pytest.fixture
def limited(monkeypatch):
    """Sets the limit of this process's address space to what it has now, plus a number of bytes."""
    resource = pytest.importorskip("resource")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the size of the address space is known only on Linux")

    def limit(room):
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        monkeypatch.setattr(resource, "getrlimit", lambda what: (held + room, resource.RLIM_INFINITY))

    return limit


class TestFreeMemory:
    def test_the_module_does_not_import_torch(self):
        script = "import sys, GenRegLogic.machine.memory; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", script]).returncode == 0

    def test_a_limit_of_the_process_is_respected(self, limited):
        limited(40 * MB)
        assert 0 < free_ram() <= 40 * MB

    def test_a_limit_that_is_exceeded_leaves_no_free_memory(self, limited):
        limited(-MB)
        assert free_ram() == 0


class TestAllocator:
    @pytest.fixture
    def calls(self, monkeypatch):
        """Arguments of the calls of `mallopt` and `malloc_trim`, by a C library that only records them."""
        made = []

        class Library:
            def __init__(self, name):
                assert name is None

            def mallopt(self, parameter, value):
                made.append((parameter, value))

            def malloc_trim(self, kept):
                made.append((kept,))

        monkeypatch.setattr(ctypes, "CDLL", Library)
        return made

    def test_glibc_is_told_to_keep_freed_blocks(self, calls, monkeypatch):
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
        tune_allocator()
        assert calls == [(-3, KEPT_BLOCK_BYTES), (-1, 2**31 - 1)]

    def test_glibc_is_told_to_return_what_it_keeps(self, calls, monkeypatch):
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
        return_kept_memory()
        assert calls == [(0,)]

    @pytest.mark.parametrize(("system", "library"), [("Darwin", ""), ("Linux", "musl")])
    def test_other_c_libraries_are_left_alone(self, calls, monkeypatch, system, library):
        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(platform, "libc_ver", lambda: (library, ""))
        tune_allocator()
        return_kept_memory()
        assert calls == []


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
    def test_the_error_of_each_allocator_is_recognized(self, error):
        assert is_out_of_memory(error)

    def test_another_runtime_error_is_not_recognized(self):
        assert not is_out_of_memory(RuntimeError("shapes differ"))

    def test_recognizing_an_error_does_not_load_torch(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch")
        assert is_out_of_memory(MemoryError())
        assert "torch" not in sys.modules
