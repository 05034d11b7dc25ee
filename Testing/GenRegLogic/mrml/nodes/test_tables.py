"""Landmark errors and segments in tables, and tables as files."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from GenRegLogic.errors import InputError
from GenRegLogic.mrml.nodes.pair import pairOf, warpedOnto
from GenRegLogic.mrml.nodes.tables import landmarkTable, pointsOf, rowsOf, saveCsv, segmentTable
from GenRegLogic.mrml.nodes.volumes import setVolume
from GenRegLogic.space.margin import LPS_TO_RAS

from ..conftest import FIXED, MOVING


def landmarks(scene, positions, parent=None):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for position in positions:
        node.AddControlPoint(*position)
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


class TestTables:
    @pytest.mark.parametrize("applied", [False, True])
    def test_landmarks_that_the_transform_maps_exactly_have_no_error_after(self, scene, transform, applied):
        fixed = FIXED.center + np.array([[0, 0, 0], [6, 0, 0], [0, 6, 4.0]])
        path = transform.GetTransformFromParent()
        moving = [path.TransformPoint(*point) for point in fixed * LPS_TO_RAS]
        table = landmarkTable(
            transform, landmarks(scene, fixed * LPS_TO_RAS), landmarks(scene, moving, transform if applied else None)
        )
        rows = rowsOf(table)[1:]
        assert [row[2] for row in rows] == pytest.approx([0, 0, 0], abs=1e-4)
        assert [row[1] for row in rows] == pytest.approx(np.linalg.norm(moving - fixed * LPS_TO_RAS, axis=1), abs=1e-4)
        assert np.array(pointsOf(table)) == pytest.approx(fixed * LPS_TO_RAS)

    def test_lists_of_unequal_length_are_refused(self, scene, transform):
        with pytest.raises(InputError, match="same points"):
            landmarkTable(transform, landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(0, 0, 0), (1, 1, 1)]))

    def test_overlap_and_surface_distance_of_a_label_improve(self, scene, transform):
        pair = pairOf(transform)
        moving = np.zeros(MOVING.shape, np.int16)
        moving[3:7, 6:14, 7:17] = 2
        warped = warpedOnto(type(pair.moving())(moving, MOVING), transform, FIXED, labels=True)
        nodes = []
        for array, grid in ((warped, FIXED), (moving, MOVING)):
            node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            setVolume(node, array, grid)
            nodes.append(node)
        nodes[1].SetAndObserveTransformNodeID(transform.GetID())
        titles, row = rowsOf(segmentTable(transform, *nodes))
        found = dict(zip(titles, row))
        assert found["Dice after"] > 0.97
        assert found["Dice before"] < found["Dice after"]
        assert found["HD95 after (mm)"] < found["HD95 before (mm)"]
        voxel = np.prod(MOVING.spacing) / 1000
        assert found["Moving volume (ml)"] == pytest.approx((moving > 0).sum() * voxel, rel=0.15)

    def test_without_a_moving_segmentation_only_volumes_are_measured(self, scene, transform):
        node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        setVolume(node, (np.indices(FIXED.shape)[0] > 5).astype(np.uint8), FIXED)
        titles, row = rowsOf(segmentTable(transform, node))
        found = dict(zip(titles, row))
        assert np.isnan(found["Dice after"])
        assert found["Fixed volume (ml)"] == pytest.approx((FIXED.shape[0] - 6) * 20 * 22 * 8 / 1000)

    def test_a_table_is_saved_as_csv_without_temporary_files(self, scene, transform, tmp_path):
        table = landmarkTable(transform, landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(3, 0, 0)]))
        saveCsv(table, tmp_path / "errors.csv")
        rows = list(csv.reader((tmp_path / "errors.csv").open(encoding="utf-8")))
        assert rows[0][1] == "Before (mm)"
        assert float(rows[1][1]) == pytest.approx(3.0)
        assert [path.name for path in tmp_path.iterdir()] == ["errors.csv"]

    def test_measuring_again_reuses_the_table(self, scene, transform):
        lists = landmarks(scene, [(0, 0, 0)]), landmarks(scene, [(3, 0, 0)])
        assert landmarkTable(transform, *lists) is landmarkTable(transform, *lists)
