"""The stand-ins for Slicer's widgets, and the loader of .ui files."""

from pathlib import Path

import numpy as np
import pytest

UI = Path(__file__).parent / "toy" / "Resources" / "UI" / "Toy.ui"


@pytest.fixture
def selector(host):
    """A selector of scalar volumes, with None."""
    import slicer

    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    return box


class TestNodeComboBox:
    def test_it_lists_the_nodes_of_its_types(self, selector, addVolume):
        import slicer

        volume = addVolume()
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        assert selector.nodeCount() == 1
        assert selector.nodeFromIndex(0) is volume
        assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)

    def test_subclasses_can_be_left_out(self, selector):
        import slicer

        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        assert selector.nodeCount() == 1
        selector.showChildNodeTypes = False
        assert selector.nodeCount() == 0

    def test_hidden_nodes_are_left_out(self, selector, addVolume):
        addVolume().SetHideFromEditors(True)
        selector.showHidden = False
        assert selector.nodeCount() == 0

    def test_selecting_a_node_is_signaled_once(self, selector, addVolume):
        volume, heard = addVolume(), []
        selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
        selector.setCurrentNode(volume)
        selector.setCurrentNode(volume)
        selector.currentNodeID = ""
        assert heard == [volume, None]

    def test_a_node_that_is_not_listed_gives_none(self, selector, addVolume):
        import slicer

        selector.setCurrentNode(addVolume())
        selector.setCurrentNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode"))
        assert selector.currentNode() is None

    def test_an_object_that_is_not_a_node_is_refused(self, selector):
        with pytest.raises(TypeError):
            selector.setCurrentNode(42)

    def test_without_none_the_first_node_is_selected(self, selector, addVolume):
        selector.noneEnabled = False
        volume = addVolume()
        assert selector.currentNode() is volume

    def test_a_removed_node_is_not_selected(self, selector, addVolume):
        import slicer

        volume = addVolume()
        selector.setCurrentNode(volume)
        slicer.mrmlScene.RemoveNode(volume)
        assert selector.currentNode() is None

    def test_closing_the_scene_empties_it(self, host, selector, addVolume):
        selector.setCurrentNode(addVolume())
        host.resetScene()
        assert (selector.currentNode(), selector.nodeCount()) == (None, 0)

    def test_a_node_can_be_created(self, selector):
        selector.baseName = "Result"
        node = selector.addNode()
        assert node.GetName().startswith("Result")
        assert selector.currentNode() is node

    def test_a_deleted_selector_does_not_observe_the_scene(self, host, selector, addVolume):
        selector.deleteLater()
        host.processEvents()
        addVolume()
        host.raiseErrors()


class TestCtkWidgets:
    def test_a_collapsed_button_hides_its_content(self, panel, host):
        button, box = panel.ui.inputsCollapsibleButton, panel.ui.applyCheckBox
        assert box.visible
        button.collapsed = True
        assert not box.visible
        assert button.height < 40 or host.processEvents(10, until=lambda: button.height < 40)
        button.collapsed = False
        assert box.visible

    def test_a_slider_value_is_limited_to_its_range(self, host):
        import ctk

        slider, heard = ctk.ctkSliderWidget(), []
        slider.minimum, slider.maximum, slider.singleStep, slider.decimals = 1, 5, 0.5, 1
        slider.connect("valueChanged(double)", heard.append)
        slider.value = 2.5
        slider.value = 9
        assert heard == [2.5, 5.0]

    def test_a_plot_draws_its_series(self, panel):
        import slicer

        scene = slicer.mrmlScene
        table = scene.AddNewNodeByClass("vtkMRMLTableNode")
        slicer.util.updateTableFromArray(table, (np.arange(3.0), np.array([3.0, 1.0, 2.0])), ["x", "y"])
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "objective")
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("x")
        series.SetYColumnName("y")
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        view = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
        before = panel.ui.plotWidget.grab().toImage()
        panel.ui.plotWidget.setMRMLPlotViewNode(view)
        view.SetPlotChartNodeID(chart.GetID())
        assert panel.ui.plotWidget.plotView().curves() == [("objective", [(0.0, 3.0), (1.0, 1.0), (2.0, 2.0)])]
        assert panel.ui.plotWidget.grab().toImage() != before


class TestUiFiles:
    def test_only_widgets_with_a_connection_receive_the_scene(self, panel):
        import slicer

        assert panel.ui.fixedSelector.mrmlScene() is slicer.mrmlScene
        assert panel.ui.strayedSelector.mrmlScene() is None

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("noneEnabled", "noneEnbaled", "has no property"),
            ('class="QCheckBox"', 'class="ctkThermometer"', "no stand-in"),
        ],
    )
    def test_a_misspelling_in_the_file_is_an_error(self, host, tmp_path, old, new, message):
        import slicer

        path = tmp_path / "Slip.ui"
        path.write_text(UI.read_text().replace(old, new))
        with pytest.raises((ValueError, NotImplementedError), match=message):
            slicer.util.loadUI(str(path))
