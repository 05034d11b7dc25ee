"""Errors as one sentence: what is wrong and what to do, no traceback."""

import contextlib
import logging

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import Cancelled, GenRegError, ResourceError

__all__ = ["asGenRegError", "errorsShown", "showError"]


def showError(error):
    """Show an error's sentence. A run that was given up is no error and shows nothing."""
    if not isinstance(error, Cancelled):
        slicer.util.errorDisplay(str(error), windowTitle=_("GenReg"))


def asGenRegError(error):
    """Any exception as one with a sentence for the user; the details of an unexpected one go to the log.

    Returns:
        A `GenRegError`: the error itself if it is one.
    """
    if isinstance(error, GenRegError):
        return error
    logging.error("GenReg: %s: %s", type(error).__name__, error, exc_info=error)
    if isinstance(error, MemoryError):
        return ResourceError(
            _("There is not enough memory; close other programs, or crop or resample the scans, and try again.")
        )
    return GenRegError(_("Something unexpected went wrong; the details are in the error log (menu View)."))


@contextlib.contextmanager
def errorsShown():
    """Show what goes wrong inside as one sentence, and go on after it."""
    try:
        yield
    except Exception as error:  # the last place where the user can be told
        showError(asGenRegError(error))
