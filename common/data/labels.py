"""The two CSV forms that label X-rays.

Plain: ``file, patient_id, <one column a finding>, ...`` with 1 present, 0 absent, empty unknown. NIH: the file of
ChestX-ray14, ``Image Index, Finding Labels, Patient ID`` with findings joined by ``|`` or ``No Finding`` (X. Wang et
al., ChestX-ray8, CVPR 2017, https://nihcc.app.box.com/v/ChestXray-NIHCC). Both may have a column ``split`` with train,
valid or test; other columns are ignored.
"""

import difflib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fedthorax.common.data.records import Split
from fedthorax.common.data.table import Row, Table, listed, read_table

LabelFormat = Literal["auto", "plain", "nih"]

NIH_FINDINGS = frozenset(
    {
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    }
)
"""What the NIH collection was searched for: absent from an image's list means absent from the image."""

_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "": math.nan}
_SPLITS: dict[str, Split] = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class LabelRow:
    """``file`` as it is written in the table, with forward slashes; ``patient`` and ``split`` are None if not given."""

    line: int
    file: str
    patient: str | None
    findings: tuple[float, ...]
    split: Split | None


@dataclass(frozen=True)
class LabelTable:
    path: Path
    format: Literal["plain", "nih"]
    rows: tuple[LabelRow, ...]
    notes: tuple[str, ...]


def read_labels(path: Path, format: LabelFormat, findings: Sequence[str]) -> LabelTable:
    """The labels in ``path`` in the order of ``findings``; raises ValueError with file, line, column and value."""
    table = read_table(path)
    if format == "auto":
        format = _recognise(table)
    return _read_nih(table, findings) if format == "nih" else _read_plain(table, findings)


def split_of(word: str) -> Split | None:
    """The split that a folder or a cell names, or None; ``val`` and ``validation`` mean valid."""
    return _SPLITS.get(word.lower())


def split_cell(table: Table, row: Row) -> Split | None:
    """The split in the row's column ``split``; None if there is no such column or the cell is empty."""
    word = row.cells.get("split", "")
    split = split_of(word)
    if word and split is None:
        raise ValueError(
            f"{table.path}, line {row.line}, column split: expected train, valid, test or nothing, found {word!r}"
        )
    return split


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`` (did you mean 'X'?)`` with the most similar known name, or nothing."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def _recognise(table: Table) -> Literal["plain", "nih"]:
    if {"Image Index", "Finding Labels"} <= set(table.columns):
        return "nih"
    if "file" in table.columns:
        return "plain"
    raise ValueError(
        f"{table.path}: expected a column 'file' (plain form) or 'Image Index' and 'Finding Labels' (NIH form), "
        f"found {', '.join(table.columns)}"
    )


def _read_plain(table: Table, findings: Sequence[str]) -> LabelTable:
    _require(table, "file")
    missing = [name for name in findings if name not in table.columns]
    others = [name for name in table.columns if name not in ("file", "patient_id", "split")]
    if len(missing) == len(findings):
        raise ValueError(
            f"{table.path}: has a column for none of the findings {', '.join(findings)}; "
            f"its columns are {', '.join(others) or 'no others than file, patient_id and split'}"
        )
    notes = []
    if missing:
        hinted = [name + did_you_mean(name, [other for other in others if other not in findings]) for name in missing]
        notes.append(f"{table.path.name} has no column for {', '.join(hinted)}: unknown for every X-ray")
    rows = []
    for row in table.rows:
        values = tuple(_value(table, row, name) if name in row.cells else math.nan for name in findings)
        rows.append(_row(table, row, "file", "patient_id", values))
    return LabelTable(table.path, "plain", _distinct(table, rows), (*notes, *_patient_notes(table, rows)))


def _read_nih(table: Table, findings: Sequence[str]) -> LabelTable:
    _require(table, "Image Index")
    _require(table, "Finding Labels")
    named = [_names(table, row) for row in table.rows]
    occurring = Counter(name for names in named for name in sorted(names))
    known = [name in NIH_FINDINGS or name in occurring for name in findings]
    if not any(known):
        raise ValueError(
            f"{table.path}: has none of the findings {', '.join(findings)}; "
            f"its Finding Labels are {', '.join(sorted(occurring)) or 'only No Finding'}"
        )
    notes = []
    unknown = [
        name + did_you_mean(name, sorted(occurring))
        for name, is_known in zip(findings, known, strict=True)
        if not is_known
    ]
    if unknown:
        notes.append(
            f"{table.path.name} never names {', '.join(unknown)}, which the NIH collection was not searched for: "
            "unknown for every X-ray"
        )
    foreign = [f"{name} ({number} X-rays)" for name, number in sorted(occurring.items()) if name not in findings]
    if foreign:
        notes.append(f"{table.path.name} names findings that the consortium does not predict: {', '.join(foreign)}")
    rows = []
    for row, names in zip(table.rows, named, strict=True):
        values = tuple(
            float(name in names) if is_known else math.nan for name, is_known in zip(findings, known, strict=True)
        )
        rows.append(_row(table, row, "Image Index", "Patient ID", values))
    return LabelTable(table.path, "nih", _distinct(table, rows), (*notes, *_patient_notes(table, rows)))


def _names(table: Table, row: Row) -> frozenset[str]:
    names = [name.strip() for name in row.cells["Finding Labels"].split("|")]
    if not all(names) or ("No Finding" in names and len(names) > 1):
        raise ValueError(
            f"{table.path}, line {row.line}, column Finding Labels: expected names joined by | or only No Finding, "
            f"found {row.cells['Finding Labels']!r}"
        )
    return frozenset(names) - {"No Finding"}


def _value(table: Table, row: Row, column: str) -> float:
    cell = row.cells[column]
    if cell not in _VALUES:
        raise ValueError(
            f"{table.path}, line {row.line}, column {column}: expected 1, 0 or nothing (unknown), found {cell!r}"
        )
    return _VALUES[cell]


def _row(table: Table, row: Row, file_column: str, patient_column: str, findings: tuple[float, ...]) -> LabelRow:
    file = row.cells[file_column].replace("\\", "/").removeprefix("./")
    if not file:
        raise ValueError(f"{table.path}, line {row.line}, column {file_column}: expected a file name, found nothing")
    if file.startswith("/") or file[1:2] == ":" or ".." in file.split("/"):
        raise ValueError(
            f"{table.path}, line {row.line}, column {file_column}: expected a path inside the X-ray folder, "
            f"found {row.cells[file_column]!r}"
        )
    return LabelRow(row.line, file, row.cells.get(patient_column) or None, findings, split_cell(table, row))


def _require(table: Table, column: str) -> None:
    if column not in table.columns:
        raise ValueError(f"{table.path}: expected a column {column!r}, found {', '.join(table.columns)}")


def _distinct(table: Table, rows: Sequence[LabelRow]) -> tuple[LabelRow, ...]:
    first: dict[str, int] = {}
    for row in rows:
        if row.file in first:
            raise ValueError(
                f"{table.path}, line {row.line}: {row.file} already stands in line {first[row.file]}; "
                "each image may have one row"
            )
        first[row.file] = row.line
    return tuple(rows)


def _patient_notes(table: Table, rows: Sequence[LabelRow]) -> tuple[str, ...]:
    without = [row.file for row in rows if row.patient is None]
    if not without:
        return ()
    return (
        f"{table.path.name} gives no patient for {len(without)} X-rays ({listed(without)}): each counts as a patient",
    )
