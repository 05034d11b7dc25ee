"""Segments and labels by their names."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from GenRegLogic.mrml.nodes.segments import segmentsOf
from GenRegLogic.mrml.nodes.volumes import setVolume
from GenRegLogic.mrml.views.colors import colorNode

from ..conftest import FIXED


class TestSegments:
    def test_segments_with_equal_names_are_numbered(self, scene):
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nodules")
        for count in (1, 2):
            image = slicer.vtkOrientedImageData()
            image.SetDimensions(6, 6, 6)
            image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
            image.GetPointData().GetScalars().Fill(0)
            for index in range(count):
                image.SetScalarComponentFromDouble(2 + index, 2, 2, 0, 1)
            node.AddSegmentFromBinaryLabelmapRepresentation(image, "Nodule")
        assert {name: int(volume.array.sum()) for name, volume in segmentsOf(node).items()} == {
            "Nodule": 1,
            "Nodule (2)": 2,
        }

    def test_labels_with_equal_names_are_named_by_their_values(self, scene):
        colors = colorNode(scene, "displacement")
        for value in (1, 2):
            colors.SetColorName(value, "lesion")
        names = []
        for values in ((1, 2), (2,)):
            node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            array = np.zeros(FIXED.shape, np.uint8)
            for value in values:
                array[5, 5, 5 + value] = value
            setVolume(node, array, FIXED)
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
            found = segmentsOf(node)
            names.append(list(found))
            volume = found["label 2"]
            place = volume.geometry.to_world(np.argwhere(volume.array)[0][::-1].astype(float))
            assert place == pytest.approx(FIXED.to_world(np.array((7.0, 5.0, 5.0))))
        assert names == [["label 1", "label 2"], ["label 2"]]
