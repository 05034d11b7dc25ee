"""What the slice views show of a result: layers, comparisons, deformation, maps and colors; and the objective plot."""

from ..._lazy import lazy_names

_HOMES = {
    "SliceViewState": "layers",
    "ViewsState": "layers",
    "nodesOf": "layers",
    "setLayers": "layers",
    "showAlike": "layers",
    "showLayers": "layers",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
