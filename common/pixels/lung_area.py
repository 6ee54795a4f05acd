"""How much of an axial CT slice is lung."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Lung lies from -900 to -500 HU, soft tissue above -100: whatever lies between is the partly filled rim.
_AIR_OR_LUNG = -400

_STEP = 4


def lung_share(hounsfield: NDArray[Any]) -> float:
    """Share of the body's area, from 0 to 1, that is lung; (H, W) in Hounsfield units.

    What is as thin as lung and not joined to the border of the picture counts: the lungs, the windpipe, and the gas of
    the bowel, which is little. Every fourth row and column is enough. 0 if there is no body.
    """
    from scipy.ndimage import label

    thin = np.pad(hounsfield[::_STEP, ::_STEP] < _AIR_OR_LUNG, 1, constant_values=True)
    parts, _ = label(thin)
    outside = parts == parts[0, 0]
    body = int((~outside).sum())
    return float((thin & ~outside).sum() / body) if body else 0.0
