"""Which columns are findings where nobody has said so: none vanishes without a word."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.config.label_mapping import LabelMapping
from fedthorax.common.records.labels import read_labels

Write = Callable[..., Path]


@pytest.mark.parametrize("odd", ["?", "NA", "nan", "yes", "U", "0.7", "2", "#REF!", "O", "-", "unknown", "1 0"])
def test_one_odd_cell_makes_an_error_with_its_line_and_no_column_vanish(table: Write, odd: str) -> None:
    path = table("file,patient_id,Mass,Edema", "a.png,p,1,0", f"b.png,q,{odd},1", "c.png,r,0,1")
    with pytest.raises(ValueError, match=r"labels.csv, line 3, column Mass: expected 1, 0 or nothing .* found"):
        read_labels(path, "auto", None)


@pytest.mark.parametrize("word", ["NA", "n/a", "?", "-", "unknown", "None", "nan"])
def test_a_column_that_is_mostly_unknown_in_words_does_not_vanish(table: Write, word: str) -> None:
    path = table("file,Mass", "a.png,1", *(f"{name}.png,{word}" for name in "bcde"))
    with pytest.raises(ValueError, match=r"labels.csv, line 3, column Mass: .* \(as in 3 more lines\)"):
        read_labels(path, "auto", None)


@pytest.mark.parametrize(
    ("header", "asked"),
    [("file,Mass,mass", "names: {mass: Mass}"), ("file,Mass,Pleural Mass,Mass.1", "names: {Mass.1: Mass}")],
)
def test_two_spellings_of_one_column_are_asked_about(table: Write, header: str, asked: str) -> None:
    path = table(header, "a.png" + ",1" * header.count(","))
    with pytest.raises(ValueError, match=asked):
        read_labels(path, "auto", None)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("?", r"line 3, column Finding Labels: .* list it under xray\.mapping\.unknown"),
        ("NA", r"line 3, column Finding Labels: .* list it under xray\.mapping\.unknown"),
        ("Efusion", "did you mean `Effusion`"),
        ("effusion", "did you mean `Effusion`"),
        ("No finding", "did you mean `No Finding`"),
        ("Mass;Nodule", "looks like several names joined by ;"),
    ],
)
def test_in_a_list_a_word_that_is_no_finding_does_not_become_one(table: Write, cell: str, words: str) -> None:
    path = table("Image Index,Finding Labels", "a.png,Mass", f"b.png,{cell}")
    with pytest.raises(ValueError, match=words):
        read_labels(path, "auto", None)


def test_a_column_without_a_name_is_told(table: Write) -> None:
    labels = read_labels(table("file,Mass,", "a.png,1,see film 3"), "auto", None)
    assert labels.notes == ("labels.csv: not taken for findings: a column without a name",)


@pytest.mark.parametrize(
    ("column", "key"),
    [("Patient_ID", "patient"), ("PatientID", "patient"), ("patient", "patient"), ("Split", "split")],
)
def test_a_column_that_is_nearly_the_patients_or_the_splits_is_asked_about(table: Write, column: str, key: str) -> None:
    path = table(f"file,{column},Mass", "a.png,train,1")
    with pytest.raises(ValueError, match=f"`{column}`: is it the column .* xray.mapping `{key}: {column}`"):
        read_labels(path, "auto", ["Mass"])
    mapping = LabelMapping.model_validate({key: column})
    (row,) = read_labels(path, "auto", ["Mass"], mapping).rows
    assert "train" in (row.patient, row.split)
    (row,) = read_labels(path, "auto", ["Mass"], LabelMapping.model_validate({key: ""})).rows
    assert (row.patient, row.split) == (None, None)


@pytest.mark.parametrize("lines", [["Findings;;", "file;Mass;x", "a.png;1;2"], ["Findings", "file;Mass", "a.png;1"]])
def test_a_title_above_the_column_names_is_told(table: Write, lines: list[str]) -> None:
    with pytest.raises(ValueError, match="the column names stand in line 2: take out what stands above them"):
        read_labels(table(*lines), "auto", None)


def test_a_header_of_one_cell_is_told(table: Write) -> None:
    with pytest.raises(ValueError, match="parted by comma, semicolon, tab or bar, and a whole line not to stand in"):
        read_labels(table('"file,Mass"', '"a.png,1"'), "auto", None)


def test_the_number_of_odd_cells_is_told_and_where_their_meaning_is_said(table: Write) -> None:
    path = table("file,Mass", "a.png,1", "b.png,?", "c.png,0", "d.png,?", "e.png,0")
    with pytest.raises(ValueError, match=r"found '\?' \(as in 1 more line\); what else .* under xray\.mapping"):
        read_labels(path, "auto", None)
    labels = read_labels(path, "auto", None, LabelMapping(unknown=("?",)))
    assert [row.findings[0] for row in labels.rows if row.findings[0] == row.findings[0]] == [1, 0, 0]


def test_columns_that_are_no_findings_are_named_with_the_reason(table: Write) -> None:
    path = table(
        "file,patient_id,age,Mass,Edema,prior films,ward,smoker,remark",
        "a.png,p,61,1.0,1,0,A3,yes,",
        "b.png,q,60,0.00,,3,B1,no,",
        "c.png,r,59,,0,7,A3,no,",
    )
    labels = read_labels(path, "auto", None)
    assert labels.findings == ("Mass", "Edema")
    assert labels.notes == (
        "labels.csv: not taken for findings: prior films (numbers beyond 0 and 1), ward (other cells than 1 and 0), "
        "smoker (words in place of 1 and 0: say what they mean under xray.mapping.present and absent), remark (empty)",
    )


def test_words_that_the_mapping_explains_make_a_finding(table: Write) -> None:
    path = table("file,smoker,Erguss,Rest", "a.png,ja,ja,nein", "b.png,nein,nein,nein")
    mapping = LabelMapping(present=("ja",), absent=("nein",), names={"Erguss": "Effusion", "Rest": None})
    labels = read_labels(path, "auto", None, mapping)
    assert labels.findings == ("smoker", "Effusion")
    assert [row.findings for row in labels.rows] == [(1.0, 1.0), (0.0, 0.0)]


def test_a_table_without_any_finding_says_what_its_columns_are(table: Write) -> None:
    with pytest.raises(ValueError, match=r"no column is one of findings, .* its columns: ward \(other cells"):
        read_labels(table("file,ward", "a.png,A3"), "auto", None)
    with pytest.raises(ValueError, match="its columns: no others than file, patient_id"):
        read_labels(table("file,patient_id", "a.png,p"), "auto", None)
