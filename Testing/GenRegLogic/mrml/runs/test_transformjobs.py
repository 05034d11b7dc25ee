"""The jobs about a transform: what they send, and what they refuse."""

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
    def test_a_transform_that_changes_meanwhile_is_refused(self, scene, transform):
        worker = MapsWorker()
        run = MapsRun(scene, worker, transform, mapNodes=MapNodes(scene))
        run.start()
        setField(transform, *withMargin(2 * field(FIXED), FIXED))
        with pytest.raises(InputError, match="changed"):
            run.runToEnd()

    def test_an_unknown_map_is_refused(self, scene, transform):
        with pytest.raises(InputError, match="no map"):
            MapsRun(scene, MapsWorker(), transform, mapNodes=MapNodes(scene), want=["taste"])


class TestReport:
    def test_names_go_along_only_when_asked_for(self, scene, transform):
        for names in (False, True):
            worker = MapsWorker()
            run = HtmlRun(scene, worker, transform, names=names)
            run.start()
            assert run.runToEnd() == "<!DOCTYPE html>"
            assert worker.jobs[0][1].get("names") == (["CT", "MR"] if names else None)

    @pytest.mark.parametrize("how", ["values", "parent"])
    def test_the_verdict_of_a_run_is_not_shown_for_a_transform_changed_since(self, scene, transform, scans, how):
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
