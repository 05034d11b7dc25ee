"""Jobs about a transform: their requests, and what they refuse."""

from __future__ import annotations

import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.pair import pairOf
from GenRegLogic.mrml.nodes.transforms import setField, setProvenance
from GenRegLogic.mrml.runs.transformjobs import HtmlRun, MapsRun
from GenRegLogic.mrml.views.maps import MapNodes
from GenRegLogic.space.margin import withMargin

from ..conftest import FIXED, MapsWorker, field, rigid


class TestMaps:
    def test_maps_of_a_transform_that_changed_during_the_job_are_refused(self, scene, transform):
        worker = MapsWorker()
        run = MapsRun(scene, worker, transform, mapNodes=MapNodes(scene))
        run.start()
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        with pytest.raises(InputError, match="changed"):
            run.runToEnd()

    def test_the_tolerance_that_the_run_was_judged_by_is_sent(self, scene, transform):
        pair, worker = pairOf(transform), MapsWorker()
        setProvenance(transform, {"confidence": {"tolerance_mm": 7.5}}, pair.fixedNode, pair.movingNode)
        run = MapsRun(scene, worker, transform, mapNodes=MapNodes(scene))
        run.start()
        run.runToEnd()
        assert worker.jobs[0][1]["tolerance_mm"] == 7.5

    def test_an_unknown_map_is_refused(self, scene, transform):
        with pytest.raises(InputError, match="no map"):
            MapsRun(scene, MapsWorker(), transform, mapNodes=MapNodes(scene), want=["taste"])


class TestReport:
    def test_volume_names_are_sent_only_on_request(self, scene, transform):
        for names in (False, True):
            worker = MapsWorker()
            run = HtmlRun(scene, worker, transform, names=names)
            run.start()
            assert run.runToEnd() == "<!DOCTYPE html>"
            assert worker.jobs[0][1].get("names") == (["CT", "MR"] if names else None)

    @pytest.mark.parametrize("how", ["values", "parent"])
    def test_the_report_of_a_transform_that_changed_since_is_not_sent(self, scene, transform, scans, how):
        pair, worker = pairOf(transform), MapsWorker()
        setProvenance(transform, {"verdict": {"status": "trust"}}, pair.fixedNode, pair.movingNode)
        HtmlRun(scene, worker, transform).start()
        assert worker.jobs[-1][1]["report"]
        if how == "values":
            setField(transform, *withMargin(2 * field(FIXED), FIXED))
        else:
            transform.SetAndObserveTransformNodeID(scans.linear("pose", rigid()).GetID())
        HtmlRun(scene, worker, transform).start()
        assert not worker.jobs[-1][1]["report"]
