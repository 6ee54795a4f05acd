"""Which findings a label file itself names, where nobody has said which are meant; which columns are none, and why."""

from collections.abc import Sequence

from fedthorax.common.records.finding_names import refuse_alike
from fedthorax.common.records.layouts import MISSING, Layout, plain_cell
from fedthorax.common.records.listed_findings import check_names, names_in
from fedthorax.common.records.table import Table, listed

_OTHER_COLUMNS = frozenset({"split", "sex", "age", "view", "patient", "patient_id", "follow-up #", "patient age"})
_YES, _NO = ("yes", "y", "true", "positive", "pos", "present", "+", "x", "ja", "j"), ("no", "n", "false", "negative")
_WORDS = frozenset({*_YES, *_NO, "neg", "absent", "-", "nein", "oui", "non", "si", "sí"})
_LABELS = frozenset({"0", "1", "-1"})


def named_findings(table: Table, layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The findings, by the names that ``layout`` gives them, and notes on columns that were not taken for one.

    Of a column of lists every name that occurs or was searched for. Else each column of which half of the filled cells
    or more are 1, 0 or what else ``layout`` knows, words for unknown apart: an odd cell among them is a fault to be
    named when it is read, and takes no column away. Raises ValueError where there is no finding at all, and for names
    that are one in two spellings.
    """
    if layout.labels is not None:
        occurring = {name for names in names_in(table, layout, layout.labels) for name in names or ()}
        check_names(table, layout, layout.labels, sorted(layout.searched or ()), occurring)
        named = sorted(occurring)
        named = sorted({*named, *(layout.searched or ())} - layout.incomplete - {layout.no_finding})
        notes: tuple[str, ...] = ()
    else:
        others = {*layout.used_columns, *layout.beside_no_finding, layout.no_finding, ""}
        candidates = [name for name in table.columns if name not in others and name.lower() not in _OTHER_COLUMNS]
        reasons = {name: _why_none(table, layout, name) for name in candidates}
        named = [name for name, reason in reasons.items() if reason is None]
        by_reason: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            if reason is not None:
                by_reason.setdefault(reason, []).append(name)
        left = [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
        left += ["a column without a name"] * any(row.cells.get("") for row in table.rows)
        notes = (f"{table.path.name}: not taken for findings: {listed(left, 8)}",) if left else ()
        if not named:
            told = listed(left, 8) or f"no others than {', '.join(table.columns)}"
            raise ValueError(f"{table.path}: no column is one of findings, with 1, 0 or nothing; its columns: {told}")
    refuse_alike(table.path, [name for name in named if name not in layout.names])
    targets = [layout.names.get(name, name) for name in named]
    return tuple(dict.fromkeys(name for name in targets if name)), notes


def _why_none(table: Table, layout: Layout, column: str) -> str | None:
    """In words; None if the column is one of a finding."""
    if column in layout.names:
        return None if layout.names[column] else "left out by the mapping"
    cells = [word for row in table.rows if (word := plain_cell(row.cells[column]))]
    known = sum(word in layout.cells or word in _LABELS for word in cells)
    if not cells:
        return "empty"
    if _counts(cells):
        return "numbers beyond 0 and 1"
    if known and 2 * known >= sum(word in layout.cells or word not in MISSING for word in cells):
        return None
    if set(cells) <= _WORDS:
        return "words in place of 1 and 0: say what they mean under xray.mapping.present and absent"
    return "other cells than 1 and 0"


def _counts(cells: Sequence[str]) -> bool:
    """Whether the column counts something: whole numbers, of which several are beyond 0 and 1."""
    return all(word.isdecimal() for word in cells) and len(set(cells) - _LABELS) > 1
