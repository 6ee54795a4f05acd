"""A split in a file of its own: which image stands on which side, written by ``fedthorax check --fix-splits``.

Columns ``modality, file, split``: xray or ct, the path relative to the modality's folder, and train, valid or test. It
goes before class folders, label files and slices.csv, so no image has to be moved.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.labels import split_cell
from fedthorax.common.records.listing import normal_name
from fedthorax.common.records.records import CtRecord, Split, XrayRecord
from fedthorax.common.records.table import listed, read_table

COLUMNS = ("modality", "file", "split")

Record = TypeVar("Record", XrayRecord, CtRecord)
Splits = Mapping[tuple[str, str], Split]


def read_split_file(path: Path) -> Splits:
    """The split by modality and file. Raises FileNotFoundError, or ValueError with the line."""
    table = read_table(path)
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(table.columns)}")
    splits: dict[tuple[str, str], Split] = {}
    for row in table.rows:
        modality, file = row.cells["modality"], normal_name(row.cells["file"].replace("\\", "/"))
        if modality not in ("xray", "ct"):
            raise ValueError(f"{path}, line {row.line}, column modality: expected xray or ct, found {modality!r}")
        split = split_cell(table, row)
        if split is None:
            raise ValueError(f"{path}, line {row.line}, column split: expected train, valid or test, found nothing")
        if splits.setdefault((modality, file), split) != split:
            raise ValueError(f"{path}, line {row.line}: {file} stands in another split in an earlier line")
    return splits


def write_split_file(path: Path, rows: Iterable[tuple[str, str, Split]]) -> None:
    """``rows`` as (modality, file, split), whatever their order; written whole or not at all."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(set(rows)))
    write_text(path, stream.getvalue())


def with_splits(records: Sequence[Record], modality: str, folder: Path, splits: Splits) -> tuple[Record, ...]:
    """``records`` of ``folder`` on the sides that ``splits`` gives them; one without a row there has none given."""
    return tuple(
        replace(record, split=splits.get((modality, relative_name(record.path, folder)))) for record in records
    )


def split_notes(path: Path, splits: Splits, names: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """What the file and the folders have not in common; ``names`` are (modality, file) of all records."""
    held = set(names)
    notes = []
    without = sorted(file for modality, file in held if (modality, file) not in splits)
    if without:
        number, whose = number_of(len(without), "image"), "its" if len(without) == 1 else "their"
        notes.append(f"{path.name} has no row for {number} ({listed(without)}): {whose} split is drawn")
    gone = sorted(file for modality, file in splits if (modality, file) not in held)
    if gone:
        notes.append(f"{path.name} has {number_of(len(gone), 'row')} for images that are not there: {listed(gone)}")
    return tuple(notes)


def split_keys(
    xray: Iterable[XrayRecord], ct: Iterable[CtRecord], xray_folder: Path, ct_folder: Path
) -> list[tuple[str, str]]:
    """(modality, file) of each record, as the split file names them."""
    keys = [("xray", relative_name(record.path, xray_folder)) for record in xray]
    return keys + [("ct", relative_name(record.path, ct_folder)) for record in ct]


def relative_name(path: Path, folder: Path) -> str:
    """The path as the split file names it; an image outside the folder keeps its whole path."""
    return normal_name((path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix())
