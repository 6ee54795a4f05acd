"""Label files of public collections, and a hospital's own with a mapping."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.label_mapping import LabelMapping
from fedthorax.common.records.labels import LabelTable, read_labels
from fedthorax.common.records.layouts import plain_cell
from fedthorax.common.records.records import Attributes

Write = Callable[..., Path]
NAN = float("nan")

CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Pleural Effusion,Support Devices"
VIEW1 = "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
VIEW2 = "CheXpert-v1.0-small/train/patient00002/study1/view2_lateral.jpg"


def mapped(path: Path, findings: list[str], **mapping: object) -> LabelTable:
    return read_labels(path, "auto", findings, LabelMapping.model_validate(mapping))


def values(labels: LabelTable) -> list[tuple[float, ...]]:
    return [row.findings for row in labels.rows]


def test_the_nih_file_as_it_is_published_gives_its_attributes(table: Write) -> None:
    path = table(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
        "a.png,Mass,0,1,058Y,M,PA,2682,2749,0.143,0.143,",
        "b.png,No Finding,0,2,411,F,AP,2682,2749,0.143,0.143,",
    )
    labels = read_labels(path, "auto", ["Mass"])
    assert [row.attributes for row in labels.rows] == [Attributes("M", 58.0, "PA"), Attributes("F", None, "AP")]


def test_chexpert_tells_present_absent_uncertain_and_not_mentioned_apart(table: Write) -> None:
    path = table(CHEXPERT, f"{VIEW1},Female,68,Frontal,AP,,-1.0,1.0,", f"{VIEW2},Male,87,Lateral,,,0.0,,1.0")
    labels = read_labels(path, "auto", ["Edema", "Pleural Effusion"])
    assert labels.format == "chexpert"
    np.testing.assert_array_equal(values(labels), [[NAN, 1], [0, NAN]])
    assert [row.attributes for row in labels.rows] == [Attributes("F", 68.0, "AP"), Attributes("M", 87.0, "LL")]
    assert labels.notes == ()


def test_chexperts_no_finding_makes_absent_what_is_not_mentioned_but_for_devices(table: Write) -> None:
    path = table(CHEXPERT, f"{VIEW1},Female,68,Frontal,AP,1.0,,,")
    labels = read_labels(path, "auto", ["Edema", "Pleural Effusion", "Support Devices", "No Finding"])
    np.testing.assert_array_equal(values(labels), [[0, 0, NAN, 1]])


def test_an_uncertain_finding_beside_no_finding_follows_the_policy(table: Write) -> None:
    path = table(CHEXPERT, f"{VIEW1},Female,68,Frontal,AP,1.0,-1.0,,")
    np.testing.assert_array_equal(values(mapped(path, ["Edema", "Pleural Effusion"], uncertain="ones")), [[1, 0]])


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, [NAN, NAN]),
        ({"uncertain": "ignore"}, [NAN, NAN]),
        ({"uncertain": "ones"}, [1, 1]),
        ({"uncertain": "zeros"}, [0, 0]),
        ({"uncertain": "zeros", "uncertain_findings": {"Edema": "ones"}}, [1, 0]),
        ({"uncertain_findings": {"Edema": "zeros"}}, [0, NAN]),
    ],
)
def test_the_policy_for_uncertain_is_set_for_all_and_for_single_findings(
    table: Write, mapping: dict[str, object], expected: list[float]
) -> None:
    chexpert = table(CHEXPERT, f"{VIEW1},Female,68,Frontal,AP,,-1.0,-1.0,")
    np.testing.assert_array_equal(values(mapped(chexpert, ["Edema", "Pleural Effusion"], **mapping)), [expected])
    if mapping:
        plain = table("file,Edema,Pleural Effusion", "a.png,-1,-1", name="plain.csv")
        np.testing.assert_array_equal(values(mapped(plain, ["Edema", "Pleural Effusion"], **mapping)), [expected])


def test_padchest_lists_are_read_with_their_names_mapped(table: Write) -> None:
    path = table(
        "ImageID,PatientID,PatientBirth,PatientSex_DICOM,StudyDate_DICOM,Projection,Manufacturer_DICOM,Labels",
        "a.png,9,1935.0,M,20140915,L,Philips,\"['pleural effusion', ' cardiomegaly ', '']\"",
        "b.png,9,1935.0,M,20140915,PA,Philips,['normal']",
        "c.png,10,,F,20140915,COSTAL,,['unchanged']",
        "d.png,11,,None,20140915,AP_horizontal,,\"['exclude', 'cardiomegaly']\"",
        "e.png,12,,F,20140915,PA,,",
        "f.png,13,,F,20140915,PA,,\"['nodule', 'scoliosis']\"",
    )
    names = {"pleural effusion": "Effusion", "cardiomegaly": "Cardiomegaly", "nodule": None}
    labels = mapped(path, ["Effusion", "Cardiomegaly", "Hernia", "Nodule"], names=names)
    assert (labels.format, labels.match) == ("padchest", "name")
    np.testing.assert_array_equal(
        values(labels),
        [
            [1, 1, NAN, NAN],
            [0, 0, NAN, NAN],
            [NAN, NAN, NAN, NAN],
            [NAN, 1, NAN, NAN],
            [NAN, NAN, NAN, NAN],
            [0, 0, NAN, NAN],
        ],
    )
    assert labels.rows[0].attributes == Attributes("M", 79.0, "LL", "Philips")
    assert [row.attributes.view for row in labels.rows] == ["LL", "PA", None, "AP", "PA", "PA"]
    assert [row.patient for row in labels.rows] == ["9", "9", "10", "11", "12", "13"]
    assert labels.notes == (
        "labels.csv never names Hernia, Nodule: unknown for every X-ray",
        "labels.csv names findings that the consortium does not predict: 1 name in fewer than 5 X-rays each",
        "labels.csv, column Projection: 1 cells, the first in line 4, are not understood and count as unknown",
    )


def test_mimics_studies_meet_their_images_and_splits(table: Write) -> None:
    labels = table("subject_id,study_id,Edema,No Finding", "10,50,1.0,", "11,51,,1.0", "12,52,1.0,", name="l.csv")
    images = table(
        "dicom_id,subject_id,study_id,ViewPosition",
        *("a,10,50,PA", "b,10,50,LATERAL", "c,11,51,AP", "d,13,53,AP"),
        name="m.csv",
    )
    splits = table(
        "dicom_id,study_id,subject_id,split",
        *("a,50,10,train", "b,50,10,train", "c,51,11,validate"),
        name="s.csv",
    )
    found = read_labels(labels, "auto", ["Edema"], further_tables=[images, splits])
    assert (found.format, found.match) == ("mimic", "stem")
    assert [(r.file, r.patient, r.findings, r.split, r.attributes.view) for r in found.rows] == [
        ("a", "10", (1.0,), "train", "PA"),
        ("b", "10", (1.0,), "train", "LL"),
        ("c", "11", (0.0,), "valid", "AP"),
    ]
    assert found.notes == (
        "1 of 3 rows of l.csv has no row in m.csv",
        "1 of 4 rows of m.csv has no row in l.csv and is not used",
    )


def test_a_hospitals_own_columns_and_words_are_mapped(table: Write) -> None:
    path = table(
        "Bild;Pat;Geschlecht;Alter;Erguss;Rundherd links;Rundherd rechts",
        "a.png;7;w;61,5;ja;nein;ja",
        "b.png;8;m;40;?;nein;nein",
        "c.png;9;m;40;Nein;nein;",
    )
    labels = mapped(
        path,
        ["Effusion", "Nodule"],
        file="Bild",
        patient="Pat",
        sex="Geschlecht",
        age="Alter",
        present="ja",
        absent=["nein"],
        unknown=["?"],
        names={"Erguss": "Effusion", "Rundherd links": "Nodule", "Rundherd rechts": "Nodule"},
    )
    np.testing.assert_array_equal(values(labels), [[1, 1], [NAN, 0], [0, NAN]])
    assert [row.patient for row in labels.rows] == ["7", "8", "9"]
    assert labels.rows[0].attributes == Attributes("F", 61.5)


def test_a_list_column_may_have_another_separator_and_its_own_word_for_healthy(table: Write) -> None:
    path = table("file,findings", '"a.png","Mass; Edema"', "b.png,healthy", "c.png,")
    labels = mapped(path, ["Edema", "Mass"], labels="findings", separator=";", no_finding="healthy")
    np.testing.assert_array_equal(values(labels), [[1, 1], [0, 0], [NAN, NAN]])


def test_an_empty_cell_means_absent_only_where_the_mapping_says_so(table: Write) -> None:
    columns = table("file,Mass,Edema", "a.png,,1")
    np.testing.assert_array_equal(values(mapped(columns, ["Mass", "Edema"], empty="absent")), [[0, 1]])
    lists = table("file,findings", "a.png,", "b.png,Mass", name="lists.csv")
    np.testing.assert_array_equal(values(mapped(lists, ["Mass"], labels="findings", empty="absent")), [[0], [1]])


def test_numbers_may_have_a_decimal_comma(table: Write) -> None:
    path = table("file;Mass;Edema", "a.png;1,0;0,00")
    np.testing.assert_array_equal(values(read_labels(path, "auto", ["Mass", "Edema"])), [[1, 0]])
    assert [plain_cell(cell) for cell in ("1,50", "-1.0", "Ja", "nan", "1,2,3")] == ["1.5", "-1", "ja", "nan", "1,2,3"]


def test_a_name_mapped_to_null_is_left_out(table: Write) -> None:
    columns = table("file,Efusion,Mass", "a.png,1,0")
    np.testing.assert_array_equal(values(mapped(columns, ["Effusion", "Mass"], names={"Efusion": None})), [[NAN, 0]])
    lists = table("Image Index,Finding Labels", "a.png,Efusion|Mass", name="lists.csv")
    np.testing.assert_array_equal(values(mapped(lists, ["Effusion"], names={"Efusion": None})), [[0]])


def test_a_list_says_absent_only_of_what_was_searched_for(table: Write) -> None:
    path = table("file,findings", "a.png,Mass")
    labels = mapped(path, ["Mass", "Edema", "Hernia"], labels="findings", searched=["Mass", "Edema"])
    np.testing.assert_array_equal(values(labels), [[1, 0, NAN]])


def test_what_a_wrong_column_holds_is_not_quoted_in_a_note_unless_it_is_common(table: Write) -> None:
    rows = [f"{number}.png,Mass|Scoliosis|Mr Smith was seen {number}" for number in range(5)]
    labels = mapped(table("file,findings", *rows), ["Mass"], labels="findings")
    assert labels.notes == (
        "labels.csv names findings that the consortium does not predict: Scoliosis (5 X-rays), "
        "5 names in fewer than 5 X-rays each",
    )


EFFUSION_OR_MASS = ["Effusion", "Mass"]
REFUSED = [
    (["file,Efusion,Mass", "a.png,1,0"], {}, r"`Efusion`: did you mean `Effusion`\? If so, write under xray.mapping"),
    (["file,Pleural Effusion,Mass", "a.png,1,0"], {}, r"`names: {Pleural Effusion: Effusion}`"),
    (["file,MASS,effusion", "a.png,1,0"], {}, r"`MASS`: did you mean `Mass`\? `effusion`: did you mean `Effusion`\?"),
    (["Image Index,Finding Labels", "a.png,Mass|Efusion"], {}, "column Finding Labels: `Efusion`: did you mean"),
    (["Image Index,Finding Labels", "a.png,Mass", "b.png,No finding"], {}, "`No finding`: did you mean `No Finding`"),
    (["Image Index,Finding Labels", "a.png,Mass;Effusion"], {}, "looks like several names joined by ;; set xray"),
    (["ImageID,Labels", "a.png,['pleural effusion']"], {}, "`pleural effusion`: did you mean `Effusion`"),
    (["ImageID,Labels", "a.png,['Mass'"], {}, r"line 2, column Labels: expected a list such as \['one name'"),
    (["ImageID,Labels", "a.png,[1]"], {}, r"line 2, column Labels: expected a list such as .* found '\[1\]'"),
    (["file,findings", "a.png,Mass||Edema"], {"labels": "findings"}, "line 2, column findings: expected names joined"),
    (["file,Mass", "a.png,1"], {"patient": "Patient"}, "patient names the column 'Patient', which the file does not"),
    (["Bild,Mass", "a.png,1"], {"file": "bild"}, r"xray.mapping.file names .*\(did you mean 'Bild'\?\)"),
    (["Bild,Mass", "a.png,1"], {}, "found Bild, Mass; say which column is what under xray.mapping"),
    (["file,Mass", "a.png,1"], {"names": {"Efusion": "Effusion"}}, "names has 'Efusion', which is no column"),
    (["file,Mas,Edema", "a.png,1,0"], {"names": {"Mass": "Mass"}}, "is no column of the file; did you mean 'Mas'"),
    (["file,Mass", "a.png,1"], {"names": {"Mass": "Mas"}}, r"names the finding 'Mas', .*\(did you mean 'Mass'\?\)"),
    (["file,Mass", "a.png,1"], {"uncertain_findings": {"Mas": "ones"}}, "uncertain_findings.Mas names the finding"),
    (["file,Mass", "a.png,1"], {"present": ["0"]}, "gives the cell '0' two meanings"),
    (["file,Mass", "a.png,yes"], {"present": ["ja"]}, "line 2, column Mass: expected ja, 0 or nothing .* found 'yes'"),
    (["file,Mass", "a.png,-1"], {}, "found '-1'; if -1 means uncertain, set xray.mapping.uncertain to ignore"),
    (["file,Mass", "a.png,"], {"empty": "refused"}, "line 2, column Mass: expected a value, found nothing"),
    (["file,Mass,OK", "a.png,1,1"], {"no_finding": "OK"}, "line 2: OK and Mass are both present; correct the row"),
    (["file,Mass", "a.png,1"], {"no_finding": "OK"}, "xray.mapping.no_finding names the column 'OK'"),
    (["subject_id,study_id,Mass", "1,2,1"], {}, "expected a column 'dicom_id', .* under xray.further_tables"),
    (["Path,Mass", "a.png,1"], {"labels": "Labels", "file": "Path"}, "xray.mapping.labels names the column 'Labels'"),
]


@pytest.mark.parametrize(("lines", "mapping", "message"), REFUSED)
def test_a_label_file_that_does_not_fit_is_refused_with_the_way_out(
    table: Write, lines: list[str], mapping: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        mapped(table(*lines), EFFUSION_OR_MASS, **mapping)
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
