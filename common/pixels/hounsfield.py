"""From Hounsfield units to three grey pictures in one: what a radiologist sees in three windows."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CtWindow

AIR = -1000
"""Nothing in a body is thinner. Scanners fill the corners that they did not measure with -1024 to -3024, each its own
way: shown as it is, that would tell the network the manufacturer."""

_HIGHEST = 4095

_LOW, _HIGH = -4096, 8191  # Hounsfield units that are counted apart
_PADDING, _LUNG = -1100, -500  # less was not measured; between the two lie air and lung
_FEW_PIXELS, _LEAST_BODY = 64, 0.01

# Of what is denser than lung, -200 to 400 (fat to contrast) and above 600 (bone); what was measured stands in
# docs/formats.md.
_LEAST_TISSUE, _MOST_BONE = 0.6, 0.12
_LEAST_AIR, _LEAST_AIR_APART = 0.005, 0.02
_LEAST_SPREAD = 20
# Inside a body: water and less, such as fat; or one tissue alone; and no value at which all that is less was cut off.
_LEAST_FAT, _ONE_TISSUE, _MOST_AT_THE_END = 0.002, (5, 175), 0.05

_SHIFTS = {
    -1024: "they lie about 1024 too high, as if the rescale intercept were forgotten",
    1024: "they lie about 1024 too low, as if the rescale intercept were applied twice",
}


def looked_at(count: int) -> list[int]:
    """Which of ``count`` slices to ask: the middle one first, then eight more at equal distances."""
    return list(dict.fromkeys(((2 * part + 1) * count // 18) for part in (4, 2, 6, 0, 8, 1, 3, 5, 7))) if count else []


def not_hounsfield(slices: Iterable[NDArray[Any]]) -> str | None:
    """Why the values of a series, each slice (H, W), are no Hounsfield units; None if they are, or nobody can tell.

    The first slice that has air (-1000) and soft tissue (0 to 100) in their places answers for its series, as a scanner
    has one scale; without one, all are asked together. A series inside the body has no air, but fat or one tissue.
    """
    counts = np.zeros(_HIGH - _LOW + 1, np.int64)
    for units in slices:
        whole = np.rint(units[np.isfinite(units)]) if units.dtype.kind == "f" else units
        seen = np.bincount(np.clip(whole, _LOW, _HIGH).astype(np.int64).ravel() - _LOW, minlength=len(counts))
        if _in_place(seen):
            return None
        counts += seen
    in_place = _in_place(counts)
    if in_place:
        return None
    for shift, words in _SHIFTS.items():
        shifted = np.roll(counts, shift)  # the ends hold nothing, or what is beyond all scales
        air = shifted[_PADDING - _LOW : _LUNG - _LOW]
        # Corners of -2048 are one value; air that was measured is many.
        if _in_place(shifted) and (shift < 0 or air.sum() - air.max() > _LEAST_AIR_APART * _measured(shifted).sum()):
            return words
    if in_place is None or (_air(counts) >= _LEAST_AIR and _of_body(counts, 600, _HIGH + 1) <= _MOST_BONE):
        return None
    return "neither air (-1000) nor soft tissue (0 to 100) lies where it should"


def _in_place(counts: NDArray[np.int64]) -> bool | None:
    """Whether air and tissue lie in place; None if there is nothing to tell by."""
    measured = _measured(counts)
    total, (used,) = measured.sum(), np.nonzero(measured)
    if total < _FEW_PIXELS or measured[_LUNG - _PADDING :].sum() < _LEAST_BODY * total:
        return None
    if len(used) == 1 and used[0] < len(measured) - 1:
        return None
    if _of_body(counts, -200, 400) < _LEAST_TISSUE or _of_body(counts, 600, _HIGH + 1) > _MOST_BONE:
        return False
    if _air(counts) >= _LEAST_AIR:
        return True
    low, high = np.searchsorted(np.cumsum(measured), (0.01 * total, 0.99 * total)) + _PADDING
    fat = _of_body(counts, -200, 0) >= _LEAST_FAT and measured[used[0]] <= _MOST_AT_THE_END * total
    one = low >= _ONE_TISSUE[0] and high - low <= _ONE_TISSUE[1]
    return bool(high - low >= _LEAST_SPREAD and (fat or one))


def _measured(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return counts[_PADDING - _LOW :]


def _air(counts: NDArray[np.int64]) -> float:
    """Share of what was measured."""
    return float(counts[_PADDING - _LOW : _LUNG - _LOW].sum() / max(1, _measured(counts).sum()))


def _of_body(counts: NDArray[np.int64], low: int, high: int) -> float:
    """Share of what is denser than lung that lies from ``low`` to below ``high``."""
    return float(counts[low - _LOW : high - _LOW].sum() / max(1, counts[_LUNG - _LOW :].sum()))


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
