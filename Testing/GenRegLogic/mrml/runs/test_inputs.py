"""The description of the chosen nodes, and the nodes that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.runs.inputs import RunInputs, RunOutputs, checkNodes, coarsened, nonLinearParents, understand
from GenRegLogic.space.geometry import Geometry

from ..conftest import GEOMETRIES, rigid

GRID = GEOMETRIES["axis-aligned"]


@pytest.fixture
def pair(scans):
    """Fixed and moving volume nodes."""
    return scans.volume("fixed", GRID), scans.volume("moving", GRID, seed=1)


class TestUnderstanding:
    @pytest.mark.parametrize(
        ("chosen", "missing"),
        [
            ((), "Select the fixed and moving volumes"),
            ((0,), "Select the moving volume"),
            ((1,), "Select the fixed volume"),
        ],
    )
    def test_the_button_says_which_volume_is_missing(self, pair, chosen, missing):
        inputs = RunInputs(*(node if index in chosen else None for index, node in enumerate(pair)))
        found = understand(inputs)
        assert (found.ready, found.missing) == (False, missing)

    def test_sizes_spacing_and_overlap_are_described(self, pair):
        found = understand(RunInputs(*pair))
        assert found.ready
        assert "20 × 22 × 18 voxels of 2 × 2 × 2 mm" in found.sentence
        assert "covers 100 %" in found.sentence

    def test_the_overlap_includes_linear_parents(self, scans, pair):
        shift = np.eye(4)
        shift[0, 3] = 20.0
        pair[1].SetAndObserveTransformNodeID(scans.linear("shift", shift).GetID())
        assert "covers 50 %" in understand(RunInputs(*pair)).sentence

    def test_volumes_without_overlap_are_accepted(self, scans, pair):
        shift = np.eye(4)
        shift[0, 3] = 500.0
        pair[1].SetAndObserveTransformNodeID(scans.linear("shift", shift).GetID())
        found = understand(RunInputs(*pair))
        assert found.ready
        assert "do not overlap" in found.sentence

    def test_a_non_linear_parent_is_named(self, scans, pair):
        pair[1].SetAndObserveTransformNodeID(scans.grid("warp", GRID).GetID())
        found = understand(RunInputs(*pair))
        assert found.ready
        assert "'warp'" in found.sentence


class TestRefusals:
    def refused(self, match, inputs, outputs=None):
        with pytest.raises(InputError, match=match):
            checkNodes(inputs, outputs or RunOutputs())
        assert not understand(inputs, outputs).ready

    def test_the_same_volume_twice_is_refused(self, pair):
        self.refused("are the same", RunInputs(pair[0], pair[0]))

    def test_a_label_map_is_refused(self, scans, pair):
        self.refused("label map", RunInputs(pair[0], scans.volume("organs", GRID, 0, "vtkMRMLLabelMapVolumeNode")))

    def test_a_single_slice_is_refused(self, scans, pair):
        node = scans.volume("slice", GRID)
        image = node.GetImageData().NewInstance()
        image.SetDimensions(20, 22, 1)
        image.AllocateScalars(4, 1)
        node.SetAndObserveImageData(image)
        self.refused("single slice", RunInputs(pair[0], node))

    def test_landmarks_of_one_scan_only_are_refused(self, scene, pair):
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        self.refused("Landmarks of both", RunInputs(*pair, fixedLandmarks=points))

    def test_the_same_list_of_landmarks_twice_is_refused(self, scene, pair):
        points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
        self.refused("same list", RunInputs(*pair, fixedLandmarks=points, movingLandmarks=points))

    def test_an_output_above_the_fixed_volume_is_refused(self, scans, pair):
        near, far = scans.linear("near", rigid()), scans.linear("far", rigid())
        pair[0].SetAndObserveTransformNodeID(near.GetID())
        near.SetAndObserveTransformNodeID(far.GetID())
        self.refused("'far' lies above the fixed", RunInputs(*pair), RunOutputs(transform=far))

    def test_one_node_for_both_directions_is_refused(self, scans, pair):
        node = scans.linear("mine", rigid())
        self.refused("two different ones", RunInputs(*pair), RunOutputs(transform=node, inverseTransform=node))

    def test_an_inverse_above_the_moving_volume_is_refused(self, scans, pair):
        node = scans.linear("mine", rigid())
        pair[1].SetAndObserveTransformNodeID(node.GetID())
        self.refused("lies above the moving", RunInputs(*pair), RunOutputs(inverseTransform=node))

    @pytest.mark.parametrize("index", [0, 1])
    def test_an_input_as_warped_volume_is_refused(self, pair, index):
        self.refused("would overwrite", RunInputs(*pair), RunOutputs(warpedVolume=pair[index]))

    def test_a_vector_volume_as_warped_volume_is_refused(self, scene, pair):
        node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
        self.refused("not a scalar volume", RunInputs(*pair), RunOutputs(warpedVolume=node))


class TestNonLinearParents:
    def test_a_shared_parent_is_listed_once(self, scans, pair):
        warp = scans.grid("warp", GRID)
        for node in pair:
            node.SetAndObserveTransformNodeID(warp.GetID())
        assert nonLinearParents(RunInputs(*pair)) == [warp]

    def test_the_output_that_will_be_replaced_is_not_listed(self, scans, pair):
        warp = scans.grid("warp", GRID)
        pair[1].SetAndObserveTransformNodeID(warp.GetID())
        assert nonLinearParents(RunInputs(*pair), RunOutputs(transform=warp)) == []


class TestCoarsened:
    def test_a_large_scan_is_subsampled_at_the_same_position(self, scans):
        geometry = Geometry((150, 160, 40), (1.0, 1.0, 3.0), (5, 6, 7), rigid()[:3, :3])
        array, coarse = coarsened(scans.volume("scan", geometry))
        assert array.size < 500_000
        assert np.allclose(coarse.to_world([0, 0, 0]), geometry.to_world([0, 0, 0]))
        assert np.abs(coarse.center - geometry.center).max() < 3.0
