"""CT folders as records."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.data import CtSource
from fedthorax.common.hospital.bad_files import record_issues
from fedthorax.common.hospital.ct_folder import ct_records

Write = Callable[..., Path]
Draw = Callable[..., Path]
CLASSES = ["normal", "tumour"]


def test_class_folders_stand_directly_or_below_the_splits(tmp_path: Path, draw: Draw) -> None:
    for name in ("normal/p1__1.png", "train/tumour/p2__1.JPG", "val/normal/deep/p3__1.png", "test/tumour/p4__1.png"):
        draw(tmp_path / name)
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(r.path.name, r.patient, r.cancer_class, r.split) for r in found.records] == [
        ("p1__1.png", "p1", 0, None),
        ("p4__1.png", "p4", 1, "test"),
        ("p2__1.JPG", "p2", 1, "train"),
        ("p3__1.png", "p3", 0, "valid"),
    ]
    assert found.notes == ()


def test_slices_csv_gives_patients_and_splits_before_the_file_name(tmp_path: Path, table: Write, draw: Draw) -> None:
    for name in ("normal/p1__1.png", "normal/b.png", "tumour/p3__1.png"):
        draw(tmp_path / name)
    table("file,patient_id,split", "normal/p1__1.png,q1,test", "normal/b.png,q2,", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(r.path.name, r.patient, r.split) for r in found.records] == [
        ("b.png", "q2", None),
        ("p1__1.png", "q1", "test"),
        ("p3__1.png", "p3", None),
    ]
    assert found.notes == ()


def test_equal_file_names_in_two_splits_are_two_patients_and_it_is_said(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "train/normal/a.png")
    draw(tmp_path / "test/normal/a.png")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [r.patient for r in found.records] == ["CT test/normal/a.png", "CT train/normal/a.png"]
    assert found.notes == (
        "no patient is known for 2 of 2 CT slices (test/normal/a.png, train/normal/a.png): each picture, series or "
        "volume counts as a patient, so slices of one person may stand in different splits",
        "the CT folder holds no slice of tumour",
    )


def test_other_files_are_said_and_slices_csv_is_not_among_them(tmp_path: Path, table: Write, draw: Draw) -> None:
    draw(tmp_path / "normal/p__1.png")
    draw(tmp_path / "tumour/q__1.png")
    (tmp_path / "normal/Thumbs.db").touch()
    table("file,patient_id", "normal/p__1.png,p", name="slices.csv")
    assert ct_records(CtSource(folder=tmp_path), CLASSES).notes == (
        "in the CT folder but no PNG, JPEG, DICOM or NIfTI, and so not used: normal/Thumbs.db",
    )


def test_a_slice_that_stands_only_in_slices_csv_is_bad(tmp_path: Path, table: Write) -> None:
    table("file,patient_id", "normal/gone.png,p", name="slices.csv")
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert [(b.path.name, b.reason) for b in found.bad] == [
        ("gone.png", "stands in slices.csv, line 2, but does not exist")
    ]


@pytest.mark.parametrize(
    ("files", "slices", "message"),
    [
        (["tumor/a.png"], [], r"classes normal, tumour; found tumor .* write `classes: \{tumor: tumour\}`"),
        (["tumour_left.lobe_T2/a.png"], [], r"write `classes: \{tumour_left\.lobe_T2: tumour\}`"),
        (["1 tumours/a.png"], [], r"write `classes: \{\"1 tumours\": tumour\}`"),
        (["Normal/a.png"], [], r"found Normal \(did you mean 'normal'\?\)"),
        (["train/Normal/a.png"], [], r"found Normal .*write `classes: \{Normal: normal\}`"),
        (["xyz/readme.txt"], [], "expected the CT classes normal, tumour; found xyz. What"),
        (["a.png"], [], r"a\.png lies outside the class folders"),
        (["train/a.png"], [], r"train/a\.png lies outside the class folders"),
        ([], ["file,person"], "expected a column file .* and patient_id, class or both, found file, person"),
        (["normal/a.png"], ["file,patient_id", *["normal/a.png,p"] * 2], r"normal/a\.png in lines 2, 3 \(alike\)"),
        (
            ["train/normal/a.png"],
            ["file,patient_id,split", "train/normal/a.png,p,test"],
            r"slices\.csv puts train/normal/a\.png into test, but it lies in the folder of train",
        ),
    ],
)
def test_folders_that_cannot_be_understood_are_refused(
    tmp_path: Path, table: Write, draw: Draw, files: list[str], slices: list[str], message: str
) -> None:
    for name in files:
        if name.endswith(".png"):
            draw(tmp_path / name)
        else:
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
    if slices:
        table(*slices, name="slices.csv")
    with pytest.raises(ValueError, match=message):
        ct_records(CtSource(folder=tmp_path), CLASSES)


def test_a_hospitals_own_names_of_its_class_folders_are_mapped_and_null_is_unknown(tmp_path: Path, draw: Draw) -> None:
    for name in ("gesund/p1__1.png", "train/Ca/p2__1.png", "unclear/p3__1.png", "tumour/p4__1.png"):
        draw(tmp_path / name)
    source = CtSource(folder=tmp_path, classes={"gesund": "normal", "Ca": "tumour", "unclear": None})
    found = ct_records(source, CLASSES)
    assert {r.patient: r.cancer_class for r in found.records} == {"p1": 0, "p2": 1, "p3": -1, "p4": 1}
    assert ct_records(source).labels == ("normal", "tumour"), "without a consortium its names are those mapped to"


def test_a_folder_mapped_to_a_class_that_the_consortium_does_not_have_is_an_error(tmp_path: Path, draw: Draw) -> None:
    draw(tmp_path / "Ca/p__1.png")
    with pytest.raises(ValueError, match=r"ct\.classes\.Ca names the class 'tumor'.*tumour.*, or null"):
        ct_records(CtSource(folder=tmp_path, classes={"Ca": "tumor"}), CLASSES)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Normal", "normal"), ("nodule", "nodules"), ("large_cell", "large.cell"), ("train/normal", "test/Normal")],
)
def test_two_classes_that_may_be_one_are_asked_about_where_nobody_has_named_the_classes(
    tmp_path: Path, draw: Draw, one: str, other: str
) -> None:
    draw(tmp_path / one / "a.png")
    draw(tmp_path / other / "b.png")
    names = sorted(name.rpartition("/")[2] for name in (one, other))
    with pytest.raises(
        ValueError, match=f"are '{names[0]}' and '{names[1]}' one class.*write `classes: .*{names[1]}: "
    ):
        ct_records(CtSource(folder=tmp_path))
    assert ct_records(CtSource(folder=tmp_path, classes={names[1]: names[0]})).labels == (names[0],)
    assert ct_records(CtSource(folder=tmp_path, classes={name: name for name in names})).labels == tuple(names)


def test_training_and_testing_are_sides_and_no_classes(tmp_path: Path, draw: Draw) -> None:
    for name in ("training/normal/a.png", "Testing/tumour/b.png"):
        draw(tmp_path / name)
    found = ct_records(CtSource(folder=tmp_path))
    assert {record.split for record in found.records} == {"train", "test"}
    assert found.labels == ("normal", "tumour")


def test_a_volume_of_nobody_is_named_once_and_counts_as_one_patient(tmp_path: Path, write_nifti: Write) -> None:
    write_nifti(tmp_path / "normal/v.nii.gz", np.full((2, 2, 3), -500, np.int16))
    write_nifti(tmp_path / "tumour/w.nii.gz", np.full((2, 2, 3), -500, np.int16))
    found = ct_records(CtSource(folder=tmp_path), CLASSES)
    assert len({record.patient for record in found.records}) == 2
    assert found.notes[0].startswith(
        "no patient is known for 6 of 6 CT slices (normal/v.nii.gz, tumour/w.nii.gz): each picture, series or volume"
    )
    (issue,) = record_issues(found, "ct")
    assert issue.files == ("normal/v.nii.gz", "tumour/w.nii.gz")
    assert "series or volume" in issue.advice
