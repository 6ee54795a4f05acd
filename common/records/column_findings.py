"""Label files with one column a finding."""

import math
from collections.abc import Sequence

from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.finding_names import same_finding, unclear_names
from fedthorax.common.records.layouts import Layout, plain_cell
from fedthorax.common.records.table import Row, Table

Values = list[tuple[float, ...]]


def column_findings(table: Table, layout: Layout, findings: Sequence[str]) -> tuple[Values, tuple[str, ...]]:
    """A row of values for each row of ``table``, in the order of ``findings``, and notes.

    Several columns of one finding: present where one says so, absent only where all do.
    """
    columns = _columns(table, layout, findings)
    missing = [name for name in findings if not columns[name]]
    others = [name for name in table.columns if name and name not in layout.used_columns]
    if len(missing) == len(findings):
        raise ValueError(
            f"{table.path}: has a column for none of the findings {', '.join(findings)}; its columns are "
            f"{', '.join(others) or 'no others than ' + ', '.join(sorted(layout.used_columns))}"
        )
    notes: tuple[str, ...] = ()
    if missing:
        notes = (f"{table.path.name} has no column for {', '.join(missing)}: unknown for every X-ray",)
    healthy = layout.no_finding if layout.no_finding in table.columns else None
    values = []
    for row in table.rows:
        without = healthy is not None and _value(table, layout, row, healthy, "ignore") == 1
        values.append(tuple(_finding(table, layout, row, name, columns[name], without) for name in findings))
    return values, notes


def _columns(table: Table, layout: Layout, findings: Sequence[str]) -> dict[str, list[str]]:
    """The columns of each finding; raises ValueError on a column that may be a finding's but is not called so."""
    absent = [name for name in layout.names if name not in table.columns]
    if absent:
        close = same_finding(absent[0], table.columns)
        raise ValueError(
            f"{table.path}: xray.mapping.names has {absent[0]!r}, which is no column of the file"
            + (f"; did you mean {close!r}?" if close else f"; its columns are {', '.join(table.columns)}")
        )
    columns = {name: [source for source, target in layout.names.items() if target == name] for name in findings}
    for name in findings:
        if name in table.columns and name not in layout.names and name not in layout.used_columns:
            columns[name].insert(0, name)
    left = [
        column
        for column in table.columns
        if column and column not in (*findings, *layout.names, *layout.used_columns, layout.no_finding)
    ]
    without_column = [name for name in findings if not columns[name]]
    guesses = [(column, guess) for column in left if (guess := same_finding(column, without_column)) is not None]
    if guesses:
        raise ValueError(f"{table.path}: {unclear_names(guesses)}")
    return columns


def _finding(
    table: Table, layout: Layout, row: Row, finding: str, columns: Sequence[str], without_finding: bool
) -> float:
    policy = layout.uncertain_findings.get(finding, layout.uncertain)
    values = []
    for column in columns:
        value = _value(table, layout, row, column, policy)
        if without_finding and column != layout.no_finding and column not in layout.beside_no_finding:
            if layout.cells.get(plain_cell(row.cells[column])) == 1:
                raise ValueError(
                    f"{table.path}, line {row.line}: {layout.no_finding} and {column} are both present; correct the "
                    "row, or list the name under xray.mapping.beside_no_finding"
                )
            if not row.cells[column]:
                value = 0.0
        values.append(value)
    if 1.0 in values:
        return 1.0
    return 0.0 if values and all(value == 0 for value in values) else math.nan


def _value(table: Table, layout: Layout, row: Row, column: str, policy: str) -> float:
    cell = row.cells[column]
    if (word := plain_cell(cell)) in layout.cells:
        value = layout.cells[word]
        return {"ignore": math.nan, "ones": 1.0, "zeros": 0.0}[policy] if value is None else value
    if cell:
        words = [word for word, value in layout.cells.items() if value == 1 or value == 0]
        hint = "; if -1 means uncertain, set xray.mapping.uncertain to ignore, ones or zeros" if word == "-1" else ""
        odd = sum(plain_cell(other.cells[column]) not in {"", *layout.cells} for other in table.rows)
        more = f" (as in {number_of(odd - 1, 'more line')})" if odd > 1 else ""
        hint = hint or "; what else a cell may mean is said under xray.mapping (present, absent, unknown)"
        raise ValueError(
            f"{table.path}, line {row.line}, column {column}: expected {', '.join(words)} or nothing (unknown), "
            f"found {cell!r}{more}{hint}"
        )
    if layout.empty == "refused":
        raise ValueError(f"{table.path}, line {row.line}, column {column}: expected a value, found nothing")
    return 0.0 if layout.empty == "absent" else math.nan
