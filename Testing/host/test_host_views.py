"""Pictures from Slicer's own displayable managers."""

import numpy as np
import pytest


@pytest.fixture
def views(host):
    """host.views, if OpenGL is available."""
    reason = host.views.available()
    if reason is not None:
        pytest.skip(reason)
    return host.views


@pytest.fixture
def grid(host, addVolume):
    """A volume, and a grid transform over it whose display is hidden."""
    import slicer
    import vtk

    volume = addVolume()
    image = vtk.vtkImageData()
    image.SetDimensions(5, 5, 5)
    image.SetSpacing(7, 6, 5)
    image.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())[:] = 2.0
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    node.SetAndObserveTransformFromParent(transform)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetVisualizationMode(slicer.vtkMRMLTransformDisplayNode.VIS_MODE_GRID)
    display.SetAndObserveRegionNode(volume)
    display.SetVisibility(False)
    return volume, display


def test_a_slice_view_shows_its_layers(views, addVolume):
    import slicer

    with views.SliceView("Red", size=(200, 160)) as red:
        empty = red.grab()
        slicer.util.setSliceViewerLayers(background=addVolume(), fit=True)
        picture = red.grab()
        assert picture.shape == (160, 200, 3)
        assert picture.dtype == np.uint8
        assert views.changedPixels(empty, picture) > 2000


def test_the_deformation_grid_is_drawn(views, grid):
    volume, display = grid
    with views.SliceView("Green", size=(200, 200)) as green:
        green.show(volume)
        before = green.grab()
        display.SetVisibility(True)
        display.SetVisibility2D(True)
        assert views.changedPixels(before, green.grab()) > 100
        display.SetVisibility(False)
        assert views.changedPixels(before, green.grab()) == 0


def test_a_3d_view_draws_the_grid(views, grid):
    _, display = grid
    with views.ThreeDView(size=(200, 200)) as view:
        before = view.grab()
        display.SetVisibility(True)
        display.SetVisibility3D(True)
        view.grab()
        view.resetCamera()
        assert views.changedPixels(before, view.grab()) > 100


def test_a_view_can_be_saved_after_the_scene_is_closed(host, views, addVolume, tmp_path):
    red = views.SliceView("Red", size=(120, 120))
    red.show(addVolume())
    host.resetScene()
    assert red.grab().max() == 0
    red.save(tmp_path / "red.png")
    assert (tmp_path / "red.png").stat().st_size > 0
    red.close()
    red.close()
