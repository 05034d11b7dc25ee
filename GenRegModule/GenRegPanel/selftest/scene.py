"""Scans with a known deformation between them, made with NumPy, for the self-tests.

The moving scan shows a synthetic body; the fixed scan at x shows what the moving scan shows at `knownDeformation(x)`.
Both are sampled from the same formula, so the truth is exact. Points are (n, 3), RAS mm, in the world.
"""

import numpy as np
import slicer
import vtk

__all__ = ["addScan", "bodyPoints", "knownDeformation", "linearParent", "mapBelow", "mapToNode"]

FIXED_SIZE, MOVING_SIZE = (44, 40, 34), (38, 46, 36)

BUMPS = (  # center, width, displacement: mm; the gradient is below 0.6, so there is no folding
    ((-20.0, 10.0, 5.0), 32.0, (7.0, -3.0, 4.0)),
    ((25.0, -15.0, -10.0), 28.0, (-4.0, 6.0, -5.0)),
    ((5.0, 25.0, 20.0), 26.0, (3.0, 4.0, 5.0)),
)

ORGANS = (  # center, radii: mm; brightness
    ((0.0, 0.0, 0.0), (58.0, 52.0, 50.0), 100.0),
    ((-22.0, 8.0, 6.0), (17.0, 22.0, 25.0), 70.0),
    ((24.0, 6.0, -4.0), (20.0, 15.0, 19.0), -55.0),
    ((0.0, -26.0, 12.0), (14.0, 12.0, 26.0), 95.0),
    ((4.0, 26.0, -14.0), (22.0, 11.0, 12.0), 45.0),
    ((-14.0, -12.0, -26.0), (12.0, 14.0, 11.0), -60.0),
)
EDGE = 0.06
"""Width of an organ's soft edge, in radii: about one voxel, so that sampling causes no steps."""


def frame(angles, spacing, size, shift, flip=1.0):
    """(4, 4) voxel indices (i, j, k) to RAS mm in the world; a flip of -1 makes it left-handed."""
    matrix = np.eye(4)
    for axis, degrees in enumerate(angles):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn = np.eye(3)
        first, second = [(1, 2), (2, 0), (0, 1)][axis]
        turn[[first, first, second, second], [first, second, first, second]] = c, -s, s, c
        matrix[:3, :3] = matrix[:3, :3] @ turn
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(np.array(spacing) * (1.0, 1.0, flip))
    matrix[:3, 3] = shift - matrix[:3, :3] @ (np.array(size) - 1) / 2
    return matrix


FIXED_FRAME = frame((8.0, -12.0, 17.0), (3.1, 3.3, 3.7), FIXED_SIZE, (1.0, -2.0, 3.0))
MOVING_FRAME = frame((-10.0, 6.0, -9.0), (3.6, 3.0, 3.5), MOVING_SIZE, (-3.0, 2.0, -1.0), flip=-1.0)


def knownDeformation(points):
    """Points of the fixed scan to the corresponding points of the moving scan."""
    points = np.asarray(points, float)
    moved = points.copy()
    for center, width, displacement in BUMPS:
        distances = ((points - center) ** 2).sum(axis=1)
        moved += np.exp(-distances / (2 * width**2))[:, None] * displacement
    return moved


def brightness(points):
    """(n,) intensities of the moving scan at these points; 0 outside the body."""
    total = np.zeros(len(points))
    for center, radii, value in ORGANS:
        depth = 1.0 - np.linalg.norm((points - np.array(center)) / radii, axis=1)
        total += value / (1.0 + np.exp(-np.clip(depth / EDGE, -30, 30)))
    inside = np.linalg.norm(points / ORGANS[0][1], axis=1) < 1.0
    grain = np.sin(points[:, 0] / 4.1) * np.sin(points[:, 1] / 5.3 + 1.0) * np.sin(points[:, 2] / 4.7 + 2.0)
    return total + 9.0 * inside * grain


def bodyPoints(count=200, seed=0):
    """Random points well inside the body and both scans."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(-1, 1, (20 * count, 3)) * 40.0
    return points[np.linalg.norm(points / 40.0, axis=1) < 1.0][:count]


def addScan(name, *, moving=False, parent=None):
    """Put one of the two scans into the scene.

    Args:
        name: Name of the node.
        moving: The moving scan instead of the fixed one.
        parent: Linear transform node above the scan; the scan's position in the world is the same without it.

    Returns:
        vtkMRMLScalarVolumeNode.
    """
    matrix, size = (MOVING_FRAME, MOVING_SIZE) if moving else (FIXED_FRAME, FIXED_SIZE)
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), axis=-1).reshape(-1, 3)
    points = indices @ matrix[:3, :3].T + matrix[:3, 3]
    values = brightness(points if moving else knownDeformation(points))
    array = values.reshape(size).transpose(2, 1, 0).astype(np.float32)
    if parent is not None:
        toParent = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToParent(toParent)
        matrix = np.linalg.inv(slicer.util.arrayFromVTKMatrix(toParent)) @ matrix
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.CreateDefaultDisplayNodes()
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def linearParent(name="Table position"):
    """A rigid transform node: 20 degrees about the head-foot axis, and a shift of some centimeters."""
    matrix = frame((0.0, 0.0, 20.0), (1.0, 1.0, 1.0), (1, 1, 1), (30.0, -45.0, 60.0))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def mapToNode(points, node):
    """World points in the node's own coordinates, through all transforms above it."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), transform)
    return np.array([transform.TransformPoint(point) for point in points])


def mapBelow(points, node):
    """World points in the scan's own coordinates, with only the linear parent that `addScan` set."""
    parent = node.GetParentTransformNode()
    if parent is None or not parent.IsLinear():
        return np.asarray(points)
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToParent(matrix)
    inverse = np.linalg.inv(slicer.util.arrayFromVTKMatrix(matrix))
    return points @ inverse[:3, :3].T + inverse[:3, 3]
