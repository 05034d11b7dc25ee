"""The mapping of the scene after a run, compared with SimpleITK on the file that Slicer saves.

For every kind of grid, with and without linear parents above the scans, in memory and after each file format.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from GenRegLogic.mrml.nodes.keeplinear import LinearKeeper
from GenRegLogic.mrml.runs.registration import RegistrationRun, RunInputs, RunOutputs

from ..conftest import GEOMETRIES, rigid, waves

FLIP = np.array([-1.0, -1.0, 1.0])
TOLERANCE_MM = 1e-3
PARENTS = ("no parent", "parent of fixed", "parent of moving", "parents of both")


@pytest.fixture(params=GEOMETRIES)
def geometry(request):
    """One of the kinds of grid."""
    return GEOMETRIES[request.param]


@pytest.fixture(params=PARENTS)
def registered(request, scene, scans, worker, geometry):
    """A finished run, and the matrices (node -> world, RAS) above the two scans."""
    fixed, moving = scans.volume("fixed", geometry), scans.volume("moving", geometry, seed=1)
    above = {"fixed": np.eye(4), "moving": np.eye(4)}
    for name, node, matrix in (("fixed", fixed, rigid((4, 8, -12), (3, 2, 1))), ("moving", moving, rigid())):
        if request.param in (f"parent of {name}", "parents of both"):
            node.SetAndObserveTransformNodeID(scans.linear(f"above {name}", matrix).GetID())
            above[name] = matrix
    keeper = LinearKeeper(scene)
    run = RegistrationRun(scene, worker, RunInputs(fixed, moving), RunOutputs())
    run.start()
    result = run.runToEnd()
    yield fixed, moving, result.transformNode, above
    keeper.stop()


def points_in(fixed, above: np.ndarray, count: int = 200) -> np.ndarray:
    """(count, 3) RAS world points inside the fixed volume."""
    matrix = vtk.vtkMatrix4x4()
    fixed.GetIJKToRASMatrix(matrix)
    index = np.random.default_rng(5).uniform(0, np.array(fixed.GetImageData().GetDimensions()) - 1, (count, 3))
    local = index @ slicer.util.arrayFromVTKMatrix(matrix)[:3, :3].T + slicer.util.arrayFromVTKMatrix(matrix)[:3, 3]
    return local @ above[:3, :3].T + above[:3, 3]


def from_world(node, points: np.ndarray) -> np.ndarray:
    """World points in a volume node's own RAS, computed by MRML."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), transform)
    return np.array([transform.TransformPoint(*point) for point in points])


def itk_transform(path) -> sitk.Transform:
    if path.name.endswith(".h5"):
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def mapped(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    """RAS points through an ITK transform."""
    return np.array([transform.TransformPoint((point * FLIP).tolist()) for point in points]) * FLIP


def save(node, path) -> None:
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)


class TestInMemory:
    def test_the_scene_maps_as_simpleitk_with_the_saved_file(self, registered, tmp_path):
        fixed, moving, node, above = registered
        save(node, tmp_path / "transform.h5")
        points = points_in(fixed, above["fixed"])
        there = mapped(itk_transform(tmp_path / "transform.h5"), points)
        expected = (there - above["moving"][:3, 3]) @ np.linalg.inv(above["moving"][:3, :3]).T
        assert np.abs(from_world(moving, points) - expected).max() < TOLERANCE_MM

    def test_the_saved_file_holds_the_known_deformation(self, registered, tmp_path):
        fixed, _, node, above = registered
        save(node, tmp_path / "transform.h5")
        points = points_in(fixed, above["fixed"])
        there = mapped(itk_transform(tmp_path / "transform.h5"), points)
        moved = waves(points * FLIP) * FLIP
        assert np.abs(there - points - moved).max() < 0.1  # linear between voxels of 2 to 4.5 mm

    def test_points_outside_the_fixed_scan_map_as_in_simpleitk(self, registered, tmp_path):
        fixed, _, node, above = registered
        save(node, tmp_path / "transform.h5")
        points = points_in(fixed, above["fixed"])
        center = points.mean(axis=0)
        outside = np.concatenate([center + (points - center) * scale for scale in (1.2, 1.5, 3.0)])
        there = mapped(itk_transform(tmp_path / "transform.h5"), outside)
        here = np.array([node.GetTransformFromParent().TransformPoint(*point) for point in outside])
        assert np.abs(here - there).max() < TOLERANCE_MM


class TestAfterAFile:
    @pytest.mark.parametrize("ending", [".h5", ".nrrd", ".nii.gz"])
    def test_the_reloaded_transform_maps_as_in_simpleitk(self, registered, scene, tmp_path, ending):
        fixed, _, node, above = registered
        path = tmp_path / f"transform{ending}"
        save(node, path)
        logic = slicer.vtkSlicerTransformLogic()
        logic.SetMRMLScene(scene)
        loaded = logic.AddTransform(str(path), scene)
        points = points_in(fixed, above["fixed"])
        here = np.array([loaded.GetTransformFromParent().TransformPoint(*point) for point in points])
        assert np.abs(here - mapped(itk_transform(path), points)).max() < TOLERANCE_MM

    def test_a_reloaded_scene_maps_as_before(self, registered, application, scene, tmp_path):
        fixed, moving, node, above = registered
        save(node, tmp_path / "transform.h5")
        points = points_in(fixed, above["fixed"])
        expected = from_world(moving, points)
        assert scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
        scene.Clear(False)
        (tmp_path / "unpacked").mkdir()
        assert application.OpenSlicerDataBundle(str(tmp_path / "scene.mrb"), str(tmp_path / "unpacked"))
        again = from_world(scene.GetFirstNodeByName("moving"), points)
        assert np.abs(again - expected).max() < TOLERANCE_MM
        there = mapped(itk_transform(tmp_path / "transform.h5"), points)
        expected = (there - above["moving"][:3, 3]) @ np.linalg.inv(above["moving"][:3, :3]).T
        assert np.abs(again - expected).max() < TOLERANCE_MM
