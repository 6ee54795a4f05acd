"""The images that a partition moves, read as a run reads them: where each lies, whose it is, which labels it has."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from fedthorax.common.check.target import with_labels
from fedthorax.common.config.data import CacheConfig, CtSource, SourceConfig, XraySource
from fedthorax.common.config.label_mapping import LabelFormat, LabelMapping, SliceMapping
from fedthorax.common.config.load import read_settings
from fedthorax.common.hospital.bad_files import bad_file_issues
from fedthorax.common.hospital.scan import scan
from fedthorax.common.pixels.cache import decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.layouts import layout_of
from fedthorax.common.records.records import SPLITS, UNKNOWN_CLASS, BadFile, CtRecord, XrayRecord
from fedthorax.common.records.split_file import relative_name
from fedthorax.common.records.table import listed, read_table

Record = TypeVar("Record", XrayRecord, CtRecord)
Progress = Callable[[int, int], None]

_SMALL = 8  # pixels to a side: nobody looks at them


@dataclass(frozen=True)
class LabelFile:
    """How the label file is to be read. ``mapping`` is a YAML file; ``further`` are tables that are joined to it."""

    format: LabelFormat = "auto"
    mapping: Path | None = None
    further: tuple[Path, ...] = ()

    @property
    def is_default(self) -> bool:
        return self == LabelFile()


class SliceNames(SliceMapping):
    """What a CT table calls things: its columns, and its classes."""

    classes: dict[str, str | None] = Field(default={}, description="As ct.classes: own name: name here, or null.")


@dataclass(frozen=True)
class Xray:
    """``row`` is the row of the plain CSV, all columns as text; ``file`` is where the image goes, below ``xray/``."""

    path: Path
    file: str
    patient: str
    row: Mapping[str, str]


@dataclass(frozen=True)
class Slice:
    """``file`` is the path below ``ct/``, of a file that may hold several slices; ``identified`` is False where nobody
    said whose it is. ``labelled``: a table, not the path, says the class, which is "" where it is unknown. ``known`` is
    what else a table says, by column.
    """

    path: Path
    file: str
    patient: str
    cancer_class: str
    identified: bool
    labelled: bool = False
    known: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class XrayFolder:
    """``columns`` of the plain CSV in order, those in ``findings`` hold labels: 1, 0 or empty for unknown."""

    images: tuple[Xray, ...] = ()
    columns: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CtFolder:
    """``classes`` are the names of the class folders, sorted."""

    images: tuple[Slice, ...] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_xray_folder(folder: Path, labels: Path | None, how: LabelFile, progress: Progress | None = None) -> XrayFolder:
    """Every image that the label file names. Rows without an image, images without a row and files that a run could not
    use are left out and noted. ``progress`` is told (images read, in all).

    Uncertain is unknown, unless the mapping says otherwise. Further columns of a plain label file travel with it.
    """
    require_folder(folder, "X-ray folder")
    mapping = None if how.mapping is None else read_settings(how.mapping, LabelMapping)
    given = XraySource(folder=folder, labels=labels, format=how.format, mapping=mapping, further_tables=how.further)
    source = with_labels(given)
    try:
        found, unusable = _usable(scan(SourceConfig(xray=source)).xray, "xray", folder, progress)
    except (ValueError, FileNotFoundError) as error:
        options = "here xray.mapping is --mapping FILE, xray.further_tables --further FILE, xray.labels --labels FILE"
        raise type(error)(f"{error} ({options})") from error
    if source.labels is None or not found.records:
        missing = "; ".join(["", *unusable])
        raise FileNotFoundError(f"{folder} holds none of the images that a label file names{missing}")
    notes = [note.replace("different splits", "different hospitals") for note in found.notes] + unusable

    table = read_table(source.labels, mapping.encoding if mapping else None)
    plain = how.is_default and layout_of(table, "auto", LabelMapping()).name == "plain"
    cells = {row.line: row.cells for row in table.rows} if plain else {}
    names = {record.path: relative_name(record.path, folder) for record in found.records}
    above = "" if all(name.startswith("images/") for name in names.values()) else "images/"
    images = []
    for record in found.records:
        known = {**_known(record), **{name: cell for name, cell in cells.get(record.line, {}).items() if name}}
        values = {
            name: "" if math.isnan(value) else f"{value:.0f}"
            for name, value in zip(found.labels, record.findings, strict=True)
        }
        own = {"file": above + names[record.path], "patient_id": record.patient if record.identified else ""}
        patient = record.patient if record.identified else f"x-ray {names[record.path]}"
        images.append(Xray(record.path, own["file"], patient, {**known, **own, **values}))
    told = [name for name in (*table.columns, *found.labels) if name] if plain else [*images[0].row, *found.labels]
    filled = [name for name in told if plain or name in found.labels or any(image.row[name] for image in images)]
    columns = tuple(dict.fromkeys(("file", "patient_id", *filled)))
    rows = tuple(Xray(i.path, i.file, i.patient, {name: i.row[name] for name in columns}) for i in images)
    return XrayFolder(rows, columns, found.labels, tuple(notes))


def read_ct_folder(
    folder: Path,
    split: str | None = None,
    labels: Path | None = None,
    mapping: Path | None = None,
    progress: Progress | None = None,
) -> CtFolder:
    """Every file with a slice that a run would use, by its patient. A file of which one cannot be read is left out.

    With ``split`` the folder is one split, whose images go below ``ct/<split>/``. ``labels``, or a slices.csv in the
    folder or the one above, says whose the slices are and, without class folders, what they show. ``mapping`` is a
    YAML file with the keys of ``ct.mapping``, and ``classes`` as ``ct.classes``.
    """
    require_folder(folder, "CT folder")
    above = folder.parent / "slices.csv"
    if labels is None and above.is_file() and not (folder / "slices.csv").exists():
        labels = above
    own = SliceNames() if mapping is None else read_settings(mapping, SliceNames)
    source = CtSource(folder=folder, labels=labels, mapping=own, classes=own.classes)
    try:
        elsewhere = {"missing"} if labels == above else set()  # the table above speaks of other folders too
        found, unusable = _usable(scan(SourceConfig(ct=source)).ct, "ct", folder, progress, elsewhere)
    except (ValueError, FileNotFoundError) as error:
        options = "here ct.mapping and ct.classes are --ct-mapping FILE, ct.labels --ct-labels FILE"
        raise type(error)(f"{error} ({options})") from error
    inner = [name for name in SPLITS if (folder / name).is_dir()]
    if split is not None and inner:
        raise ValueError(f"{folder} holds {', '.join(inner)}; expected one folder a class, for the split {split}")
    if not found.records:
        raise FileNotFoundError(
            f"{folder} has no image in a class folder; expected CLASS/* or train/CLASS/*: PNG, JPEG, DICOM or NIfTI"
            + "; ".join(["", *unusable])
        )
    has_table = labels is not None or (folder / "slices.csv").is_file()
    images: dict[Path, Slice] = {}
    for record in found.records:
        name = relative_name(record.path, folder)
        # The folder in front keeps a slice of nobody apart from those of other folders.
        patient = record.patient if record.identified else f"slice {folder}/{record.patient}"
        file = name if split is None else f"{split}/{name}"
        shows = "" if record.cancer_class == UNKNOWN_CLASS else found.labels[record.cancer_class]
        known = {name: cell for name, cell in _known(record).items() if has_table and cell and name != "view"}
        labelled = bool(found.label_file or own.classes)
        images[record.path] = Slice(record.path, file, patient, shows, record.identified, labelled, known)
    where = "" if split is None else f"{folder.name}: "
    notes = [where + note.replace("different splits", "different hospitals") for note in (*found.notes, *unusable)]
    return CtFolder(tuple(images.values()), found.labels, tuple(notes))


def _usable(
    found: FolderRecords[Record],
    modality: Modality,
    folder: Path,
    progress: Progress | None,
    not_told: Collection[str] = (),
) -> tuple[FolderRecords[Record], list[str]]:
    """What a run could use of ``found``, each picture decoded as a run does; and by kind of fault how many files are
    left out and which."""
    refs = [record.ref for record in found.records]

    def report(done: int) -> None:
        if progress is not None:
            progress(done, len(refs))

    unreadable: Sequence[BadFile] = decode_all(refs, _SMALL, "squash", CacheConfig(), report, modality).bad
    without = {bad.path for bad in unreadable}
    bad: list[BadFile] = [*(file for file in found.bad if file.fault not in not_told), *unreadable]
    told = [f"left out: {issue.sentence} ({listed(issue.files)})" for issue in bad_file_issues(bad, modality, folder)]
    records = tuple(record for record in found.records if record.path not in without)
    nobodys = tuple(relative_name(record.path, folder) for record in records if not record.identified)
    return replace(found, records=records, own_patients=nobodys), told


def require_folder(folder: Path, what: str) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{what} {folder} is not there, or is not a folder")


def _known(record: XrayRecord | CtRecord) -> dict[str, str]:
    known, age = record.attributes, record.attributes.age_years
    return {
        "age": "" if age is None else f"{age:g}",
        "sex": known.sex or "",
        "view": known.view or "",
        "scanner": known.scanner or "",
        "split": record.split or "",
    }
