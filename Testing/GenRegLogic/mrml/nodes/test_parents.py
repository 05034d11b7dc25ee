"""Nodes in a scene, the transforms above a node, and placing a scan below a transform."""

from __future__ import annotations

import numpy as np
import vtk
from slicer import vtkMRMLTransformNode

from GenRegLogic.mrml.nodes.parents import Placement, chain, inScene, worldMatrix

from ..conftest import GEOMETRIES, rigid

GRID = GEOMETRIES["oblique"]


def world_of(node) -> list:
    """The matrix from the node's own RAS to the world, computed by MRML (linear chains)."""
    matrix = vtk.vtkMatrix4x4()
    vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node.GetParentTransformNode(), None, matrix)
    return [matrix.GetElement(i, j) for i in range(4) for j in range(4)]


class TestInScene:
    def test_a_node_in_the_scene_is_returned(self, scans):
        node = scans.volume("scan", GRID)
        assert inScene(node) is node

    def test_a_removed_node_is_none(self, scene, scans):
        node = scans.volume("scan", GRID)
        scene.RemoveNode(node)
        assert inScene(node) is None

    def test_a_node_of_a_closed_scene_is_none_even_if_its_id_is_in_use_again(self, scene, scans):
        node = scans.volume("scan", GRID)
        scene.Clear(False)
        assert scans.volume("scan", GRID).GetID() == node.GetID()
        assert inScene(node) is None


class TestWorldMatrix:
    def test_the_matrices_of_a_chain_are_multiplied_from_the_nearest_outward(self, scans):
        node, near, far = scans.volume("scan", GRID), scans.linear("near", rigid()), scans.linear("far", 2 * np.eye(4))
        node.SetAndObserveTransformNodeID(near.GetID())
        near.SetAndObserveTransformNodeID(far.GetID())
        assert np.allclose(worldMatrix(node, "fixed").ravel(), world_of(node))

    def test_the_ignored_transform_is_left_out(self, scans):
        node, near, warp = scans.volume("scan", GRID), scans.linear("near", rigid()), scans.grid("old result", GRID)
        node.SetAndObserveTransformNodeID(near.GetID())
        near.SetAndObserveTransformNodeID(warp.GetID())
        assert np.allclose(worldMatrix(node, "moving", ignoring=warp), rigid())


class TestPlacement:
    def test_a_scan_without_parents_is_put_directly_below_the_transform(self, scans):
        node, result = scans.volume("scan", GRID), scans.grid("result", GRID)
        Placement(node).put(result)
        assert chain(node) == [result]

    def test_the_topmost_parent_is_put_below_the_transform(self, scans):
        node, near, far = scans.volume("scan", GRID), scans.linear("near", rigid()), scans.linear("far", rigid())
        node.SetAndObserveTransformNodeID(near.GetID())
        near.SetAndObserveTransformNodeID(far.GetID())
        result = scans.grid("result", GRID)
        Placement(node).put(result)
        assert chain(node) == [near, far, result]

    def test_other_nodes_under_a_shared_parent_do_not_move(self, scans):
        node, other, parent = scans.volume("scan", GRID), scans.volume("other", GRID), scans.linear("both", rigid())
        for each in (node, other):
            each.SetAndObserveTransformNodeID(parent.GetID())
        result = scans.grid("result", GRID)
        placement = Placement(node)
        placement.put(result)
        assert chain(other) == [parent]
        assert parent.GetTransformNodeID() is None
        assert np.allclose(worldMatrix(node, "moving", ignoring=result), rigid())

    def test_taking_off_restores_every_parent_and_leaves_no_node_behind(self, scene, scans):
        node, other, parent = scans.volume("scan", GRID), scans.volume("other", GRID), scans.linear("both", rigid())
        for each in (node, other):
            each.SetAndObserveTransformNodeID(parent.GetID())
        result = scans.grid("result", GRID)
        count = scene.GetNumberOfNodes()
        placement = Placement(node)
        for _ in range(2):
            placement.put(result)
            placement.takeOff()
        assert chain(node) == [parent]
        assert parent.GetTransformNodeID() is None
        assert scene.GetNumberOfNodes() == count

    def test_a_changed_parent_matrix_is_detected(self, scans):
        node, parent = scans.volume("scan", GRID), scans.linear("above", rigid())
        node.SetAndObserveTransformNodeID(parent.GetID())
        placement = Placement(node)
        assert not placement.moved
        parent.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
        assert placement.moved

    def test_a_changed_parent_of_the_scan_is_detected(self, scans):
        node = scans.volume("scan", GRID)
        placement = Placement(node)
        node.SetAndObserveTransformNodeID(scans.linear("new", np.eye(4)).GetID())
        assert placement.moved
