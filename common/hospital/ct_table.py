"""The CSV file of CT slices: whose each is and, where no class folders say so, what it shows."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from fedthorax.common.config.data import CtSource
from fedthorax.common.config.label_mapping import Match, SliceMapping
from fedthorax.common.hospital.ct_series import CtSlice
from fedthorax.common.records.attributes import AttributeColumns, read_attributes
from fedthorax.common.records.labels import split_cell
from fedthorax.common.records.layouts import column_of, plain_cell, refuse_nearly
from fedthorax.common.records.listing import Listing, normal_name
from fedthorax.common.records.matching import files_of, relative_file, unmatched
from fedthorax.common.records.records import Attributes, BadFile, Split
from fedthorax.common.records.table import read_table, refuse_repeats

SLICES_FILE = "slices.csv"

By = Literal["file", "series", "folder"]


@dataclass(frozen=True, slots=True)
class SliceRow:
    """``label`` is the class as the table writes it; "" is unknown."""

    line: int = 0
    patient: str | None = None
    split: Split | None = None
    label: str = ""
    attributes: Attributes = field(default_factory=Attributes)


@dataclass(frozen=True)
class SliceTable:
    """``rows`` by what the column ``by`` holds: a file below the CT folder, a SeriesInstanceUID, or a folder below the
    CT folder. ``label`` is the column that tells classes, so that folders tell none; ``unread`` are those of no use.
    """

    path: Path
    by: By
    match: Match
    label: str | None
    unread: tuple[str, ...]
    rows: Mapping[str, SliceRow]
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the table names, sorted."""
        return tuple(sorted({row.label for row in self.rows.values()} - {""}))

    def row_of(self, slice_: CtSlice) -> SliceRow | None:
        """Of a folder the deepest that is named."""
        if self.by == "file":
            return self.rows.get(slice_.name)
        if self.by == "series":
            return self.rows.get(slice_.header.series) if slice_.header else None
        folders = (str(folder) for folder in PurePosixPath(slice_.name).parents)
        return next((row for folder in folders if (row := self.rows.get(folder)) is not None), None)

    def without_image(self, listing: Listing, series: Set[str]) -> tuple[BadFile, ...]:
        """Rows of which there is no file; ``series`` are all that the folder holds."""
        if self.by == "file":
            names: Set[str] = listing.images.keys() | listing.others | listing.dead.keys()
        elif self.by == "series":
            names = series
        else:
            names = {str(folder) for name in listing.images for folder in PurePosixPath(name).parents}
        missing = {key: row.line for key, row in self.rows.items() if key not in names}
        if self.by == "file":
            return unmatched(listing, self.path, missing, self.match, "ct.mapping")
        # Of a series there is no other spelling to be found, of a folder none that a key would mend.
        return unmatched(listing, self.path, missing, "stem", "ct.mapping", names if self.by == "folder" else ())


def read_slices(source: CtSource, listing: Listing) -> SliceTable | None:
    """``source.labels`` or the ``slices.csv`` in the folder; None where there is neither."""
    path = source.labels or source.folder / SLICES_FILE
    if source.labels is None and not path.exists():
        return None
    mapping = source.mapping or SliceMapping()
    table = read_table(path, mapping.encoding)

    def column(key: str, *usual: str) -> str | None:
        if key in ("patient", "label", "split"):
            refuse_nearly(table, key, getattr(mapping, key), usual, "ct.mapping")
        return column_of(table, key, getattr(mapping, key), usual, "ct.mapping")

    file, series = column("file", "file"), column("series", "series_uid", "SeriesInstanceUID", "series")
    folder, patient = column("folder", "folder"), column("patient", "patient_id", "patient", "PatientID")
    label, split = column("label", "class", "cancer_class", "label", "diagnosis"), column("split", "split")
    by: By = "file" if file else "series" if series else "folder"
    key = file or series or folder
    if key is None or not (patient or label):
        raise ValueError(
            f"{path}: expected a column file (or series_uid, or folder) and patient_id, class or both, found "
            f"{', '.join(table.columns)}; say which column is what under ct.mapping"
        )
    sex, age = column("sex", "sex"), column("age", "age")
    birth, study_date = column("birth"), column("study_date")
    scanners = ("scanner",) if mapping.scanner is None and "scanner" in table.columns else mapping.scanner or ()
    for name in scanners:
        column_of(table, "scanner", name, (), "ct.mapping")
    attributes, notes = read_attributes(
        table, AttributeColumns(sex=sex, age=age, birth=birth, study_date=study_date, scanner=scanners)
    )
    unknown = {plain_cell(word) for word in mapping.unknown or ()}
    match = mapping.match or "path"
    keys = [row.cells[key] for row in table.rows]
    if by == "series" and "" in keys:
        line = table.rows[keys.index("")].line
        raise ValueError(f"{path}, line {line}, column {key}: expected a series, found nothing")
    if by != "series":
        keys = [normal_name(relative_file(table, row, key, "CT folder", match)) for row in table.rows]
    if by == "folder":
        keys = [str(PurePosixPath(name)) for name in keys]
    if by == "file":
        names = {path: name for name, path in listing.images.items()}
        found_files = files_of(listing, keys, match, path)
        keys = [names.get(found_files[name], name) for name in keys]
    rows: list[tuple[str, SliceRow]] = []
    for name, row, row_attributes in zip(keys, table.rows, attributes, strict=True):
        cell = row.cells[label] if label else ""
        said = SliceRow(
            row.line,
            (row.cells[patient] or None) if patient else None,
            split_cell(table, row, split) if split else None,
            "" if plain_cell(cell) in unknown else normal_name(" ".join(cell.split())),
            row_attributes,
        )
        rows.append((name, said))
    refuse_repeats(path, [(name, said.line, replace(said, line=0)) for name, said in rows])
    used = {key, patient, label, split, sex, age, birth, study_date, *scanners, ""}
    unread = tuple(name for name in table.columns if name not in used)
    return SliceTable(path, by, match, label, unread, dict(rows), notes)
