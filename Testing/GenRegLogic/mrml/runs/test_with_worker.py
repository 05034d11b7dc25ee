"""Runs with the real worker process: the same field as the engine's, and recovery of a known deformation."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from GenRegLogic.errors import Cancelled
from GenRegLogic.mrml.nodes.transforms import fieldOfNode
from GenRegLogic.mrml.nodes.volumes import setVolume, volumeFromNode
from GenRegLogic.mrml.runs.registration import RegistrationRun, RunInputs, RunOutputs
from GenRegLogic.register import register
from GenRegLogic.settings import Settings
from GenRegLogic.space.field import DisplacementField
from GenRegLogic.space.fieldgrid import field_grid
from GenRegLogic.space.geometry import Geometry
from GenRegLogic.space.volume import Volume
from GenRegLogic.space.warp import warp_image
from GenRegLogic.worker.client import Worker

from ..conftest import field, rigid, waves

DATA = Path(__file__).parents[5] / "shared" / "data"
SHORT = Settings(iterations=10)
FLIP = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def process():
    """One worker process for all tests of this file."""
    worker = Worker()
    worker.start()
    yield worker
    worker.close()


def blobs(geometry: Geometry) -> Volume:
    """A synthetic scan with structure at several scales."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    points = geometry.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3))
    rng = np.random.default_rng(3)
    extent = float(geometry.extent_mm.min())
    values = np.zeros(len(points))
    for _ in range(60):
        center = geometry.center + rng.uniform(-0.32, 0.32, 3) * extent
        values += rng.uniform(0.3, 1) * np.exp(-(((points - center) / (extent * rng.uniform(0.04, 0.12))) ** 2).sum(1))
    return Volume((values * 1000).astype(np.int16).reshape(geometry.shape), geometry)


@pytest.fixture(scope="module")
def pair() -> tuple[Volume, Volume]:
    """Oblique scans with the known deformation `waves` between them: moving(x + waves(x)) = fixed(x)."""
    moving = blobs(Geometry((44, 40, 36), (2.5, 2.5, 3.0), (-60.0, -40.0, 10.0), rigid((0, 0, 20))[:3, :3]))
    grid = Geometry((46, 42, 38), (2.5, 2.5, 2.5), moving.geometry.origin, moving.geometry.direction)
    return warp_image(moving, DisplacementField(field(grid), grid), grid), moving


def nodes(scene, *volumes: Volume) -> list:
    made = []
    for volume in volumes:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
        setVolume(node, np.array(volume.array), volume.geometry)
        made.append(node)
    return made


def field_on(node, geometry: Geometry) -> np.ndarray:
    """(k, j, i, 3) LPS mm: the node's grid without its margin."""
    array, wider = fieldOfNode(node)
    i, j, k = np.round(wider.to_index(geometry.to_world([0, 0, 0]))).astype(int)
    inside = array[k : k + geometry.size[2], j : j + geometry.size[1], i : i + geometry.size[0]]
    return inside * FLIP


class TestField:
    def test_the_field_equals_the_engines(self, scene, process, pair):
        scans = nodes(scene, *pair)
        # A node's matrix stores oblique axes to 16 digits only, so the engine gets the scans as the nodes hold them.
        held = [volumeFromNode(node, role) for node, role in zip(scans, ("fixed", "moving"))]
        run = RegistrationRun(scene, process, RunInputs(*scans, settings=SHORT), RunOutputs())
        run.start()
        node = run.runToEnd().transformNode
        difference = np.abs(field_on(node, pair[0].geometry) - register(*held, SHORT).forward.array)
        assert difference.max() <= 1 / 1024
        assert difference.mean() < 1e-5

    def test_a_field_on_a_coarser_grid_than_the_volume_is_taken_with_its_own_grid(self, scene, process, pair):
        settings = dataclasses.replace(SHORT, transform_spacing_mm=5.0)
        outputs = RunOutputs(warpedVolume=True)
        run = RegistrationRun(scene, process, RunInputs(*nodes(scene, *pair), settings=settings), outputs)
        run.start()
        result = run.runToEnd()
        grid = field_grid(pair[0].geometry, 5.0)
        expected = register(*pair, settings)
        assert np.abs(field_on(result.transformNode, grid) - expected.forward.array).max() <= 1 / 1024
        assert result.report["transform"]["size"] == list(grid.size)
        assert result.warped[1].is_close(pair[0].geometry)
        inner = pair[0].geometry.center + np.random.default_rng(1).uniform(-25, 25, (50, 3))
        there = [result.transformNode.GetTransformFromParent().TransformPoint(*point) for point in inner * FLIP]
        np.testing.assert_allclose(np.array(there) * FLIP, expected.forward(inner), atol=0.01)

    def test_a_known_deformation_is_recovered_with_parents_above_both_scans(self, scene, process, pair):
        fixed, moving = nodes(scene, *pair)
        for node, matrix in ((fixed, rigid((5, 3, -9), (8, -6, 4))), (moving, rigid((5, 3, -9), (8, -6, 4)))):
            parent = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "above")
            parent.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
            node.SetAndObserveTransformNodeID(parent.GetID())
        run = RegistrationRun(scene, process, RunInputs(fixed, moving), RunOutputs())
        run.start()
        node = run.runToEnd().transformNode
        local = pair[0].geometry.center + np.random.default_rng(1).uniform(-25, 25, (100, 3))  # LPS
        above = rigid((5, 3, -9), (8, -6, 4))

        def world(points):
            return (points * FLIP) @ above[:3, :3].T + above[:3, 3]

        there = np.array([node.GetTransformFromParent().TransformPoint(*point) for point in world(local)])
        error = np.linalg.norm(there - world(local + waves(local)), axis=1)
        still = np.linalg.norm(waves(local), axis=1)
        assert error.mean() < 0.35 * still.mean()

    def test_masks_landmarks_and_an_initial_transform_reach_the_engine(self, scene, process, pair):
        fixed, moving = nodes(scene, *pair)
        mask = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "mask")
        setVolume(mask, np.ones(pair[0].array.shape, np.uint8), pair[0].geometry)
        points = pair[0].geometry.center + np.array([[0, 0, 0], [15, 0, 0], [0, 15, 0], [0, 0, 15.0]])
        lists = []
        for positions in (points, points + waves(points)):
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
            for position in positions * FLIP:
                node.AddControlPoint(*position)
            lists.append(node)
        start = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "start")
        inputs = RunInputs(
            fixed,
            moving,
            fixedMask=mask,
            fixedLandmarks=lists[0],
            movingLandmarks=lists[1],
            initialTransform=start,
            settings=SHORT,
        )
        run = RegistrationRun(scene, process, inputs, RunOutputs(warpedVolume=True, inverseTransform=True))
        run.start()
        result = run.runToEnd()
        assert result.report["landmarks"]["count"] == 4
        assert result.report["landmarks"]["tre_after_mm"] < result.report["landmarks"]["tre_before_mm"]
        expected = register(
            *pair,
            SHORT,
            fixed_mask=Volume(np.ones(pair[0].array.shape, np.uint8), pair[0].geometry),
            fixed_landmarks=points,
            moving_landmarks=points + waves(points),
        ).warped()
        assert result.warpedNode.GetImageData().GetDimensions() == pair[0].geometry.size
        assert np.abs(slicer.util.arrayFromVolume(result.warpedNode).astype(float) - expected.array).mean() < 5
        assert fieldOfNode(result.inverseNode)[0].any()


class TestSteering:
    def test_previews_are_shown_and_removed_at_the_end(self, scene, process, pair):
        fixed, moving = nodes(scene, *pair)
        shown = []
        run = RegistrationRun(
            scene,
            process,
            RunInputs(fixed, moving, settings=Settings(iterations=400)),
            RunOutputs(),
            onPreview=lambda node: shown.append(moving.GetTransformNodeID() == node.GetID()),
        )
        run.start()
        while not run.finished and not shown:
            run.poll()
            process.wait(0.05)
        run.stopAndKeep()
        result = run.runToEnd()
        assert shown[0]
        assert result.report["stopped_early"]
        assert moving.GetTransformNodeID() == result.transformNode.GetID()
        assert scene.GetFirstNodeByName("GenReg preview") is None

    def test_cancel_leaves_the_scene_unchanged(self, scene, process, pair):
        fixed, moving = nodes(scene, *pair)
        count = scene.GetNumberOfNodes()
        run = RegistrationRun(scene, process, RunInputs(fixed, moving), RunOutputs())
        run.start()
        run.poll()
        run.cancel()
        with pytest.raises(Cancelled):
            run.runToEnd()
        assert scene.GetNumberOfNodes() == count
        assert moving.GetTransformNodeID() is None


@pytest.mark.skipif(not DATA.is_dir(), reason="the real pairs are not beside this checkout")
@pytest.mark.parametrize(
    ("fixed", "moving"),
    [
        ("spine_cord_sct__t2", "spine_cord_sct__t1w"),
        ("mouse_brain_fvb__template_1", "mouse_brain_fvb__template_2"),
    ],
)
def test_a_real_pair_gets_the_same_field_as_on_the_command_line(scene, process, tmp_path, fixed, moving):
    paths = [DATA / f"{name}.nii.gz" for name in (fixed, moving)]
    made = nodes(scene, *(Volume.from_file(path) for path in paths))
    run = RegistrationRun(scene, process, RunInputs(*made, settings=SHORT), RunOutputs())
    run.start()
    node = run.runToEnd().transformNode
    command = [
        sys.executable,
        "-m",
        "GenRegLogic.cli",
        "register",
        *map(str, paths),
        "--iterations",
        str(SHORT.iterations),
        "-o",
        str(tmp_path / "field.nii.gz"),
        "--report",
        str(tmp_path / "report.json"),
        "--quiet",
    ]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[4])
    image = sitk.ReadImage(str(tmp_path / "field.nii.gz"))
    expected = sitk.GetArrayFromImage(image)
    assert np.abs(field_on(node, Geometry.from_sitk(image)) - expected).max() < 1e-4
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["jacobian"] == json.loads(node.GetAttribute("GenReg.Report"))["jacobian"]
