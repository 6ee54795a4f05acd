"""A folder of X-rays and its label file, as records."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fedthorax.common.config.data import XraySource
from fedthorax.common.data.folder_records import FolderRecords
from fedthorax.common.data.labels import LabelRow, LabelTable, read_labels
from fedthorax.common.data.listing import IMAGE_KINDS, Listing, list_images, normal_name
from fedthorax.common.data.records import BadFile, XrayRecord
from fedthorax.common.data.table import listed


def xray_records(source: XraySource, findings: Sequence[str]) -> FolderRecords[XrayRecord]:
    """The labelled X-rays of ``source``, sorted by path.

    Paths in the plain form are relative to the X-ray folder or, failing that, to the label file's folder. The NIH form
    gives bare file names, which are looked for in any depth. A row without its image is a bad file; images without a
    row, and files that are no images, are counted in the notes. An X-ray without a patient id is its own patient.

    Raises FileNotFoundError without folder or label file, ValueError where the label file contradicts itself.
    """
    listing = list_images(source.folder)
    labels_path = source.labels or _find_labels(source.folder)
    if labels_path is None:
        if not listing.images:
            return FolderRecords((), (), ("the X-ray folder holds no X-rays and no label file",))
        raise FileNotFoundError(
            f"{source.folder}: holds {len(listing.images)} images but neither labels.csv nor Data_Entry*.csv; "
            "add one, or name the label file under xray.labels"
        )
    table = read_labels(labels_path, source.format, findings)
    find = _by_name(listing, table) if table.format == "nih" else _by_path(listing, table)

    records, bad, lines = [], [], dict[Path, LabelRow]()
    for row in table.rows:
        path = find[row.file]
        first = lines.setdefault(path.absolute(), row)
        if first is not row:
            raise ValueError(
                f"{table.path}, line {row.line}: {row.file} is the same image as {first.file} in line {first.line}; "
                "each image may have one row"
            )
        if not path.exists():
            bad.append(BadFile(path, f"stands in {table.path.name}, line {row.line}, but does not exist"))
            continue
        records.append(XrayRecord(path, row.patient or f"X-ray {row.file}", row.findings, row.split))

    notes = list(table.notes)
    without_row = [name for name, path in listing.images.items() if path.absolute() not in lines]
    if without_row:
        notes.append(
            f"{len(without_row)} images have no row in {table.path.name} and are not used: {listed(without_row)}"
        )
    others = [name for name in listing.others if (source.folder / name).absolute() != labels_path.absolute()]
    if others:
        notes.append(
            f"{len(others)} files in the X-ray folder are not {IMAGE_KINDS} and are not used: {listed(others)}"
        )
    if not table.rows:
        notes.append(f"{table.path.name} labels no X-ray")
    records.sort(key=lambda record: record.path.as_posix())
    return FolderRecords(tuple(records), tuple(bad), tuple(notes))


def _find_labels(folder: Path) -> Path | None:
    found = sorted(p for p in folder.iterdir() if p.name == "labels.csv" or (p.match("Data_Entry*.csv")))
    if len(found) > 1:
        raise ValueError(
            f"{folder}: holds several label files ({', '.join(p.name for p in found)}); name one under xray.labels"
        )
    return found[0] if found else None


def _by_path(listing: Listing, table: LabelTable) -> Mapping[str, Path]:
    found = {}
    for row in table.rows:
        path = listing.images.get(normal_name(row.file))
        if path is None:
            path, beside_table = listing.folder / row.file, table.path.parent / row.file
            if not path.exists() and beside_table.exists():
                path = beside_table
        found[row.file] = path
    return found


def _by_name(listing: Listing, table: LabelTable) -> Mapping[str, Path]:
    by_name: dict[str, list[str]] = {}
    for relative in listing.images:
        by_name.setdefault(relative.rpartition("/")[2], []).append(relative)
    found = {}
    for row in table.rows:
        places = by_name.get(normal_name(row.file).rpartition("/")[2], [])
        if len(places) > 1:
            raise ValueError(
                f"{listing.folder}: {row.file} lies in several places ({listed(places)}); the NIH form names images "
                "without their folder, so each name may occur once"
            )
        found[row.file] = listing.images[places[0]] if places else listing.folder / row.file
    return found
