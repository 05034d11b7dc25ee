"""The scans of the self-tests and their known deformation."""

from __future__ import annotations

from pathlib import Path

import host
import numpy as np
import pytest
import SimpleITK as sitk

MODULE = Path(__file__).resolve().parents[2] / "GenRegModule"
SAMPLING_ERROR = 4.0
"""Largest RMS error of linear interpolation between voxels; intensities of organs differ by 45 to 150."""


@pytest.fixture(scope="module")
def scans():
    """The module under test, with the module file loaded, so that its package can be imported."""
    reason = host.available()
    if reason:
        pytest.skip(reason)
    host.loadModule(MODULE / "GenReg.py")
    from GenRegPanel.selftest import scene as selftestscene

    return selftestscene


@pytest.fixture(autouse=True)
def empty_scene(scans):
    host.resetScene()
    yield
    host.resetScene()


def sampled(scans, node, points) -> np.ndarray:
    """The node's voxels at points of the world, by SimpleITK's linear interpolation."""
    import slicer
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(matrix)
    to_voxels = slicer.util.arrayFromVTKMatrix(matrix)
    local = scans.mapToNode(points, node)
    indices = local @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    image = sitk.GetImageFromArray(slicer.util.arrayFromVolume(node))
    return np.array([image.EvaluateAtContinuousIndex([float(i) for i in index]) for index in indices])


def test_the_fixed_scan_equals_the_moving_one_at_deformed_points(scans):
    fixed, moving = scans.addScan("Fixed"), scans.addScan("Moving", moving=True)
    points = scans.bodyPoints()
    difference = sampled(scans, fixed, points) - sampled(scans, moving, scans.knownDeformation(points))
    assert np.sqrt((difference**2).mean()) < SAMPLING_ERROR


def test_without_the_deformation_the_scans_differ(scans):
    fixed, moving = scans.addScan("Fixed"), scans.addScan("Moving", moving=True)
    points = scans.bodyPoints()
    difference = sampled(scans, fixed, points) - sampled(scans, moving, points)
    assert np.sqrt((difference**2).mean()) > 4 * SAMPLING_ERROR


def test_a_parent_does_not_move_the_scan_in_the_world(scans):
    alone = scans.addScan("Alone", moving=True)
    below = scans.addScan("Below", moving=True, parent=scans.linearParent())
    points = scans.bodyPoints()
    np.testing.assert_allclose(sampled(scans, below, points), sampled(scans, alone, points), atol=1e-3)


def test_map_below_equals_map_to_node_for_the_added_parent(scans):
    node = scans.addScan("Below", parent=scans.linearParent())
    points = scans.bodyPoints()
    np.testing.assert_allclose(scans.mapBelow(points, node), scans.mapToNode(points, node), atol=1e-9)


def test_the_deformation_has_no_folding_and_is_large_enough(scans):
    points, step = scans.bodyPoints(), 0.5
    columns = [
        (scans.knownDeformation(points + step * axis) - scans.knownDeformation(points - step * axis)) / (2 * step)
        for axis in np.eye(3)
    ]
    assert np.linalg.det(np.stack(columns, axis=-1)).min() > 0.3
    assert np.linalg.norm(scans.knownDeformation(points) - points, axis=1).mean() > 5.0


def test_one_scan_is_left_handed_and_both_are_oblique_and_anisotropic(scans):
    frames = [matrix[:3, :3] for matrix in (scans.FIXED_FRAME, scans.MOVING_FRAME)]
    assert [bool(np.linalg.det(frame) > 0) for frame in frames] == [True, False]
    for frame in frames:
        spacing = np.linalg.norm(frame, axis=0)
        assert np.ptp(spacing) > 0.3
        assert np.abs(frame / spacing).max() < 0.99
