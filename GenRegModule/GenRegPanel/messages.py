"""Errors as one sentence: what is wrong and what to do, no traceback."""

import contextlib
import logging

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import Cancelled, GenRegError

__all__ = ["errorsShown", "showError", "unexpected"]


def showError(error):
    """Show an error's sentence. A run that was given up is no error and shows nothing."""
    if not isinstance(error, Cancelled):
        slicer.util.errorDisplay(str(error), windowTitle=_("GenReg"))


def unexpected(error):
    """A sentence for an error that nobody foresaw; the details go to the log.

    Returns:
        A `GenRegError`.
    """
    logging.error("GenReg: %s", error, exc_info=error)
    return GenRegError(_("Something unexpected went wrong; the details are in the error log (menu View)."))


@contextlib.contextmanager
def errorsShown():
    """Show what goes wrong inside as one sentence, and go on after it."""
    try:
        yield
    except GenRegError as error:
        showError(error)
    except Exception as error:  # a handler is the last one who can tell the user
        showError(unexpected(error))
