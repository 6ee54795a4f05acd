"""A folder of CT slices with one folder a class, as records."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from fedthorax.common.config.data import CtSlices, CtSource
from fedthorax.common.data.ct_series import find_slices
from fedthorax.common.data.folder_records import FolderRecords
from fedthorax.common.data.labels import did_you_mean, split_cell, split_of
from fedthorax.common.data.listing import IMAGE_KINDS, Listing, list_images, normal_name
from fedthorax.common.data.records import BadFile, CtRecord, Split
from fedthorax.common.data.table import listed, read_table

SLICES_FILE = "slices.csv"


def ct_records(
    source: CtSource,
    classes: Sequence[str],
    policy: CtSlices = CtSlices(),  # noqa: B008  it is frozen
) -> FolderRecords[CtRecord]:
    """The slices of ``source``, sorted by path, those of a DICOM or NIfTI series that ``policy`` chooses by height.

    Class folders stand directly in the CT folder or below train/, valid/ (val/, validation/) and test/, which then
    give the split; slices may lie deeper inside a class folder. The patient comes from an optional ``slices.csv``
    beside the class folders with the columns ``file`` (relative to the CT folder), ``patient_id`` and, if wanted,
    ``split``; else from a file name ``<patient>__<anything>``; else every slice is its own patient.

    Raises ValueError on a class folder that the consortium does not have, on images outside class folders, and where
    ``slices.csv`` contradicts the folders.
    """
    listing = list_images(source.folder)
    classes = [normal_name(name) for name in classes]
    _check_folders(source.folder, classes)
    patients, splits, bad = _read_slices(listing)

    found = find_slices(listing.images, policy)
    records, own_patient = [], []
    for slice_ in found.slices:
        name, path = slice_.name, slice_.image.path
        folder_split, class_name, file = _place(source.folder, name)
        split = splits.get(name) or folder_split
        if folder_split is not None and split != folder_split:
            raise ValueError(
                f"{source.folder}: {SLICES_FILE} puts {name} into {split}, but it lies in the folder of {folder_split}"
            )
        prefix, mark, _ = file.partition("__")
        patient = patients.get(name) or (prefix if mark else "")
        if not patient:
            patient = f"CT {name}"
            own_patient.append(name)
        records.append(CtRecord(path, patient, classes.index(class_name), split, frame=slice_.image.frame))

    notes = []
    if own_patient:
        notes.append(
            f"no patient is known for {len(own_patient)} of {len(records)} CT slices ({listed(own_patient)}): "
            "each counts as a patient, so slices of one person may stand in different splits"
        )
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


def _check_folders(folder: Path, classes: Sequence[str]) -> None:
    """All folders where classes may stand are classes or, at the top, splits: nothing is passed over."""
    for name, place in _subfolders(folder):
        inner = [inner_name for inner_name, _ in _subfolders(place)] if split_of(name) else [name]
        unknown = [other + did_you_mean(other, classes) for other in inner if other not in classes]
        if unknown:
            raise ValueError(
                f"{place if split_of(name) else folder}: expected folders named after the CT classes "
                f"{', '.join(classes)}; found {listed(unknown)}"
            )


def _subfolders(folder: Path) -> list[tuple[str, Path]]:
    return sorted((normal_name(p.name), p) for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _place(folder: Path, name: str) -> tuple[Split | None, str, str]:
    """Split, class and file name of an image by its path relative to the CT folder."""
    *folders, file = PurePosixPath(name).parts
    split = split_of(folders[0]) if folders else None
    if split:
        folders = folders[1:]
    if not folders:
        raise ValueError(f"{folder}: {name} lies outside the class folders; move it into the folder of its class")
    return split, folders[0], file


def _read_slices(listing: Listing) -> tuple[dict[str, str], dict[str, Split], tuple[BadFile, ...]]:
    path = listing.folder / SLICES_FILE
    if not path.exists():
        return {}, {}, ()
    table = read_table(path)
    for column in ("file", "patient_id"):
        if column not in table.columns:
            raise ValueError(f"{path}: expected the columns file and patient_id, found {', '.join(table.columns)}")
    patients: dict[str, str] = {}
    splits: dict[str, Split] = {}
    bad = []
    for row in table.rows:
        name = normal_name(row.cells["file"].replace("\\", "/"))
        if name in patients:
            raise ValueError(f"{path}, line {row.line}: {name} has a row already; each slice may have one")
        patients[name] = row.cells["patient_id"]
        if (split := split_cell(table, row)) is not None:
            splits[name] = split
        if name not in listing.images and name not in listing.others:
            bad.append(BadFile(listing.folder / name, f"stands in {SLICES_FILE}, line {row.line}, but does not exist"))
    return patients, splits, tuple(bad)
