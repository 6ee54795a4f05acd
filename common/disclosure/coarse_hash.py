"""A hash of what a picture shows, equal for most copies of it in another size, format or brightness.

The signs of the 8 x 8 lowest frequencies against their median (C. Zauner, Implementation and Benchmarking of Perceptual
Image Hash Functions, 2010). Hospitals can compare keyed hashes for equality only, not for closeness, so this is coarser
than what ``fedthorax check`` looks for; how often it finds a copy is measured in docs/statistics.md.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.pixels.perceptual_hash import SIDE, signature

_FREQUENCIES = 8
_COSINES = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), 2 * np.arange(SIDE) + 1) / (2 * SIDE))


def coarse_hashes(images: NDArray[np.uint8]) -> list[str]:
    """64 bits in hexadecimal for each of ``images`` (N, S, S, 3); those of one colour, alike in nothing, have none."""
    hashes = []
    for image in images:
        grey = Image.fromarray(image).convert("L")
        small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), np.float32)
        shown = signature(small)
        if shown.any():
            frequencies = (_COSINES @ shown @ _COSINES.T).ravel()
            hashes.append(np.packbits(frequencies > np.median(frequencies[1:])).tobytes().hex())
    return hashes
