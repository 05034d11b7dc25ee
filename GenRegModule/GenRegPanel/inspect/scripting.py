"""Functions for scripts on a result: maps, measures, local repair, report. A base of the module's logic class."""

__all__ = ["InspectLogic"]


class InspectLogic:
    """Methods on a result; each waits until it is done. Subclasses have a `runner`.

    `transformNode` is always the transform of a run, in this scene or an earlier one, with its references to the fixed
    and the moving volume. Errors are `GenRegLogic.errors.GenRegError`s with one sentence.
    """

    def maps(self, transformNode, want=None, *, saved=False, device="auto"):
        """Volume nodes of maps by name; existing maps of the unchanged transform are not computed again.

        Args:
            transformNode: The transform.
            want: Names of `GenRegLogic.mrml.views.maps.MAPS`; None: all.
            saved: Save the maps with the scene.
            device: Device that computes: "auto", "cpu", ...
        """
        from GenRegLogic.mrml.views.maps import MAPS

        nodes = self._mapNodes()
        want = list(MAPS if want is None else want)
        missing = [name for name in want if name not in nodes.nodes(transformNode)]
        if missing:
            self.runner.wait("maps", transformNode, mapNodes=nodes, want=missing, saved=saved, device=device)
        return {name: node for name, node in nodes.nodes(transformNode).items() if name in want}

    def worstPlaces(self, transformNode):
        """The places with the largest expected error (`GenRegLogic.mrml.views.maps.Place`, RAS mm), worst first."""
        self.maps(transformNode, ["confidence"])
        return self._mapNodes().worst(transformNode)

    def measureLandmarks(self, transformNode, fixedLandmarks, movingLandmarks):
        """Table node of landmark errors before and after."""
        from GenRegLogic.mrml.nodes.tables import landmarkTable

        return landmarkTable(transformNode, fixedLandmarks, movingLandmarks)

    def measureSegments(self, transformNode, fixedSegmentation, movingSegmentation=None):
        """Table node of overlap, surface distance and volume change of each segment."""
        from GenRegLogic.mrml.nodes.tables import segmentTable

        return segmentTable(transformNode, fixedSegmentation, movingSegmentation)

    def saveTable(self, tableNode, path):
        """Write a table as comma-separated values."""
        from GenRegLogic.mrml.nodes.tables import saveCsv

        saveCsv(tableNode, path)

    def repair(self, transformNode, *, region=None, fixedLandmarks=None, movingLandmarks=None, **options):
        """Repair a transform in a region or around landmarks, and return the `RunResult`.

        Args:
            transformNode: The transform, which is overwritten; the result's `undo` restores it.
            region: Markups ROI, segmentation or label map.
            fixedLandmarks: Markups node.
            movingLandmarks: Markups node, matched by order.
            options: settings, preview, keepWarm, onProgress, onPreview, onLog.
        """
        return self.runner.wait(
            "repair",
            transformNode,
            region=region,
            fixedLandmarks=fixedLandmarks,
            movingLandmarks=movingLandmarks,
            **{"preview": False, **options},
        )

    def saveReport(self, transformNode, path, *, names=False, device="auto"):
        """Write the report as one HTML page; with `names` it contains the names of the two volumes."""
        from GenRegLogic.mrml.runs.transformjobs import savePage

        self.maps(transformNode, ["confidence"], device=device)
        nodes = self._mapNodes()
        page = self.runner.wait(
            "html",
            transformNode,
            names=names,
            device=device,
            worst=nodes.worst(transformNode),
            confidence=nodes.volume(transformNode, "confidence"),
        )
        savePage(page, path)

    def _mapNodes(self):
        import slicer

        from GenRegLogic.mrml.views.maps import MapNodes

        if getattr(self, "_maps", None) is None:
            self._maps = MapNodes(slicer.mrmlScene)
        return self._maps
