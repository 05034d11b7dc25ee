"""A full disk: the worker keeps nothing there but what its process prints."""

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

    def test_a_job_runs_to_its_end(self, fresh):
        assert do(fresh, "echo", {"answer": 42}).end["report"] == {"answer": 42}

    def test_the_engine_itself_runs(self, make_worker):
        report = do(make_worker(), "devices").end["report"]
        assert "cpu" in [device["id"] for device in report["devices"]]


class TestAtTheStart:
    def test_no_room_for_a_temporary_file_is_told_in_one_sentence(self, make_worker, monkeypatch):
        def fail():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tempfile, "TemporaryFile", fail)
        worker = make_worker(command=[sys.executable])
        end = do(worker, "devices").end
        assert isinstance(end, WorkerError)
        assert "No space left on device" in str(end)
