"""The exceptions that the engine raises, and the doubts and details that a result carries along.

Every message is one plain sentence: what is wrong and, where it helps, what to do about it. The command line prints
this sentence only.
"""

from __future__ import annotations

__all__ = [
    "Cancelled",
    "DependencyError",
    "Detail",
    "Doubt",
    "GenRegError",
    "InputError",
    "ResourceError",
    "WorkerError",
    "shown_value",
]


class GenRegError(Exception):
    """Base class of all errors that GenReg raises deliberately; the message is meant for the user."""


class InputError(GenRegError):
    """An input cannot be used (command line: exit code 2)."""


class ResourceError(GenRegError):
    """Memory or disk space does not suffice (command line: exit code 2)."""


class DependencyError(GenRegError):
    """A required package is missing or cannot be loaded."""


class WorkerError(GenRegError):
    """The worker process could not be started, or it ended before its job was finished."""


class Cancelled(GenRegError):
    """The caller aborted the run; nothing was written (command line: exit code 130)."""


def shown_value(value) -> str:
    """A value as a sentence names it: text as it is written in Python, anything else, which may be long, by its type.

    Example:
        >>> shown_value("fast"), shown_value([1, 2])
        ("'fast'", 'of type list')
    """
    return repr(value) if isinstance(value, str) else f"of type {type(value).__name__}"


class Doubt(str):
    """A sentence about what was repaired, assumed or left out on the way in: a warning with a name.

    It is a string, so that it is printed, stored and compared like one.

    Attributes:
        name: Which kind of repair or doubt it is, in snake_case, for programs ("slices_missing").
        guessed: Whether the place or the values of voxels rest on an assumption. A registration with such a scan is
            never called trustworthy.
    """

    name: str
    guessed: bool

    def __new__(cls, name: str, text: str, *, guessed: bool = False) -> Doubt:
        doubt = super().__new__(cls, text)
        doubt.name, doubt.guessed = name, guessed
        return doubt

    def __getnewargs_ex__(self):
        return (self.name, str(self)), {"guessed": self.guessed}


class Detail(str):
    """A note of a report that is meant for programs and developers: scores, and names of the engine's own parts.

    It is a string, so that it is printed, stored and compared like one.
    """
