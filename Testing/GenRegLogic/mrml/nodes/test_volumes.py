"""Volume nodes and the engine's volumes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from vtk.util.numpy_support import numpy_to_vtk

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.volumes import setVolume, volumeFromNode
from GenRegLogic.space.geometry import Geometry

from ..conftest import GEOMETRIES, rigid


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
class TestRoundTrip:
    def test_voxels_and_geometry_of_a_node_are_returned_unchanged(self, scene, geometry):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
        array = np.arange(np.prod(geometry.size), dtype=np.int16).reshape(geometry.shape)
        setVolume(node, array, geometry)
        volume = volumeFromNode(node, "fixed")
        assert np.array_equal(volume.array, array)
        assert volume.geometry.is_close(geometry, 1e-6)

    def test_a_saved_volume_has_the_same_geometry_in_simpleitk(self, scene, scans, geometry, tmp_path):
        node = scans.volume("scan", geometry)
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / "scan.nrrd"))
        assert storage.WriteData(node)
        image = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
        volume = volumeFromNode(node, "fixed")
        assert volume.geometry.is_close(Geometry.from_sitk(image), 1e-5)
        assert np.allclose(sitk.GetArrayFromImage(image), volume.array)

    def test_a_rigid_parent_transforms_the_geometry(self, scans, geometry):
        node = scans.volume("scan", geometry)
        node.SetAndObserveTransformNodeID(scans.linear("above", rigid()).GetID())
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        expected = flip @ rigid() @ flip @ geometry.index_to_world
        assert np.abs(volumeFromNode(node, "moving").geometry.index_to_world - expected).max() < 1e-9

    def test_under_a_shearing_parent_the_volume_is_resampled_with_a_warning(self, scene, geometry):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
        k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
        array = (i + 2 * j + 3 * k).astype(np.float32)  # linear, so that interpolation is exact
        setVolume(node, array, geometry)
        shear = np.eye(4)
        shear[0, 1], shear[1, 2] = 0.3, -0.2
        parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shear")
        parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shear))
        node.SetAndObserveTransformNodeID(parent.GetID())
        volume = volumeFromNode(node, "fixed")
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        matrix = flip @ shear @ flip @ geometry.index_to_world
        index = np.array(geometry.size) / 2.0
        world = matrix[:3, :3] @ index + matrix[:3, 3]
        image = volume.to_sitk()
        here = sitk.Resample(image, (1, 1, 1), sitk.Transform(), sitk.sitkLinear, world.tolist())[0, 0, 0]
        assert here == pytest.approx(index @ [1, 2, 3], abs=1e-3)
        assert len(volume.warnings) == 1


class TestRefusals:
    def test_a_label_map_is_refused_as_a_scan(self, scans):
        node = scans.volume("organs", GEOMETRIES["oblique"], className="vtkMRMLLabelMapVolumeNode")
        with pytest.raises(InputError, match="label map"):
            volumeFromNode(node, "fixed")

    def test_a_volume_without_voxels_is_refused(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        with pytest.raises(InputError, match="holds no voxels"):
            volumeFromNode(node, "fixed")

    def test_a_color_volume_is_refused(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
        slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6, 3), np.uint8))
        with pytest.raises(InputError, match="not a scalar volume"):
            volumeFromNode(node, "fixed")

    def test_a_scalar_volume_with_three_components_is_refused(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "photo")
        slicer.util.updateVolumeFromArray(node, np.zeros((4, 5, 6), np.uint8))
        colors = numpy_to_vtk(np.zeros((120, 3), np.uint8), deep=True)
        node.GetImageData().GetPointData().SetScalars(colors)
        with pytest.raises(InputError, match="3 values per voxel"):
            volumeFromNode(node, "fixed")

    def test_a_non_linear_parent_is_refused_and_named(self, scans):
        node = scans.volume("scan", GEOMETRIES["oblique"])
        node.SetAndObserveTransformNodeID(scans.grid("warp", GEOMETRIES["oblique"]).GetID())
        with pytest.raises(InputError, match="non-linear transform 'warp'"):
            volumeFromNode(node, "moving")

    def test_a_parent_that_flattens_space_is_refused(self, scans):
        node = scans.volume("scan", GEOMETRIES["oblique"])
        node.SetAndObserveTransformNodeID(scans.linear("flat", np.diag([1.0, 1.0, 0.0, 1.0])).GetID())
        with pytest.raises(InputError, match="flattens"):
            volumeFromNode(node, "fixed")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_parent_that_is_not_finite_is_refused(self, scans, value):
        node = scans.volume("scan", GEOMETRIES["oblique"])
        node.SetAndObserveTransformNodeID(scans.linear("broken", np.diag([1.0, 1.0, value, 1.0])).GetID())
        with pytest.raises(InputError, match="not finite"):
            volumeFromNode(node, "fixed")
