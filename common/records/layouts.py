"""Layouts of label files: which column is what, in public collections and in a hospital's own file."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from fedthorax.common.config.label_mapping import LabelFormat, LabelMapping, Match, Uncertain
from fedthorax.common.records.attributes import AttributeColumns
from fedthorax.common.records.finding_names import did_you_mean, plain_name
from fedthorax.common.records.table import Table

NIH_FINDINGS = frozenset(
    {
        "Atelectasis",
        "Cardiomegaly",
        "Consolidation",
        "Edema",
        "Effusion",
        "Emphysema",
        "Fibrosis",
        "Hernia",
        "Infiltration",
        "Mass",
        "Nodule",
        "Pleural_Thickening",
        "Pneumonia",
        "Pneumothorax",
    }
)
"""What the NIH collection was searched for: absent from an image's list means absent from the image."""


@dataclass(frozen=True)
class Layout:
    """How to read one label file. Columns are None, or empty, where the file has none.

    Without ``labels`` each finding has a column. ``searched`` is None if exactly the listed names were searched for.
    ``incomplete`` names leave all findings unknown that are not listed beside them; ``beside_no_finding`` are names of
    which ``no_finding`` says nothing. Cells are compared as ``plain_cell`` writes them.
    """

    name: str
    file: str
    match: Match
    patient: str | None
    split: str | None
    attributes: AttributeColumns
    labels: str | None
    separator: str
    names: Mapping[str, str | None]
    searched: frozenset[str] | None
    no_finding: str | None
    beside_no_finding: frozenset[str]
    incomplete: frozenset[str]
    cells: Mapping[str, float | None]  # 1.0, 0.0, NaN; None means uncertain
    empty: Literal["unknown", "absent", "refused"]
    uncertain: Uncertain
    uncertain_findings: Mapping[str, Uncertain]
    patient_pattern: str | None

    @property
    def used_columns(self) -> frozenset[str]:
        """Columns that are no finding."""
        own = (self.file, self.patient, self.split, self.labels)
        of = self.attributes
        return frozenset(filter(None, (*own, of.sex, of.age, of.birth, of.study_date, *of.view, *of.scanner)))


@dataclass(frozen=True)
class _Format:
    """The usual columns of a named format; of several the first that the file has."""

    name: str
    file: tuple[str, ...]
    match: Match = "path"
    patient: tuple[str, ...] = ()
    split: tuple[str, ...] = ("split",)
    sex: tuple[str, ...] = ()
    age: tuple[str, ...] = ()
    birth: tuple[str, ...] = ()
    study_date: tuple[str, ...] = ()
    view: tuple[str, ...] = ()
    scanner: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    join: tuple[str, ...] = ()
    searched: frozenset[str] | None = None
    no_finding: str | None = None
    beside_no_finding: frozenset[str] = frozenset()
    incomplete: frozenset[str] = frozenset()
    uncertain_cells: tuple[str, ...] = ()
    empty: Literal["unknown", "absent", "refused"] = "unknown"
    patient_pattern: str | None = None
    marks: frozenset[str] = field(default_factory=frozenset)  # columns by which the format is recognised


_PLAIN = _Format(
    name="plain",
    file=("file",),
    patient=("patient_id",),
    sex=("sex",),
    age=("age",),
    view=("view",),
    scanner=("scanner",),
    join=("file",),
    marks=frozenset({"file"}),
)

# X. Wang et al., ChestX-ray8, CVPR 2017; Data_Entry_2017.csv of https://nihcc.app.box.com/v/ChestXray-NIHCC.
_NIH = _Format(
    name="nih",
    file=("Image Index",),
    match="name",
    patient=("Patient ID",),
    sex=("Patient Gender", "Patient Sex"),
    age=("Patient Age",),
    view=("View Position",),
    labels=("Finding Labels",),
    join=("Image Index",),
    searched=NIH_FINDINGS,
    no_finding="No Finding",
    empty="refused",
    marks=frozenset({"Image Index", "Finding Labels"}),
)

# J. Irvin et al., CheXpert, AAAI 2019, https://arxiv.org/abs/1901.07031: 1 positive, 0 negative, -1 uncertain, empty
# not mentioned. No Finding is given where nothing is positive or uncertain, support devices apart.
_CHEXPERT = _Format(
    name="chexpert",
    file=("Path",),
    sex=("Sex",),
    age=("Age",),
    view=("AP/PA", "Frontal/Lateral"),
    join=("Path",),
    no_finding="No Finding",
    beside_no_finding=frozenset({"Support Devices"}),
    uncertain_cells=("-1",),
    patient_pattern=r"(?:^|/)(?P<patient>patient\d+)/",
    marks=frozenset({"Path", "Frontal/Lateral"}),
)

# A. Bustos et al., PadChest, Medical Image Analysis 66, 2020, https://arxiv.org/abs/1901.07441: names of an image as a
# Python list; "exclude" marks a picture that cannot be judged, "unchanged" a report that only refers to an earlier one.
_PADCHEST = _Format(
    name="padchest",
    file=("ImageID",),
    match="name",
    patient=("PatientID",),
    sex=("PatientSex_DICOM",),
    birth=("PatientBirth",),
    study_date=("StudyDate_DICOM",),
    view=("Projection", "ViewPosition_DICOM"),
    scanner=("Manufacturer_DICOM",),
    labels=("Labels",),
    join=("ImageID",),
    no_finding="normal",
    incomplete=frozenset({"exclude", "unchanged"}),
    marks=frozenset({"ImageID", "Labels"}),
)

# A. E. W. Johnson et al., MIMIC-CXR-JPG, https://arxiv.org/abs/1901.07042, https://physionet.org/content/mimic-cxr-jpg:
# mimic-cxr-2.0.0-chexpert.csv has a row a study, the files -metadata.csv and -split.csv a row an image.
_MIMIC = _Format(
    name="mimic",
    file=("dicom_id",),
    match="stem",
    patient=("subject_id",),
    view=("ViewPosition",),
    join=("subject_id", "study_id", "dicom_id"),
    no_finding="No Finding",
    beside_no_finding=frozenset({"Support Devices"}),
    uncertain_cells=("-1",),
    marks=frozenset({"subject_id", "study_id"}),
)

_MOST_ABOVE = 20  # lines above the column names that are worth a look
_FORMATS = {form.name: form for form in (_NIH, _CHEXPERT, _PADCHEST, _MIMIC, _PLAIN)}
_EXPECTED = (
    "a column 'file' (plain form), 'Image Index' and 'Finding Labels' (NIH), 'Path' and 'Frontal/Lateral' (CheXpert), "
    "'ImageID' and 'Labels' (PadChest) or 'subject_id' and 'study_id' (MIMIC-CXR)"
)


def join_columns(table: Table, format: LabelFormat, mapping: LabelMapping) -> tuple[str, ...]:
    """On which columns further tables are joined to the label file ``table``."""
    return mapping.join or _format_of(table, format, mapping).join


def layout_of(table: Table, format: LabelFormat, mapping: LabelMapping) -> Layout:
    """The layout of ``table``: its format's, changed by ``mapping``.

    Raises ValueError where no format fits, or a column is named that the table does not have.
    """
    form = _format_of(table, format, mapping)
    file = column_of(table, "file", mapping.file, form.file)
    if file is None:
        wanted = ", ".join(repr(name) for name in form.file)
        hint = ""
        if form.name == "mimic":
            hint = "; name the file with one row an image under xray.further_tables"
        raise ValueError(f"{table.path}: expected a column {wanted}, found {', '.join(table.columns)}{hint}")
    for key, usual in (("patient", form.patient), ("split", form.split)):
        refuse_nearly(table, key, getattr(mapping, key), usual)
    labels = column_of(table, "labels", mapping.labels, form.labels)
    if labels is None and form.labels and mapping.labels is None:
        raise ValueError(f"{table.path}: expected a column {form.labels[0]!r}, found {', '.join(table.columns)}")
    no_finding = form.no_finding if mapping.no_finding is None else mapping.no_finding
    if labels is None and mapping.no_finding:
        column_of(table, "no_finding", mapping.no_finding, ())
    searched = form.searched if mapping.searched is None else frozenset(mapping.searched)
    return Layout(
        name=form.name,
        file=file,
        match=mapping.match or form.match,
        patient=column_of(table, "patient", mapping.patient, form.patient),
        split=column_of(table, "split", mapping.split, form.split),
        attributes=AttributeColumns(
            sex=column_of(table, "sex", mapping.sex, form.sex),
            age=column_of(table, "age", mapping.age, form.age),
            birth=column_of(table, "birth", mapping.birth, form.birth),
            study_date=column_of(table, "study_date", mapping.study_date, form.study_date),
            view=_columns(table, "view", mapping.view, form.view),
            scanner=_columns(table, "scanner", mapping.scanner, form.scanner),
        ),
        labels=labels,
        separator=mapping.separator or "|",
        names=mapping.names,
        searched=searched,
        no_finding=no_finding or None,
        beside_no_finding=_set(mapping.beside_no_finding, form.beside_no_finding),
        incomplete=_set(mapping.incomplete, form.incomplete),
        cells=_cells(table, mapping, form),
        empty=mapping.empty or form.empty,
        uncertain=mapping.uncertain or "ignore",
        uncertain_findings=mapping.uncertain_findings,
        patient_pattern=form.patient_pattern,
    )


MISSING = frozenset(
    ["?", "na", "n/a", "n.a.", "nan", "#n/a", "null", "none", "-", "\u2013", "unknown", "unk", "u", "missing"]
)
"""Words by which tables say that nobody knows, as ``plain_cell`` writes them."""


@lru_cache(maxsize=1024)
def plain_cell(cell: str) -> str:
    """One spelling of a cell: lower case, and numbers without a decimal comma or superfluous zeros."""
    word = cell.strip().casefold()
    try:
        number = float(word.replace(",", ".", 1))
    except ValueError:
        return word
    return f"{number:.12g}"


def _format_of(table: Table, format: LabelFormat, mapping: LabelMapping) -> _Format:
    if format != "auto":
        return _FORMATS[format]
    for form in _FORMATS.values():
        if form.marks <= set(table.columns):
            return form
    if mapping.file:
        return _PLAIN
    hint = "say which column is what under xray.mapping"
    if len(table.columns) == 1:
        hint = "the cells have to be parted by comma, semicolon, tab or bar, and a whole line not to stand in quotes"
    for row in table.rows[:_MOST_ABOVE]:
        words = {word.strip(' "') for cell in row.cells.values() for word in re.split(r"[,;\t|]", cell)}
        if any(form.marks <= words for form in _FORMATS.values()):
            hint = f"the column names stand in line {row.line}: take out what stands above them"
    raise ValueError(f"{table.path}: expected {_EXPECTED}, found {', '.join(filter(None, table.columns))}; {hint}")


def column_of(
    table: Table, key: str, wanted: str | None, usual: Sequence[str], section: str = "xray.mapping"
) -> str | None:
    """The column that the mapping names (``wanted``, "" for none), else the first of ``usual`` that the table has."""
    if wanted is None:
        return next((name for name in usual if name in table.columns), None)
    if wanted and wanted not in table.columns:
        raise ValueError(
            f"{table.path}: {section}.{key} names the column {wanted!r}, which the file does not have"
            f"{did_you_mean(wanted, table.columns)}; its columns are {', '.join(table.columns)}"
        )
    return wanted or None


def refuse_nearly(
    table: Table, key: str, wanted: str | None, usual: Sequence[str], section: str = "xray.mapping"
) -> None:
    """Without its column each image would be its own patient, or be drawn anew: that is not guessed."""
    if wanted is None and usual and not set(usual) & set(table.columns):
        alike = {plain_name(name) for name in (*usual, key)}
        for name in table.columns:
            if plain_name(name) in alike:
                raise ValueError(
                    f"{table.path}: `{name}`: is it the column {usual[0]!r}? If so, write under {section} "
                    f"`{key}: {name}`, or correct the header; if not, `{key}: ''`"
                )


def _columns(table: Table, key: str, wanted: Sequence[str] | None, usual: Sequence[str]) -> tuple[str, ...]:
    if wanted is None:
        return tuple(name for name in usual if name in table.columns)
    return tuple(name for name in (column_of(table, key, name, ()) for name in wanted) if name)


def _set(wanted: Sequence[str] | None, usual: frozenset[str]) -> frozenset[str]:
    return usual if wanted is None else frozenset(wanted)


def _cells(table: Table, mapping: LabelMapping, form: _Format) -> dict[str, float | None]:
    uncertain = form.uncertain_cells if mapping.uncertain_cells is None else mapping.uncertain_cells
    if mapping.uncertain_cells is None and (mapping.uncertain is not None or mapping.uncertain_findings):
        uncertain = ("-1",)
    present = ("1",) if mapping.present is None else mapping.present
    absent = ("0",) if mapping.absent is None else mapping.absent
    meanings: dict[str, float | None] = {}
    for words, meaning in ((present, 1.0), (absent, 0.0), (mapping.unknown or (), math.nan), (uncertain, None)):
        for word in map(plain_cell, words):
            if word in meanings:
                raise ValueError(
                    f"{table.path}: xray.mapping gives the cell {word!r} two meanings; name under present, absent, "
                    "unknown and uncertain_cells what each word means, once"
                )
            meanings[word] = meaning
    return meanings
