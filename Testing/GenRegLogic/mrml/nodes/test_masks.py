"""Masks and landmarks."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.masks import landmarkPairs, landmarksFromNode, maskFromNode
from GenRegLogic.mrml.runs.registration import RegistrationRun, RunInputs, RunOutputs

from ..conftest import GEOMETRIES, rigid

GRID = GEOMETRIES["oblique"]
FLIP = np.array([-1.0, -1.0, 1.0])


def box() -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    array[4:9, 5:15, 6:12] = 3
    return array


@pytest.fixture
def label_map(scans):
    """A label map with a box of threes."""
    node = scans.volume("box", GRID, className="vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(node, box())
    return node


class TestLabelMaps:
    def test_a_label_map_becomes_a_binary_mask_on_its_own_grid(self, scans, label_map):
        mask = maskFromNode(label_map, "fixed")
        assert np.array_equal(mask.array, (box() > 0).astype(np.uint8))
        assert mask.geometry.is_close(GRID)

    def test_an_empty_label_map_is_refused(self, scans, label_map):
        slicer.util.updateVolumeFromArray(label_map, 0 * box())
        with pytest.raises(InputError, match="empty"):
            maskFromNode(label_map, "fixed")

    def test_another_kind_of_node_is_refused(self, scans):
        with pytest.raises(InputError, match="neither a label map nor a segmentation"):
            maskFromNode(scans.linear("matrix", rigid()), "fixed")


@pytest.fixture
def segmentation(scene, label_map):
    """A segmentation with the same box."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    node.CreateDefaultDisplayNodes()
    slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, node)
    return node


def on_grid(mask) -> np.ndarray:
    """The mask's voxels put into an empty array on GRID."""
    i, j, k = np.round(GRID.to_index(mask.geometry.to_world([0, 0, 0]))).astype(int)
    array = np.zeros(GRID.shape, np.uint8)
    n_k, n_j, n_i = mask.array.shape
    array[k : k + n_k, j : j + n_j, i : i + n_i] = mask.array
    return array


class TestSegmentations:
    def test_visible_segments_keep_their_position(self, segmentation):
        mask = maskFromNode(segmentation, "fixed")
        assert np.array_equal(on_grid(mask), (box() > 0).astype(np.uint8))
        assert np.allclose(mask.geometry.direction, GRID.direction)

    @pytest.mark.parametrize("matrix", [rigid(), np.diag([-1.0, 1, 1, 1]), np.diag([2.0, 2, 2, 1])])
    def test_a_segmentation_under_a_linear_transform_loses_no_voxel(self, scans, segmentation, label_map, matrix):
        for node in (segmentation, label_map):
            node.SetAndObserveTransformNodeID(scans.linear("above", matrix).GetID())
        mask, same = maskFromNode(segmentation, "fixed"), maskFromNode(label_map, "fixed")
        assert mask.array.sum() == (box() > 0).sum()
        inside = [each.geometry.to_world(np.argwhere(each.array)[:, ::-1]) for each in (mask, same)]
        assert np.allclose(inside[0], inside[1])

    def test_an_earlier_result_above_the_scan_does_not_warp_the_segmentation(self, scene, scans, segmentation, worker):
        fixed, moving = scans.volume("fixed", GRID), scans.volume("moving", GRID, seed=1)
        node = None
        for _ in range(2):
            run = RegistrationRun(scene, worker, RunInputs(fixed, moving, movingMask=segmentation), RunOutputs(node))
            run.start()
            node = run.runToEnd().transformNode
        masks = [arrays["moving_mask"] for _, _, arrays in worker.jobs]
        assert np.array_equal(*masks)

    def test_a_segmentation_under_a_non_linear_transform_is_refused(self, scans, segmentation):
        segmentation.SetAndObserveTransformNodeID(scans.grid("warp", GRID).GetID())
        with pytest.raises(InputError, match="fixed mask 'organs' lies under a non-linear"):
            maskFromNode(segmentation, "fixed")

    def test_conversion_adds_no_node_to_the_scene(self, scene, segmentation):
        count = scene.GetNumberOfNodes()
        maskFromNode(segmentation, "fixed")
        assert scene.GetNumberOfNodes() == count

    def test_a_segmentation_without_a_visible_segment_is_refused(self, scene, scans):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        with pytest.raises(InputError, match="no visible segment"):
            maskFromNode(node, "fixed")


class TestLandmarks:
    def test_points_are_returned_in_order_in_lps(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        ras = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0], [7.0, -8.0, 9.0]])
        for point in ras:
            node.AddControlPoint(*point)
        assert np.allclose(landmarksFromNode(node, "fixed"), ras * FLIP)

    def test_a_linear_parent_transforms_the_points(self, scene, scans):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        node.AddControlPoint(1.0, 2.0, 3.0)
        node.SetAndObserveTransformNodeID(scans.linear("above", rigid()).GetID())
        expected = rigid() @ [1, 2, 3, 1]
        assert np.allclose(landmarksFromNode(node, "fixed"), expected[:3] * FLIP)

    def test_points_not_yet_placed_are_left_out(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        node.AddControlPoint(1.0, 2.0, 3.0)
        node.AddControlPoint(4.0, 5.0, 6.0)
        node.UnsetNthControlPointPosition(0)
        assert np.allclose(landmarksFromNode(node, "fixed"), [[-4, -5, 6]])

    def test_a_point_missing_in_one_list_does_not_shift_the_pairs_after_it(self, scene):
        lists = []
        for missing in (0, 2):
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
            for value in (1.0, 2.0, 3.0, 4.0):
                node.AddControlPoint(value, value, value)
            node.UnsetNthControlPointPosition(missing)
            lists.append(node)
        fixed, moving = landmarkPairs(*lists)
        assert np.allclose(fixed[:, 2], [2, 4])
        assert np.array_equal(fixed, moving)

    def test_points_under_a_non_linear_transform_are_refused(self, scene, scans):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        node.SetAndObserveTransformNodeID(scans.grid("warp", GRID).GetID())
        with pytest.raises(InputError, match="landmarks 'points' lie under a non-linear"):
            landmarksFromNode(node, "fixed")
