"""The project's own pair of scans, the demonstration on it, and its picture."""

from .._lazy import lazy_names

_HOMES = {
    "Flow": "scans",
    "PhantomPair": "scans",
    "make_pair": "scans",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
