"""From Hounsfield units to three grey pictures in one: what a radiologist sees in three windows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CtWindow

AIR = -1000
"""Nothing in a body is thinner. Scanners fill the corners that they did not measure with -1024 to -3024, each its own
way: shown as it is, that would tell the network the manufacturer."""

_HIGHEST = 4095


def windowed(hounsfield: NDArray[Any], windows: Sequence[CtWindow]) -> NDArray[np.uint8]:
    """(H, W) in Hounsfield units as (H, W, 3), one window a channel; a single window fills all three.

    A window shows ``center - width / 2`` and less black, ``center + width / 2`` and more white. Less than air is air.
    """
    table = _table(tuple((window.center, window.width) for window in windows))
    rounded = np.rint(hounsfield) if hounsfield.dtype.kind == "f" else hounsfield
    return table[np.clip(rounded, AIR, AIR + len(table) - 1).astype(np.intp) - AIR]


@lru_cache(maxsize=8)
def _table(windows: tuple[tuple[float, float], ...]) -> NDArray[np.uint8]:
    """Grey values by Hounsfield unit, from air on."""
    highest = max(_HIGHEST, *(int(center + width / 2) + 1 for center, width in windows))
    units = np.arange(AIR, highest + 1, dtype=np.float64)
    channels = [np.clip((units - center) / width + 0.5, 0, 1) * 255 for center, width in windows]
    return np.ascontiguousarray(np.rint(np.stack(channels * (3 // len(channels)), axis=-1)).astype(np.uint8))
