"""The trained network in use: the model, its file of weights, and its part in the stages.

Training is in `training`.
"""

from .._lazy import lazy_names

_HOMES = {
    "STRIDES": "model",
    "Network": "model",
    "Output": "model",
    "compose_voxels": "model",
    "correlation_volume": "model",
    "sample_at": "model",
    "upsample_field": "model",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
