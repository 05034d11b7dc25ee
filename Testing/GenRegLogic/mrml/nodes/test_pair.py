"""A transform with its two scans: its displacement field in the world, and resampling by it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.pair import changeToken, fieldInWorld, pairOf, warpedOnto
from GenRegLogic.mrml.nodes.transforms import setField
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.margin import LPS_TO_RAS, withMargin
from GenRegLogic.space.warp import warp_image

from ..conftest import FIXED, field, rigid, waves


class TestPair:
    def test_a_grid_transform_is_returned_as_its_own_field(self, transform):
        array, grid = fieldInWorld(transform, FIXED)
        sampled = DisplacementField(array, grid)(FIXED.center[None])
        assert np.abs(sampled - FIXED.center - waves(FIXED.center[None])).max() < 0.3

    def test_a_linear_transform_becomes_an_equivalent_field(self, scene, scans):
        matrix = np.eye(4)
        matrix[:3, :3] = [[1.1, 0.1, 0.0], [0.0, 0.9, 0.0], [0.0, 0.1, 1.0]]
        matrix[:3, 3] = (3.0, -4.0, 5.0)
        node = scans.linear("linear", matrix)
        array, grid = fieldInWorld(node, FIXED)
        there = np.array(node.GetTransformFromParent().TransformPoint(*(FIXED.center * LPS_TO_RAS))) * LPS_TO_RAS
        assert DisplacementField(array, grid)(FIXED.center[None])[0] == pytest.approx(there, abs=1e-3)

    def test_resampling_agrees_with_the_engine(self, transform):
        pair = pairOf(transform)
        expected = warp_image(pair.moving(), DisplacementField(field(FIXED), FIXED), FIXED).array
        found = warpedOnto(pair.moving(), transform, FIXED)
        inside = (found != found.min()) & (expected != expected.min())
        assert inside.mean() > 0.3
        assert np.abs(found - expected)[inside].max() < 0.01 * np.ptp(expected)

    def test_the_token_changes_with_the_mapping_only(self, transform):
        before = changeToken(transform)
        transform.GetTransformToParent().TransformPoint(1.0, 2.0, 3.0)
        transform.SetName("another name")
        assert changeToken(transform) == before
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        assert changeToken(transform) != before

    def test_a_missing_scan_is_refused_and_named(self, scene, transform):
        scene.RemoveNode(pairOf(transform).movingNode)
        with pytest.raises(InputError, match="moving volume"):
            pairOf(transform)

    @pytest.mark.parametrize("pose", [rigid(), rigid((0, 0, 180), (3, 0, 0)) @ np.diag([1.1, 1.1, 1.1, 1])])
    def test_a_field_below_a_linear_transform_keeps_its_resolution(self, scene, transform, scans, monkeypatch, pose):
        monkeypatch.setattr("GenRegLogic.mrml.nodes.transforms.INITIAL_VOXELS", 100)
        transform.SetAndObserveTransformNodeID(scans.linear("pose", pose).GetID())
        array, grid = fieldInWorld(transform, FIXED)
        path = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transform, path)
        for index in ((3, 4, 5), (10, 2, 12), (17, 20, 1)):
            point = grid.to_world(np.array(index, float))
            expected = np.array(path.TransformPoint(point * LPS_TO_RAS)) * LPS_TO_RAS
            assert np.abs(point + array[index[::-1]] - expected).max() < 2e-3
