"""Boots the host: a real MRML scene with its logics, and the other parts of Slicer that a panel uses."""

import atexit
import importlib
import os
import sys
import time
import types
from dataclasses import dataclass
from typing import Any

from . import record

LOGICS = {
    "colors": "vtkSlicerColorLogic",
    "cropvolume": "vtkSlicerCropVolumeLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "plots": "vtkSlicerPlotsLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "tables": "vtkSlicerTablesLogic",
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "texts": "vtkSlicerTextsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "units": "vtkSlicerUnitsLogic",
    "volumerendering": "vtkSlicerVolumeRenderingLogic",
    "volumes": "vtkSlicerVolumesLogic",
}


@dataclass
class Host:
    """The booted host. `window` is the main window that slicer.util.mainWindow() finds."""

    app: Any
    scene: Any
    applicationLogic: Any
    window: Any
    log: Any


_host = None


def available():
    """None if the host can run here, or else one sentence that says why not."""
    try:
        import vtk  # noqa: F401

        _importSlicer()
        from PySide6 import QtUiTools, QtWidgets  # noqa: F401
    except ImportError as error:
        return f"The test host needs slicer-core, vtk and PySide6 with their system libraries: {error}."
    return None


def boot():
    """Starts the host, once per process, and returns it. Raises ImportError where `available()` says why."""
    global _host
    if _host is not None:
        return _host
    _keepSingletons()
    slicer = _importSlicer()
    import vtk

    log = vtk.vtkStringOutputWindow()
    vtk.vtkOutputWindow.SetInstance(log)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    from .application import qSlicerApplication

    app = qSlicerApplication()
    from . import pythonqt

    qt = pythonqt.install()
    qt.qInstallMessageHandler(_sayForQt)
    record.watchErrors()
    slicer.app = app
    slicer.modules = types.SimpleNamespace()
    slicer.selfTests = {}
    scene, logic = _makeScene(slicer, vtk, app.temporaryPath)
    _fillModules(slicer, qt)
    from .files import CoreIOManager
    from .layout import LayoutManager

    app._begin(scene, logic, LayoutManager(scene, logic), CoreIOManager())
    window = _makeWindow(qt)
    _host = Host(app, scene, logic, window, log)
    atexit.register(_shutDown)
    return _host


def _sayForQt(kind, context, text):
    """Qt's own warnings go to stderr as ever, but for one that the platform without a screen repeats."""
    if "propagateSizeHints" not in text:
        print(text, file=sys.stderr)


def _keepSingletons():
    """Lends None, True and False many references before Python 3.12, where they can still be counted down to their end.

    PySide6 6.12 relies on 3.12's immortal ones: each call that returns nothing takes a reference it was never given,
    and a long test session would end in "deallocating None".
    """
    if sys.version_info < (3, 12):
        import ctypes

        for singleton in (None, True, False, NotImplemented):
            ctypes.c_ssize_t.from_address(id(singleton)).value += 2**40  # an object's first field in CPython


def _importSlicer():
    """Import the real slicer, a namespace package that would include every folder named `slicer` on sys.path."""
    if "slicer.util" not in sys.modules:
        kept = list(sys.path)
        sys.path[:] = [path for path in kept if not _holdsOtherSlicer(path)]
        try:
            importlib.import_module("slicer.util")
        finally:
            sys.path[:] = kept
    return sys.modules["slicer"]


def _holdsOtherSlicer(path):
    folder = os.path.join(path or os.getcwd(), "slicer")
    return os.path.isdir(folder) and not os.path.isfile(os.path.join(folder, "__init__.py"))


def _makeScene(slicer, vtk, folder):
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetTemporaryPath(folder)
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(folder)
    data = slicer.vtkDataIOManager()
    data.SetCacheManager(cache)
    scene.SetDataIOManager(data)
    scene.SetRootDirectory(folder)
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    slicer.mrmlScene = scene
    crosshair = slicer.vtkMRMLCrosshairNode()  # Slicer's scene always has this one
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    for name, className in LOGICS.items():
        module = getattr(slicer, className)()
        module.SetMRMLApplicationLogic(logic)
        module.SetMRMLScene(scene)
        logic.SetModuleLogic(name.capitalize(), module)
        holder = types.SimpleNamespace(name=name, logic=lambda module=module: module, path="")
        setattr(slicer.modules, name, holder)
    return scene, logic


def _fillModules(slicer, qt):
    """Puts qt, ctk, SampleData and Slicer's Python modules where an import statement finds them."""
    from . import ctkwidgets, mrmlwidgets, nodecombobox, pythonqt, uiloader

    sys.modules["qt"] = qt
    ctk = sys.modules["ctk"] = ctkwidgets.makeModule()
    widgets = {name: item for name, item in vars(ctk).items() if name.startswith("ctk")}
    for source in (mrmlwidgets, nodecombobox):
        for name, item in vars(source).items():
            if name.startswith("qMRML"):
                widgets[name] = item
                setattr(slicer, name, item)
    for item in widgets.values():
        pythonqt.adopt(item)
    uiloader.QUiLoader.classes = widgets
    qt.QUiLoader = uiloader.QUiLoader
    from . import parameternode, sampledata, scripted

    slicer.qSlicerScriptedLoadableModule = scripted.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = scripted.qSlicerScriptedLoadableModuleWidget
    for name, module in scripted.makeModules(parameternode).items():
        sys.modules[name] = module
        setattr(slicer, name.partition(".")[2], module)
    sys.modules["SampleData"] = sampledata.makeModule()
    for name in ("pip_install", "pip_uninstall"):
        setattr(slicer.util, name, _refuse(name))


def _refuse(name):
    def refuse(*_, **__):
        raise RuntimeError(f"the test host does not run slicer.util.{name}")

    return refuse


def _makeWindow(qt):
    window = qt.QMainWindow()
    window.setObjectName("qSlicerMainWindow")
    window.resize(520, 900)
    window.show()
    return window


def loadModule(path):
    """Loads a scripted module's .py as Slicer does; returns its module object, which is slicer.modules.<name> too."""
    boot()
    from .scripted import loadModule as load

    return load(path)


def completeStartup():
    """Tells the modules loaded so far that Slicer has started: `startupCompleted()`, which each hears once."""
    app = boot().app
    app.startupCompleted.emit()
    app.disconnect("startupCompleted()")


def openWidget(module):
    """Shows the module's panel in the main window and enters it; returns the module's widget object (Python)."""
    from PySide6 import QtWidgets

    host = boot()
    _leave(host)
    parent = module.widgetRepresentation()
    area = QtWidgets.QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(parent)
    host.window.setCentralWidget(area)
    parent.show()
    parent.enter()
    processEvents()
    return parent.self()


def closeWidget(module):
    """Leaves the module's panel, lets it clean up as Slicer does before it unloads a module, and deletes it."""
    import slicer

    host = boot()
    parent = module._widget
    if parent is None:
        return
    if parent.isEntered:
        parent.exit()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(module.name)
    module._widget = None
    if hasattr(slicer.modules, module.name + "Widget"):
        delattr(slicer.modules, module.name + "Widget")
    area = host.window.takeCentralWidget()
    if area is not None:
        area.deleteLater()
    parent.deleteLater()
    processEvents()


def _leave(host):
    """Exit the panel that is shown, and remove it from the window without deleting it."""
    area = host.window.takeCentralWidget()
    if area is not None:
        parent = area.takeWidget()
        if parent is not None:
            parent.setParent(None)
            if parent.isEntered:
                parent.exit()
        area.deleteLater()


def processEvents(seconds=0.0, until=None):
    """Runs Qt's events for `seconds`, or until the function `until` gives a true value (which is returned).

    Raises the first error that left a slot or an observer meanwhile or before: Slicer prints it, a test must see it.
    """
    from PySide6 import QtCore

    host = boot()
    end = time.monotonic() + seconds
    while True:
        host.app.processEvents()
        host.app.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        result = until() if until is not None else None
        if result or time.monotonic() >= end:
            break
        time.sleep(0.002)
    record.raiseErrors()
    return result


def resetScene():
    """Close the scene, as File > Close Scene does, and remove messages, answers and errors."""
    host = boot()
    host.scene.Clear(False)
    host.app.processEvents()
    record.clear()


def _shutDown():
    """Shut down in an order in which neither VTK nor Qt uses deleted objects: panels, views, nodes, application."""
    import slicer

    global _host
    host = _host
    for module in list(host.app.moduleManager()._modules.values()):
        try:
            closeWidget(module)
        except Exception as error:
            record.recordError(error)
    host.app.layoutManager().close()
    host.scene.Clear(True)
    from PySide6 import QtCore

    QtCore.qInstallMessageHandler(None)
    host.window.close()
    host.window.deleteLater()
    host.app.sendPostedEvents()
    for name in list(vars(slicer.modules)):
        delattr(slicer.modules, name)
    sys.excepthook = sys.__excepthook__ if sys.excepthook is record._hook else sys.excepthook
    _host = None
