"""Transform nodes: fields, recognition, provenance, and initial transforms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import vtk

from GenRegLogic.errors import InputError
from GenRegLogic.files import write_transform
from GenRegLogic.mrml.nodes.transforms import (
    fieldOfNode,
    initialFromNode,
    isOurs,
    setField,
    setProvenance,
    useLinearInterpolation,
)
from GenRegLogic.space.field import AffineTransform, DisplacementField

from ..conftest import GEOMETRIES, field, rigid

FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
class TestFields:
    def test_the_field_of_a_node_is_returned_unchanged(self, scene, geometry):
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        array = field(geometry) * np.float32(FLIP)
        setField(node, array, geometry)
        again, grid = fieldOfNode(node)
        assert np.array_equal(again, array)
        assert grid.is_close(geometry, 1e-6)

    def test_a_voxel_center_is_mapped_by_its_own_displacement(self, scene, geometry):
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        array = field(geometry) * np.float32(FLIP)
        setField(node, array, geometry)
        k, j, i = 7, 11, 5
        point = geometry.to_world([i, j, k]) * FLIP
        there = np.array(node.GetTransformFromParent().TransformPoint(*point))
        assert np.abs(there - point - array[k, j, i]).max() < 1e-4


@pytest.mark.parametrize("ending", [".h5", ".tfm"])
def test_slicer_reads_a_written_transform_and_goes_on_with_its_linear_part(scene, tmp_path, ending):
    geometry, linear = GEOMETRIES["oblique"], AffineTransform(rigid((20.0, 5.0, -30.0), (30.0, 5.0, -8.0)))
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    points = geometry.to_world(np.stack([i, j, k], -1).reshape(-1, 3))
    rest = np.abs(0.5 * np.sin(points / 9)).max()
    array = (linear(points) - points + 0.5 * np.sin(points / 9)).reshape(*geometry.shape, 3)
    whole = DisplacementField(array.astype(np.float32), geometry, beyond=linear)
    write_transform(whole, tmp_path / f"t{ending}")
    node, storage = (scene.AddNewNodeByClass(f"vtkMRMLTransform{what}Node") for what in ("", "Storage"))
    storage.SetFileName(str(tmp_path / f"t{ending}"))
    assert storage.ReadData(node)

    def moved(places):
        transform = node.GetTransformFromParent()
        return np.array([transform.TransformPoint(*place) for place in places * FLIP]) * FLIP

    inner = points[len(points) // 2 :][:3]
    np.testing.assert_allclose(moved(inner), whole(inner), atol=0.02)
    far = geometry.center + np.array([[400.0, 0.0, 0.0], [0.0, -300.0, 200.0]])
    assert np.abs(moved(far) - linear(far)).max() <= rest + 1e-3  # Slicer repeats the field's edge, ITK has zero there


class TestRecognition:
    def test_only_fields_of_genreg_are_set_to_linear_interpolation(self, scene):
        geometry = GEOMETRIES["oblique"]
        ours, foreign = (scene.AddNewNodeByClass("vtkMRMLTransformNode") for _ in range(2))
        setField(ours, field(geometry), geometry)
        setField(foreign, field(geometry) + np.float32(1e-4), geometry)
        for node in (ours, foreign):
            node.GetTransformFromParent().SetInterpolationModeToCubic()
        assert useLinearInterpolation(ours)
        assert not useLinearInterpolation(foreign)
        assert ours.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION
        assert foreign.GetTransformFromParent().GetInterpolationMode() == vtk.VTK_CUBIC_INTERPOLATION

    def test_a_linear_transform_is_not_taken_for_a_field(self, scans):
        assert not isOurs(scans.linear("matrix", rigid()))


class TestProvenance:
    def test_report_and_references_are_stored_on_the_node(self, scene, scans):
        fixed, moving = (scans.volume(name, GEOMETRIES["oblique"]) for name in ("fixed", "moving"))
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        report = {"versions": {"genreg": "1.2"}, "seed": 7, "verdict": {"status": "check"}, "settings": {"seed": 7}}
        setProvenance(node, report, fixed, moving)
        assert json.loads(node.GetAttribute("GenReg.Report")) == report
        assert node.GetAttribute("GenReg.Version") == "1.2"
        assert node.GetNodeReference(slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole()) is fixed
        assert node.GetNodeReference(slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole()) is moving


class TestInitial:
    def test_a_linear_transform_becomes_a_matrix_from_fixed_to_moving_points(self, scans):
        node = scans.linear("start", rigid())
        values, array = initialFromNode(node, GEOMETRIES["oblique"])
        point = np.array([3.0, 4.0, 5.0])
        there = np.array(values["matrix"]) @ [*point * FLIP, 1]
        assert array is None
        assert np.abs(there[:3] * FLIP - node.GetTransformFromParent().TransformPoint(*point)).max() < 1e-9

    def test_transforms_above_the_initial_one_are_included(self, scans):
        above, node = scans.linear("above", rigid((0, 0, 40), (1, 2, 3))), scans.linear("start", rigid())
        node.SetAndObserveTransformNodeID(above.GetID())
        values, _ = initialFromNode(node, GEOMETRIES["oblique"])
        flip = np.diag([*FLIP, 1])
        expected = flip @ np.linalg.inv(rigid((0, 0, 40), (1, 2, 3)) @ rigid()) @ flip
        assert np.abs(np.array(values["matrix"]) - expected).max() < 1e-9

    @pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
    def test_a_field_is_sampled_on_the_fixed_grid(self, scene, geometry):
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        setField(node, field(geometry) * np.float32(FLIP), geometry)
        values, array = initialFromNode(node, geometry)
        assert values["geometry"]["size"] == list(geometry.size)
        assert np.abs(array - field(geometry)).max() < 1e-4

    def test_the_inverse_of_a_field_is_sampled(self, scene):
        geometry = GEOMETRIES["axis-aligned"]
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode")
        setField(node, field(geometry) * np.float32(FLIP), geometry)
        node.Inverse()
        _, array = initialFromNode(node, geometry)
        middle = tuple(n // 2 for n in geometry.shape)
        assert np.sign(array[middle][0]) == -np.sign(field(geometry)[middle][0])

    def test_a_transform_that_is_not_finite_is_refused(self, scene):
        geometry = GEOMETRIES["axis-aligned"]
        node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "broken")
        setField(node, np.full((*geometry.shape, 3), np.nan, np.float32), geometry)
        with pytest.raises(InputError, match="no finite positions"):
            initialFromNode(node, geometry)
