"""The section Inspect: when its widgets are enabled, what the views show, and that they are restored."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from .conftest import makeResult

MODES = ("checkerboardModeButton", "flickerModeButton", "fusionModeButton", "sideBySideModeButton")


@pytest.fixture
def jobs(fakes, scene):
    """Jobs that end at the next poll; `jobs.made` lists (kind, options)."""
    from GenRegLogic.mrml.views.layers import SliceViewState

    made = SimpleNamespace(made=[], error=None, refusal=None, page="<!DOCTYPE html>")

    class Job:
        def __init__(self, kind, scene, worker, transform, *, onEnded=lambda outcome: None, **options):
            self.kind, self.transform, self.onEnded, self.options = kind, transform, onEnded, options
            self.views, self.outcome = SliceViewState(scene), None
            made.made.append((kind, options))

        @property
        def finished(self):
            return self.outcome is not None

        def start(self):
            error, made.refusal = made.refusal, None
            if error is not None:
                raise error

        def poll(self):
            self.options.get("onProgress", lambda *_: None)("maps", 0.5, 3.0, None)
            self.ended(made.error or self.result())
            return False

        def ended(self, outcome):
            if not self.finished:
                self.outcome = outcome
                self.onEnded(outcome)

        def cancel(self):
            from GenRegLogic.errors import Cancelled

            made.error = Cancelled("It was given up.")

        def result(self):
            if self.kind == "html":
                return made.page
            if self.kind == "repair":
                return makeResult(scene, *pairOf(self.transform), self.transform)
            store = self.options["mapNodes"]
            return store.add(self.transform, answer(self.transform, self.options["want"]))

    for kind in ("maps", "html", "repair"):
        fakes.kinds[kind] = functools.partial(Job, kind)
    return made


def pairOf(transform):
    return (
        transform.GetNodeReference(transform.GetFixedNodeReferenceRole()),
        transform.GetNodeReference(transform.GetMovingNodeReferenceRole()),
    )


def answer(transform, want):
    from GenRegLogic.mrml.nodes.volumes import volumeFromNode

    grid = volumeFromNode(pairOf(transform)[0], "fixed").geometry
    ramp = np.linspace(0, 4, grid.shape[0], dtype=np.float32)[:, None, None] * np.ones(grid.shape, np.float32)
    places = [
        {"point_lps": [0.0, 0.0, float(z)], "expected_error_mm": 5.0 - z, "reason": f"Off at {z}."} for z in range(3)
    ]
    return {
        "report": {"worst": places, "ranges": {}},
        "arrays": dict.fromkeys(want, ramp),
        "geometries": dict.fromkeys(want, grid),
    }


@pytest.fixture
def shown(host, ready, scene, jobs):
    """The panel with a transform from a saved scene, Inspect open, and three slice views."""
    for node in (ready.fixed, ready.moving):
        node.CreateDefaultDisplayNodes()
    result = makeResult(scene, ready.fixed, ready.moving)
    ready.ui.transformSelector.setCurrentNode(result.transformNode)
    ready.ui.resultCollapsibleButton.collapsed = False
    ready.ui.inspectCollapsibleButton.collapsed = False
    ready.settle()
    ready.transform, ready.jobs = result.transformNode, jobs
    return ready


def enabled(panel, names):
    return [name for name in names if getattr(panel.ui, name).enabled]


class TestEnabledWidgets:
    def test_the_section_is_collapsed_at_first(self, ready):
        assert ready.ui.inspectCollapsibleButton.collapsed

    def test_before_a_run_nothing_is_enabled(self, ready):
        assert enabled(ready, (*MODES, "gridModeButton", "worstPlaceButton", "reportButton", "mapComboBox")) == []

    def test_for_a_transform_from_a_scene_everything_is_enabled(self, shown):
        names = (*MODES, "gridModeButton", "arrowsModeButton", "worstPlaceButton", "reportButton", "mapComboBox")
        assert enabled(shown, names) == list(names)

    def test_during_a_run_nothing_is_enabled(self, shown):
        shown.press("runButton")
        assert enabled(shown, (*MODES, "worstPlaceButton", "reportButton", "mapComboBox")) == []

    def test_after_the_scene_is_closed_nothing_is_enabled(self, shown, scene):
        shown.press("fusionModeButton")
        scene.Clear(False)
        shown.settle()
        assert enabled(shown, (*MODES, "reportButton", "mapComboBox")) == []
        assert not shown.ui.inspectBackButton.visible


class TestModes:
    @pytest.mark.parametrize("name", MODES)
    def test_a_click_enters_a_mode_and_another_leaves_it(self, shown, scene, name):
        count = scene.GetNumberOfNodes()
        shown.press(name)
        assert getattr(shown.ui, name).checked
        assert shown.ui.inspectBackButton.visible
        shown.press(name)
        assert not getattr(shown.ui, name).checked
        shown.press(name)
        shown.press("inspectBackButton")
        assert not shown.ui.inspectBackButton.visible
        tables = sum(
            scene.GetNthNode(n).GetAttribute("GenReg.Colors") is not None for n in range(scene.GetNumberOfNodes())
        )
        assert scene.GetNumberOfNodes() - tables == count

    def test_only_one_mode_is_on(self, shown):
        for name in MODES:
            shown.press(name)
            assert [other for other in MODES if getattr(shown.ui, other).checked] == [name]

    def test_the_buttons_under_result_show_the_same_mode(self, shown):
        shown.press("checkerboardButton")
        assert shown.ui.checkerboardModeButton.checked
        shown.press("fusionModeButton")
        assert not shown.ui.checkerboardButton.checked

    def test_the_flicker_alternates_until_it_is_left(self, shown):
        shown.press("flickerModeButton")
        shown.ui.flickerSlider.value = 8.0
        mode = shown.panel.display.modes.present
        seen = set()
        shown.settle(2.0, until=lambda: seen.add(mode.showsAfter) or len(seen) == 2)
        assert seen == {True, False}
        shown.press("flickerModeButton")
        before = mode.showsAfter
        assert not shown.settle(0.5, until=lambda: mode.showsAfter != before)

    def test_sliders_set_the_parameters(self, shown):
        shown.ui.boardSlider.value = 17
        shown.ui.flickerSlider.value = 4.0
        shown.settle()
        assert (shown.parameters.boardFields, shown.parameters.flickerRate) == (17, 4.0)

    def test_a_run_leaves_the_mode_first(self, shown):
        shown.press("fusionModeButton")
        shown.press("runButton")
        assert shown.panel.display.mode == ""


class TestMaps:
    def choose(self, panel, name):
        from GenRegPanel.inspect.maps import NAMES

        panel.ui.mapComboBox.setCurrentIndex(NAMES.index(name))
        panel.settle(5, until=lambda: not panel.panel.inspect.job.busy)
        panel.settle()

    def test_a_map_is_computed_once_and_shown_with_its_opacity(self, shown):
        self.choose(shown, "magnitude")
        self.choose(shown, "log_jacobian")
        assert [kind for kind, _ in shown.jobs.made] == ["maps"]
        assert shown.panel.display.mode == "map"
        assert shown.ui.mapOpacitySlider.visible
        self.choose(shown, "")
        assert shown.panel.display.mode == ""

    def test_an_error_shows_one_sentence(self, shown):
        from GenRegLogic.errors import WorkerError

        shown.jobs.error = WorkerError("The process ended.")
        self.choose(shown, "confidence")
        assert shown.texts() == ["The process ended."]
        assert shown.ui.mapComboBox.currentIndex == 0

    def test_maps_are_saved_only_if_selected(self, shown, scene):
        self.choose(shown, "magnitude")
        node = next(iter(shown.panel.display.maps.nodes(shown.transform).values()))
        assert not node.GetSaveWithScene()
        shown.ui.saveMapsCheckBox.checked = True
        assert node.GetSaveWithScene()

    def test_the_end_of_the_module_removes_unsaved_maps(self, shown, scene):
        self.choose(shown, "magnitude")
        names = {node.GetName() for node in shown.panel.display.maps.nodes(shown.transform).values()}
        assert names
        shown.panel.cleanup()
        assert not any(scene.GetFirstNodeByName(name) for name in names)


class TestPlaces:
    def test_the_buttons_step_through_the_worst_places(self, shown):
        shown.press("worstPlaceButton")
        shown.settle(5, until=lambda: shown.ui.placeLabel.visible)
        assert shown.ui.placeLabel.text == "1 of 3: Off at 0."
        shown.press("nextPlaceButton")
        shown.press("nextPlaceButton")
        assert not shown.ui.nextPlaceButton.enabled
        shown.press("previousPlaceButton")
        assert shown.ui.placeLabel.text == "2 of 3: Off at 1."
        shown.press("inspectBackButton")
        assert not shown.ui.placeLabel.visible


class TestMeasures:
    @pytest.fixture
    def measured(self, shown, scene):
        """The panel with a table of landmark errors."""
        for role, shift in (("Fixed", 0.0), ("Moving", 3.0)):
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", role)
            for z in (4.0, 9.0):
                node.AddControlPoint(5.0 + shift, 6.0, z)
            getattr(shown.ui, f"measure{role}LandmarksSelector").setCurrentNode(node)
        shown.ui.measuresCollapsibleButton.collapsed = False
        shown.settle()
        shown.press("measureLandmarksButton")
        return shown

    def test_landmark_errors_are_shown_in_a_table(self, measured):
        assert measured.ui.measuresTable.rowCount == 2
        assert "3.0 mm before" in measured.ui.measuresLabel.text

    def test_a_click_on_a_row_shows_its_position(self, measured, scene):
        measured.panel.inspect.measures.onCell(1, 0)
        assert scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS() == (5.0, 6.0, 9.0)

    def test_the_table_is_saved_without_the_transforms_name(self, measured, tmp_path, monkeypatch, part):
        measured.transform.SetName("DOE^JOHN")
        asked = []
        monkeypatch.setattr(
            part("inspect.measures"), "askForFile", lambda *how: asked.append(how) or str(tmp_path / "errors")
        )
        measured.press("saveTableButton")
        assert asked[0][1] == "registration landmarks.csv"
        assert (tmp_path / "errors.csv").read_text(encoding="utf-8").startswith("Landmark,")


class TestReport:
    def test_the_report_is_made_with_the_worst_places_and_written(self, shown, tmp_path, monkeypatch, part):
        monkeypatch.setattr(part("inspect.actions"), "askForFile", lambda *_: str(tmp_path / "report"))
        shown.press("reportButton")
        shown.settle(5, until=lambda: (tmp_path / "report.html").exists())
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == "<!DOCTYPE html>"
        options = dict(shown.jobs.made)["html"]
        assert options["names"] is False
        assert len(options["worst"]) == 3

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("ITK ERROR: Failed to allocate memory for image.")])
    def test_an_unexpected_error_shows_one_sentence_and_inspect_is_free_again(self, shown, jobs, error):
        jobs.refusal = error
        shown.ui.mapComboBox.setCurrentIndex(2)
        shown.settle(5, until=lambda: shown.texts())
        assert len(shown.texts()) == 1
        assert "ITK" not in shown.texts()[0]
        assert not shown.panel.inspect.job.busy
        assert shown.ui.reportButton.enabled

    def test_without_a_file_no_job_is_started(self, shown, monkeypatch, part):
        monkeypatch.setattr(part("inspect.actions"), "askForFile", lambda *_: "")
        shown.press("reportButton")
        assert shown.jobs.made == []


class TestRefineHere:
    def test_the_button_shows_what_is_missing(self, shown, scene):
        ui = shown.ui
        ui.repairCollapsibleButton.collapsed = False
        assert ui.refineButton.text == "Select a region or landmarks"
        ui.repairFixedLandmarksSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode"))
        shown.settle()
        assert ui.refineButton.text == "Select the landmarks of both volumes"

    def test_a_repair_and_the_run_before_it_can_be_undone(self, running, jobs, scene):
        running.run.succeed()
        running.ui.repairRegionSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))
        for name in ("inspectCollapsibleButton", "repairCollapsibleButton"):
            getattr(running.ui, name).collapsed = False
        running.settle()
        running.press("refineButton")
        running.settle(5, until=lambda: not running.panel.runControl.busy)
        assert running.ui.progressLabel.text == "Done."
        assert dict(jobs.made)["repair"]["region"] is running.ui.repairRegionSelector.currentNode()
        running.press("undoButton")
        running.press("undoButton")
        assert not running.ui.undoButton.enabled

    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("ITK ERROR: Failed to allocate memory for image.")])
    def test_an_unexpected_error_shows_one_sentence_and_run_is_possible_again(self, running, jobs, scene, error):
        running.run.succeed()
        running.ui.repairRegionSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))
        for name in ("inspectCollapsibleButton", "repairCollapsibleButton"):
            getattr(running.ui, name).collapsed = False
        running.settle()
        jobs.refusal = error
        running.press("refineButton")
        running.settle(5, until=lambda: running.texts())
        assert len(running.texts()) == 1
        assert running.ui.runButton.visible


class TestChangedResults:
    def test_a_map_of_a_result_that_is_no_longer_selected_is_not_shown(self, shown, jobs, scene):
        other = makeResult(scene, shown.fixed, shown.moving)
        ui = shown.ui
        ui.mapComboBox.setCurrentIndex(2)
        ui.transformSelector.setCurrentNode(other.transformNode)
        shown.settle(5, until=lambda: not shown.panel.inspect.job.busy)
        assert shown.panel.display.mode == ""

    def test_maps_are_removed_with_their_transform(self, shown, jobs, scene):
        TestMaps().choose(shown, "magnitude")
        count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        scene.RemoveNode(shown.transform)
        shown.settle()
        assert shown.panel.display.mode == ""
        assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == count - 2

    def test_arrays_of_a_run_are_not_used_for_a_changed_transform(self, running, jobs):
        running.run.succeed()
        display = running.panel.display
        transform = display.result.transformNode
        assert display.warped(transform) is not None
        TestPictures.bend(SimpleNamespace(fixed=running.fixed, transform=transform))
        assert display.warped(transform) is None
        assert display.confidence(transform) is None


class TestPictures:
    """In slice views that Slicer's own displayable managers draw."""

    @pytest.fixture
    def red(self, host, shown):
        reason = host.views.available()
        if reason is not None:
            pytest.skip(reason)
        with host.views.SliceView("Red", size=(240, 240)) as view:
            self.bend(shown)
            view.show(background=shown.fixed, foreground=shown.moving)
            yield view

    @staticmethod
    def bend(panel):
        """A deformation of some millimeters."""
        from GenRegLogic.mrml.nodes.transforms import setField
        from GenRegLogic.mrml.nodes.volumes import volumeFromNode
        from GenRegLogic.space.margin import withMargin

        grid = volumeFromNode(panel.fixed, "fixed").geometry
        field = np.zeros((*grid.shape, 3), np.float32)
        field[3:-3, 3:-3, 3:-3] = (3.0, 2.0, 0.0)
        setField(panel.transform, *withMargin(field, grid))

    @pytest.mark.parametrize("name", ["gridModeButton", "arrowsModeButton", *MODES])
    def test_each_mode_changes_the_picture_and_leaving_restores_it(self, host, shown, red, name):
        before = red.grab()
        shown.press(name)
        assert host.views.changedPixels(before, red.grab()) > 300
        shown.press("inspectBackButton")
        assert host.views.changedPixels(before, red.grab()) == 0

    def test_a_map_is_drawn_with_its_legend_and_leaving_restores_the_picture(self, host, shown, red):
        before = red.grab()
        TestMaps().choose(shown, "magnitude")
        seen = red.grab()
        colorful = np.ptp(seen.astype(int), axis=-1) > 40
        assert colorful.sum() > 3000
        assert host.views.changedPixels(before[:, -60:], seen[:, -60:]) > 200
        shown.press("inspectBackButton")
        assert host.views.changedPixels(before, red.grab()) == 0
