"""The exceptions that the engine raises.

Every message is one plain sentence: what is wrong and, where it helps, what to do about it. The command line prints
this sentence only.
"""

__all__ = ["Cancelled", "DependencyError", "GenRegError", "InputError", "ResourceError", "WorkerError"]


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
