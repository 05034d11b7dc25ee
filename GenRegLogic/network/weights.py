"""The network's weights as a file: numbers only, in half precision, identified by a checksum.

The format is NumPy's .npz without pickled objects, so that reading a file from elsewhere runs no code.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..files.atomic import replacing
from .model import Network

__all__ = ["checksum", "load_weights", "save_weights"]

LARGEST_BYTES = 8 * 2**20
"""Largest size of a weight file; a larger one is not this network's."""


def save_weights(network: Network, path: str | Path) -> str:
    """Write a network's weights in half precision; the file appears only when it is complete.

    Returns:
        The file's SHA-256.

    Raises:
        InputError: The folder cannot be written to.
        ResourceError: The disk is full.
    """
    path = Path(path)
    arrays = {name: value.detach().cpu().half().numpy() for name, value in network.state_dict().items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return checksum(path.read_bytes())


def load_weights(path: str | Path, sha256: str | None = None) -> Network:
    """A network with the weights of a file, on the CPU and in evaluation mode.

    Args:
        path: As `save_weights` wrote it.
        sha256: The expected checksum; None accepts any.

    Raises:
        InputError: The file is missing or damaged, has another checksum, or holds other arrays than the network has.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError:
        raise InputError(f"The network's weights are missing ({path.name}); install GenReg again.") from None
    if len(data) > LARGEST_BYTES or (sha256 is not None and checksum(data) != sha256):
        raise InputError(
            f"The network's weights ({path.name}) are not those that belong to this version (their "
            "checksum differs); install GenReg again."
        )
    network = Network()
    expected = network.state_dict()
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"The network's weights ({path.name}) are damaged; install GenReg again.") from None
    if {name: value.shape for name, value in arrays.items()} != {name: tuple(v.shape) for name, v in expected.items()}:
        raise InputError(f"The network's weights ({path.name}) are those of another network; install GenReg again.")
    if not all(value.dtype.kind == "f" and np.isfinite(value).all() for value in arrays.values()):
        raise InputError(f"The network's weights ({path.name}) are damaged; install GenReg again.")
    network.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()})
    return network.eval()


def checksum(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
