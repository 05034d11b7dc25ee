"""The text and the state of the Run button."""

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


def test_with_complete_inputs_it_is_enabled(show):
    assert show(READY) == (True, "Run", True)


def test_it_shows_what_is_missing(show):
    assert show(INCOMPLETE) == (False, "Select the volume", False)


def test_without_a_scene_it_asks_for_both_volumes(show):
    assert show(None) == (False, "Select the fixed and moving volumes", False)


def test_for_refused_inputs_it_asks_to_check_them(show):
    assert show(None, refused=True) == (False, "Check the inputs", False)
