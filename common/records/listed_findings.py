"""Label files with one column that lists an image's findings."""

import ast
import math
from collections import Counter
from collections.abc import Collection, Sequence

from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.column_findings import Values
from fedthorax.common.records.finding_names import same_finding, unclear_names
from fedthorax.common.records.layouts import MISSING, Layout, plain_cell
from fedthorax.common.records.table import Row, Table, listed

_SEPARATORS = "|;,/"
_COMMON = 5


def listed_findings(
    table: Table, layout: Layout, column: str, findings: Sequence[str]
) -> tuple[Values, tuple[str, ...]]:
    """A row of values for each row of ``table``, in the order of ``findings``, from the lists in ``column``; and notes.

    A finding that the images were searched for is absent where it is not listed; any other is unknown everywhere.
    """
    lists = names_in(table, layout, column)
    occurring = Counter(name for names in lists if names is not None for name in sorted(names))
    check_names(table, layout, column, findings, occurring)
    searched = {*occurring, *(layout.searched or ())}
    sources = {name: {other for other in searched if layout.names.get(other, other) == name} for name in findings}
    unknown = [name for name in findings if not sources[name]]
    if len(unknown) == len(findings):
        others = sorted(set(occurring) - {layout.no_finding})
        raise ValueError(
            f"{table.path}: has none of the findings {', '.join(findings)}; its {column} are "
            f"{listed(others, 20) or f'only {layout.no_finding}'}"
        )
    notes = []
    if unknown:
        why = ", which the NIH collection was not searched for" if layout.name == "nih" else ""
        notes.append(f"{table.path.name} never names {', '.join(unknown)}{why}: unknown for every X-ray")
    used = set().union(*sources.values()) | layout.incomplete | {layout.no_finding}
    foreign = {name: n for name, n in sorted(occurring.items()) if name not in used and layout.names.get(name, name)}
    if foreign:
        # Notes leave the hospital, and a wrong column may hold whole reports: only what is common is quoted.
        quoted = [
            f"{n} ({number_of(c, 'X-ray')})" for n, c in foreign.items() if c >= _COMMON or n in (layout.searched or ())
        ]
        rare = len(foreign) - len(quoted)
        quoted += [f"{number_of(rare, 'name')} in fewer than {_COMMON} X-rays each"] if rare else []
        notes.append(f"{table.path.name} names findings that the consortium does not predict: {listed(quoted, 15)}")
    values = [
        _values(table, layout, column, row, names, list(sources.values()))
        for row, names in zip(table.rows, lists, strict=True)
    ]
    return values, tuple(notes)


def names_in(table: Table, layout: Layout, column: str) -> list[frozenset[str] | None]:
    """The names of each row, as the file writes them; None where nothing is known."""
    return [_names(table, layout, column, row) for row in table.rows]


def _names(table: Table, layout: Layout, column: str, row: Row) -> frozenset[str] | None:
    """The names in a cell, as the file writes them; None if nothing is known."""
    known = {*layout.names, *(layout.searched or ()), *layout.incomplete, layout.no_finding}
    cell = row.cells[column]
    place = f"{table.path}, line {row.line}, column {column}"
    none = f" or only {layout.no_finding}" if layout.no_finding else ""
    expected = f"expected names joined by {layout.separator}{none}, found {cell!r}"
    if not cell and layout.empty != "refused":
        return None if layout.empty == "unknown" else frozenset()
    if cell and (word := plain_cell(cell)) in layout.cells and math.isnan(layout.cells[word] or 0.0):
        return None
    if cell.startswith("["):
        try:
            items = ast.literal_eval(cell)
        except (SyntaxError, ValueError):
            items = None
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"{place}: expected a list such as ['one name', 'another name'], found {cell!r}")
        names = [_name(item) for item in items if item.strip()]
        if not names:
            return None if layout.empty == "unknown" else frozenset()
        return frozenset(names)
    names = [_name(part) for part in cell.split(layout.separator)]
    for name in names:
        if plain_cell(name) in MISSING - layout.cells.keys() and name not in known:
            raise ValueError(
                f"{place}: {expected}; if {name!r} means unknown, list it under xray.mapping.unknown, if it is a name, "
                "give it under xray.mapping.names"
            )
    if not all(names):
        raise ValueError(f"{place}: {expected}")
    return frozenset(names)


def _name(text: str) -> str:
    return " ".join(text.split())


def check_names(table: Table, layout: Layout, column: str, findings: Sequence[str], occurring: Collection[str]) -> None:
    """Refuse names that would pass for another finding, and so turn a finding that is there into an absent one."""
    known = {*findings, *layout.names, *(layout.searched or ()), *layout.incomplete, layout.no_finding}
    candidates = [name for name in (*findings, layout.no_finding) if name]
    guesses = []
    for name in sorted(set(occurring) - known):
        for mark in _SEPARATORS:
            parts = [part.strip() for part in name.split(mark)]
            if len(parts) > 1 and all(part in known for part in parts):
                raise ValueError(
                    f"{table.path}, column {column}: {name!r} looks like several names joined by {mark}; "
                    f"set xray.mapping.separator to {mark!r}, or give the name null under xray.mapping.names"
                )
        if (guess := same_finding(name, candidates)) is not None:
            guesses.append((name, guess))
    # A name of the collection itself is unclear as well where it may mean a finding that is never named.
    targets = {layout.names.get(name, name) for name in (*occurring, *(layout.searched or ()))}
    never_named = [name for name in findings if name not in targets]
    for name in sorted((set(occurring) & set(layout.searched or ())) - {*findings, *layout.names}):
        if (guess := same_finding(name, never_named)) is not None:
            guesses.append((name, guess))
    if guesses:
        raise ValueError(f"{table.path}, column {column}: {unclear_names(guesses)}")


def _values(
    table: Table,
    layout: Layout,
    column: str,
    row: Row,
    names: frozenset[str] | None,
    sources: Sequence[set[str]],
) -> tuple[float, ...]:
    if names is None:
        return (math.nan,) * len(sources)
    there = [any(name in names for name in part) for part in sources]
    present = {name for part, is_there in zip(sources, there, strict=True) if is_there for name in part & names}
    contradicted = present - layout.beside_no_finding - {layout.no_finding}
    if layout.no_finding in names and contradicted:
        raise ValueError(
            f"{table.path}, line {row.line}, column {column}: expected names joined by {layout.separator} or only "
            f"{layout.no_finding}, found {row.cells[column]!r}"
        )
    not_listed = math.nan if names & layout.incomplete else 0.0
    return tuple(
        math.nan if not part else 1.0 if is_there else not_listed for part, is_there in zip(sources, there, strict=True)
    )
