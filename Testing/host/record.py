"""The host's records for tests: message boxes, their answers, and uncaught errors."""

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
    """Print an error as Slicer's console would, and record it."""
    errors.append(error)
    traceback.print_exception(type(error), error, error.__traceback__)


def clear():
    """Remove all messages, answers and errors."""
    messages.clear()
    answers.clear()
    errors.clear()


def raiseErrors():
    """Raise the first uncaught error since the last call, if there is one, and remove all of them."""
    if errors:
        first = errors[0]
        errors.clear()
        raise first


def watchErrors():
    """Start recording the errors of Python code called by Qt and VTK, which these only print."""
    global _previousHook
    if _previousHook is None:
        _previousHook = sys.excepthook
        sys.excepthook = _hook


def _hook(kind, error, trace):
    if isinstance(error, Exception):
        errors.append(error)
    _previousHook(kind, error, trace)
