"""The verdict and the figures of the selected transform."""

import json

import numpy as np
import pytest

from GenRegLogic.space.geometry import Geometry

from ..conftest import REPORT, makeResult


@pytest.fixture
def withResult(ready, scene):
    ready.result = makeResult(scene, ready.fixed, ready.moving)
    ready.ui.transformSelector.setCurrentNode(ready.result.transformNode)
    ready.settle()
    return ready


class TestTheSelectedTransform:
    def test_its_verdict_and_figures_are_shown(self, withResult):
        ui = withResult.ui
        assert "<b>The result looks trustworthy.</b>" in ui.verdictLabel.text
        assert "moving onto fixed" in ui.figuresLabel.text
        assert "1.050 before, 1.210 after" in ui.figuresLabel.text
        assert "8.1 mm before, 1.3 mm after" in ui.figuresLabel.text

    def test_warnings_are_shown(self, ready, scene):
        result = makeResult(scene, ready.fixed, ready.moving, report=REPORT | {"warnings": ["The scan is cut off."]})
        ready.ui.transformSelector.setCurrentNode(result.transformNode)
        ready.settle()
        assert "The scan is cut off." in ready.ui.figuresLabel.text

    def test_without_a_transform_the_section_says_that_nothing_is_registered(self, ready):
        assert ready.ui.verdictLabel.text == "Nothing registered yet."
        assert not ready.ui.figuresLabel.visible

    def test_a_transform_without_a_report_has_no_result(self, ready, scene):
        ready.ui.transformSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLTransformNode"))
        ready.settle()
        assert "no result yet" in ready.ui.verdictLabel.text

    def test_a_new_report_of_the_same_transform_is_shown(self, withResult):
        node = withResult.result.transformNode
        node.SetAttribute("GenReg.Report", json.dumps(REPORT | {"verdict": {"status": "failed", "reasons": []}}))
        node.Modified()
        withResult.settle()
        assert "Do not use" in withResult.ui.verdictLabel.text

    @pytest.mark.parametrize("text", ["{", "[1]", '{"similarity": 3}', '{"verdict": 3}'])
    def test_an_invalid_report_is_described_without_an_error(self, ready, scene, text):
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        node.SetAttribute("GenReg.Report", text)
        ready.ui.transformSelector.setCurrentNode(node)
        ready.settle()
        assert ready.texts() == []
        assert "no result" in ready.ui.verdictLabel.text or "cannot be read" in ready.ui.verdictLabel.text

    def test_the_verdict_of_a_changed_transform_is_not_shown(self, withResult):
        from GenRegLogic.mrml.nodes.transforms import fieldOfNode, setField, setProvenance

        node = withResult.result.transformNode
        field, geometry = fieldOfNode(node) or (np.ones((4, 5, 6, 3), np.float32), Geometry((6, 5, 4)))
        setField(node, np.array(field), geometry)
        setProvenance(node, REPORT, withResult.fixed, withResult.moving)
        withResult.settle()
        assert "looks trustworthy" in withResult.ui.verdictLabel.text
        setField(node, 5 * np.array(field) + 1, geometry)
        withResult.settle()
        assert "no longer holds" in withResult.ui.verdictLabel.text
        assert withResult.ui.figuresLabel.text == ""

    def test_removed_volumes_are_not_named(self, withResult, scene):
        scene.RemoveNode(withResult.moving)
        withResult.panel.update()
        assert "onto" not in withResult.ui.figuresLabel.text
        assert "Folded voxels" in withResult.ui.figuresLabel.text

    def test_the_verdict_is_removed_with_its_transform(self, withResult, scene):
        scene.RemoveNode(withResult.result.transformNode)
        withResult.settle()
        assert withResult.ui.verdictLabel.text == "Nothing registered yet."
