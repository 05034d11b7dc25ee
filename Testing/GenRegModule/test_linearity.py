"""Fields that come back from files keep their interpolation, without anybody having opened the module."""

import numpy as np
import vtk


def aField(scene):
    """A transform node with a field whose values are marked as GenReg's are."""
    from GenRegLogic.mrml.nodes.transforms import setField
    from GenRegLogic.space.volume import Geometry

    array = np.zeros((8, 9, 10, 3), np.float32)
    array[2:-2, 2:-2, 2:-2] = 517 / 1024
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "field")
    setField(node, array, Geometry((10, 9, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3)))
    return node


def throughAFile(scene, node, path):
    """The node, saved and loaded."""
    node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(path))
    assert node.GetStorageNode().WriteData(node)
    loaded = scene.AddNewNodeByClass("vtkMRMLTransformNode", "loaded")
    loaded.AddDefaultStorageNode()
    loaded.GetStorageNode().SetFileName(str(path))
    assert loaded.GetStorageNode().ReadData(loaded)
    return loaded


def test_a_field_is_linear_again_after_loading(slicerModule, tmp_path):
    import slicer
    from GenRegPanel.linearity import keepFieldsLinear

    keepFieldsLinear()
    loaded = throughAFile(slicer.mrmlScene, aField(slicer.mrmlScene), tmp_path / "field.h5")
    assert loaded.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION


def test_asked_twice_it_watches_once(slicerModule):
    import slicer
    from GenRegPanel.linearity import KEEPER, keepFieldsLinear

    keepFieldsLinear()
    keeper = getattr(slicer.modules, KEEPER)
    keepFieldsLinear()
    assert getattr(slicer.modules, KEEPER) is keeper


def test_the_modules_logic_is_enough(slicerModule):
    import GenReg
    import slicer
    from GenRegPanel.linearity import KEEPER

    logic = GenReg.GenRegLogic()
    assert hasattr(slicer.modules, KEEPER)
    logic.cleanup()
