"""A full disk: the worker stores nothing there except the output of its process."""

import errno
import os
import sys
import tempfile

import pytest

from GenRegLogic.errors import WorkerError

from .conftest import do

FULL = "/dev/full"


@pytest.mark.skipif(not os.path.exists(FULL), reason="this system has no device that is always full")
class TestWhileItRuns:
    @pytest.fixture(autouse=True)
    def full_disk(self, monkeypatch):
        def full_file():
            return open(FULL, "r+b", buffering=0)

        monkeypatch.setattr(tempfile, "TemporaryFile", full_file)

    def test_a_job_runs_on_a_full_disk(self, fresh):
        assert do(fresh, "echo", {"answer": 42}).end["report"] == {"answer": 42}

    def test_the_real_worker_runs_on_a_full_disk(self, make_worker):
        report = do(make_worker(), "devices").end["report"]
        assert "cpu" in [device["id"] for device in report["devices"]]


class TestAtTheStart:
    def test_no_room_for_a_temporary_file_gives_one_sentence(self, make_worker, monkeypatch):
        def fail():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
        worker = make_worker(command=[sys.executable])
        end = do(worker, "devices").end
        assert isinstance(end, WorkerError)
        assert "No space left on device" in str(end)
