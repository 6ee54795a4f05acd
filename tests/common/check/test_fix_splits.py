"""Patients, copies and near copies end on one side, and as few images as possible change theirs."""

from pathlib import Path

import pytest

from fedthorax.common.check.check import fixed_splits
from fedthorax.common.check.neighbours import near_duplicate_issues
from fedthorax.common.config.data import SplitFractions
from fedthorax.common.hospital.copies import duplicate_issues, patient_issues, same_pictures
from fedthorax.common.hospital.labelled import LabelledImage, labelled_images
from fedthorax.common.records.records import CtRecord, ImageRef, Split, XrayRecord
from fedthorax.common.records.split_file import read_split_file, split_notes, with_splits, write_split_file

FOLDERS = {"xray": Path("x"), "ct": Path("c")}


def xray(name: str, patient: str, split: Split | None = None) -> XrayRecord:
    return XrayRecord(Path("x") / name, patient, (1.0,), split)


def ct(name: str, patient: str, split: Split | None = None, cancer_class: int = 0) -> CtRecord:
    return CtRecord(Path("c") / name, patient, cancer_class, split)


def fixed(
    xrays: list[XrayRecord], slices: list[CtRecord], *together: tuple[str, ...], seed: int = 0
) -> dict[str, Split | None]:
    """The side of each image by name; ``together`` names copies."""
    by_name = {image.name: image for image in labelled_images(xrays, slices, FOLDERS)}
    groups = [[by_name[name] for name in names] for names in together]
    new_xray, new_ct = fixed_splits(xrays, slices, groups, SplitFractions(), seed)
    assert [record.patient for record in (*new_xray, *new_ct)] == [record.patient for record in (*xrays, *slices)]
    return {record.path.name: record.split for record in (*new_xray, *new_ct)}


def test_a_torn_group_goes_to_train_and_everybody_else_stays() -> None:
    slices = [ct("a", "p", "train"), ct("b", "q", "test"), ct("c", "r", "valid"), ct("d", "s", "test")]
    assert fixed([], slices, ("a", "b")) == {"a": "train", "b": "train", "c": "valid", "d": "test"}


def test_without_a_member_in_train_a_torn_group_goes_to_valid() -> None:
    slices = [ct("a", "p", "test"), ct("b", "q", "valid"), ct("c", "r", "train")]
    assert fixed([], slices, ("a", "b")) == {"a": "valid", "b": "valid", "c": "train"}


def test_copies_join_whole_patients_and_patients_join_modalities() -> None:
    # a and b are copies, so p and q go together; q also has a slice, which is a copy of one of r.
    xrays = [xray("a", "p", "train"), xray("b", "q", "test"), xray("c", "p", "train")]
    slices = [ct("d", "q", "test"), ct("e", "r", "valid"), ct("f", "s", "test")]
    assert fixed(xrays, slices, ("a", "b"), ("d", "e")) == dict.fromkeys("abcde", "train") | {"f": "test"}


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_split_keeps_groups_whole(seed: int) -> None:
    slices = [ct(str(number), f"p{number}", None, number % 2) for number in range(40)]
    sides = fixed([], slices, ("0", "1", "2"), ("2", "3"), ("10", "11"), seed=seed)
    assert len({sides[name] for name in "0123"}) == 1
    assert sides["10"] == sides["11"]
    assert set(sides.values()) == {"train", "valid", "test"}


def test_images_without_a_side_follow_those_that_have_one() -> None:
    slices = [ct("a", "p", "test"), ct("b", "q", None), ct("c", "r", "train")]
    assert fixed([], slices, ("a", "b"))["b"] == "test"


def test_training_reads_what_the_check_writes(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    write_split_file(path, [("ct", "b (2).png", "test"), ("xray", "ä, b.png", "valid"), ("ct", "a.png", "train")])
    assert path.read_text(encoding="utf-8").splitlines() == [
        "modality,file,split",
        "ct,a.png,train",
        "ct,b (2).png,test",
        'xray,"ä, b.png",valid',
    ]
    splits = read_split_file(path)
    records = (ct("a.png", "p", "test"), ct("new.png", "q", "test"))
    assert [record.split for record in with_splits(records, "ct", Path("c"), splits)] == ["train", None]
    assert split_notes(path, splits, [("ct", "a.png"), ("ct", "new.png")]) == (
        "splits.csv has no row for 1 image (new.png): its split is drawn",
        "splits.csv has 2 rows for images that are not there: b (2).png, ä, b.png",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,split\na,train", "expected the columns modality, file, split, found file, split"),
        ("modality,file,split\nmri,a,train", "line 2, column modality: expected xray or ct, found 'mri'"),
        ("modality,file,split\nct,a,", "line 2, column split: expected train, valid or test, found nothing"),
        ("modality,file,split\nct,a,train\nct,a,test", "line 3: a stands in another split in an earlier line"),
    ],
)
def test_a_split_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_split_file(path)


def slices_of(*sides: tuple[str, str, Split | None, float]) -> list[LabelledImage]:
    return [
        LabelledImage("ct", ImageRef(Path(name)), name, patient, (label,), split)
        for name, patient, split, label in sides
    ]


def test_copies_in_three_splits_are_counted_once_each_and_told_side_by_side() -> None:
    images = slices_of(("a", "p", "train", 0), ("b", "q", "valid", 0), ("c", "r", "test", 0), ("d", "s", "test", 1))
    (issue,) = duplicate_issues(same_pictures(images, {image.ref: "same" for image in images[:3]}))
    assert (issue.code, issue.count, issue.files) == ("duplicate-across-splits", 2, ("b", "c"))
    assert issue.sentence == (
        "1 CT slice in valid: same pixels as one in train; 1 CT slice in test: same pixels as one in train; "
        "1 CT slice in test: same pixels as one in valid"
    )


def test_copies_of_one_patient_cannot_be_torn_apart_by_a_draw() -> None:
    images = slices_of(("a", "p", None, 0), ("b", "p", None, 0))
    (issue,) = duplicate_issues(same_pictures(images, dict.fromkeys([image.ref for image in images], "same")))
    assert issue.code == "duplicate-within-split"


def test_near_copies_under_two_labels_are_a_warning() -> None:
    images = slices_of(("a", "p", "train", 0), ("b", "q", "train", 1))
    issues = near_duplicate_issues([tuple(images)])
    assert [(issue.code, issue.level) for issue in issues] == [
        ("near-duplicate-different-labels", "warning"),
        ("near-duplicate-within-split", "note"),
    ]


def test_a_patient_without_a_given_split_stands_on_no_side() -> None:
    assert patient_issues(slices_of(("a", "p", None, 0), ("b", "p", "test", 0))) == []
