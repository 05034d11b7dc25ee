"""Stand-in for slicer.app.layoutManager(). The views' logics are genuine; they are drawn only on request."""


class LayoutManager:
    """First version: no views yet."""

    def __init__(self, scene, logic):
        self._scene, self._logic = scene, logic

    def sliceViewNames(self):
        return ()

    def close(self):
        pass
