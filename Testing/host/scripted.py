"""Stand-ins for slicer.ScriptedLoadableModule's four classes and for the C++ objects that hold a scripted module."""

import importlib
import importlib.util
import logging
import os
import sys
import types
import unittest
from types import MappingProxyType

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets

from .mrmlwidgets import qMRMLWidget
from .pythonqt import standIn


class qSlicerScriptedLoadableModule:
    """The C++ module object, which a module's constructor fills in as `parent`; it takes no other attributes."""

    _fields = MappingProxyType(
        {
            "title": "",
            "categories": (),
            "dependencies": (),
            "contributors": (),
            "helpText": "",
            "acknowledgementText": "",
            "associatedNodeTypes": (),
            "hidden": False,
            "index": -1,
            "widgetRepresentationCreationEnabled": True,
            "icon": None,
        }
    )

    def __init__(self, name, path):
        self.__dict__.update(self._fields, name=name, path=path, _widget=None, _logic=None, _instance=None)

    def __setattr__(self, name, value):
        if name not in self._fields and not name.startswith("_"):
            raise AttributeError(f"{name!r} does not exist on qSlicerScriptedLoadableModule")
        default = self._fields.get(name)
        if isinstance(default, tuple):
            if isinstance(value, str) or not all(isinstance(item, str) for item in value):
                raise AttributeError(f"{name!r} takes a list of strings")
            value = tuple(value)
        elif isinstance(default, str) and not isinstance(value, str):
            raise AttributeError(f"{name!r} takes a string, not {value!r}")
        self.__dict__[name] = value

    def logic(self):
        """The C++ logic of a scripted module, which is nearly empty; the Python logic is the widget's `logic`."""
        if self._logic is None:
            self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
            self._logic.SetMRMLScene(slicer.mrmlScene)
        return self._logic

    def self(self):
        return self._instance

    def widgetRepresentation(self):
        """The module's one panel, made and set up when it is first asked for."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self):
        widget = qSlicerScriptedLoadableModuleWidget()
        widget._begin(self)
        return widget


@standIn
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The C++ widget that is the `parent` of a module's widget object."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._python, self._module, self._entered = None, None, False
        QtWidgets.QVBoxLayout(self)

    isEntered = QtCore.Property(bool, lambda self: self._entered)
    moduleName = QtCore.Property(str, lambda self: self._module.name)

    def self(self):
        return self._python

    def _begin(self, module):
        self._module = module
        self.setMRMLScene(slicer.mrmlScene)
        name = module.name + "Widget"
        self._python = getattr(sys.modules[module.name], name)(self)
        setattr(slicer.modules, name, self._python)
        self._python.setup()

    def reload(self):
        self._begin(self._module)

    def enter(self):
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self):
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()


class ScriptedLoadableModule:
    """What a module's description derives from: `parent` is the C++ module object."""

    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = []
        for extension in (".svg", ".png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}{extension}")
            if os.path.isfile(icon):
                parent.icon = QtGui.QIcon(icon)
                break
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        page = slicer.app.documentationBaseUrl + docPage if docPage else None
        url = page or slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **kwargs):
        test = getattr(importlib.import_module(self.__module__), self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """What a module's panel derives from; `parent` is the C++ widget, or None for a window of its own."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent
        if parent is None:
            self.parent = qMRMLWidget()
            self.parent.setLayout(QtWidgets.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def setup(self):
        """Slicer adds its developer's buttons here; the host has none."""

    def cleanup(self):
        """Called before the module is unloaded."""

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    """What a module's logic derives from: it finds or makes the module's parameter node."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The scene's parameter node of this module, a vtkMRMLScriptedModuleNode, created if there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)
                return node
        nodes = self.getAllParameterNodes()
        if nodes and not self.isSingletonParameterNode:
            return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """What a module's self-tests derive from; runTest() runs every method with "test" in its name."""

    def __init__(self, *args, **kwargs):
        self.moduleTestNames = []
        super().__init__(*args, **kwargs)
        self.messageDelay = 0
        names = [name for name in dir(self) if "test" in name and callable(getattr(self, name))]
        self.moduleTestNames = self.moduleTestNames or names

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        """Log the message, without a delay."""
        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, name, description, type=-1):
        self.delayDisplay(description)

    def runTest(self):
        for name in self.moduleTestNames:
            self.setUp()
            getattr(self, name)()
            self.tearDown()


def loadModule(path):
    """Loads a scripted module's .py as Slicer does and returns its module object (slicer.modules.<name>).

    The module's folder goes onto sys.path, as Slicer puts it there. Loading the same file again gives the same object.
    """
    path = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(path))[0]
    known = getattr(slicer.modules, name.lower(), None)
    if known is not None and known.path == path:
        return known
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    holder = qSlicerScriptedLoadableModule(name, path)
    holder._instance = getattr(module, name)(holder)
    setattr(slicer.modules, name.lower(), holder)
    setattr(slicer.modules, name + "Instance", holder._instance)
    slicer.app.moduleManager()._modules[name] = holder
    return holder


def makeModules(wrapperPackage):
    """The importable modules that Slicer has and the wheel lacks, by name."""
    scriptedModule = types.ModuleType("slicer.ScriptedLoadableModule")
    names = ("", "Widget", "Logic", "Test")
    scriptedModule.__all__ = ["ScriptedLoadableModule" + suffix for suffix in names]
    for name in scriptedModule.__all__:
        setattr(scriptedModule, name, globals()[name])
    # Slicer's own file hands these on to modules that import everything from it.
    scriptedModule.slicer, scriptedModule.vtk = slicer, vtk
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    return {
        "slicer.ScriptedLoadableModule": scriptedModule,
        "slicer.i18n": i18n,
        "slicer.parameterNodeWrapper": wrapperPackage,
    }
