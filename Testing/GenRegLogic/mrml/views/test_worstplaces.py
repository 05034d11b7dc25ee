"""Stepping through the places with the largest expected error."""

from __future__ import annotations

import pytest

from GenRegLogic.mrml.views.comparison import ViewModes
from GenRegLogic.mrml.views.worstplaces import PlacesTour

from ..conftest import makeMaps, stateOf


class TestPlaces:
    def test_steps_move_views_and_crosshair_and_stop_at_both_ends(self, views, transform):
        store, _, _ = makeMaps(views, transform)
        tour = PlacesTour(store.worst(transform))
        modes, before = ViewModes(views), stateOf(views)
        modes.begin()
        assert [tour.step(views, by).expectedError for by in (0, 1, 1, -1)] == [4.0, 3.0, 3.0, 4.0]
        crosshair = views.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        assert crosshair.GetCrosshairRAS() == (-1.0, -2.0, 3.0)
        red = views.GetNodeByID("vtkMRMLSliceNodeRed")
        assert red.GetSliceOffset() == pytest.approx(3.0)
        modes.leave()
        assert stateOf(views)[:3] == before[:3]
        assert crosshair.GetCrosshairMode() == crosshair.NoCrosshair
        modes.end()
