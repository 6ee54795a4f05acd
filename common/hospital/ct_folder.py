"""A folder of CT slices with one folder a class, as records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fedthorax.common.config.data import CtSlices, CtSource
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.records.attributes import AttributeColumns, completed, read_attributes
from fedthorax.common.records.finding_names import did_you_mean
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.labels import split_cell, split_of
from fedthorax.common.records.listing import IMAGE_KINDS, Listing, list_images, normal_name
from fedthorax.common.records.patients import own_patients_note, patient_in_path
from fedthorax.common.records.records import UNKNOWN_CLASS, Attributes, BadFile, CtRecord, Split
from fedthorax.common.records.table import listed, read_table

SLICES_FILE = "slices.csv"

_FILE_OF_PATIENT = r"(?:^|/)(?P<patient>[^/]+?)__[^/]*$"


@dataclass(frozen=True, slots=True)
class _SliceRow:
    """What ``slices.csv`` says of a slice."""

    patient: str | None = None
    split: Split | None = None
    attributes: Attributes = field(default_factory=Attributes)


def ct_records(
    source: CtSource,
    classes: Sequence[str],
    policy: CtSlices = CtSlices(),  # noqa: B008  it is frozen
) -> FolderRecords[CtRecord]:
    """The slices of ``source``, sorted by path, those of a DICOM or NIfTI series that ``policy`` chooses by height.

    Class folders stand directly in the CT folder or below train/, valid/ (val/, validation/) and test/, which then
    give the split; slices may lie deeper inside a class folder. The patient comes from an optional ``slices.csv``
    beside the class folders with the columns ``file`` (relative to the CT folder), ``patient_id`` and, if wanted,
    ``split``, ``sex``, ``age`` and ``scanner``; else from the DICOM header; else from ``source.patient_pattern`` in
    the path or, without one, a file name ``<patient>__<anything>``; else every slice is its own patient.

    Raises ValueError on a class folder that the consortium does not have, on images outside class folders, and where
    ``slices.csv`` contradicts the folders.
    """
    listing = list_images(source.folder)
    classes = [normal_name(name) for name in classes]
    class_of = _own_classes(source, classes)
    _check_folders(source.folder, tuple(class_of), classes)
    rows, bad, table_notes = _read_slices(listing)

    found = find_slices(listing.images, policy)
    records, own_patient = [], []
    for slice_ in found.slices:
        name, header = slice_.name, slice_.header
        folder_split, class_name = _place(source.folder, name)
        row = rows.get(name, _SliceRow())
        split = row.split or folder_split
        if folder_split is not None and split != folder_split:
            raise ValueError(
                f"{source.folder}: {SLICES_FILE} puts {name} into {split}, but it lies in the folder of {folder_split}"
            )
        patient = row.patient or (header.patient_id if header else None)
        if not patient:
            patient = patient_in_path(name, source.patient_pattern or _FILE_OF_PATIENT)
        if not patient:
            # Slices of one series, or of one volume, are of one person, whoever it is.
            patient = f"CT {header.series if header and header.series else name}"
            own_patient.append(name)
        attributes = completed(row.attributes, header.attributes) if header else row.attributes
        path, frame = slice_.image.path, slice_.image.frame
        records.append(CtRecord(path, patient, class_of[class_name], split, attributes, frame))

    notes = [*table_notes, *own_patients_note("CT slices", own_patient, len(records))]
    empty = [name for index, name in enumerate(classes) if all(record.cancer_class != index for record in records)]
    if empty:
        notes.append(f"the CT folder holds no slice of {', '.join(empty)}")
    others = [name for name in listing.others if name != SLICES_FILE]
    if others:
        notes.append(f"{len(others)} files in the CT folder are not {IMAGE_KINDS} and are not used: {listed(others)}")
    if found.left_out:
        named = [f"{left.path.name} {left.reason}" for left in found.left_out]
        notes.append(f"{len(named)} CT pictures are no axial chest slices and are not used: {listed(named)}")
    if found.dropped:
        notes.append(f"data.ct_slices passes over {found.dropped} of {found.dropped + len(records)} CT slices")
    return FolderRecords(tuple(records), (*bad, *found.bad), tuple(notes), found.left_out)


def _own_classes(source: CtSource, classes: Sequence[str]) -> dict[str, int]:
    """Folder name → the consortium's class. ValueError where the hospital's list names a class that there is not."""
    class_of = {name: index for index, name in enumerate(classes)}
    for own, theirs in source.classes.items():
        if theirs is None:
            class_of[normal_name(own)] = UNKNOWN_CLASS
        elif normal_name(theirs) in classes:
            class_of[normal_name(own)] = classes.index(normal_name(theirs))
        else:
            raise ValueError(
                f"ct.classes.{own} names the class {theirs!r}{did_you_mean(theirs, classes)}, which the consortium "
                f"does not have; expected one of {', '.join(classes)}, or null where the class is unknown"
            )
    return class_of


def _check_folders(folder: Path, names: Sequence[str], classes: Sequence[str]) -> None:
    """All folders where classes may stand are classes or, at the top, splits: nothing is passed over."""
    for name, place in _subfolders(folder):
        inner = [inner_name for inner_name, _ in _subfolders(place)] if split_of(name) else [name]
        unknown = [other + did_you_mean(other, classes) for other in inner if other not in names]
        if unknown:
            raise ValueError(
                f"{place if split_of(name) else folder}: expected folders named after the CT classes "
                f"{', '.join(classes)}; found {listed(unknown)}. What is called otherwise here goes into ct.classes"
            )


def _subfolders(folder: Path) -> list[tuple[str, Path]]:
    return sorted((normal_name(p.name), p) for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _place(folder: Path, name: str) -> tuple[Split | None, str]:
    """Split and class of an image by its path relative to the CT folder."""
    folders = PurePosixPath(name).parts[:-1]
    split = split_of(folders[0]) if folders else None
    if split:
        folders = folders[1:]
    if not folders:
        raise ValueError(f"{folder}: {name} lies outside the class folders; move it into the folder of its class")
    return split, folders[0]


def _read_slices(listing: Listing) -> tuple[dict[str, _SliceRow], tuple[BadFile, ...], tuple[str, ...]]:
    """Rows by slice, slices that do not exist, and notes."""
    path = listing.folder / SLICES_FILE
    if not path.exists():
        return {}, (), ()
    table = read_table(path)
    for column in ("file", "patient_id"):
        if column not in table.columns:
            raise ValueError(f"{path}: expected the columns file and patient_id, found {', '.join(table.columns)}")
    found: dict[str, _SliceRow] = {}
    bad = []
    sex, age = ("sex" if "sex" in table.columns else None), ("age" if "age" in table.columns else None)
    scanner = ("scanner",) if "scanner" in table.columns else ()
    attributes, notes = read_attributes(table, AttributeColumns(sex=sex, age=age, scanner=scanner))
    for row, row_attributes in zip(table.rows, attributes, strict=True):
        name = normal_name(row.cells["file"].replace("\\", "/"))
        if name in found:
            raise ValueError(f"{path}, line {row.line}: {name} has a row already; each slice may have one")
        found[name] = _SliceRow(row.cells["patient_id"] or None, split_cell(table, row), row_attributes)
        if name not in listing.images and name not in listing.others:
            bad.append(BadFile(listing.folder / name, f"stands in {SLICES_FILE}, line {row.line}, but does not exist"))
    return found, tuple(bad), notes
