"""The kinds of failure that a caller of the engine can meet.

Every message is one plain sentence: what is wrong and, where it helps, what to do about it. The command line prints
that sentence and nothing else.
"""

__all__ = ["Cancelled", "DependencyError", "GenRegError", "InputError", "ResourceError", "WorkerError"]


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
