"""Rows of a table that name the same image."""

from collections.abc import Iterable
from pathlib import Path

from fedthorax.common.records.table import listed

_SHOWN = 5


def refuse_repeats(path: Path, rows: Iterable[tuple[str, int, object]]) -> None:
    """Raise ValueError where several of ``rows`` (what they name, line, what they say of it) name the same: how many,
    which, and whether they say the same."""
    said: dict[str, list[tuple[int, object]]] = {}
    for name, line, what in rows:
        said.setdefault(name, []).append((line, what))
    repeated = {name: same for name, same in said.items() if len(same) > 1}
    if not repeated:
        return
    # repr: an unknown finding is NaN, which is not equal to itself.
    torn = {name for name, same in repeated.items() if len({repr(what) for _, what in same}) > 1}
    told = [
        f"{name} in lines {listed([str(line) for line, _ in same])} ({'in conflict' if name in torn else 'alike'})"
        for name, same in sorted(repeated.items(), key=lambda item: item[0] not in torn)
    ]
    number = sum(len(same) - 1 for same in repeated.values())
    raise ValueError(
        f"{path}: {number} {'row repeats' if number == 1 else 'rows repeat'} an image of an earlier row, "
        f"{len(torn)} of the {len(repeated)} repeated images in conflict: {'; '.join(told[:_SHOWN])}"
        f"{f'; and {len(told) - _SHOWN} more' if len(told) > _SHOWN else ''}. Each image may have one row: of rows "
        "that are alike keep one, and ask whoever labelled the images which is right where they are in conflict"
    )
