"""Whether a small grey picture looks like an upright frontal chest radiograph.

The pattern is the mean of 500 radiographs of the NIH ChestX-ray14 collection, reduced to 8 x 8, made symmetric,
centred, scaled and rounded (`benchmarks/check_calibration.py` computes it again): shoulders and air above, two dark
lungs, a bright mediastinum and abdomen. It holds nothing of any single patient.
"""

import numpy as np
from numpy.typing import NDArray

_LEFT_HALF = (
    (-25, -21, -15, 0),
    (-3, -3, -10, -3),
    (5, 0, -15, -3),
    (2, -2, -13, 3),
    (-3, -2, -4, 11),
    (-8, 1, 7, 18),
    (-12, 7, 18, 24),
    (-14, 10, 22, 26),
)
_GRID = 8

Floats = NDArray[np.float32]


def chest_likeness(small: Floats) -> tuple[float, float, float, float]:
    """Correlations of ``small`` (a square, its side a multiple of 8) with the pattern turned by 0, 90, 180 and 270
    degrees counter-clockwise; about -c for inverted greys where the right ones give c, and 0 for a single colour."""
    picture = _centred(_reduced(small))
    values = [float((picture * pattern).sum()) for pattern in _PATTERNS]
    return values[0], values[1], values[2], values[3]


def mirror_symmetry(small: Floats) -> float:
    """Correlation of ``small`` with its mirror image, on the same coarse grid; 0 for a single colour."""
    picture = _centred(_reduced(small))
    return float((picture * picture[:, ::-1]).sum())


def _reduced(small: Floats) -> Floats:
    cell = small.shape[0] // _GRID
    means: Floats = small.reshape(_GRID, cell, _GRID, cell).mean(axis=(1, 3), dtype=np.float32)
    return means


def _centred(picture: Floats) -> Floats:
    centred = picture - picture.mean()
    length = float(np.linalg.norm(centred))
    return centred / np.float32(length) if length > 1e-3 else np.zeros_like(centred)


def _pattern() -> Floats:
    left = np.array(_LEFT_HALF, np.float32)
    return _centred(np.concatenate([left, left[:, ::-1]], axis=1))


_PATTERNS = tuple(np.rot90(_pattern(), turns) for turns in range(4))
