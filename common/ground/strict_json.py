"""JSON without surprises: no NaN, no infinity, and no value that a reader would not get back."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any


def plain_value(value: Any, where: str = "value", undefined: dict[str, str] | None = None) -> Any:
    """``value`` made of dict, list, str, int, float, bool and None only.

    NumPy scalars and arrays and paths are converted. A NaN, an infinity, a key that is not text, or any other type is a
    ValueError that names the place, such as ``metrics.rounds[3].central.loss``: an undefined figure has to be None.
    With ``undefined`` a number that is not finite becomes None, and its place goes there with what it was.
    """
    if hasattr(value, "tolist"):  # NumPy's, which a command that only prints does not wait for
        value = value.tolist()
    if isinstance(value, str):  # a byte of a file's name that is no UTF-8 has no character
        return value.encode(errors="backslashreplace").decode()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value) and undefined is not None:
            undefined[where] = str(value)
            return None
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}; an undefined figure must be None, with its reason beside it")
        return value
    if isinstance(value, Path):
        return plain_value(str(value), where)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be text")
        return {key: plain_value(item, f"{where}.{key}", undefined) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(item, f"{where}[{index}]", undefined) for index, item in enumerate(value)]
    raise ValueError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def side_by_side(
    one: Any, other: Any, skip: Collection[str] = (), place: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    """Every value of two JSON values, with its place; a whole branch that one lacks is one value, None there."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in skip:
                yield from side_by_side(one.get(key), other.get(key), skip, (*place, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from side_by_side(mine, theirs, skip, (*place, index))
    else:
        yield place, one, other


def canonical_json(value: Any) -> str:
    """One line, keys sorted, no spaces: equal values give equal text, which is what gets hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
