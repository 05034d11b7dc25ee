"""Maps as volume nodes: colors, window and legend, and when they are removed."""

from __future__ import annotations

import pytest
import slicer

from GenRegLogic.mrml.nodes.transforms import setField
from GenRegLogic.mrml.views.maps import MAPS, MapNodes, window
from GenRegLogic.space.margin import withMargin

from ..conftest import FIXED, field, makeMaps


class TestMaps:
    def test_maps_are_volumes_with_colors_window_and_legend(self, scene, transform):
        _, worker, made = makeMaps(scene, transform)
        assert set(made) == set(MAPS)
        assert worker.jobs[0][2]["field"].shape[-1] == 3
        for node in made.values():
            assert not node.GetSaveWithScene()
            assert node.GetDisplayNode().GetColorNode().GetAttribute("GenReg.Colors")
            assert slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node) is not None
        low, high = (getattr(made["log_jacobian"].GetDisplayNode(), f"GetWindowLevel{end}")() for end in ("Min", "Max"))
        assert low == -high

    def test_maps_are_zero_outside_the_body(self, scene, transform):
        _, _, made = makeMaps(scene, transform, want=("magnitude",))
        array = slicer.util.arrayFromVolume(made["magnitude"])
        assert array[0, 0, 0] == 0
        assert array[9, 9, 9] == pytest.approx(0.4)

    def test_maps_are_kept_until_the_transform_changes(self, scene, transform):
        store, _, made = makeMaps(scene, transform)
        assert store.nodes(transform) == made
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        assert store.nodes(transform) == {}
        assert scene.GetFirstNodeByClass("vtkMRMLColorLegendDisplayNode") is None

    def test_saved_maps_are_found_again(self, scene, transform):
        _, _, made = makeMaps(scene, transform, saved=True)
        assert MapNodes(scene).nodes(transform) == made
        assert made["confidence"].GetSaveWithScene()
        assert made["confidence"].GetDisplayNode().GetColorNode().GetSaveWithScene()

    def test_the_worst_places_are_in_ras(self, scene, transform):
        store, _, _ = makeMaps(scene, transform)
        assert [place.point for place in store.worst(transform)] == [(-1.0, -2.0, 3.0), (-5.0, -2.0, 3.0)]

    def test_the_expected_error_has_one_scale_whatever_its_values(self):
        for p99 in (0.2, 40.0):
            assert window("confidence", None, {"p1": 0.0, "p99": p99}, 2.0) == (0.0, 6.0)

    def test_windows_end_at_round_numbers(self):
        assert window("magnitude", None, {"p1": 0.2, "p99": 13.7}) == (0.0, 15.0)
        assert window("log_jacobian", None, {"p1": -0.21, "p99": 0.1}) == pytest.approx((-0.3, 0.3))
        assert window("similarity_after", None) == (0.0, 1.0)
