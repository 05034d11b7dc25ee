"""A small stand-in for 3D Slicer's desktop, to run a scripted module's panel in tests and to take its pictures.

    import host
    reason = host.available()                       # None, or why the host can't run here
    host.boot()                                     # after this `import qt, ctk, slicer` are Slicer's for a module
    widget = host.openWidget(host.loadModule("GenRegModule/GenReg.py"))
    widget.ui.runButton.click()
    host.processEvents(10, until=lambda: host.messages)

README.md says which parts are genuine Slicer and which are stand-ins. Importing this package changes nothing; `boot()`
does, for the rest of the process.
"""

from . import views
from .record import answers, errors, messages, raiseErrors
from .world import (
    Host,
    available,
    boot,
    closeWidget,
    completeStartup,
    loadModule,
    openWidget,
    processEvents,
    resetScene,
)

__all__ = [
    "Host",
    "answers",
    "available",
    "boot",
    "closeWidget",
    "completeStartup",
    "errors",
    "loadModule",
    "messages",
    "openWidget",
    "processEvents",
    "raiseErrors",
    "resetScene",
    "views",
]
