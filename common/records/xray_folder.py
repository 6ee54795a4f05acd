"""A folder of X-rays and its label file, as records."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from fedthorax.common.config.data import XraySource
from fedthorax.common.records.attributes import completed
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.labels import LabelRow, LabelTable, read_labels
from fedthorax.common.records.listing import IMAGE_KINDS, Listing, list_images, normal_name
from fedthorax.common.records.patients import headers, own_patients_note, patient_in_path
from fedthorax.common.records.records import BadFile, XrayRecord
from fedthorax.common.records.table import listed

# labels.csv, and the label files of public collections under the names that they are published with.
_LABEL_FILES = ("labels.csv", "Data_Entry*.csv", "PADCHEST_*.csv*", "mimic-cxr-*-chexpert.csv*")


def xray_records(source: XraySource, findings: Sequence[str]) -> FolderRecords[XrayRecord]:
    """The labelled X-rays of ``source``, sorted by path.

    Where the label file holds paths, they are relative to the X-ray folder or, failing that, to the label file's
    folder. Bare file names are looked for in any depth. A row without its image is a bad file; images without a row,
    and files that are no images, are counted in the notes.

    The patient comes from the label file, else from the DICOM header, else from ``source.patient_pattern`` (or that of
    the format) in the path; an X-ray of which nobody knows the patient is its own patient. Sex, age, view and scanner
    come from the label file, and from the DICOM header where that says nothing.

    Raises FileNotFoundError without folder or label file, ValueError where the label file contradicts itself.
    """
    listing = list_images(source.folder)
    labels_path = source.labels or _find_labels(source.folder)
    if labels_path is None:
        if not listing.images:
            return FolderRecords((), (), ("the X-ray folder holds no X-rays and no label file",))
        raise FileNotFoundError(
            f"{source.folder}: holds {len(listing.images)} images but none of {', '.join(_LABEL_FILES)}; add a label "
            f"file, or name it under xray.labels{_other_tables(listing)}"
        )
    table = read_labels(labels_path, source.format, findings, source.mapping, source.further_tables)
    find = _by_path(listing, table) if table.match == "path" else _by_name(listing, table)

    found, bad, lines = [], [], dict[Path, LabelRow]()
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
        found.append((path, row))

    pattern = source.patient_pattern or table.patient_pattern
    header_of = headers([path for path, _ in found])
    records, own_patient = [], []
    for path, row in found:
        header = header_of.get(path)
        patient = row.patient or (header.patient_id if header else None)
        if not patient and pattern:
            patient = patient_in_path(_below(source.folder, path), pattern)
        if not patient:
            patient = f"X-ray {row.file}"
            own_patient.append(row.file)
        attributes = completed(row.attributes, header.attributes) if header else row.attributes
        records.append(XrayRecord(path, patient, row.findings, row.split, attributes))

    notes = [*table.notes, *own_patients_note("X-rays", own_patient, len(records))]
    without_row = [name for name, path in listing.images.items() if path.absolute() not in lines]
    if without_row:
        notes.append(
            f"{len(without_row)} images have no row in {table.path.name} and are not used: {listed(without_row)}"
        )
    tables = {path.absolute() for path in (labels_path, *source.further_tables)}
    others = [name for name in listing.others if (source.folder / name).absolute() not in tables]
    if others:
        notes.append(
            f"{len(others)} files in the X-ray folder are not {IMAGE_KINDS} and are not used: {listed(others)}"
        )
    if not table.rows:
        notes.append(f"{table.path.name} labels no X-ray")
    records.sort(key=lambda record: record.path.as_posix())
    return FolderRecords(tuple(records), tuple(bad), tuple(notes))


def _find_labels(folder: Path) -> Path | None:
    found = sorted(p for p in folder.iterdir() if any(p.match(pattern) for pattern in _LABEL_FILES))
    if len(found) > 1:
        raise ValueError(
            f"{folder}: holds several label files ({', '.join(p.name for p in found)}); name one under xray.labels"
        )
    return found[0] if found else None


def _other_tables(listing: Listing) -> str:
    tables = [name for name in listing.others if name.lower().endswith((".csv", ".tsv", ".csv.gz"))]
    return f" (the folder holds {listed(tables)})" if tables else ""


def _below(folder: Path, path: Path) -> str:
    """The path that a pattern is searched in: what lies above the folder is nobody's business."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _by_path(listing: Listing, table: LabelTable) -> Mapping[str, Path]:
    found = {}
    for row in table.rows:
        path = listing.images.get(normal_name(row.file))
        if path is None:
            names = [row.file]
            if table.format == "chexpert":  # Its paths begin with the collection's own folder, wherever that is now.
                names.append(row.file.partition("/")[2])
            places = [folder / name for name in names for folder in (listing.folder, table.path.parent)]
            path = next((place for place in places if place.exists()), places[0])
        found[row.file] = path
    return found


def _by_name(listing: Listing, table: LabelTable) -> Mapping[str, Path]:
    def name_of(path: str) -> str:
        return PurePosixPath(path).stem if table.match == "stem" else path.rpartition("/")[2]

    by_name: dict[str, list[str]] = {}
    for relative in listing.images:
        by_name.setdefault(name_of(relative), []).append(relative)
    found = {}
    for row in table.rows:
        bare = normal_name(row.file).rpartition("/")[2]
        places = by_name.get(bare, [])
        if len(places) > 1:
            raise ValueError(
                f"{listing.folder}: {row.file} lies in several places ({listed(places)}); {table.path.name} names "
                "images without their folder, so each name may occur once"
            )
        found[row.file] = listing.images[places[0]] if places else listing.folder / row.file
    return found
