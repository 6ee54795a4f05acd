"""The CSV files that label X-rays: the forms, the mapping, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.label_mapping import LabelMapping
from fedthorax.common.records.labels import LabelTable, read_labels, split_of
from fedthorax.common.records.records import Attributes

Write = Callable[..., Path]
NAN = float("nan")


def test_the_plain_form_reads_present_absent_and_unknown(table: Write) -> None:
    path = table("file,patient_id,age,Mass,Effusion", "a.png,p1,61,1,0.0", "sub\\b.png,p2,,,1.0")
    labels = read_labels(path, "auto", ["Effusion", "Mass"])
    assert labels.format == "plain"
    assert [(row.file, row.patient, row.split) for row in labels.rows] == [
        ("a.png", "p1", None),
        ("sub/b.png", "p2", None),
    ]
    np.testing.assert_array_equal([row.findings for row in labels.rows], [[0, 1], [1, NAN]])
    assert labels.notes == ()


def mapped(path: Path, findings: list[str], format: str = "auto", **mapping: object) -> LabelTable:
    return read_labels(path, format, findings, LabelMapping.model_validate(mapping))  # type: ignore[arg-type]


def values(labels: LabelTable) -> list[tuple[float, ...]]:
    return [row.findings for row in labels.rows]


def test_a_finding_without_a_column_is_unknown_and_said(table: Write) -> None:
    labels = read_labels(table("file,patient_id,Mass,other", "a.png,p,1,1"), "plain", ["Mass", "Hernia"])
    np.testing.assert_array_equal(values(labels), [[1, NAN]])
    assert labels.notes == ("labels.csv has no column for Hernia: unknown for every X-ray",)


def test_the_plain_form_reads_sex_age_view_and_scanner_where_they_stand(table: Write) -> None:
    path = table("file,sex,age,view,scanner,Mass", "a.png,f,61,AP Supine,Acme X1,1", "b.png,,,,,0")
    labels = read_labels(path, "auto", ["Mass"])
    assert [row.attributes for row in labels.rows] == [Attributes("F", 61.0, "AP", "Acme X1"), Attributes()]
    assert labels.notes == ()


def test_attributes_that_are_not_understood_are_unknown_and_counted_without_being_quoted(table: Write) -> None:
    labels = read_labels(table("file,sex,age,Mass", "a.png,Smith,411,1", "b.png,M,n/a,1"), "auto", ["Mass"])
    assert [row.attributes for row in labels.rows] == [Attributes(), Attributes("M")]
    assert labels.notes == (
        "labels.csv, column sex: 1 cells, the first in line 2, are not understood and count as unknown",
        "labels.csv, column age: 1 cells, the first in line 2, are not understood and count as unknown",
    )


def test_a_split_column_is_read_in_both_forms(table: Write) -> None:
    plain = table("file,Mass,split", "a.png,1,train", "b.png,1,Validation", "c.png,1,")
    assert [row.split for row in read_labels(plain, "auto", ["Mass"]).rows] == ["train", "valid", None]
    nih = table("Image Index,Finding Labels,split", "a.png,Mass,test")
    assert [row.split for row in read_labels(nih, "auto", ["Mass"]).rows] == ["test"]


def test_the_nih_form_knows_every_finding_it_was_searched_for(table: Write) -> None:
    path = table("Image Index,Finding Labels,Patient ID", "a.png,Mass|Hernia,1", "b.png,No Finding,2")
    labels = read_labels(path, "auto", ["Mass", "Pneumonia", "COVID-19"])
    assert labels.format == "nih"
    assert [row.patient for row in labels.rows] == ["1", "2"]
    np.testing.assert_array_equal([row.findings for row in labels.rows], [[1, 0, NAN], [0, 0, NAN]])
    unknown, foreign = labels.notes
    assert "never names COVID-19" in unknown
    assert foreign.endswith("that the consortium does not predict: Hernia (1 X-ray)")


PLAIN = "file,patient_id,Mass"
NIH = "Image Index,Finding Labels,Patient ID"


@pytest.mark.parametrize(
    ("form", "lines", "message"),
    [
        ("auto", ["name,Mass", "a.png,1"], r"expected a column 'file' \(plain form\).*found name, Mass"),
        ("plain", [NIH, "a.png,Mass,1"], "expected a column 'file', found Image Index"),
        ("nih", [PLAIN, "a.png,p,1"], "expected a column 'Image Index', found file"),
        ("auto", [PLAIN, "a.png,p,yes"], "line 2, column Mass: expected 1, 0 or nothing .unknown., found 'yes'"),
        ("auto", [PLAIN, "a.png,p,-1"], "line 2, column Mass: .* found '-1'"),
        ("auto", [PLAIN, "a.png,p,nan"], "line 2, column Mass: .* found 'nan'"),
        ("auto", ["file,Edema,Hernia", "a.png,1,0"], "none of the findings Mass; its columns are Edema, Hernia"),
        ("auto", [PLAIN, ",p,1"], "line 2, column file: expected a file name, found nothing"),
        ("auto", [PLAIN, "/etc/a.png,p,1"], "line 2, column file: expected a path inside the X-ray folder"),
        ("auto", [PLAIN, "../a.png,p,1"], r"expected a path inside the X-ray folder, found '\.\./a\.png'"),
        ("auto", [PLAIN, "C:\\a.png,p,1"], "expected a path inside the X-ray folder"),
        ("auto", [PLAIN + ",split", "a.png,p,1,holdout"], "line 2, column split: expected train, valid, test"),
        ("auto", [NIH, "a.png,Mass|No Finding,1"], "line 2, column Finding Labels: .* found 'Mass.No Finding'"),
        ("auto", [NIH, "a.png,,1"], "line 2, column Finding Labels: .* found ''"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(table: Write, form: str, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(table(*lines), form, ["Mass"])  # type: ignore[arg-type]
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_nih_table_without_any_of_the_findings_is_refused_with_both_lists(table: Write) -> None:
    with pytest.raises(ValueError, match="none of the findings COVID-19; its Finding Labels are Hernia, Mass"):
        read_labels(table(NIH, "a.png,Mass|Hernia,1"), "nih", ["COVID-19"])


@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), ("val", "valid"), ("VALID", "valid"), ("validation", "valid"), ("Test", "test"), ("x", None)],
)
def test_split_names_and_their_short_forms(word: str, split: str | None) -> None:
    assert split_of(word) == split
