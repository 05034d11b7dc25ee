"""Stand-in for slicer.app.layoutManager(): MRML's layout, slice and view logics and nodes, without windows.

Nothing is drawn until `host.views` is asked for a picture, so this works without OpenGL. What Slicer documents for
modules is here: names, widgets, their logics, nodes, fitting and resetting, and the layout's number.
"""

import slicer
import vtk

SLICE_NAMES = ("Red", "Green", "Yellow")
SIZE = (400, 400)  # pixels of a view that has not been drawn yet


class _View:
    """A view as modules use it; requests to draw are ignored, pictures are made by `host.views`."""

    def __init__(self, node):
        self._node = node

    def mrmlSliceNode(self):
        return self._node

    mrmlViewNode = mrmlPlotViewNode = mrmlSliceNode

    def scheduleRender(self):
        pass

    forceRender = resetFocalPoint = resetCamera = fitToContent = repaint = scheduleRender


class _Controller:
    def __init__(self, logic):
        self._logic = logic

    def setVisible(self, visible):
        pass

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()

    def setSliceOffsetValue(self, offset):
        self._logic.SetSliceOffset(offset)


class _SliceWidget:
    def __init__(self, name, scene, applicationLogic):
        self.sliceViewName = name
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        applicationLogic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(scene)
        # The layout has made the node already; AddSliceNode would make another one, which no scene knows.
        self._node = scene.GetNodeByID(f"vtkMRMLSliceNode{name}") or self._logic.AddSliceNode(name)
        self._logic.SetSliceNode(self._node)
        self._logic.ResizeSliceNode(*SIZE)
        self._view, self._controller = _View(self._node), _Controller(self._logic)

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._node

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def sliceView(self):
        return self._view

    def sliceController(self):
        return self._controller

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()


class _ThreeDWidget:
    def __init__(self, scene, applicationLogic, node):
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._logic.SetMRMLScene(scene)
        applicationLogic.GetViewLogics().AddItem(self._logic)
        self._node = self._logic.AddViewNode(node.GetLayoutName())
        self._view, self._controller = _View(self._node), _Controller(None)

    def threeDView(self):
        return self._view

    def threeDController(self):
        return self._controller

    def mrmlViewNode(self):
        return self._node

    def viewLogic(self):
        return self._logic


class _PlotWidget:
    def __init__(self, node):
        self._node, self._view = node, _View(node)

    def plotView(self):
        return self._view

    def plotController(self):
        return _Controller(None)

    def mrmlPlotViewNode(self):
        return self._node


class LayoutManager:
    """Three slice views, one 3D view, and as many plot views as the layout makes."""

    tableViewCount = 0

    def __init__(self, scene, applicationLogic):
        self._scene = scene
        applicationLogic.SetSliceLogics(vtk.vtkCollection())
        applicationLogic.SetViewLogics(vtk.vtkCollection())
        self._collection = applicationLogic.GetSliceLogics()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetMRMLApplicationLogic(applicationLogic)
        self._slices = {name: _SliceWidget(name, scene, applicationLogic) for name in SLICE_NAMES}
        node = scene.GetFirstNodeByClass("vtkMRMLViewNode")
        self._threeD = [_ThreeDWidget(scene, applicationLogic, node)]
        self._open = []
        self.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def sliceViewNames(self):
        return tuple(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._collection

    @property
    def threeDViewCount(self):
        return len(self._threeD)

    def threeDWidget(self, index):
        return self._threeD[index] if 0 <= index < len(self._threeD) else None

    @property
    def plotViewCount(self):
        return self._scene.GetNumberOfNodesByClass("vtkMRMLPlotViewNode")

    def plotWidget(self, index):
        node = self._scene.GetNthNodeByClass(index, "vtkMRMLPlotViewNode")
        return _PlotWidget(node) if node is not None else None

    def layoutLogic(self):
        return self._logic

    @property
    def layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, layout):
        self._logic.GetLayoutNode().SetViewArrangement(layout)

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self):
        pass

    def close(self):
        """Release the scene, before the application ends."""
        for view in list(self._open):
            view.close()
        for widget in self._slices.values():
            widget.sliceLogic().SetMRMLScene(None)
        for widget in self._threeD:
            widget.viewLogic().SetMRMLScene(None)
        self._logic.SetMRMLScene(None)
        self._collection.RemoveAllItems()
        self._slices, self._threeD = {}, []
