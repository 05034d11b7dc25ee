"""The examples in the docstrings of the engine run, and print the shown output."""

import doctest
import importlib

import pytest

MODULES = (
    *(f"quality.{name}" for name in ("calibration", "measure", "verdict")),
    *(
        f"space.{name}"
        for name in (
            "field",
            "fieldgrid",
            "geometry",
            "grid",
            "inverse",
            "jacobian",
            "margin",
            "registrable",
            "split",
            "volume",
            "warp",
        )
    ),
    *(f"stages.{name}" for name in ("pose_search", "schedule", "similarity")),
    "errors",
    "htmlreport.reports",
)
"""All that have examples but `register`, whose files are only named."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_the_output_that_they_show(name):
    result = doctest.testmod(importlib.import_module(f"GenRegLogic.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
