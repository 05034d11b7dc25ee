"""Loading the jobs in the worker's process, and what happens to a process that holds GPU memory."""

import numpy as np
import pytest

from GenRegLogic.errors import DependencyError, InputError
from GenRegLogic.worker import server

from .conftest import STAND_IN, do


class TestLoading:
    def test_a_missing_package_is_named(self, monkeypatch):
        import builtins

        real = builtins.__import__

        def without(name, *rest):
            if name == "jobs":
                raise ImportError("No module named 'SimpleITK'", name="SimpleITK")
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(DependencyError, match=r"needs does not load \(SimpleITK\)"):
            server.load_jobs()

    def test_without_torch_no_gpu_is_held(self, monkeypatch):
        monkeypatch.delitem(server.sys.modules, "torch")
        assert server.holds_gpu() is False

    def test_on_a_cpu_no_gpu_is_held(self):
        import torch

        if torch.cuda.is_initialized():
            pytest.skip("another test of this process has used the GPU")
        assert server.holds_gpu() is False


class TestGpuMemory:
    HOLDING = STAND_IN.replace(
        "class Outcome", "from GenRegLogic.worker import server\nserver.holds_gpu = lambda: True\n\nclass Outcome"
    )

    def test_a_process_that_holds_gpu_memory_ends_after_its_job(self, make_worker):
        worker = make_worker(self.HOLDING)
        end = do(worker, "where", arrays={"a": np.ones(3)}).end
        assert not worker.running
        assert do(worker, "where").end["report"]["pid"] != end["report"]["pid"]

    def test_a_process_that_holds_gpu_memory_is_kept_on_request(self, make_worker):
        worker = make_worker(self.HOLDING)
        first, second = (do(worker, "where", {"keep_warm": True}).end["report"]["pid"] for _ in range(2))
        assert first == second

    def test_a_process_that_holds_gpu_memory_ends_after_an_error(self, make_worker):
        worker = make_worker(self.HOLDING)
        assert isinstance(do(worker, "fail", {"kind": "input", "text": "x"}).end, InputError)
        assert not worker.running
