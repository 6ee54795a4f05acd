"""CT classes from a table: by file, by series, by folder, with the care of X-ray tables."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.data import CtSource
from fedthorax.common.config.label_mapping import SliceMapping
from fedthorax.common.hospital.ct_folder import ct_records

Write = Callable[..., Path]
Draw = Callable[..., Path]
CLASSES = ["benign", "malignant"]


def test_a_row_a_file_tells_class_patient_split_and_scanner(tmp_path: Path, table: Write, draw: Draw) -> None:
    for name in ("a.png", "deep/b.png", "c.png", "extra.png"):
        draw(tmp_path / "ct" / name)
    labels = table(
        "file,patient_id,label,split,scanner", "a.png,p,benign,train,X", "deep/b.png,q,malignant,test,", "c.png,q,,,"
    )
    found = ct_records(CtSource(folder=tmp_path / "ct", labels=labels), CLASSES)
    assert [(r.path.name, r.patient, r.cancer_class, r.split, r.attributes.scanner) for r in found.records] == [
        ("a.png", "p", 0, "train", "X"),
        ("c.png", "q", -1, None, None),
        ("b.png", "q", 1, "test", None),
    ]
    assert found.notes == ("1 image has no row in labels.csv and is not used: extra.png",)
    assert found.bad == ()


def test_without_classes_given_the_table_names_them(tmp_path: Path, table: Write, draw: Draw) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name)
    table("file,class,grade,label", "a.png,malignant,3,x", "b.png,benign,1,y", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path))
    assert found.labels == ("benign", "malignant")
    assert "slices.csv: classes are in the column class; not read: grade, label" in found.notes


def test_a_row_a_folder_holds_for_all_below_and_the_deepest_counts(tmp_path: Path, table: Write, draw: Draw) -> None:
    for name in ("p1/1.png", "p1/again/1.png", "p2/x/1.png"):
        draw(tmp_path / name)
    table("folder,patient_id,class", "p1/,one,benign", "p1/again,one,malignant", "p2,two,malignant", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(r.patient, r.cancer_class) for r in found.records] == [("one", 0), ("one", 1), ("two", 1)]


def test_a_row_a_series_holds_for_all_its_slices(tmp_path: Path, table: Write, write_ct: Write) -> None:
    for number in (1, 2):
        for series in ("1.2.3", "1.2.4"):
            write_ct(
                tmp_path / f"scan/{series}-{number}.dcm",
                np.full((8, 8), 40 * number, np.int16),
                SeriesInstanceUID=series,
                ImagePositionPatient=[0, 0, number],
            )
    table("SeriesInstanceUID,class", "1.2.3,benign", "1.2.4,malignant", "1.2.5,benign", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(r.path.name, r.cancer_class) for r in found.records] == [
        ("1.2.3-1.dcm", 0),
        ("1.2.3-2.dcm", 0),
        ("1.2.4-1.dcm", 1),
        ("1.2.4-2.dcm", 1),
    ]
    assert [(bad.path.name, bad.fault) for bad in found.bad] == [("1.2.5", "missing")]


def test_a_series_without_hounsfield_units_is_bad_and_its_row_is_not_without_image(
    tmp_path: Path, table: Write, write_ct: Write
) -> None:
    raw = np.where(np.arange(100) < 50, 1064, 24).repeat(10).reshape(-1, 10)
    write_ct(tmp_path / "scan/1.dcm", raw, SeriesInstanceUID="1.2.3")
    table("SeriesInstanceUID,class", "1.2.3,benign", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(bad.path.name, bad.fault) for bad in found.bad] == [("1.dcm", "other_scale")]


def test_columns_and_classes_of_a_hospitals_own_are_mapped(tmp_path: Path, draw: Draw) -> None:
    for name in ("x/a.png", "x/b.png", "x/c.png", "x/d.png"):
        draw(tmp_path / name)
    (tmp_path / "befunde.csv").write_text(
        "Bild;Fall;Befund;Gerät\na;7;gutartig;X\nb;8;bösartig;Y\nc;9;?;X\nd;9;offen;X\n", encoding="windows-1252"
    )
    mapping = SliceMapping(
        encoding="windows-1252",
        file="Bild",
        match="stem",
        patient="Fall",
        label="Befund",
        scanner=("Gerät",),
        unknown=("?",),
    )
    source = CtSource(
        folder=tmp_path,
        labels=tmp_path / "befunde.csv",
        mapping=mapping,
        classes={"gutartig": "benign", "bösartig": "malignant", "offen": None},
    )
    found = ct_records(source, CLASSES)
    assert [(r.patient, r.cancer_class, r.attributes.scanner) for r in found.records] == [
        ("7", 0, "X"),
        ("8", 1, "Y"),
        ("9", -1, "X"),
        ("9", -1, "X"),
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["file,class", "a.png,Benign"],
            r"labels\.csv: expected the CT classes .*found Benign .*`classes: \{Benign: ben",
        ),
        (["file,class", "a.png,benign", "a.png,malignant"], r"a\.png in lines 2, 3 \(in conflict\)"),
        (["file,class,split", "a.png,benign,later"], "line 2, column split: expected train, valid, test or nothing"),
        (["file,class", "../a.png,benign"], "line 2, column file: expected a path inside the CT folder"),
        (["series_uid,class", ",benign"], "line 2, column series_uid: expected a series, found nothing"),
        (["name,class", "a.png,benign"], "expected a column file .* under ct.mapping"),
        (["file,ward", "a.png,A3"], "and patient_id, class or both, found file, ward"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(
    tmp_path: Path, table: Write, draw: Draw, lines: list[str], words: str
) -> None:
    draw(tmp_path / "a.png")
    with pytest.raises(ValueError, match=words):
        ct_records(CtSource(folder=tmp_path, labels=table(*lines)), CLASSES)


def test_a_class_that_is_no_finding_of_the_consortium_can_be_left_unknown_and_names_that_nearly_match_are_told(
    tmp_path: Path, table: Write, draw: Draw
) -> None:
    draw(tmp_path / "a.png")
    labels = table("file,class", "a.PNG,indeterminate")
    source = CtSource(folder=tmp_path, labels=labels, classes={"indeterminate": None})
    (bad,) = ct_records(source, CLASSES).bad
    assert bad.reason == "the file is there, with another ending than labels.csv says: set ct.mapping.match to stem"


@pytest.mark.parametrize("cell", ["NA", "?", "-", "unknown"])
def test_a_word_for_unknown_becomes_no_class(tmp_path: Path, table: Write, draw: Draw, cell: str) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    table("file,class", "a.png,benign", f"b.png,{cell}", name="slices.csv")
    with pytest.raises(
        ValueError, match=r"is .* a class\? If it means unknown, write `classes: \{.*: null\}` under ct"
    ):
        ct_records(CtSource(folder=tmp_path))
    found = ct_records(CtSource(folder=tmp_path, classes={cell: None}))
    assert found.labels == ("benign",)
    assert [record.cancer_class for record in found.records] == [0, -1]


@pytest.mark.parametrize(("column", "key"), [("Patient_ID", "patient"), ("Split", "split"), ("Class", "label")])
def test_a_column_that_is_nearly_one_that_is_read_is_asked_about(
    tmp_path: Path, table: Write, draw: Draw, column: str, key: str
) -> None:
    draw(tmp_path / "a.png")
    other = "patient_id" if column == "Class" else "class"
    table(f"file,{other},{column}", "a.png,x,train", name="slices.csv")
    with pytest.raises(ValueError, match=f"`{column}`: is it the column .* ct.mapping `{key}: {column}`"):
        ct_records(CtSource(folder=tmp_path))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (
            "p1",
            "the folder is there, but slices.csv writes it with other capitals: write it there as the folder is called",
        ),
        ("P 01", "the folder is there, but slices.csv writes it with other blanks, marks, zeros or endings: .*"),
        (
            "deep/P1",
            "the folder is there, in another folder than slices.csv says: write each with the folder that it lies in",
        ),
        ("P11", "stands in slices.csv, line 2, but does not exist"),
    ],
)
def test_a_folder_that_is_nearly_called_so_is_told(
    tmp_path: Path, table: Write, draw: Draw, cell: str, reason: str
) -> None:
    draw(tmp_path / "P1/a.png")
    table("folder,class", f"{cell},benign", name="slices.csv")
    (bad,) = ct_records(CtSource(folder=tmp_path), CLASSES).bad
    assert re.fullmatch(reason, bad.reason)
