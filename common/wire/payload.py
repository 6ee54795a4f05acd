"""A message's weight segments one after the other in one run of bytes, float32 values first, then packed bytes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Extents = tuple[tuple[str, int, bool], ...]  # name, number of values, whether these are the bytes of a packed one

_FLOAT, _BYTE = np.dtype("<f4"), np.dtype("u1")


def in_order(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What is not uint8 as little-endian float32, and before all that is: so every float32 value lies aligned."""
    whole = {name: np.ascontiguousarray(each, _FLOAT) for name, each in arrays.items() if each.dtype != _BYTE}
    packed = {name: np.ascontiguousarray(each) for name, each in arrays.items() if each.dtype == _BYTE}
    return whole | packed


def extents_of(ordered: Mapping[str, NDArray[Any]]) -> Extents:
    return tuple((name, len(values), values.dtype == _BYTE) for name, values in ordered.items())


def checked_extents(listed: Any) -> Extents:
    """``listed`` as it came from outside. ValueError where it is something else."""
    try:
        extents = tuple((str(name), int(count), bool(packed)) for name, count, packed in listed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"segments must be a list of names, numbers of values and kinds: {error}") from error
    if any(count < 0 for _, count, _ in extents) or len({name for name, _, _ in extents}) < len(extents):
        raise ValueError("segments have a negative number of values, or a name twice")
    if [packed for _, _, packed in extents] != sorted(packed for _, _, packed in extents):
        raise ValueError("segments must have the packed ones last")
    return extents


def num_bytes(extents: Iterable[tuple[str, int, bool]]) -> int:
    return sum(count * _kind(packed).itemsize for _, count, packed in extents)


def split(buffer: bytes | bytearray, extents: Extents, start: int = 0) -> dict[str, NDArray[Any]]:
    """The segments by name, as views of ``buffer`` from ``start``; ValueError unless they fill the rest of it."""
    if len(buffer) - start != (size := num_bytes(extents)):
        raise ValueError(f"{len(buffer) - start} bytes of segments; {size} were announced")
    arrays = {}
    for name, count, packed in extents:
        kind = _kind(packed)
        arrays[name] = np.frombuffer(buffer, kind, count, start) if count else np.empty(0, kind)
        start += count * kind.itemsize
    return arrays


def _kind(packed: bool) -> np.dtype[Any]:
    return _BYTE if packed else _FLOAT
