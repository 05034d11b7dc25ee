"""The kinds of failure that a caller of the engine can meet, and the doubts that a result carries along.

Every message is one plain sentence: what is wrong and, where it helps, what to do about it. The command line prints
that sentence and nothing else.
"""

from __future__ import annotations

__all__ = ["Cancelled", "DependencyError", "Doubt", "GenRegError", "InputError", "ResourceError", "WorkerError"]


class GenRegError(Exception):
    """Base of every error that GenReg raises on purpose; its text is meant for the person at the screen."""


class InputError(GenRegError):
    """Something the caller gave cannot be used (command line: exit code 2)."""


class ResourceError(GenRegError):
    """The machine ran out of something: disk space or memory (command line: exit code 2)."""


class DependencyError(GenRegError):
    """A package that the engine needs is missing or cannot be loaded."""


class WorkerError(GenRegError):
    """The separate process that computes could not be started, or it ended before its job did."""


class Cancelled(GenRegError):
    """The caller asked to give up, and nothing was written (command line: exit code 130)."""


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
