"""A folder of X-rays and its label file, as records."""

import os
from collections.abc import Sequence
from pathlib import Path

from fedthorax.common.config.data import XraySource
from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.attributes import completed
from fedthorax.common.records.body_region import CAPTURES, no_chest_radiograph
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.labels import read_labels
from fedthorax.common.records.listing import IMAGE_KINDS, Listing, list_images
from fedthorax.common.records.matching import files_of, unmatched
from fedthorax.common.records.patients import headers, patient_in_path
from fedthorax.common.records.records import BadFile, XrayRecord
from fedthorax.common.records.table import TABLES, listed, refuse_repeats

# labels.csv, and the label files of public collections under the names that they are published with.
LABEL_FILES = ("labels.csv", "Data_Entry*.csv", "PADCHEST_*.csv*", "mimic-cxr-*-chexpert.csv*")


def xray_records(source: XraySource, findings: Sequence[str] | None = None) -> FolderRecords[XrayRecord]:
    """The labelled X-rays of ``source``, sorted by path, with ``findings`` or with those that the label file names.

    Where the label file holds paths, they are relative to the X-ray folder or, failing that, to the label file's
    folder. Bare file names are looked for in any depth. A row without its image is a bad file, and so is a link that
    leads nowhere; images without a row, and files that are no images, are counted in the notes. What the header calls
    another part of the body, or raw data of the detector, is left out.

    The patient comes from the label file, else from the DICOM header, else from ``source.patient_pattern`` (or that of
    the format) in the path; an X-ray of which nobody knows the patient is its own patient. Sex, age, view and scanner
    come from the label file, and from the DICOM header where that says nothing.

    Raises FileNotFoundError without folder or label file, ValueError where the label file contradicts itself.
    """
    listing = list_images(source.folder)
    labels_path = source.labels or named_label_file(source.folder)
    if labels_path is None:
        if not listing.images:
            remark = "the X-ray folder holds no X-rays and no label file"
            return FolderRecords(bad=listing.dead_but(()), remarks=(remark,), labels=tuple(findings or ()))
        raise FileNotFoundError(
            f"{source.folder}: holds {number_of(len(listing.images), 'image')} but none of {', '.join(LABEL_FILES)}; "
            f"add a label file, or name it under xray.labels{_other_tables(listing)}"
        )
    table = read_labels(labels_path, source.format, findings, source.mapping, source.further_tables)
    find = files_of(
        listing, [row.file for row in table.rows], table.match, table.path, first_folder=table.format != "chexpert"
    )
    rows = {find[row.file].absolute(): row for row in table.rows}
    if len(rows) < len(table.rows):
        refuse_repeats(
            table.path,
            (
                (
                    _below(source.folder, find[row.file]),
                    row.line,
                    (row.patient, row.findings, row.split, row.attributes),
                )
                for row in table.rows
            ),
        )
    found = [(path, row) for row in table.rows if os.path.lexists(path := find[row.file])]
    missing = {row.file: row.line for row in table.rows if not os.path.lexists(find[row.file])}
    bad = (*unmatched(listing, table.path, missing, table.match, "xray.mapping"), *listing.dead_but(rows.keys()))

    pattern = source.patient_pattern or table.patient_pattern
    header_of = headers([path for path, _ in found])
    records, own_patient, left_out = [], [], []
    for path, row in found:
        header = header_of.get(path)
        if header and (reason := no_chest_radiograph(header)):
            left_out.append(BadFile(path, reason, fault="not_used"))
            continue
        patient = row.patient or (header.patient_id if header else None)
        if not patient and pattern:
            patient = patient_in_path(_below(source.folder, path), pattern)
        attributes = completed(row.attributes, header.attributes) if header else row.attributes
        own = patient or f"X-ray {row.file}"
        records.append(XrayRecord(path, own, row.findings, row.split, attributes, bool(patient), row.line))
        if not patient:
            own_patient.append(row.file)

    notes = list(table.notes)
    captured = [_below(source.folder, path) for path, header in header_of.items() if header.modality in CAPTURES]
    if captured:
        what = number_of(len(captured), "X-ray is by its header a capture", "X-rays are by their header captures")
        notes.append(
            f"{what} of a film or a screen (modality {' or '.join(CAPTURES)}), which may hold writing and other greys: "
            f"{listed(captured)}"
        )
    without_row = tuple(
        name for name, path in listing.images.items() if path.absolute() not in rows and name not in listing.dead
    )
    tables = {path.absolute() for path in (labels_path, *source.further_tables)}
    others = [name for name in listing.others if (source.folder / name).absolute() not in tables]
    if others:
        notes.append(f"in the X-ray folder but no {IMAGE_KINDS}, and so not used: {listed(others)}")
    if not table.rows:
        notes.append(f"{table.path.name} labels no X-ray")
    records.sort(key=lambda record: record.path.as_posix())
    return FolderRecords(
        tuple(records),
        bad,
        tuple(notes),
        tuple(left_out),
        tuple(own_patient),
        without_row,
        table.path.name,
        table.findings,
    )


def named_label_file(folder: Path) -> Path | None:
    """The one file in ``folder`` that is called like a label file; ValueError where there are several."""
    found = sorted(p for p in folder.iterdir() if any(p.match(pattern) for pattern in LABEL_FILES))
    if len(found) > 1:
        raise ValueError(
            f"{folder}: holds several label files ({', '.join(p.name for p in found)}); name one under xray.labels"
        )
    return found[0] if found else None


def _other_tables(listing: Listing) -> str:
    tables = [name for name in listing.others if name.lower().endswith(TABLES)]
    return f" (the folder holds {listed(tables)})" if tables else ""


def _below(folder: Path, path: Path) -> str:
    """The path that a pattern is searched in: what lies above the folder is nobody's business."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
