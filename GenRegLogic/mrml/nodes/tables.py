"""Measures of a registration as Slicer tables: landmark errors, overlap of segments, and their volume change."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import slicer
import vtk

from ...errors import InputError
from ...files.atomic import replacing
from ...quality.organs import overlap, volume_change
from ...space.margin import LPS_TO_RAS
from ..i18n import tr as _
from .masks import landmarkPairs
from .pair import fieldInWorld, pairOf, warpedOnto
from .parents import nodesOf
from .segments import segmentsOf

__all__ = ["MEASURE_ATTRIBUTE", "landmarkTable", "pointsOf", "rowsOf", "saveCsv", "segmentTable", "summary"]

MEASURE_ATTRIBUTE, TRANSFORM_ROLE = "GenReg.Measure", "GenReg.MeasureOf"
LANDMARKS, SEGMENTS = "landmarks", "segments"

DECIMALS = 4
"""Decimal places of numbers in CSV files: 0.1 µm, far below any measured error."""


def landmarkTable(transformNode, fixedNode, movingNode):
    """The landmark error (target registration error) of each pair before and after registration.

    Args:
        transformNode: Result of a run, fixed -> moving.
        fixedNode: Markups node in the fixed scan.
        movingNode: Markups node in the moving scan; it may be below the transform, as the scan is.

    Returns:
        vtkMRMLTableNode, a row for each pair: name, before and after (mm), gain (mm), and the fixed point (RAS mm).

    Raises:
        InputError: Unequal or empty lists, or no markups.
    """
    pair = pairOf(transformNode)
    fixed, moving = landmarkPairs(fixedNode, movingNode, ignoring=transformNode)
    if len(fixed) != len(moving) or not len(fixed):
        raise InputError(
            _(
                "There are {fixed} fixed and {moving} moving landmarks; the two lists need the same points "
                "in the same order."
            ).format(fixed=len(fixed), moving=len(moving))
        )
    path = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transformNode, path)
    found = np.array([path.TransformPoint(point) for point in fixed * LPS_TO_RAS]) * LPS_TO_RAS
    before, after = (np.linalg.norm(points - moving, axis=1) for points in (fixed, found))
    ras = fixed * LPS_TO_RAS
    columns = [
        (_("Landmark"), _labels(fixedNode, len(fixed))),
        (_("Before (mm)"), before),
        (_("After (mm)"), after),
        (_("Gain (mm)"), before - after),
        ("R", ras[:, 0]),
        ("A", ras[:, 1]),
        ("S", ras[:, 2]),
    ]
    return _table(pair, LANDMARKS, _("landmark errors"), columns)


def segmentTable(transformNode, fixedNode, movingNode=None):
    """Overlap of segments with the same name before and after registration, and their volume change.

    Args:
        transformNode: Result of a run, fixed -> moving.
        fixedNode: Segmentation or label map of the fixed scan.
        movingNode: Segmentation or label map of the moving scan; None: only the volumes are measured.

    Returns:
        vtkMRMLTableNode, a row for each segment of the fixed scan: Dice, mean surface distance and 95th percentile of
        the Hausdorff distance (HD95; mm) before and after, volume (ml) in the fixed and in the moving scan, its change
        from the moving to the fixed scan (ml, %), minimum and maximum Jacobian determinant, and the center (RAS mm).
        Values that cannot be computed are NaN.

    Raises:
        InputError: No segments, or none of the same name.
    """
    pair = pairOf(transformNode)
    fixedScan = pair.fixed().geometry
    segments = segmentsOf(fixedNode)
    others = segmentsOf(movingNode, ignoring=transformNode) if movingNode is not None else {}
    partners = {_plain(name): volume for name, volume in others.items()}
    if others and not any(_plain(name) in partners for name in segments):
        raise InputError(
            _("No segment of '{moving}' has the name of one of '{fixed}'; name the same organs alike.").format(
                moving=movingNode.GetName(), fixed=fixedNode.GetName()
            )
        )
    field, grid = fieldInWorld(transformNode, fixedScan)
    rows = []
    for name, segment in segments.items():
        region = warpedOnto(segment, None, fixedScan, labels=True) > 0  # one at a time: they may be huge
        figures = [math.nan] * 6
        partner = partners.get(_plain(name))
        if partner is not None:
            compared = [
                overlap(region, warpedOnto(partner, node, fixedScan, labels=True) > 0, fixedScan.spacing)
                for node in (None, transformNode)
            ]
            figures = [getattr(one, key) for key in ("dice", "mean_mm", "hd95_mm") for one in compared]
        rows.append([name, *figures, *_volumes(region, fixedScan, field, grid)])
    titles = [
        _("Segment"),
        _("Dice before"),
        _("Dice after"),
        _("Surface distance before (mm)"),
        _("Surface distance after (mm)"),
        _("HD95 before (mm)"),
        _("HD95 after (mm)"),
        _("Fixed volume (ml)"),
        _("Moving volume (ml)"),
        _("Volume change (ml)"),
        _("Volume change (%)"),
        _("Least det J"),
        _("Most det J"),
        "R",
        "A",
        "S",
    ]
    return _table(pair, SEGMENTS, _("segments"), list(zip(titles, (list(column) for column in zip(*rows)))))


def summary(tableNode) -> str:
    """One sentence that summarizes a table."""
    table = tableNode.GetTable()
    columns = {table.GetColumnName(n): table.GetColumn(n) for n in range(table.GetNumberOfColumns())}

    def mean(name):
        values = [columns[name].GetValue(row) for row in range(table.GetNumberOfRows())]
        values = [value for value in values if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    if tableNode.GetAttribute(MEASURE_ATTRIBUTE) == LANDMARKS:
        return _("Mean error of {count} landmarks: {before:.1f} mm before, {after:.1f} mm after.").format(
            count=table.GetNumberOfRows(), before=mean(_("Before (mm)")), after=mean(_("After (mm)"))
        )
    before, after = mean(_("Dice before")), mean(_("Dice after"))
    if math.isnan(after):
        return _("Volumes of {count} segments.").format(count=table.GetNumberOfRows())
    return _("Mean Dice: {before:.2f} before, {after:.2f} after.").format(before=before, after=after)


def pointsOf(tableNode) -> list[tuple[float, float, float]]:
    """The position of each row, RAS mm."""
    table = tableNode.GetTable()
    columns = [table.GetColumnByName(name) for name in "RAS"]
    return [tuple(column.GetValue(row) for column in columns) for row in range(table.GetNumberOfRows())]


def rowsOf(tableNode) -> list[list]:
    """The column titles, followed by the rows: text and numbers."""
    table = tableNode.GetTable()
    columns = range(table.GetNumberOfColumns())
    rows = [[table.GetColumn(n).GetValue(row) for n in columns] for row in range(table.GetNumberOfRows())]
    return [[table.GetColumnName(n) for n in columns], *rows]


def saveCsv(tableNode, path: str | Path) -> None:
    """Write a table as comma-separated values; an existing file is replaced only when the new one is complete.

    Raises:
        InputError: The folder cannot be written to.
        ResourceError: The disk is full.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rowsOf(tableNode):
        writer.writerow([_plainNumber(value) for value in row])
    with replacing(Path(path)) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _volumes(region: np.ndarray, geometry, field, grid) -> list[float]:
    if not region.any():
        return [0.0, *[math.nan] * 8]
    change = volume_change(region, geometry, field, grid)
    center = geometry.to_world(np.argwhere(region).mean(axis=0)[::-1]) * LPS_TO_RAS
    return [change.fixed_ml, change.moving_ml, change.change_ml, change.change_pct, change.least, change.most, *center]


def _labels(node, count: int) -> list[str]:
    if node.GetNumberOfControlPoints() == count:
        return [node.GetNthControlPointLabel(index) for index in range(count)]
    return [str(number) for number in range(1, count + 1)]


def _table(pair, kind: str, name: str, columns: list[tuple]):
    """The transform's table of that kind, created if needed, with new content."""
    scene = pair.transformNode.GetScene()
    node = None
    for other in nodesOf(scene, "vtkMRMLTableNode"):
        if (other.GetAttribute(MEASURE_ATTRIBUTE), other.GetNodeReference(TRANSFORM_ROLE)) == (
            kind,
            pair.transformNode,
        ):
            node = other
    if node is None:
        title = _("{transform}: {table}").format(transform=pair.transformNode.GetName(), table=name)
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", title)
        node.SetAttribute(MEASURE_ATTRIBUTE, kind)
        node.SetNodeReferenceID(TRANSFORM_ROLE, pair.transformNode.GetID())
    table = vtk.vtkTable()
    for title, values in columns:
        isText = isinstance(values[0], str)
        column = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(value if isText else float(value))
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    return node


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _plainNumber(value) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.{DECIMALS}f}"
