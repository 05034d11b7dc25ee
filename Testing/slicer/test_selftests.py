"""Runs each of the self-tests (`GenRegPanel/selftest/tests.py`) on the test host."""

from __future__ import annotations

import ast
import logging
import sys
import unittest
from pathlib import Path

import host
import pytest

MODULE = Path(__file__).resolve().parents[2] / "GenRegModule"
SELF_TESTS = MODULE / "GenRegPanel" / "selftest" / "tests.py"


def self_test_names() -> list[str]:
    """Names of the tests, read from the source text, because importing it needs the host."""
    tree = ast.parse(SELF_TESTS.read_text(encoding="utf-8"))
    cases = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "SelfTests"]
    return [node.name for node in cases[0].body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


@pytest.fixture(scope="module")
def self_tests():
    """The class GenRegTest of the loaded module file, with one worker process for all tests.

    In Slicer each test has its own (here in `Testing/extension`); starting it takes longer than a registration.
    """
    reason = host.available()
    if reason:
        pytest.skip(reason)
    host.loadModule(MODULE / "GenReg.py")
    module = sys.modules["GenReg"]
    runner = module.GenRegLogic().runner

    class Logic(module.GenRegLogic):
        def cleanup(self):
            if self.running:  # after a failed test
                super().cleanup()

    class GenRegTest(module.GenRegTest):
        def newLogic(self):
            return Logic(runner)

    yield GenRegTest
    runner.cleanup()
    host.resetScene()


@pytest.mark.parametrize("name", self_test_names())
def test_the_self_test_passes(self_tests, name):
    result = unittest.TestResult()
    self_tests(name).run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert result.testsRun == 1
    assert [text for _, text in result.errors + result.failures] == []


class TestReloadAndTest:
    """The button of that name calls `runTest` of a test case without a method name."""

    def test_every_test_is_run_once_between_set_up_and_tear_down(self, self_tests, monkeypatch):
        events = []
        for name in self_test_names():
            monkeypatch.setattr(self_tests, name, lambda self, name=name: events.append(name))
        monkeypatch.setattr(self_tests, "setUp", lambda self: events.append("setUp"))
        monkeypatch.setattr(self_tests, "tearDown", lambda self: events.append("tearDown"))
        self_tests().runTest()
        assert sorted(events[1::3]) == sorted(self_test_names())
        assert set(events[0::3]) == {"setUp"}
        assert set(events[2::3]) == {"tearDown"}

    def test_a_skipped_test_is_logged_and_the_others_are_run(self, self_tests, monkeypatch, caplog):
        def skip(self):
            self.skipTest("torch is missing")

        run = []
        first, *others = sorted(self_test_names())
        monkeypatch.setattr(self_tests, first, skip)
        for name in others:
            monkeypatch.setattr(self_tests, name, lambda self, name=name: run.append(name))
        with caplog.at_level(logging.WARNING):
            self_tests().runTest()
        assert run == others
        assert "torch is missing" in caplog.text

    def test_a_failure_is_raised(self, self_tests, monkeypatch):
        def fail(self):
            self.fail("the transform is upside down")

        for name in self_test_names():
            monkeypatch.setattr(self_tests, name, fail)
        with pytest.raises(AssertionError, match="upside down"):
            self_tests().runTest()
