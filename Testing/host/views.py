"""Slice and 3D views drawn off screen by Slicer's own displayable managers, and pictures of them as arrays.

    red = host.views.SliceView("Red")
    red.show(background=fixed, foreground=moving)
    before = red.grab()
    ...
    assert host.views.changedPixels(before, red.grab()) > 500

A view follows what modules do to the layout manager's slice of that name: volumes, offsets, display nodes. It needs
OpenGL, which may be software (Mesa through EGL, or OSMesa): `available()` tells. Count changed pixels rather than
compare pictures: drivers differ.
"""

import functools
import subprocess
import sys

import numpy as np

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)
THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
)
_TRIAL = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.Render()
print("draws" if window.SupportsOpenGL() else "doesn't draw")
"""


@functools.cache
def available():
    """None if views can be drawn here, or else one sentence that says why not.

    Tried in another process, because a broken driver can end the process that tries it.
    """
    from .world import available as hostAvailable

    reason = hostAvailable()
    if reason is not None:
        return reason
    trial = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, text=True, timeout=120)
    if trial.returncode or "draws" not in trial.stdout.split():
        return "Views need OpenGL, and VTK found no driver that draws off screen (EGL with Mesa, or OSMesa)."
    return None


def changedPixels(before, after, least=8):
    """How many pixels differ by at least `least` of 255 in some channel between two pictures of the same size."""
    difference = np.abs(before.astype(np.int16) - after.astype(np.int16))
    return int((difference.max(axis=-1) >= least).sum())


class _View:
    def __init__(self, factoryName, managers, size):
        import slicer
        import vtk

        from .world import boot

        self._host = boot()
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetShowWindow(False)
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        factory = getattr(slicer, factoryName).GetInstance()
        factory.SetMRMLApplicationLogic(self._host.applicationLogic)
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.Initialize(factory, self.renderer)
        self._host.app.layoutManager()._open.append(self)

    def grab(self):
        """A picture: uint8 array (rows from the top, columns, RGB)."""
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        self._prepare()
        self.window.Render()
        self.window.Render()  # some managers finish their work only while the first is drawn
        reader = vtk.vtkWindowToImageFilter()
        reader.SetInput(self.window)
        reader.ReadFrontBufferOff()
        reader.ShouldRerenderOff()
        reader.Update()
        image = reader.GetOutput()
        columns, rows, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3].copy()

    def save(self, path):
        """Writes the picture to a PNG file."""
        from PIL import Image

        Image.fromarray(self.grab()).save(path)

    def _prepare(self):
        pass

    def close(self):
        """Frees the window. Every view is closed at the end of the process at the latest."""
        opened = self._host.app.layoutManager()._open
        if self in opened:
            opened.remove(self)
            self._group.SetMRMLDisplayableNode(None)
            self._group = None
            self.window.RemoveRenderer(self.renderer)
            self.window.Finalize()
            self.interactor.SetRenderWindow(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SliceView(_View):
    """The slice view of that name ("Red", "Green" or "Yellow"). `size`: pixels (columns, rows)."""

    def __init__(self, name="Red", size=(500, 500)):
        import vtk

        super().__init__("vtkMRMLSliceViewDisplayableManagerFactory", SLICE_MANAGERS, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = self._host.app.layoutManager().sliceWidget(name).sliceLogic()
        self.node = self.logic.GetSliceNode()
        self.logic.ResizeSliceNode(*size)
        self._group.SetMRMLDisplayableNode(self.node)
        # Slicer's widget draws the blended slice as the background of the window; so does this actor
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()

    def show(self, background=None, foreground=None, opacity=0.5, offset=None):
        """Sets the layers, fits the slice to the background and moves it to `offset` (mm along its normal)."""
        composite = self.logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID() if background is not None else None)
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetForegroundOpacity(opacity)
        self.logic.FitSliceToBackground()
        if offset is not None:
            self.logic.SetSliceOffset(offset)

    def _prepare(self):
        self.logic.UpdatePipeline()
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        shown = self.renderer.HasViewProp(self._actor)
        if connection is not None and not shown:
            self.renderer.AddViewProp(self._actor)
        elif connection is None and shown:
            self.renderer.RemoveViewProp(self._actor)


class ThreeDView(_View):
    """The 3D view. `size`: pixels (columns, rows)."""

    def __init__(self, size=(500, 500)):
        super().__init__("vtkMRMLThreeDViewDisplayableManagerFactory", THREED_MANAGERS, size)
        self.node = self._host.app.layoutManager().threeDWidget(0).mrmlViewNode()
        self._group.SetMRMLDisplayableNode(self.node)

    def resetCamera(self):
        """Puts everything that is visible into the view."""
        self.renderer.ResetCamera()
