"""Pairs of noise of any size: they fill the whole scan, so that nothing can be cropped, and their motion is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from measuring import MeasuringError

SCALES_VOXELS = (3.0, 8.0, 24.0)
"""Distances between the random values of the noise, from fine texture to large shapes."""

MOTION_SCALE_VOXELS, MOTION_VOXELS = 24.0, 3.0
"""Distance between the random displacements, and their standard deviation."""

BRIGHTNESS = 200.0
"""Standard deviation of the values of each scale."""


def parsed(text: str) -> tuple[int, ...]:
    """Voxels along i, j, k, of "N" or "NxNxN"."""
    try:
        numbers = [int(n) for n in text.split("x")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or min(numbers) < 2 * MOTION_SCALE_VOXELS:
        raise MeasuringError(f"{text!r} is no size; give N or NxNxN, at least {2 * MOTION_SCALE_VOXELS:.0f} each.")
    return tuple(numbers * 3 if len(numbers) == 1 else numbers)


def shown(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)


def make_pair(size: tuple[int, ...], seed: int = 0) -> tuple:
    """The fixed and the moving scan: int16 noise of several scales, and the same noise deformed; 1 mm voxels.

    The noise is defined between the voxels too, so the moving scan is sampled as sharply as the fixed one.
    """
    import numpy as np

    from GenRegLogic.space.field import AffineTransform, DisplacementField
    from GenRegLogic.space.geometry import Geometry
    from GenRegLogic.space.volume import Volume
    from GenRegLogic.space.warp import warp_image

    rng, grid = np.random.default_rng(seed), Geometry(size)

    def random(step: float, components: int) -> tuple[np.ndarray, Geometry]:
        coarse = Geometry([math.ceil((n - 1) / step) + 5 for n in size], (step,) * 3, (-2 * step,) * 3)
        return rng.standard_normal((*coarse.shape, components)).astype(np.float32), coarse

    textures = [random(step, 1) for step in SCALES_VOXELS]
    motion, coarse = random(MOTION_SCALE_VOXELS, 3)
    pair = []
    for mapping in (AffineTransform.identity(), DisplacementField(motion * MOTION_VOXELS, coarse)):
        total = np.zeros(grid.shape, np.float32)
        for values, texture in textures:
            total += warp_image(Volume(values[..., 0], texture), mapping, grid).array
        pair.append(Volume(np.rint(total * BRIGHTNESS).astype(np.int16), grid))
    return tuple(pair)
