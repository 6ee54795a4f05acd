"""A folder of CT slices with one folder a class, as records."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from fedthorax.common.config.data import CtSlices, CtSource
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.hospital.ct_table import SliceRow, read_slices
from fedthorax.common.records.attributes import completed
from fedthorax.common.records.finding_names import did_you_mean, plain_name, same_finding
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.labels import split_of
from fedthorax.common.records.layouts import MISSING, plain_cell
from fedthorax.common.records.listing import IMAGE_KINDS, list_images, normal_name
from fedthorax.common.records.patients import headers, patient_in_path
from fedthorax.common.records.records import UNKNOWN_CLASS, CtRecord, Split
from fedthorax.common.records.table import listed

_FILE_OF_PATIENT = r"(?:^|/)(?P<patient>[^/]+?)__[^/]*$"

# What people call folders of pictures, not what the pictures show; as ``plain_name`` writes it.
_NO_CLASSES = frozenset(
    ["images", "image", "img", "imgs", "slices", "pictures", "png", "jpg", "jpeg", "dicom", "dcm", "ct", "data"]
)


def ct_records(
    source: CtSource,
    classes: Sequence[str] | None = None,
    policy: CtSlices = CtSlices(),  # noqa: B008  it is frozen
    take_strange: bool = False,
) -> FolderRecords[CtRecord]:
    """The slices of ``source``, sorted by path, those of a DICOM or NIfTI series that ``policy`` chooses by height.
    Without ``classes`` the folders, or the table, name them. With ``take_strange`` classes that the consortium does not
    have are no error but follow behind the others.

    Class folders stand directly in the CT folder or below train/, valid/ (val/, validation/) and test/, which then
    give the split; slices may lie deeper inside a class folder. Where the table (``read_slices``) tells classes,
    folders are but folders, train/, valid/ and test/ apart, and slices without a row are not used. The patient comes
    from the table, else from the DICOM header; else from ``source.patient_pattern`` in the path or, without one, a file
    name ``<patient>__<anything>``; else every slice is its own patient.

    Raises ValueError on a class that the consortium does not have, on images outside class folders, and where the table
    contradicts the folders.
    """
    listing = list_images(source.folder)
    table = read_slices(source, listing)
    labelled = table is not None and table.label is not None
    own_classes = table.classes if table is not None and labelled else class_names(source.folder)
    told: tuple[str, ...] = ()
    if classes is None:
        if table is not None and table.label and table.unread:
            told = (f"{table.path.name}: classes are in the column {table.label}; not read: {listed(table.unread, 8)}",)
        _refuse_unclear(source, own_classes)
        renamed = {normal_name(own): theirs for own, theirs in source.classes.items()}
        classes = sorted({theirs for own in own_classes if (theirs := renamed.get(own, own)) is not None})
    classes = tuple(normal_name(name) for name in classes)
    class_of = {"": UNKNOWN_CLASS} | _own_classes(source, classes)
    if take_strange:
        classes = (*classes, *(name for name in own_classes if name not in class_of))
        class_of = {"": UNKNOWN_CLASS} | _own_classes(source, classes)
    _check_classes(source.folder if table is None or not labelled else table.path, own_classes, class_of, classes)

    found = find_slices(listing.images, policy)
    bad = found.bad
    if table is not None:
        # Scouts, reformats and series without Hounsfield units are no slices, but their series is there.
        apart = [file.path for file in (*found.left_out, *found.bad)]
        seen = [slice_.header for slice_ in found.slices] + list(headers(apart).values())
        bad = (*table.without_image(listing, {header.series for header in seen if header}), *bad)
    records, own_patient, without_row = [], [], []
    for slice_ in found.slices:
        name, header = slice_.name, slice_.header
        folder_split, class_name = _place(source.folder, name, labelled)
        row = table.row_of(slice_) if table is not None else None
        if labelled:
            if row is None:
                without_row += [name] * (name not in listing.dead)
                continue
            class_name = row.label
        row = row or SliceRow()
        split = row.split or folder_split
        if folder_split is not None and split != folder_split and table is not None:
            raise ValueError(
                f"{source.folder}: {table.path.name} puts {name} into {split}, but it lies in the folder of "
                f"{folder_split}"
            )
        patient = row.patient or (header.patient_id if header else None)
        if not patient:
            patient = patient_in_path(name, source.patient_pattern or _FILE_OF_PATIENT)
        if not patient:
            own_patient.append(name)
        # Slices of one series, or of one volume, are of one person, whoever it is.
        own = patient or f"CT {header.series if header and header.series else name}"
        attributes = completed(row.attributes, header.attributes) if header else row.attributes
        path, frame = slice_.image.path, slice_.image.frame
        records.append(CtRecord(path, own, class_of[class_name], split, attributes, frame, bool(patient)))

    bad = (*bad, *listing.dead_but({record.path.absolute() for record in records}))
    notes = [*told, *(table.notes if table is not None else ())]
    empty = [name for index, name in enumerate(classes) if all(record.cancer_class != index for record in records)]
    if empty:
        notes.append(f"the CT folder holds no slice of {', '.join(empty)}")
    own_table = None if table is None else table.path.absolute()
    others = [name for name in listing.others if (source.folder / name).absolute() != own_table]
    if others:
        notes.append(f"in the CT folder but no {IMAGE_KINDS}, and so not used: {listed(others)}")
    return FolderRecords(
        tuple(records),
        bad,
        tuple(notes),
        found.left_out,
        tuple(own_patient),
        tuple(dict.fromkeys(without_row)),
        table.path.name if table is not None and labelled else "",
        classes,
        found.dropped,
    )


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


def _check_classes(place: Path, own: Sequence[str], class_of: Mapping[str, int], classes: Sequence[str]) -> None:
    """All folders where classes may stand, or all that the table names, are classes: nothing is passed over."""
    unknown = [name for name in own if name not in class_of]
    if unknown:
        named, mend = class_questions(unknown, classes)
        raise ValueError(
            f"{place}: expected the CT classes {', '.join(classes)}; found {named}. {mend}What is called "
            "otherwise here goes into ct.classes, or null where the class is unknown"
        )


def class_questions(unknown: Sequence[str], classes: Sequence[str]) -> tuple[str, str]:
    """Unknown classes with what each may mean, and the line that says so; "" where nobody can guess."""
    guesses = {name: guess for name in unknown if (guess := same_finding(name, classes) or _begun(name, classes))}
    asked = ", ".join(f"{_key(name)}: {guess}" for name, guess in guesses.items())
    named = [f"{name} (did you mean {guesses[name]!r}?)" if name in guesses else name for name in unknown]
    return listed(named), f"If it is the same, write `classes: {{{asked}}}` under ct. " if guesses else ""


def _begun(name: str, classes: Sequence[str]) -> str | None:
    """The class that ``name`` begins with, as in ``adenocarcinoma_left.lower.lobe``."""
    return next((known for known in classes if re.match(re.escape(known) + r"[\W_]", name, re.IGNORECASE)), None)


def _key(name: str) -> str:
    """As YAML takes it for text."""
    return name if re.fullmatch(r"[^\W\d](.*\w)?", name) and ": " not in name else f'"{name}"'


def _refuse_unclear(source: CtSource, own: Sequence[str]) -> None:
    """Of the classes that the hospital itself names, two may be one, and one a word for unknown."""
    named = {normal_name(name) for name in source.classes}
    first: dict[str, str] = {}
    for name in (name for name in own if name not in named):
        if plain_cell(name) in MISSING:
            raise ValueError(
                f"{source.folder}: is {name!r} a class? If it means unknown, write `classes: {{{_key(name)}: null}}` "
                f"under ct, else `classes: {{{_key(name)}: {_key(name)}}}`"
            )
        if plain_name(name) in _NO_CLASSES:
            raise ValueError(
                f"{source.folder}: a folder {name!r} is no class; move the slices into the folder of their class, or "
                "name a table with a column class under ct.labels. If it is one, write "
                f"`classes: {{{name}: {name}}}` under ct"
            )
        other = first.setdefault(plain_name(name).replace(".", "").removesuffix("s"), name)
        if other != name:
            raise ValueError(
                f"{source.folder}: are {other!r} and {name!r} one class? If so, write `classes: {{{_key(name)}: "
                f"{other}}}` under ct, else name both there"
            )


def class_names(folder: Path) -> tuple[str, ...]:
    """The class folders directly in ``folder`` and below its train/, valid/ and test/, sorted."""
    names: set[str] = set()
    for name, place in _subfolders(folder):
        names |= {inner for inner, _ in _subfolders(place)} if split_of(name) else {name}
    return tuple(sorted(names))


def _subfolders(folder: Path) -> list[tuple[str, Path]]:
    return sorted((normal_name(p.name), p) for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _place(folder: Path, name: str, labelled: bool) -> tuple[Split | None, str]:
    """Split and class of an image by its path relative to the CT folder; ``labelled``: another says the class."""
    folders = PurePosixPath(name).parts[:-1]
    split = split_of(folders[0]) if folders else None
    if split:
        folders = folders[1:]
    if not folders and not labelled:
        raise ValueError(
            f"{folder}: {name} lies outside the class folders; move it into the folder of its class, or name a table "
            "with a column class under ct.labels"
        )
    return split, "" if labelled else folders[0]
