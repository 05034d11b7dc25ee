"""What the Run button says."""

from types import SimpleNamespace

import pytest

READY, INCOMPLETE = SimpleNamespace(ready=True, missing=""), SimpleNamespace(ready=False, missing="Select the volume")


@pytest.fixture
def show(part):
    """Shows a state; returns whether a run can begin, and the button's text and state."""

    def show(*arguments, **keywords):
        button = SimpleNamespace(text="", enabled=None)
        return part("run.runbutton").showRunButton(button, *arguments, **keywords), button.text, button.enabled

    return show


def test_with_everything_there_it_says_run(show):
    assert show(READY) == (True, "Run", True)


def test_it_says_what_is_missing(show):
    assert show(INCOMPLETE) == (False, "Select the volume", False)


def test_without_a_scene_it_asks_for_both_volumes(show):
    assert show(None) == (False, "Select the fixed and moving volumes", False)


def test_inputs_that_cannot_be_used_are_to_be_checked(show):
    assert show(None, refused=True) == (False, "Check the inputs", False)
