"""What the host keeps for a test to look at: message boxes, the answers they get, and errors nobody caught."""

import sys
import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One message box that a module showed. `kind`: error, warning, information or question."""

    kind: str
    text: str
    detailedText: str = ""
    windowTitle: str = ""


messages = []  # every Message, oldest first
answers = []  # what the next boxes return: "Ok", "Cancel", "Yes", "No", "Retry", "Close"; taken from the front
errors = []  # exceptions that left a slot, a VTK observer or an event handler; Slicer only prints them
defaultAnswer = "accept"  # when `answers` is empty: "accept" (Ok, Yes, Retry) or "reject" (Cancel, No, Close)
_previousHook = None


def recordError(error):
    """Prints the error as Slicer's console would, and keeps it."""
    errors.append(error)
    traceback.print_exception(type(error), error, error.__traceback__)


def clear():
    """Forgets messages, answers and errors."""
    messages.clear()
    answers.clear()
    errors.clear()


def raiseErrors():
    """Raises the first error that nobody caught since the last call, if there is one, and forgets all of them."""
    if errors:
        first = errors[0]
        errors.clear()
        raise first


def watchErrors():
    """From now on keeps errors that Qt and VTK print because Python code that they called has failed."""
    global _previousHook
    if _previousHook is None:
        _previousHook = sys.excepthook
        sys.excepthook = _hook


def _hook(kind, error, trace):
    if isinstance(error, Exception):
        errors.append(error)
    _previousHook(kind, error, trace)
