"""Stand-in for slicer.app: a real QApplication, off screen, with what Slicer's application adds for modules."""

import os
import tempfile
import types
from types import MappingProxyType

from PySide6 import QtCore, QtWidgets

from .pythonqt import standIn

Signal = QtCore.Signal


@standIn
class qSlicerModuleManager(QtCore.QObject):
    """Holds the loaded modules; signals before they are unloaded."""

    moduleAboutToBeUnloaded = Signal(str)
    moduleUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def __init__(self):
        super().__init__()
        self._modules = {}

    def module(self, name):
        return self._modules.get(name)

    def modulesNames(self):
        return tuple(self._modules)

    def factoryManager(self):
        return types.SimpleNamespace(loadedModuleNames=self.modulesNames, isLoaded=self._modules.__contains__)


@standIn
class qSlicerApplication(QtWidgets.QApplication):
    """slicer.app. Settings and temporary files are in a folder that is removed at the end of the process."""

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    _signals = MappingProxyType({"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"})

    def __init__(self):
        super().__init__(["host", "-platform", "offscreen"])
        self._folder = tempfile.TemporaryDirectory(prefix="genreg-host-", ignore_cleanup_errors=True)
        self._settings = _makeSettings(self, self._folder.name)
        self._scene, self._logic, self._layout, self._manager, self._io = None, None, None, None, None
        self._paused = 0

    def _begin(self, scene, logic, layout, io):
        self._scene, self._logic, self._layout, self._io = scene, logic, layout, io
        self._manager = qSlicerModuleManager()

    temporaryPath = QtCore.Property(str, lambda self: self._folder.name)
    slicerHome = QtCore.Property(str, lambda self: self._folder.name)
    extensionsInstallPath = QtCore.Property(str, lambda self: os.path.join(self._folder.name, "Extensions"))
    documentationBaseUrl = QtCore.Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    majorVersion = QtCore.Property(int, lambda self: 5)
    minorVersion = QtCore.Property(int, lambda self: 12)
    revision = QtCore.Property(str, lambda self: "0")

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout

    def moduleManager(self):
        return self._manager

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def settings(self):
        return self._settings

    userSettings = revisionUserSettings = defaultSettings = settings

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def translate(self, context, text):
        return text

    def testingEnabled(self):
        """False, so that message boxes are shown as to a user; the host records and answers them."""
        return False

    def commandOptions(self):
        return types.SimpleNamespace(
            noMainWindow=False, testingEnabled=False, runPythonAndExit=False, disableCLIModules=True
        )

    def setRenderPaused(self, paused):
        self._paused = max(0, self._paused + (1 if paused else -1))

    def pauseRender(self):
        self.setRenderPaused(True)

    def resumeRender(self):
        self.setRenderPaused(False)

    def exit_(self, status=0):
        raise SystemExit(status)


def _makeSettings(app, folder):
    """QSettings in the folder, so that the user's settings are not read or written; `qt.QSettings()` uses them too."""
    settings = QtCore.QSettings
    app.setOrganizationName("NA-MIC")
    app.setApplicationName("Slicer")
    settings.setDefaultFormat(settings.Format.IniFormat)
    settings.setPath(settings.Format.IniFormat, settings.Scope.UserScope, folder)
    settings.setPath(settings.Format.IniFormat, settings.Scope.SystemScope, folder)
    return settings()
