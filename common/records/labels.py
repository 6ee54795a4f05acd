"""The CSV file that labels X-rays, in any of the layouts of ``layouts``.

Plain: ``file, patient_id, <one column a finding>, ...`` with 1 present, 0 absent, empty unknown; ``split``, ``sex``,
``age``, ``view`` and ``scanner`` are read where they stand. All other columns are ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.config.label_mapping import LabelFormat, LabelMapping, Match
from fedthorax.common.records.attributes import read_attributes
from fedthorax.common.records.column_findings import column_findings
from fedthorax.common.records.finding_names import did_you_mean
from fedthorax.common.records.layouts import join_columns, layout_of
from fedthorax.common.records.listed_findings import listed_findings
from fedthorax.common.records.matching import relative_file
from fedthorax.common.records.named_findings import named_findings
from fedthorax.common.records.records import Attributes, Split
from fedthorax.common.records.table import Row, Table, join_tables, read_table

_SPLITS: dict[str, Split] = {
    "train": "train",
    "valid": "valid",
    "val": "valid",
    "validate": "valid",
    "validation": "valid",
    "test": "test",
    "training": "train",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class LabelRow:
    """``file`` as it is written in the table, with forward slashes; ``patient`` and ``split`` are None if not given."""

    line: int
    file: str
    patient: str | None
    findings: tuple[float, ...]
    split: Split | None
    attributes: Attributes


@dataclass(frozen=True)
class LabelTable:
    """``patient_pattern`` tells the patient from the path, where the format has such paths."""

    path: Path
    findings: tuple[str, ...]
    format: str
    match: Match
    rows: tuple[LabelRow, ...]
    notes: tuple[str, ...]
    patient_pattern: str | None = None


def read_labels(
    path: Path,
    format: LabelFormat,
    findings: Sequence[str] | None,
    mapping: LabelMapping | None = None,
    further_tables: Sequence[Path] = (),
) -> LabelTable:
    """The labels in ``path`` in the order of ``findings``, or of those that the file names (None); raises ValueError
    with file, line, column and value.

    A finding that the file does not annotate is unknown for every image, and a note says so. A name that may be one of
    ``findings`` under another spelling or synonym is an error: only a person knows whether it is, and says so in
    ``mapping.names``.
    """
    mapping = mapping or LabelMapping()
    for key, finding in () if findings is None else mapping.foreign_findings(tuple(findings)):
        raise ValueError(
            f"{path}: xray.mapping.{key} names the finding {finding!r}, which labels.findings does not have"
            f"{did_you_mean(finding, findings or ())}"
        )
    table = read_table(path, mapping.encoding)
    notes: list[str] = []
    for place in further_tables:
        table, new_notes = join_tables(table, read_table(place, mapping.encoding), join_columns(table, format, mapping))
        notes += new_notes
    layout = layout_of(table, format, mapping)
    if findings is None:
        findings, new_notes = named_findings(table, layout)
        notes += new_notes
    if layout.labels is None:
        values, new_notes = column_findings(table, layout, findings)
    else:
        values, new_notes = listed_findings(table, layout, layout.labels, findings)
    notes += new_notes
    attributes, new_notes = read_attributes(table, layout.attributes)
    notes += new_notes
    rows = [
        LabelRow(
            row.line,
            relative_file(table, row, layout.file, "X-ray folder", layout.match),
            (row.cells[layout.patient] or None) if layout.patient else None,
            row_values,
            split_cell(table, row, layout.split) if layout.split else None,
            row_attributes,
        )
        for row, row_values, row_attributes in zip(table.rows, values, attributes, strict=True)
    ]
    return LabelTable(
        table.path, tuple(findings), layout.name, layout.match, tuple(rows), tuple(notes), layout.patient_pattern
    )


def split_of(word: str) -> Split | None:
    """The split that a folder or a cell names, or None; also as a verb or with another ending."""
    return _SPLITS.get(word.lower())


def split_cell(table: Table, row: Row, column: str = "split") -> Split | None:
    """The split in the row's ``column``; None if there is no such column or the cell is empty."""
    word = row.cells.get(column, "")
    split = split_of(word)
    if word and split is None:
        raise ValueError(
            f"{table.path}, line {row.line}, column {column}: expected train, valid, test or nothing, found {word!r}"
        )
    return split
