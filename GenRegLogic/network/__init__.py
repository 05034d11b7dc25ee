"""The trained network at work: the model, its weights as a file, and its use in the stages.

Training is in `training`.
"""

from .._lazy import lazy_names

_HOMES = {
    "STRIDES": "model",
    "Network": "model",
    "Output": "model",
    "compose": "model",
    "local_correlation": "model",
    "sample_at": "model",
    "upsample_field": "model",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
