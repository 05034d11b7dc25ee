"""Installs torch, the only requirement that Slicer lacks, with the PyTorch extension, on the first run, after asking.

Whether torch is installed is checked without importing it; only the worker process imports it.
"""

import importlib
import importlib.metadata
import importlib.util
import logging

import slicer
from slicer.i18n import tr as _

from GenRegLogic.errors import Cancelled, DependencyError

__all__ = ["ensureTorch", "torchInstalled"]

INSTALLER = "PyTorchUtils"

OLDEST = (2, 5)
"""The oldest version of torch that the engine supports; as in pyproject.toml."""


def torchInstalled():
    """Whether torch can be imported; it is not loaded."""
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # ValueError: a module of that name without a specification
        return False


def torchVersion():
    """The version of the installed torch as (major, minor); None if it is unknown."""
    try:
        numbers = importlib.metadata.version("torch").split(".")
        return int(numbers[0]), int(numbers[1])
    except (importlib.metadata.PackageNotFoundError, ValueError, IndexError):
        return None


def ensureTorch(installed=torchInstalled, findInstaller=None, version=torchVersion):
    """Return when torch is installed; if it is missing, install it after asking the user.

    Args:
        installed: Returns whether torch is installed.
        findInstaller: Returns the PyTorch extension's logic; raises ImportError without the extension.
        version: Returns the version of torch (`torchVersion`).

    Raises:
        DependencyError: The extension is missing, torch is too old, or the installation failed.
        Cancelled: The user declined.
    """
    if installed():
        _checkVersion(version())
        return
    try:
        installer = (findInstaller or _findInstaller)()
    except ImportError:
        raise DependencyError(
            _(
                "GenReg computes with PyTorch, which is not installed: install the extension PyTorch in the Extensions "
                "Manager, restart Slicer, and press Run again."
            )
        ) from None
    agreed = slicer.util.confirmOkCancelDisplay(
        _(
            "GenReg computes with PyTorch, which is not installed yet. Install it now? It is downloaded once, up to a "
            "few gigabytes, and takes some minutes. Your scans stay on this computer."
        ),
        windowTitle=_("GenReg"),
    )
    if not agreed:
        raise Cancelled(_("PyTorch was not installed, so nothing was computed."))
    _install(installer)
    importlib.invalidate_caches()
    if not installed():
        raise DependencyError(
            _("PyTorch could not be installed: see the module PyTorch Utils, or restart Slicer and press Run again.")
        )


def _checkVersion(found):
    if found is not None and found < OLDEST:
        raise DependencyError(
            _(
                "GenReg needs PyTorch {oldest} or later, and {found} is installed: uninstall it in the module PyTorch "
                "Utils, restart Slicer, and press Run again."
            ).format(oldest=".".join(map(str, OLDEST)), found=".".join(map(str, found)))
        )


def _findInstaller():
    return importlib.import_module(INSTALLER).PyTorchUtilsLogic()


def _install(installer):
    with slicer.util.WaitCursor():
        try:
            # Without the extension's own question: the user has agreed already.
            requirement = ">=" + ".".join(map(str, OLDEST))
            installer.installTorch(askConfirmation=False, torchVersionRequirement=requirement)
        except Exception as error:  # of pip, network or disk: the extension does not catch them
            logging.error("PyTorch could not be installed: %s", error, exc_info=error)
            raise DependencyError(
                _("PyTorch could not be installed: check the network and the free disk space, then press Run again.")
            ) from None
