"""The module's self-tests: a known deformation between two synthetic scans is recovered and applied correctly.

They run in Slicer (Reload and Test, or ctest), with or without a window, without a GPU and without a network, and on
the project's test host. Those that compute are skipped, with the reason, if torch is missing and cannot be installed.
"""
# ruff: noqa: PT009, PT027  (Slicer has unittest, not pytest)

import logging
import tempfile
import unittest
from pathlib import Path

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from ..bootstrap import makeEngineImportable

__all__ = ["SelfTests"]

ITERATIONS = 20
MEAN_ERROR_MM, LARGEST_ERROR_MM = 1.2, 4.0
"""Limits at 200 points, with voxels of 3 to 4 mm; without registration the mean is 5.7 mm."""

FLOAT_ERROR_MM = 1e-3
"""Largest change by saving, because fields are in single precision."""


class SelfTests(ScriptedLoadableModuleTest):
    """See the module's docstring. Every test starts from an empty scene."""

    def newLogic(self):
        """The logic to be tested; defined in the module file."""
        raise NotImplementedError

    def setUp(self):
        makeEngineImportable()
        slicer.mrmlScene.Clear()
        self._logic = None

    def tearDown(self):
        if self._logic is not None:
            self._logic.cleanup()
            self._logic = None
        slicer.mrmlScene.Clear()

    def runTest(self, **options):
        """Run all tests, for Slicer's button Reload and Test; a skipped test is logged."""
        self.setUpClass()
        for name in (name for name in dir(self) if name.startswith("test_")):
            logging.info("GenReg self-test %s", name)
            self.setUp()
            try:
                getattr(self, name)()
            except unittest.SkipTest as reason:
                logging.warning("%s was skipped: %s", name, reason)
            finally:
                self.tearDown()
        self.tearDownClass()
        self.delayDisplay("The self-tests of GenReg passed.")

    # The position of the result

    def test_KnownDeformationIsFound(self):
        """Two oblique scans, one of them left-handed, no parents."""
        fixed, moving = self._scans()
        result = self._process(fixed, moving)
        self.assertEqual(moving.GetTransformNodeID(), result.transformNode.GetID())
        self._assertFound(moving)
        self.assertNotEqual(result.report["verdict"]["status"], "failed")
        self.assertEqual(result.report["jacobian"]["folds_pct"], 0)

    def test_KnownDeformationIsFoundUnderLinearParents(self):
        """The result is put above the linear parent of the moving scan."""
        fixed, moving = self._scans(parents=True)
        parent = moving.GetParentTransformNode()
        result = self._process(fixed, moving)
        self._assertFound(moving)
        self.assertEqual(moving.GetParentTransformNode().GetID(), parent.GetID())
        self.assertEqual(parent.GetTransformNodeID(), result.transformNode.GetID())

    def test_WarpedVolumeLandsOnTheFixedGrid(self):
        """The warped volume has the fixed grid and correlates with the fixed scan."""
        import numpy as np

        fixed, moving = self._scans(parents=True)
        result = self._process(
            fixed, moving, warpedVolumeNode=slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Warped")
        )
        warped = slicer.util.arrayFromVolume(result.warpedNode)
        target = slicer.util.arrayFromVolume(fixed)
        self.assertEqual(warped.shape, target.shape)
        self.assertGreater(np.corrcoef(warped.ravel(), target.ravel())[0, 1], 0.98)
        self._assertSamePlace(result.warpedNode, fixed)

    def test_InverseTransformInvertsTheMapping(self):
        """Points that are mapped from fixed to moving and by the inverse return to their positions."""
        import numpy as np

        from .scene import bodyPoints

        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Inverse")
        result = self._process(*self._scans(), inverseTransformNode=node)
        points = bodyPoints()
        back = self._mapped(node, self._mapped(result.transformNode, points))
        self.assertLess(np.linalg.norm(back - points, axis=1).mean(), 0.2)

    # Saving

    def test_TransformSurvivesFiles(self):
        """The mapping is the same after saving and loading, in every file format of displacement fields."""
        import numpy as np

        from .scene import bodyPoints

        result = self._process(*self._scans(parents=True))
        points = bodyPoints()
        before = self._mapped(result.transformNode, points)
        with tempfile.TemporaryDirectory() as folder:
            for ending in (".h5", ".nrrd", ".nii.gz"):
                loaded = self._savedAndLoaded(result.transformNode, Path(folder) / f"transform{ending}")
                difference = np.abs(self._mapped(loaded, points) - before).max()
                self.assertLess(difference, FLOAT_ERROR_MM, f"after saving as {ending}")

    def test_SceneSurvivesSaving(self):
        """Nodes, parents, mapping and provenance are the same after saving the scene as .mrb and loading it."""
        import numpy as np

        from .scene import bodyPoints, mapToNode

        fixed, moving = self._scans(parents=True)
        result = self._process(fixed, moving)
        points = bodyPoints()
        before = mapToNode(points, moving)
        transform = result.transformNode
        attributes = {name: transform.GetAttribute(name) for name in transform.GetAttributeNames()}
        name, transformName = moving.GetName(), transform.GetName()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.mrmlScene.WriteToMRB(path))
            slicer.mrmlScene.Clear()
            self.assertTrue(slicer.mrmlScene.ReadFromMRB(path))
        moving, transform = slicer.util.getNode(name), slicer.util.getNode(transformName)
        self.assertLess(np.abs(mapToNode(points, moving) - before).max(), FLOAT_ERROR_MM)
        self.assertLessEqual(attributes.items(), {n: transform.GetAttribute(n) for n in attributes}.items())
        self.assertTrue(any(n.startswith("GenReg.") for n in attributes))

    # Undo and Cancel

    def test_UndoRestoresTheScene(self):
        """Nodes and parents are the same as before the run."""
        fixed, moving = self._scans(parents=True)
        before = self._nodes()
        parents = moving.GetTransformNodeID(), moving.GetParentTransformNode().GetTransformNodeID()
        result = self._process(fixed, moving)
        self.assertNotEqual(self._nodes(), before)
        result.undo.undo()
        self.assertEqual((moving.GetTransformNodeID(), moving.GetParentTransformNode().GetTransformNodeID()), parents)
        self.assertEqual(self._nodes(), before)

    def test_CancelLeavesTheSceneUnchanged(self):
        """A canceled run leaves no preview or other node."""
        from GenRegLogic.errors import Cancelled

        self._requireTorch()
        fixed, moving = self._scans()
        before = self._nodes()
        endings = []
        run = self._newLogic().start(fixed, moving, onEnded=endings.append)
        run.cancel()
        self._pollUntil(run, lambda: endings)
        self.assertEqual(len(endings), 1)
        self.assertIsInstance(endings[0], Cancelled)
        self.assertEqual(self._nodes(), before)
        self.assertIsNone(moving.GetTransformNodeID())

    # Invalid input

    def test_BadInputIsRefusedWithOneSentence(self):
        """The same volume twice, no volume, and a label map are refused; the scene is unchanged."""
        from GenRegLogic.errors import InputError

        fixed, moving = self._scans()
        labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
        slicer.util.updateVolumeFromArray(labels, slicer.util.arrayFromVolume(fixed).astype("int16"))
        before = self._nodes()
        for pair in ((fixed, fixed), (fixed, None), (fixed, labels)):
            with self.assertRaises(InputError) as refused:
                self._newLogic().process(*pair)
            self.assertNotIn("\n", str(refused.exception))
        self.assertEqual(self._nodes(), before)
        self.assertIsNone(moving.GetTransformNodeID())

    # Helpers

    def _scans(self, parents=False):
        """A fixed and a moving scan; with parents, each under a linear transform of its own."""
        from .scene import addScan, linearParent

        fixedParent = linearParent("Couch") if parents else None
        movingParent = linearParent("Table") if parents else None
        return addScan("Fixed", parent=fixedParent), addScan("Moving", moving=True, parent=movingParent)

    def _newLogic(self):
        if self._logic is None:
            self._logic = self.newLogic()
        return self._logic

    def _process(self, fixed, moving, **options):
        self._requireTorch()
        return self._newLogic().process(fixed, moving, iterations=ITERATIONS, device="cpu", **options)

    def _requireTorch(self):
        """Skip the test without torch; Slicer's testing mode agrees to its installation."""
        from GenRegLogic.errors import GenRegError

        from ..dependencies import ensureTorch

        try:
            ensureTorch()
        except GenRegError as reason:
            self.skipTest(str(reason))

    @staticmethod
    def _pollUntil(run, done, polls=2000):
        """Poll a run until a condition is true, for at most a minute."""
        import time

        for _ in range(polls):
            if done():
                return
            run.poll()
            time.sleep(0.03)

    @staticmethod
    def _nodes():
        """IDs of the scene's nodes, without singletons and nodes that are not saved."""
        nodes = slicer.util.getNodesByClass("vtkMRMLStorableNode") + slicer.util.getNodesByClass("vtkMRMLTransformNode")
        return sorted({node.GetID() for node in nodes if node.GetSaveWithScene() and not node.GetSingletonTag()})

    @staticmethod
    def _mapped(node, points):
        """Points mapped by the transform node, fixed to moving."""
        import numpy as np

        transform = node.GetTransformFromParent()
        transform.Update()
        return np.array([transform.TransformPoint(point) for point in points])

    def _savedAndLoaded(self, node, path):
        """A new node, read from the file that the node was written to."""
        storage = slicer.util.getNode(node.GetStorageNodeID()) if node.GetStorageNodeID() else None
        if storage is None:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
        storage.SetFileName(str(path))
        self.assertTrue(storage.WriteData(node), f"writing {path.name}")
        loaded = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Loaded")
        loaded.AddDefaultStorageNode()
        reader = loaded.GetStorageNode()
        reader.SetFileName(str(path))
        self.assertTrue(reader.ReadData(loaded), f"reading {path.name}")
        return loaded

    def _assertFound(self, moving):
        """Check that points of the fixed scan are mapped to the moving scan's coordinates as by the formula."""
        import numpy as np

        from .scene import bodyPoints, knownDeformation, mapBelow, mapToNode

        points = bodyPoints()
        truth = mapBelow(knownDeformation(points), moving)
        errors = np.linalg.norm(mapToNode(points, moving) - truth, axis=1)
        self.assertLess(errors.mean(), MEAN_ERROR_MM)
        self.assertLess(errors.max(), LARGEST_ERROR_MM)

    def _assertSamePlace(self, node, other):
        """Check that the corners of two volumes have the same world coordinates."""
        import numpy as np
        import vtk

        for corner in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
            places = []
            for volume in (node, other):
                index = [flag * (size - 1) for flag, size in zip(corner, volume.GetImageData().GetDimensions())]
                matrix, toWorld = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
                volume.GetIJKToRASMatrix(matrix)
                slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, toWorld)
                places.append(toWorld.TransformPoint(matrix.MultiplyPoint([*index, 1])[:3]))
            self.assertLess(np.linalg.norm(np.subtract(*places)), FLOAT_ERROR_MM)
