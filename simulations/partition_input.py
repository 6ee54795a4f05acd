"""The images that a partition moves: where each lies, whose it is, which labels it has."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedthorax.common.records.layouts import NIH_FINDINGS
from fedthorax.common.records.records import SPLITS

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_NIH_COLUMNS = {
    "Image Index": "file",
    "Patient ID": "patient_id",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "Patient Sex": "sex",
    "View Position": "view",
}
_NIH_MARKS = {"Image Index", "Finding Labels", "Patient ID"}
_NOT_FINDINGS = {"file", "patient_id", "age", "sex", "view", "split", "follow_up"}
_LABEL_VALUES = {"1": "1", "1.0": "1", "0": "0", "0.0": "0", "": ""}


@dataclass(frozen=True)
class Xray:
    """``row`` is the row of the plain CSV, all columns as text; ``file`` is where the image goes, below ``xray/``."""

    path: Path
    file: str
    patient: str
    row: Mapping[str, str]


@dataclass(frozen=True)
class Slice:
    """``file`` is the path below ``ct/``; ``identified`` is False where nobody said whose slice it is."""

    path: Path
    file: str
    patient: str
    cancer_class: str
    identified: bool


@dataclass(frozen=True)
class XrayFolder:
    """``columns`` of the plain CSV in order, those in ``findings`` hold labels: 1, 0 or empty for unknown."""

    images: tuple[Xray, ...]
    columns: tuple[str, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CtFolder:
    """``classes`` are the names of the class folders, sorted."""

    images: tuple[Slice, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def is_plain(labels: Path) -> bool:
    """Whether the file is in the plain form or in ChestX-ray14's, whose further columns are dealt out with it."""
    try:
        with labels.open(newline="", encoding="utf-8-sig") as file:
            columns = {name.strip() for name in next(csv.reader(file), [])}
    except UnicodeDecodeError:
        return False
    return {"file", "patient_id"} <= columns or columns >= _NIH_MARKS


def read_xray_folder(folder: Path, labels: Path) -> XrayFolder:
    """Every image that the label file names. Rows without an image and images without a row are left out and noted.

    The file is one that ``is_plain``.
    """
    columns, rows = _read_rows(labels)
    if set(columns) >= _NIH_MARKS:
        columns, rows, findings = _from_nih(columns, rows)
    else:
        findings = _finding_columns(columns, rows)
    for row in rows:
        row.update({finding: _LABEL_VALUES[row[finding]] for finding in findings})
    return _join(folder, labels, columns, rows, findings)


def read_ct_folder(folder: Path, split: str | None = None) -> CtFolder:
    """Every image below a class folder; class folders lie in ``folder`` or below its train/, valid/ and test/.

    With ``split`` the folder is one split, whose images go below ``ct/<split>/``. A ``slices.csv`` with the columns
    file and patient_id, in the folder or the one above, says whose the slices are; without a row a slice is its own
    patient.
    """
    require_folder(folder, "CT folder")
    inner = [name for name in SPLITS if (folder / name).is_dir()]
    if split is not None and inner:
        raise ValueError(f"{folder} holds {', '.join(inner)}; expected one folder a class, for the split {split}")
    patients = _slice_patients(folder)
    images, others, classes = [], 0, set[str]()
    for root in [folder / name for name in inner] or [folder]:
        for class_folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            classes.add(class_folder.name)
            for path in _files(class_folder):
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    others += 1
                    continue
                file = path.relative_to(folder).as_posix() if split is None else f"{split}/{_below(path, folder)}"
                patient = patients.get(path)
                # The prefix keeps a slice of nobody apart from a patient who is called like the file.
                images.append(
                    Slice(path, file, patient or f"slice {path}", class_folder.name, identified=patient is not None)
                )
    if not images:
        raise FileNotFoundError(
            f"{folder} has no image in a class folder; expected CLASS/*.png or train/CLASS/*.png, also .jpg"
        )
    notes = [f"{others} files below {folder} are no PNG or JPEG images and were left out"] if others else []
    unidentified = sum(not image.identified for image in images)
    if unidentified:
        notes.append(
            f"{unidentified} of {len(images)} CT slices below {folder} have no patient in a slices.csv: each counts as "
            "a patient of its own, so slices of one person may lie at different hospitals"
        )
    return CtFolder(tuple(images), tuple(sorted(classes)), tuple(notes))


def _join(
    folder: Path, labels: Path, columns: Sequence[str], rows: Sequence[dict[str, str]], findings: Sequence[str]
) -> XrayFolder:
    images = {_below(path, folder): path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES}
    by_name: dict[str, list[str]] = {}
    for file in images:
        by_name.setdefault(PurePosixPath(file).name, []).append(file)
    in_images = all(file.startswith("images/") for file in images)
    found: dict[str, Xray] = {}
    missing = 0
    for row in rows:
        given = PurePosixPath(row["file"].replace("\\", "/")).as_posix()
        candidates = [given] if given in images else by_name.get(PurePosixPath(given).name, [])
        if len(candidates) > 1:
            raise ValueError(f"{labels} names {given}, which may be {' or '.join(candidates)}; write the whole path")
        if not candidates:
            missing += 1
            continue
        source = candidates[0]
        if source in found:
            raise ValueError(f"{labels} has more than one row for {source}; expected one row an image")
        file = source if in_images else f"images/{source}"
        patient = row["patient_id"].strip() or f"x-ray {source}"
        found[source] = Xray(images[source], file, patient, row | {"file": file})
    if not found:
        raise FileNotFoundError(f"none of the {len(rows)} images that {labels} names lies below {folder}")
    notes = []
    if missing:
        notes.append(f"{missing} rows of {labels} name images that are not below {folder} and were left out")
    unlabelled = len(images) - len(found)
    if unlabelled:
        notes.append(f"{unlabelled} images below {folder} have no row in {labels} and were left out")
    return XrayFolder(tuple(found[file] for file in sorted(found)), tuple(columns), tuple(findings), tuple(notes))


def _read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows as text; columns without a name, as at the end of NIH's header, are dropped."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; expected a CSV file")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        columns = [name.strip() for name in next(reader, [])]
        rows = []
        for values in reader:
            if any(values):
                if len(values) > len(columns):
                    raise ValueError(
                        f"{path}, line {reader.line_num}, has {len(values)} values, but the header has {len(columns)}"
                    )
                padded = values + [""] * (len(columns) - len(values))
                rows.append({name: value.strip() for name, value in zip(columns, padded, strict=True) if name})
    named = [name for name in columns if name]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} has the column {', '.join(repeated)} more than once")
    return named, rows


def _from_nih(
    columns: Sequence[str], rows: Iterable[Mapping[str, str]]
) -> tuple[list[str], list[dict[str, str]], list[str]]:
    rows = list(rows)
    named = [[part for part in row["Finding Labels"].split("|") if part not in ("", "No Finding")] for row in rows]
    findings = sorted(NIH_FINDINGS.union(*named))
    kept = [name for name in columns if name in _NIH_COLUMNS]
    plain = []
    for row, present in zip(rows, named, strict=True):
        values = {_NIH_COLUMNS[name]: row[name] for name in kept}
        plain.append(values | {finding: str(int(finding in present)) for finding in findings})
    order = [name for name in ("file", "patient_id", "age", "sex", "view") if name in plain[0]] if plain else []
    return [*order, *findings], plain, findings


def _finding_columns(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Columns that hold nothing but 1, 0 and empty, and at least one label."""
    found = []
    for name in columns:
        values = {row[name] for row in rows}
        if name.lower() not in _NOT_FINDINGS and values <= set(_LABEL_VALUES) and values != {""} and values:
            found.append(name)
    return found


def _slice_patients(folder: Path) -> dict[Path, str]:
    for root in (folder, folder.parent):
        path = root / "slices.csv"
        if path.is_file():
            columns, rows = _read_rows(path)
            if not {"file", "patient_id"} <= set(columns):
                raise ValueError(f"{path} has the columns {', '.join(columns)}; expected file and patient_id")
            return {root / PurePosixPath(row["file"]): row["patient_id"] for row in rows if row["patient_id"]}
    return {}


def _files(folder: Path) -> list[Path]:
    """All files in any depth, sorted; hidden ones are not anybody's images."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root) / name for name in sorted(names) if not name.startswith(".")]
    return found


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def require_folder(folder: Path, what: str) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{what} {folder} is not there, or is not a folder")
