"""The command `genreg`."""

from .main import main

__all__ = ["main"]
