"""Local repair (Refine here): the request to the worker, and the repaired transform in the scene."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenRegLogic.errors import Cancelled, InputError
from GenRegLogic.mrml.nodes.transforms import fieldOfNode, setField, setProvenance
from GenRegLogic.mrml.nodes.volumes import setVolume
from GenRegLogic.mrml.runs.localrepair import RepairRun, regionFromNode
from GenRegLogic.mrml.runs.registration import RegistrationRun, RunInputs
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.margin import withMargin
from GenRegLogic.space.warp import warp_image
from GenRegLogic.worker.client import Worker

from ..conftest import GEOMETRIES, field, rigid
from .test_with_worker import blobs

FIXED = GEOMETRIES["oblique"]
FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture
def made(scene, scans):
    """(fixed, moving, transform): a transform of an earlier run, with the moving scan below it."""
    fixed, moving = scans.volume("Fixed", FIXED), scans.volume("Moving", GEOMETRIES["anisotropic"], seed=1)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Result")
    setField(transform, *withMargin(field(FIXED), FIXED))
    setProvenance(transform, {"verdict": {"status": "check"}}, fixed, moving)
    moving.SetAndObserveTransformNodeID(transform.GetID())
    return fixed, moving, transform


def roi(scene, center, size, turned=None):
    """A markups ROI; center and size in RAS mm."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(*[float(v) for v in center])
    node.SetSize(*[float(v) for v in size])
    if turned is not None:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turned, center
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def points(scene, *places):
    """A point list, RAS mm."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
    for place in places:
        node.AddControlPoint(*[float(v) for v in place])
    return node


def centers(geometry):
    """(k, j, i, 3) RAS mm of a grid's voxels."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    return geometry.to_world(np.stack([i, j, k], axis=-1)) * FLIP


class TestRegion:
    CENTER = FIXED.center * FLIP

    @pytest.mark.parametrize("turned", [None, rigid((20, -30, 10))[:3, :3]], ids=["straight", "turned"])
    def test_the_voxels_inside_a_box_are_set(self, scene, turned):
        size = np.array([14.0, 18.0, 10.0])
        region = regionFromNode(roi(scene, self.CENTER, size, turned), FIXED)
        local = (centers(FIXED) - self.CENTER) @ (np.eye(3) if turned is None else turned)
        np.testing.assert_array_equal(region.array > 0, (np.abs(local) <= size / 2).all(axis=-1))
        assert region.array.any()

    def test_linear_transforms_above_a_box_are_applied(self, scene, scans):
        node = roi(scene, (0, 0, 0), (12, 12, 12))
        matrix = np.eye(4)
        matrix[:3, 3] = self.CENTER
        node.SetAndObserveTransformNodeID(scans.linear("T", matrix).GetID())
        np.testing.assert_array_equal(
            regionFromNode(node, FIXED).array, regionFromNode(roi(scene, self.CENTER, (12, 12, 12)), FIXED).array
        )

    def test_a_label_map_keeps_its_own_grid(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "L")
        array = np.zeros((5, 6, 7), np.int16)
        array[1:4, 1:5, 2:6] = 3
        grid = Geometry((7, 6, 5), (3.0, 3.0, 3.0))
        setVolume(node, array, grid)
        region = regionFromNode(node, FIXED)
        np.testing.assert_array_equal(region.array, array > 0)
        assert region.geometry.is_close(grid)

    def test_a_box_outside_the_scan_is_refused(self, scene):
        with pytest.raises(InputError, match="does not lie over"):
            regionFromNode(roi(scene, (900, 0, 0), (10, 10, 10)), FIXED)

    def test_a_box_that_was_not_placed_is_refused(self, scene):
        with pytest.raises(InputError, match="ROI 'R'"):
            regionFromNode(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R"), FIXED)

    def test_a_point_list_as_region_is_refused(self, scene):
        with pytest.raises(InputError, match="not a region"):
            regionFromNode(points(scene, (0, 0, 0)), FIXED)


class TestRequest:
    def job(self, scene, made, worker, **options):
        run = RepairRun(scene, worker, made[2], settings=Settings(iterations=5), **options)
        run.start()
        return worker.jobs[-1]

    def test_the_worker_receives_the_present_field(self, scene, made, waiting):
        name, parameters, arrays = self.job(scene, made, waiting, region=roi(scene, TestRegion.CENTER, (12, 12, 12)))
        assert name == "repair"
        assert parameters["settings"]["iterations"] == 5
        sent = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"])).resampled(FIXED).rounded()
        np.testing.assert_array_equal(sent.array, field(FIXED))
        assert arrays["region"].sum() > 0

    def test_the_moving_scan_is_sent_without_the_transform_above_it(self, scene, made, waiting):
        _, parameters, _ = self.job(scene, made, waiting, region=roi(scene, TestRegion.CENTER, (12, 12, 12)))
        assert Geometry.from_dict(parameters["moving"]).is_close(GEOMETRIES["anisotropic"])
        assert "initial" not in parameters

    def test_landmarks_alone_define_the_region(self, scene, made, waiting):
        place = TestRegion.CENTER
        _, parameters, arrays = self.job(
            scene, made, waiting, fixedLandmarks=points(scene, place), movingLandmarks=points(scene, place + 2)
        )
        assert "region" not in arrays
        np.testing.assert_allclose(parameters["fixed_landmarks"], [place * FLIP])
        np.testing.assert_allclose(parameters["moving_landmarks"], [(place + 2) * FLIP])

    def test_neither_region_nor_landmarks_is_refused(self, scene, made, waiting):
        with pytest.raises(InputError, match="where to refine"):
            self.job(scene, made, waiting)
        assert not waiting.jobs

    def test_a_transform_whose_scan_was_removed_is_refused(self, scene, made, waiting):
        scene.RemoveNode(made[0])
        with pytest.raises(InputError, match="fixed volume"):
            self.job(scene, made, waiting, region=roi(scene, TestRegion.CENTER, (12, 12, 12)))

    def test_a_linear_transform_is_sent_as_a_field(self, scene, scans, made, waiting):
        fixed, moving, _ = made
        matrix = rigid((5, 0, 0), (1, 2, 3))
        linear = scans.linear("Rigid", matrix)
        setProvenance(linear, {}, fixed, moving)
        moving.SetAndObserveTransformNodeID(None)
        RepairRun(scene, waiting, linear, region=roi(scene, TestRegion.CENTER, (12, 12, 12))).start()
        _, parameters, arrays = waiting.jobs[-1]
        sent = DisplacementField(arrays["field"], Geometry.from_dict(parameters["field"]))
        there = (FLIP * FIXED.center) @ np.linalg.inv(matrix)[:3, :3].T + np.linalg.inv(matrix)[:3, 3]
        np.testing.assert_allclose(sent(FIXED.center[None])[0] * FLIP, there, atol=1e-3)


class TestKeepRigid:
    def test_labels_are_sent_to_the_worker_unchanged(self, scene, made, waiting):
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Bones")
        array = np.zeros(FIXED.shape, np.uint8)
        array[3:6, 3:6, 3:6], array[10:13, 10:13, 10:13] = 2, 9
        setVolume(node, array, FIXED)
        made[1].SetAndObserveTransformNodeID(None)
        RegistrationRun(scene, waiting, RunInputs(made[0], made[1], keepRigid=node)).start()
        _, parameters, arrays = waiting.jobs[-1]
        np.testing.assert_array_equal(arrays["keep_rigid"], array)
        assert Geometry.from_dict(parameters["keep_rigid"]).is_close(FIXED)


class TestScene:
    def run(self, scene, made, worker, **options):
        region = roi(scene, TestRegion.CENTER, (12, 12, 12))
        run = RepairRun(scene, worker, made[2], region=region, **options)
        run.start()
        return run

    def test_the_transform_gets_the_new_field_and_report_and_undo_restores_both(self, scene, made, worker):
        setField(made[2], *withMargin(field(FIXED) / 2, FIXED))
        before = fieldOfNode(made[2])[0].copy()
        result = self.run(scene, made, worker).runToEnd()
        assert result.transformNode is made[2]
        assert not np.array_equal(fieldOfNode(made[2])[0], before)
        assert "trustworthy" in made[2].GetAttribute("GenReg.Report")
        assert made[1].GetTransformNodeID() == made[2].GetID()
        result.undo.undo()
        np.testing.assert_array_equal(fieldOfNode(made[2])[0], before)
        assert made[1].GetTransformNodeID() == made[2].GetID()
        assert "check" in made[2].GetAttribute("GenReg.Report")

    def test_a_moving_scan_that_is_not_below_the_transform_stays_where_it_is(self, scene, made, worker):
        made[1].SetAndObserveTransformNodeID(None)
        self.run(scene, made, worker).runToEnd()
        assert made[1].GetTransformNodeID() is None

    def test_cancel_leaves_the_scene_unchanged(self, scene, made, waiting):
        before = fieldOfNode(made[2])[0].copy()
        run = self.run(scene, made, waiting)
        run.cancel()
        assert isinstance(run.outcome, Cancelled)
        np.testing.assert_array_equal(fieldOfNode(made[2])[0], before)
        assert made[1].GetTransformNodeID() == made[2].GetID()

    def test_a_transform_that_changed_during_the_run_is_not_overwritten(self, scene, made, waiting):
        run = self.run(scene, made, waiting)
        setField(made[2], *withMargin(field(FIXED) * 0, FIXED))
        waiting.end(waiting.result())
        assert isinstance(run.outcome, InputError)
        assert "changed during the run" in str(run.outcome)


def test_the_real_worker_repairs_an_injected_error_and_nothing_else(scene):
    grid = Geometry((40, 38, 36), (2.5, 2.5, 2.5), (-50.0, -45.0, -40.0), rigid((0, 0, 20))[:3, :3])
    moving = blobs(grid)
    truth = DisplacementField(field(grid), grid)
    fixed = warp_image(moving, truth, grid)
    distance = np.linalg.norm(centers(grid) - grid.center * FLIP, axis=-1)
    wrong = truth.array + (7 * np.exp(-(distance**2) / 2 / 8**2))[..., None] * np.array([0.0, 1.0, 0.0])
    nodes = [scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("Fixed", "Moving")]
    for node, volume in zip(nodes, (fixed, moving)):
        setVolume(node, volume.array, volume.geometry)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Result")
    setField(transform, *withMargin(DisplacementField(wrong, grid).rounded().array, grid))
    setProvenance(transform, {}, *nodes)
    worker = Worker()
    try:
        region = roi(scene, grid.center * FLIP, (46, 46, 46))
        run = RepairRun(scene, worker, transform, region=region, settings=Settings(threads=1))
        run.start()
        result = run.runToEnd()
    finally:
        worker.close()
    array, geometry = fieldOfNode(transform)
    after = DisplacementField(array * FLIP.astype(np.float32), geometry).resampled(grid)
    off = np.linalg.norm(after.array - truth.array, axis=-1)
    assert off[distance < 8].mean() < 1.5
    outside = (np.abs(centers(grid) - grid.center * FLIP) > 23.5).any(axis=-1)
    assert np.abs(after.array - wrong)[outside].max() < 0.1
    assert result.report["jacobian"]["ndv_pct"] == 0
