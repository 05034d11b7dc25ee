"""The examples in the docstrings of the geometry run, and print what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["geometry", "volume", "field", "grid", "inverse", "jacobian", "split", "warp"])
def test_the_examples_of_a_module_print_what_they_say(name):
    result = doctest.testmod(importlib.import_module(f"GenRegLogic.space.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
