"""Displacement fields to grid transform nodes, and any transform node to the engine's initial transform.

A transform node's *FromParent* direction maps fixed to moving points, the direction of resampling: a moving scan below
the node is then shown aligned with the fixed one.
"""

from __future__ import annotations

import json
import zlib

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ...errors import InputError
from ...space.geometry import Geometry
from ...space.margin import LPS_TO_RAS, ROUNDING, nodeGeometry
from .volumes import RAS_TO_LPS, matrixToNumpy

__all__ = [
    "REPORT_ATTRIBUTE",
    "fieldOfNode",
    "gridTransform",
    "initialFromNode",
    "isAsReported",
    "isOurs",
    "reportOf",
    "setField",
    "setProvenance",
    "useLinearInterpolation",
]

REPORT_ATTRIBUTE, FINGERPRINT_ATTRIBUTE = "GenReg.Report", "GenReg.Fingerprint"
INITIAL_VOXELS = 100_000
"""Size of the grid on which a non-linear initial transform is sampled: inverting a field takes 2 µs per point, and the
window does not respond during that time."""

PROBED_VALUES = 3000
"""Number of values of a grid that are examined to recognize GenReg's fields and for their fingerprint."""


def gridTransform(field: np.ndarray, geometry: Geometry):
    """A VTK grid transform, linearly interpolated.

    Args:
        field: (k, j, i, 3) float32 mm, RAS components; held by the transform, not copied.
        geometry: Its grid (LPS).

    Returns:
        vtkOrientedGridTransform, x -> x + u(x) in RAS.
    """
    image = vtk.vtkImageData()
    image.SetDimensions(geometry.size)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(tuple(np.array(geometry.origin) * LPS_TO_RAS))
    # As scalars: vectors set as such are ignored, and the transform is then the identity, without an error.
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(field, np.float32).reshape(-1, 3)))
    direction = np.eye(4)
    direction[:3, :3] = LPS_TO_RAS[:, None] * geometry.direction
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(direction))
    transform.SetDisplacementGridData(image)
    transform.SetInterpolationModeToLinear()  # the default is cubic, which changes values by up to 0.2 mm
    return transform


def setField(node, field: np.ndarray, geometry: Geometry) -> None:
    """Set the displacement field of a transform node, and remove its parent.

    Args:
        node: vtkMRMLTransformNode or a subclass.
        field: (k, j, i, 3) float32 mm, RAS components, fixed -> moving.
        geometry: Its grid (LPS), in the world.
    """
    with slicer.util.NodeModify(node):
        node.SetAndObserveTransformNodeID(None)
        node.SetAndObserveTransformFromParent(gridTransform(field, geometry))


def fieldOfNode(node) -> tuple[np.ndarray, Geometry] | None:
    """The displacement field in a node, (k, j, i, 3) mm RAS components and its LPS grid; None if there is no grid."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    grid = transform.GetDisplacementGrid() if transform is not None else None
    if grid is None or grid.GetPointData().GetScalars() is None:
        return None
    direction = (
        matrixToNumpy(transform.GetGridDirectionMatrix())[:3, :3] if transform.GetGridDirectionMatrix() else np.eye(3)
    )
    geometry = Geometry(
        grid.GetDimensions(),
        grid.GetSpacing(),
        tuple(np.array(grid.GetOrigin()) * LPS_TO_RAS),
        LPS_TO_RAS[:, None] * direction,
    )
    return vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(*geometry.shape, 3), geometry


def isOurs(node) -> bool:
    """Whether a node's grid was made by GenReg: its values are whole multiples of 1/1024 mm (or of a finer step)."""
    try:
        field = fieldOfNode(node)
    except InputError:
        return False
    if field is None:
        return False
    array, geometry = field
    step = 2.0 ** np.floor(np.log2(min(1.0, *geometry.spacing))) / ROUNDING
    flat = array.reshape(-1)
    values = flat[:: max(len(flat) // PROBED_VALUES, 1)].astype(np.float64) / step
    return bool(np.any(values) and np.abs(values - np.round(values)).max() < 1e-3 and np.any(np.abs(values) % 1024))


def useLinearInterpolation(node) -> bool:
    """Set a loaded grid of GenReg's to linear interpolation; returns whether it was changed."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    if transform is None or transform.GetInterpolationMode() == vtk.VTK_LINEAR_INTERPOLATION or not isOurs(node):
        return False
    transform.SetInterpolationModeToLinear()
    return True


def reportOf(node) -> dict | None:
    """The report that a run stored on a transform node; None if there is none or it cannot be read."""
    text = node.GetAttribute(REPORT_ATTRIBUTE) if node is not None else None
    if not text:
        return None
    try:
        report = json.loads(text)
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


def isAsReported(node) -> bool:
    """Whether a transform is unchanged since its report was made; True if it has no fingerprint."""
    noted = node.GetAttribute(FINGERPRINT_ATTRIBUTE)
    return not noted or (node.GetParentTransformNode() is None and noted == _fingerprint(node))


def _fingerprint(node) -> str:
    """Checksum of the values of a field, rounded as they are in files."""
    found = fieldOfNode(node)
    if found is None:
        return ""
    flat = found[0].reshape(-1)
    values = flat[:: max(len(flat) // PROBED_VALUES, 1)].astype(np.float64)
    return f"{len(flat)} {zlib.crc32(np.round(values * ROUNDING).astype('<i8').tobytes())}"


def setProvenance(node, report: dict, fixed, moving) -> None:
    """Store on a transform node how it was made: the report, and references to the fixed and the moving node."""
    versions = report.get("versions", {})
    attributes = {
        REPORT_ATTRIBUTE: json.dumps(report, separators=(",", ":")),
        FINGERPRINT_ATTRIBUTE: _fingerprint(node),
        "GenReg.Version": versions.get("genreg", ""),
        "GenReg.Created": report.get("created", ""),
        "GenReg.Device": report.get("device", ""),
        "GenReg.Seed": str(report.get("seed", "")),
        "GenReg.Settings": json.dumps(report.get("settings", {}), separators=(",", ":")),
        "GenReg.Verdict": report.get("verdict", {}).get("status", ""),
    }
    for name, value in attributes.items():
        node.SetAttribute(name, value)
    node.SetNodeReferenceID(slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole(), fixed.GetID())
    node.SetNodeReferenceID(slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole(), moving.GetID())


def initialFromNode(node, fixed: Geometry) -> tuple[dict, np.ndarray | None]:
    """Any transform node, with the transforms above it, as the engine's initial transform (fixed -> moving, LPS mm).

    Args:
        node: vtkMRMLTransformNode.
        fixed: Geometry of the fixed scan; a non-linear transform is sampled over it.

    Returns:
        ({"matrix": rows of a 4x4}, None), or ({"geometry": `Geometry.to_dict`}, (k, j, i, 3) float32 displacements).

    Raises:
        InputError: The transform is not finite somewhere on the fixed scan.
    """
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node, transform)
    linear = vtk.vtkTransform()
    if slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(transform, linear):
        return {"matrix": (RAS_TO_LPS @ matrixToNumpy(linear.GetMatrix()) @ RAS_TO_LPS).tolist()}, None
    grid = nodeGeometry(fixed, INITIAL_VOXELS)
    k, j, i = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    points = grid.to_world(np.stack([i, j, k], axis=-1).reshape(-1, 3)) * LPS_TO_RAS
    there = vtk.vtkPoints()
    there.SetDataTypeToDouble()
    here = vtk.vtkPoints()
    here.SetData(numpy_to_vtk(points))
    transform.TransformPoints(here, there)
    field = ((vtk_to_numpy(there.GetData()) - points) * LPS_TO_RAS).astype(np.float32)
    if not np.isfinite(field).all():
        raise InputError(
            f"The initial transform '{node.GetName()}' gives no finite positions on the fixed volume; "
            "select another one."
        )
    return {"geometry": grid.to_dict()}, field.reshape(*grid.shape, 3)
