"""Masks and landmarks."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.masks import landmarksFromNode, maskFromNode

from .conftest import GEOMETRIES, rigid

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
    def test_nonzero_becomes_one_on_the_label_maps_own_grid(self, scans, label_map):
        mask = maskFromNode(label_map, scans.volume("fixed", GRID), "fixed")
        assert np.array_equal(mask.array, (box() > 0).astype(np.uint8))
        assert mask.geometry.is_close(GRID)

    def test_an_empty_one_is_refused(self, scans, label_map):
        slicer.util.updateVolumeFromArray(label_map, 0 * box())
        with pytest.raises(InputError, match="empty"):
            maskFromNode(label_map, scans.volume("fixed", GRID), "fixed")

    def test_what_is_no_mask_is_refused(self, scans):
        with pytest.raises(InputError, match="neither a label map nor a segmentation"):
            maskFromNode(scans.linear("matrix", rigid()), scans.volume("fixed", GRID), "fixed")


class TestSegmentations:
    def test_visible_segments_are_painted_onto_the_scan(self, scene, scans, label_map):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        node.CreateDefaultDisplayNodes()
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, node)
        mask = maskFromNode(node, scans.volume("fixed", GRID), "fixed")
        assert np.array_equal(mask.array, (box() > 0).astype(np.uint8))
        assert mask.geometry.is_close(GRID)

    def test_nothing_is_left_in_the_scene(self, scene, scans, label_map):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        node.CreateDefaultDisplayNodes()
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label_map, node)
        fixed = scans.volume("fixed", GRID)
        count = scene.GetNumberOfNodes()
        maskFromNode(node, fixed, "fixed")
        assert scene.GetNumberOfNodes() == count

    def test_without_a_visible_segment_it_is_refused(self, scene, scans):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
        with pytest.raises(InputError, match="no visible segment"):
            maskFromNode(node, scans.volume("fixed", GRID), "fixed")


class TestLandmarks:
    def test_points_come_in_order_in_lps(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        ras = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0], [7.0, -8.0, 9.0]])
        for point in ras:
            node.AddControlPoint(*point)
        assert np.allclose(landmarksFromNode(node, "fixed"), ras * FLIP)

    def test_a_parent_moves_them(self, scene, scans):
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

    def test_a_non_linear_parent_is_refused(self, scene, scans):
        node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        node.SetAndObserveTransformNodeID(scans.grid("warp", GRID).GetID())
        with pytest.raises(InputError, match="landmarks 'points' lie under a non-linear"):
            landmarksFromNode(node, "fixed")
