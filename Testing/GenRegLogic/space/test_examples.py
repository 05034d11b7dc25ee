"""The examples in the docstrings of the geometry run, and print the shown output."""

import doctest
import importlib

import pytest

MODULES = ["field", "geometry", "grid", "inverse", "jacobian", "margin", "registrable", "split", "volume", "warp"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_the_output_that_they_show(name):
    result = doctest.testmod(importlib.import_module(f"GenRegLogic.space.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
